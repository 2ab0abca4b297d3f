//! The verbs of `kubectl email`: a thin layer over the modules that decide.

mod check;
mod checked;
mod cluster;
mod completion;
mod dns;
mod export;
mod failure;
mod flags;
mod fleet;
mod kinds;
mod mailcow;
mod manifests;
mod offline;
mod operations;
mod operator;
mod plan;
mod quarantine;
mod report;
mod rules;
mod show;
mod status;
mod trial;

pub(crate) use offline::test_rules;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::FalseyValueParser;
use clap::{Args, Parser, Subcommand};

pub use check::CheckFlags;
pub use completion::{Shell, answer_shells};
pub use dns::{DnsFlags, Format};
pub use export::{ExportFlags, ManifestFormat};
pub use flags::{ClusterFlags, Output, Selection};
pub use mailcow::MailcowFlags;
pub use operations::OperationFlags;
pub use plan::PlanFlags;
pub use quarantine::QuarantineCommand;
pub use report::ReportFlags;
pub use status::StatusFlags;

use cluster::Cluster;
use failure::Failure;
use operations::Operation;
use show::Show;

/// Email hosting on Mailcow, from the command line.
///
/// Exit codes: 0 done; 1 wrong input, a refusal, or the answer is no; 2 wrong usage; 3 a server can't be reached.
#[derive(Debug, Parser)]
#[command(name = "kubectl-email", bin_name = "kubectl email", version, about, max_term_width = 100)]
pub struct Email {
    /// The command.
    #[command(subcommand)]
    pub command: Command,
    /// Which cluster, and as whom.
    #[command(flatten)]
    pub cluster: ClusterFlags,
    /// Plain text without colours.
    #[arg(long, env = "NO_COLOR", global = true, hide_env_values = true, value_parser = FalseyValueParser::new())]
    pub no_color: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show how the domains and everything in them are: what is wrong first, and what to do.
    Status(StatusFlags),
    /// Show what to publish in DNS for a domain, and what DNS shows. Exit code 1 while a required record is not correct.
    Dns(DnsFlags),
    /// Check the cluster, the operator, Mailcow and DNS, and name the command that mends what is wrong. Exit code 1 if
    /// something is.
    Check(CheckFlags),
    /// Ask the operator to reconcile objects now, including their DNS checks.
    Reconcile {
        /// Which objects.
        #[command(flatten)]
        flags: OperationFlags,
        /// Also correct changes made by hand on Mailcow that driftPolicy: Report keeps.
        #[arg(long)]
        correct: bool,
    },
    /// Stop all writes to Mailcow for objects.
    Pause {
        /// Which objects.
        #[command(flatten)]
        flags: OperationFlags,
    },
    /// Let the operator write to Mailcow again for objects that are paused.
    Resume {
        /// Which objects.
        #[command(flatten)]
        flags: OperationFlags,
    },
    /// Replace the generated passwords of mailboxes. Mail clients then need the new ones.
    Rotate {
        /// Which mailboxes.
        #[command(flatten)]
        flags: OperationFlags,
        /// Replace several passwords without asking.
        #[arg(long)]
        yes: bool,
    },
    /// Show what an apply of manifests would change on Mailcow, field by field, without writing. Exit code 1 if anything
    /// would change.
    Plan(PlanFlags),
    /// Write manifests for what is on Mailcow now, with every field. It only reads.
    Export(ExportFlags),
    /// Show, release or delete mail in Mailcow's quarantine.
    #[command(subcommand)]
    Quarantine(QuarantineCommand),
    /// Check, compile and test rules: in files without a cluster, or those of the cluster.
    #[command(subcommand)]
    Rules(RulesCommand),
    /// Write an archive for a bug report: versions, objects, logs and events, without secrets.
    Report(ReportFlags),
    /// Print the script that completes commands and names in a shell, or the program that kubectl runs for that.
    Completion {
        /// For whom.
        shell: Shell,
    },
    /// Print candidates in the form that kubectl reads.
    #[command(name = "__complete", hide = true, disable_help_flag = true)]
    Complete {
        /// The words so far; the last one is being typed.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<OsString>,
    },
}

/// The commands for rules.
#[derive(Debug, Subcommand)]
pub enum RulesCommand {
    /// Check each rule and print what is wrong.
    Check {
        /// Rules of the cluster, by name. Default without -f: all rules of the namespace.
        #[arg(value_name = "RULE", conflicts_with = "files", add = completion::rules())]
        names: Vec<String>,
        /// The rules.
        #[command(flatten)]
        input: Input,
    },
    /// Print the Sieve script of a mailbox.
    Compile {
        /// The rules.
        #[command(flatten)]
        input: Input,
        /// Take the rules of this mailbox from the cluster: its address, or the name of its object.
        #[arg(long, value_name = "MAILBOX", required_unless_present = "files", conflicts_with = "files", add = completion::mailboxes())]
        live: Option<String>,
        /// Skip invalid rules instead of printing nothing.
        #[arg(long)]
        skip_invalid: bool,
    },
    /// Print which rules match a message and what would happen to it.
    Test {
        /// The rules.
        #[command(flatten)]
        input: Input,
        /// Take the rules of this mailbox from the cluster: its address, or the name of its object.
        #[arg(long, value_name = "MAILBOX", required_unless_present = "files", conflicts_with = "files", add = completion::mailboxes())]
        live: Option<String>,
        /// Skip invalid rules instead of printing nothing.
        #[arg(long)]
        skip_invalid: bool,
        /// Envelope sender (MAIL FROM) of the message; '' for a bounce.
        #[arg(long, value_name = "ADDRESS")]
        from: String,
        /// Recipient of the message: the mailbox, with or without a +tag, or one of its aliases. Default with --live: the
        /// mailbox.
        #[arg(long, value_name = "ADDRESS", required_unless_present = "live")]
        to: Option<String>,
        /// File with the message; `-` for standard input.
        message: PathBuf,
    },
}

/// Input files and output format.
#[derive(Debug, Args)]
pub struct Input {
    /// Manifests: files, folders of .yaml, .yml and .json files, or `-` for standard input.
    #[arg(short, long = "filename", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Address of the mailbox. Required if the manifests have rules of several mailboxes. Rules whose mailbox is not in
    /// the manifests belong to this one.
    #[arg(long, value_name = "ADDRESS")]
    pub mailbox: Option<String>,
    /// File with the installation's sinks, a list in the format of the chart's value `sinks`. Default: with files, every
    /// sink is an allowed webhook; with the cluster, the installation's, if you may read them.
    #[arg(long, value_name = "FILE")]
    pub sinks: Option<PathBuf>,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// Runs the command, and returns its exit code; clap returns 2 for wrong usage.
pub fn run(email: &Email) -> ExitCode {
    let show = Show::new(email.no_color);
    let done = match &email.command {
        Command::Completion { shell } => completion::script(*shell),
        // It starts a runtime of its own.
        Command::Complete { words } => completion::answer_kubectl(words),
        _ => runtime().and_then(|runtime| runtime.block_on(execute(email, &show))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            for problem in failure.problems() {
                show.problem(problem);
            }
            failure.code()
        }
    }
}

/// Prints warnings about entries of Mailcow that can't be read; errors are reported by the commands.
fn show_unreadable_entries() {
    let filter = tracing_subscriber::EnvFilter::new("off,mailcow_operator::mailcow::observe=warn");
    let format = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).without_time();
    // A second initialization is refused, and the first one is as good.
    let _ = format.with_target(false).with_ansi(false).try_init();
}

/// One thread is enough: the command waits for servers most of the time.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::wrong(format!("the async runtime can't start: {error}")))
}

async fn execute(email: &Email, show: &Show) -> Result<(), Failure> {
    // A second installation is refused, and the first one is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    show_unreadable_entries();
    let connect = || Cluster::connect(&email.cluster);
    match &email.command {
        Command::Status(flags) => status::run(&connect().await?, flags, show).await,
        Command::Dns(flags) => dns::run(&email.cluster, flags, show).await,
        Command::Reconcile { flags, correct } => {
            operations::run(&connect().await?, Operation::Reconcile { correct: *correct }, flags, show).await
        }
        Command::Pause { flags } => operations::run(&connect().await?, Operation::Pause, flags, show).await,
        Command::Resume { flags } => operations::run(&connect().await?, Operation::Resume, flags, show).await,
        Command::Rotate { flags, yes } => {
            operations::run(&connect().await?, Operation::Rotate { yes: *yes }, flags, show).await
        }
        Command::Check(flags) => check::run(&email.cluster, flags, show).await,
        Command::Plan(flags) => plan::run(&email.cluster, flags, show).await,
        Command::Export(flags) => export::run(&email.cluster, flags, show).await,
        Command::Quarantine(command) => quarantine::run(&email.cluster, command, show).await,
        Command::Report(flags) => report::run(&email.cluster, flags, show).await,
        Command::Rules(command) => rules::run(command, &email.cluster, show).await,
        Command::Completion { .. } | Command::Complete { .. } => Ok(()),
    }
}

//! The verbs of `kubectl email`: a thin layer over the modules that decide.

mod candidates;
mod check;
mod cluster;
mod command;
mod completion;
mod dns;
mod export;
mod failure;
mod flags;
mod fleet;
mod kinds;
mod live;
mod mailcow;
mod manifests;
mod offline;
mod operations;
mod operator;
mod plan;
mod quarantine;
mod report;
mod rule_set;
mod rules;
mod show;
mod status;
mod trial;
mod whole_file;

pub(crate) use offline::test_rules;

use std::process::ExitCode;

pub use candidates::answer_shells;
pub use check::CheckFlags;
pub use command::{Command, Email};
pub use completion::Shell;
pub use dns::{DnsFlags, Format};
pub use export::{ExportFlags, ManifestFormat};
pub use flags::{ClusterFlags, Input, Output, Selection};
pub use mailcow::MailcowFlags;
pub use operations::OperationFlags;
pub use plan::PlanFlags;
pub use quarantine::QuarantineCommand;
pub use report::ReportFlags;
pub use rules::RulesCommand;
pub use status::StatusFlags;

use cluster::Cluster;
use failure::Failure;
use operations::Operation;
use show::Show;

/// Runs the command, and returns its exit code; clap returns 2 for wrong usage.
pub fn run(email: &Email) -> ExitCode {
    let show = Show::new(email.no_color || is_colourless());
    let done = match &email.command {
        Command::Completion { shell } => completion::script(*shell),
        // It starts a runtime of its own.
        Command::Complete { words } => candidates::answer_kubectl(words),
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

/// Whether the environment wants no colours: <https://no-color.org> counts any value that is not empty, also 0 and false.
fn is_colourless() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
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
        Command::Replay { flags } => operations::run(&connect().await?, Operation::Replay, flags, show).await,
        Command::Check(flags) => check::run(&email.cluster, flags, show).await,
        Command::Plan(flags) => plan::run(&email.cluster, flags, show).await,
        Command::Export(flags) => export::run(&email.cluster, flags, show).await,
        Command::Quarantine(command) => quarantine::run(&email.cluster, command, show).await,
        Command::Report(flags) => report::run(&email.cluster, flags, show).await,
        Command::Rules(command) => rules::run(command, &email.cluster, show).await,
        Command::Completion { .. } | Command::Complete { .. } => Ok(()),
    }
}

//! The verbs of `kubectl email`: thin over the rooms that decide. This one needs no cluster.

mod checked;
mod manifests;
mod rules;
mod show;
mod trial;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::FalseyValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};

/// Email hosting on Mailcow, from the command line.
#[derive(Debug, Parser)]
#[command(name = "kubectl-email", bin_name = "kubectl email", version, about)]
pub struct Email {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Plain text without colours.
    #[arg(long, env = "NO_COLOR", global = true, value_parser = FalseyValueParser::new())]
    pub no_color: bool,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Rules of files: check them, compile them, try them; without a cluster.
    #[command(subcommand)]
    Rules(RulesCommand),
}

/// What can be done with rules.
#[derive(Debug, Subcommand)]
pub enum RulesCommand {
    /// Say of each rule whether it is valid, or why not.
    Check {
        /// The rules.
        #[command(flatten)]
        input: Input,
    },
    /// Print the Sieve script of a mailbox.
    Compile {
        /// The rules.
        #[command(flatten)]
        input: Input,
        /// Leave invalid rules out instead of printing nothing.
        #[arg(long)]
        skip_invalid: bool,
    },
    /// Say which rules match a message and what would happen to it.
    Test {
        /// The rules.
        #[command(flatten)]
        input: Input,
        /// Leave invalid rules out instead of answering nothing.
        #[arg(long)]
        skip_invalid: bool,
        /// Address of the sender in the envelope (MAIL FROM); '' for a bounce.
        #[arg(long, value_name = "ADDRESS")]
        from: String,
        /// Address that the message is sent to: the mailbox, with a +tag or without, or an alias of it.
        #[arg(long, value_name = "ADDRESS")]
        to: String,
        /// The message as a file; `-` for standard input.
        message: PathBuf,
    },
}

/// Where rules come from, and how answers look.
#[derive(Debug, Args)]
pub struct Input {
    /// Manifests: files, folders of .yaml, .yml and .json files, or `-` for standard input.
    #[arg(short, long = "filename", required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Address of the mailbox. Needed when the manifests hold rules of several; rules whose mailbox is not among the
    /// manifests are taken for this one's.
    #[arg(long, value_name = "ADDRESS")]
    pub mailbox: Option<String>,
    /// File with the installation's sinks, a list as the chart's value `sinks` has it. Left out: every sink is taken for
    /// a webhook that is allowed.
    #[arg(long, value_name = "FILE")]
    pub sinks: Option<PathBuf>,
    /// Namespace of manifests that name none.
    #[arg(short, long, default_value = "default")]
    pub namespace: String,
    /// How the answer looks.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// How an answer looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    #[value(alias = "table")]
    Text,
    /// For programs.
    Json,
    /// For programs.
    Yaml,
}

/// Does what was asked. Exit codes: 0 done, 1 something is wrong with the input; 2, for wrong usage, is clap's.
pub fn run(email: &Email) -> ExitCode {
    let Command::Rules(command) = &email.command;
    let show = show::Show::new(email.no_color);
    match rules::run(command, &show) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problems) => {
            for problem in problems {
                show.problem(&problem);
            }
            ExitCode::FAILURE
        }
    }
}

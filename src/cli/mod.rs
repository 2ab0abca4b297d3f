//! The verbs of `kubectl email`: a thin layer over the modules that decide. They need no cluster.

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
    /// The command.
    #[command(subcommand)]
    pub command: Command,
    /// Plain text without colours.
    #[arg(long, env = "NO_COLOR", global = true, value_parser = FalseyValueParser::new())]
    pub no_color: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check, compile and test rules in files, without a cluster.
    #[command(subcommand)]
    Rules(RulesCommand),
}

/// The commands for rules.
#[derive(Debug, Subcommand)]
pub enum RulesCommand {
    /// Check each rule and print what is wrong.
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
        /// Skip invalid rules instead of printing nothing.
        #[arg(long)]
        skip_invalid: bool,
    },
    /// Print which rules match a message and what would happen to it.
    Test {
        /// The rules.
        #[command(flatten)]
        input: Input,
        /// Skip invalid rules instead of printing nothing.
        #[arg(long)]
        skip_invalid: bool,
        /// Envelope sender (MAIL FROM) of the message; '' for a bounce.
        #[arg(long, value_name = "ADDRESS")]
        from: String,
        /// Recipient of the message: the mailbox, with or without a +tag, or one of its aliases.
        #[arg(long, value_name = "ADDRESS")]
        to: String,
        /// File with the message; `-` for standard input.
        message: PathBuf,
    },
}

/// Input files and output format.
#[derive(Debug, Args)]
pub struct Input {
    /// Manifests: files, folders of .yaml, .yml and .json files, or `-` for standard input.
    #[arg(short, long = "filename", required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Address of the mailbox. Required if the manifests have rules of several mailboxes. Rules whose mailbox is not in
    /// the manifests belong to this one.
    #[arg(long, value_name = "ADDRESS")]
    pub mailbox: Option<String>,
    /// File with the installation's sinks, a list in the format of the chart's value `sinks`. Default: every sink is an
    /// allowed webhook.
    #[arg(long, value_name = "FILE")]
    pub sinks: Option<PathBuf>,
    /// Namespace of manifests without a namespace.
    #[arg(short, long, default_value = "default")]
    pub namespace: String,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// Output format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Plain text.
    #[value(alias = "table")]
    Text,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// Runs the command. Exit codes: 0 success, 1 invalid input; clap returns 2 for wrong usage.
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

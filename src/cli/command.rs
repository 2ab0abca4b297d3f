//! The command line: the commands and what all of them take.

use std::ffi::OsString;

use clap::{Parser, Subcommand};

use super::check::CheckFlags;
use super::completion::Shell;
use super::dns::DnsFlags;
use super::export::ExportFlags;
use super::flags::ClusterFlags;
use super::operations::OperationFlags;
use super::plan::PlanFlags;
use super::quarantine::QuarantineCommand;
use super::report::ReportFlags;
use super::rules::RulesCommand;
use super::status::StatusFlags;

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
    /// Plain text without colours. Any value of the variable `NO_COLOR` does the same.
    #[arg(long, global = true)]
    pub no_color: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show how the domains and everything in them are: what is wrong first, and what to do.
    Status(StatusFlags),
    /// Show what to publish in DNS for a domain, and what DNS shows. With -o table, json and yaml the exit code is 1 while a
    /// required record is not correct.
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
    /// Try failed deliveries of tasks and notes again: of rules, or of all rules of mailboxes.
    Replay {
        /// Which rules and mailboxes.
        #[command(flatten)]
        flags: OperationFlags,
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

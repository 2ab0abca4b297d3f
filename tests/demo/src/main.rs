//! `make demo`: the operator at work, from nothing to verified DNS, in one process tree on this machine.
//!
//! It uses the cluster only through kubectl, as users do, and Mailcow only through its API. It does not use the operator's
//! own types.
//!
//! ```text
//! Stage (control plane, Mailcow, DNS, chart, operator) ─▶ story: apply ─▶ follow ─▶ dns ─▶ look around ─▶ end
//! ```

mod dns;
mod error;
mod follow;
mod lookaround;
mod stage;
mod story;
mod voice;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use clap::builder::FalseyValueParser;

/// Shows the operator at work: a real Kubernetes API, a simulated Mailcow, real DNS queries, all on this machine.
#[derive(Debug, Parser)]
struct Args {
    /// Keep everything running until Ctrl-C, to try things.
    #[arg(long, env = "KEEP", value_parser = FalseyValueParser::new())]
    keep: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    match story::tell(args.keep).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing else can be done when standard error is closed.
            let _ = writeln!(std::io::stderr(), "\ndemo: {error}");
            ExitCode::FAILURE
        }
    }
}

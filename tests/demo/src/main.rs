//! `make demo`: the operator at work, from nothing to verified DNS, in one process tree on this machine.
//!
//! It looks at the cluster as people do, through kubectl, and at Mailcow through its API; nothing here knows the
//! operator's own types.
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
    /// Leave everything running until Ctrl-C, to try things.
    #[arg(long, env = "KEEP", value_parser = FalseyValueParser::new())]
    keep: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    match story::tell(args.keep).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell when standard error is closed.
            let _ = writeln!(std::io::stderr(), "\ndemo: {error}");
            ExitCode::FAILURE
        }
    }
}

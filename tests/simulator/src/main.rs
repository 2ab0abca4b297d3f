//! Runs a simulated Mailcow server until it is stopped.

use std::io::{self, Write as _};
use std::process::ExitCode;

use mailcow_simulator::{CostModel, Options, Simulator};

const USAGE: &str = "usage: mailcow-simulator --listen 127.0.0.1:PORT --api-key-file FILE [--latency]";

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            drop(writeln!(io::stderr(), "mailcow-simulator: {error}"));
            ExitCode::FAILURE
        }
    }
}

async fn run() -> io::Result<()> {
    let options = options(std::env::args().skip(1))?;
    let simulator = Simulator::start(options).await?;
    writeln!(io::stdout(), "listening on {}", simulator.url())?;
    tokio::signal::ctrl_c().await
}

fn options(mut args: impl Iterator<Item = String>) -> io::Result<Options> {
    let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, format!("{what}\n{USAGE}"));
    let mut options = Options::default();
    let mut has_key = false;
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--latency" => options.latency = Some(CostModel::measured()),
            "--listen" => {
                let address = args.next().unwrap_or_default();
                let port = address.strip_prefix("127.0.0.1:").and_then(|port| port.parse().ok());
                options.port = port.ok_or_else(|| wrong("--listen needs 127.0.0.1:PORT"))?;
            }
            "--api-key-file" => {
                let file = args.next().ok_or_else(|| wrong("--api-key-file needs a file"))?;
                std::fs::read_to_string(file)?.trim().clone_into(&mut options.api_key);
                has_key = true;
            }
            other => return Err(wrong(&format!("unknown argument {other}"))),
        }
    }
    if has_key { Ok(options) } else { Err(wrong("--api-key-file is missing")) }
}

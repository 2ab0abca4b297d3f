//! The operator program.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use mailcow_operator::config::{Cli, Command, IntakeSettings, McpSettings, Settings};
use mailcow_operator::{controller, crd, mcp, telemetry, worker};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Command::Run(settings) => run(*settings),
        Command::Intake(settings) => intake(*settings),
        Command::Crds => crds(),
        Command::Mcp(settings) => tools(*settings),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            // Nobody is left to tell when standard error is closed.
            let _ = writeln!(std::io::stderr().lock(), "mailcow-operator: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(settings: Settings) -> Result<(), String> {
    telemetry::start_logs(settings.log_format, &settings.log_level)?;
    rustls::crypto::ring::default_provider().install_default().map_err(|_| "the TLS provider was set twice")?;
    let runtime = tokio::runtime::Runtime::new().map_err(|error| format!("the async runtime can't start: {error}"))?;
    runtime.block_on(controller::run(settings)).map_err(|error| error.to_string())
}

/// Serves tools for agents. Standard output belongs to the protocol.
fn tools(settings: McpSettings) -> Result<(), String> {
    telemetry::start_logs(settings.log_format, &settings.log_level)?;
    rustls::crypto::ring::default_provider().install_default().map_err(|_| "the TLS provider was set twice")?;
    let runtime = tokio::runtime::Runtime::new().map_err(|error| format!("the async runtime can't start: {error}"))?;
    let done = runtime.block_on(mcp::run(settings)).map_err(|error| error.to_string());
    // A read of standard input can't be cancelled.
    runtime.shutdown_background();
    done
}

fn intake(settings: IntakeSettings) -> Result<(), String> {
    telemetry::start_logs(settings.log_format, &settings.log_level)?;
    rustls::crypto::ring::default_provider().install_default().map_err(|_| "the TLS provider was set twice")?;
    let runtime = tokio::runtime::Runtime::new().map_err(|error| format!("the async runtime can't start: {error}"))?;
    runtime.block_on(worker::run(settings)).map_err(|error| error.to_string())
}

/// Prints the CRDs; a reader that closes early is not an error.
fn crds() -> Result<(), String> {
    let text = crd::yaml().map_err(|error| error.to_string())?;
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.to_string()),
        _ => Ok(()),
    }
}

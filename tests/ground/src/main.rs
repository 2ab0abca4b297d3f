//! The test ground for people: `ground up` starts a control plane to try things on, until Ctrl-C.

use std::io::Write;
use std::process::ExitCode;

use ground::{ControlPlane, Options};

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let result = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["up"] => up(Options::default()).await,
        ["up", "--keep"] => up(Options { keep_folder: true, ..Options::default() }).await,
        _ => Err("usage: ground up [--keep]".into()),
    };
    let Err(error) = result else { return ExitCode::SUCCESS };
    let _ = writeln!(std::io::stderr(), "{error}");
    ExitCode::FAILURE
}

/// Starts a control plane, says how to use it and waits.
async fn up(options: Options) -> Result<(), Box<dyn std::error::Error>> {
    let plane = ControlPlane::start(options).await?;
    let mut out = std::io::stdout();
    writeln!(out, "export KUBECONFIG={}", plane.admin_kubeconfig().display())?;
    writeln!(out, "export PATH={}:$PATH", ground::kubernetes().await?.display())?;
    writeln!(out, "# logs in {}; Ctrl-C ends it", plane.folder().path().display())?;
    out.flush()?;
    tokio::signal::ctrl_c().await?;
    Ok(())
}

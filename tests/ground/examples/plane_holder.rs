//! Starts a control plane and an operator, prints their folder and process ids, and waits to be killed: the test of
//! the parent's death does so.

use std::io::Write;
use std::path::Path;

use ground::{ControlPlane, Operator, Options};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let plane = ControlPlane::start(Options::default()).await?;
    let operator = Operator::start(Path::new("/bin/sleep"), &["600"], &[])?;
    let pids = plane.pids();
    let pids = [pids.etcd, pids.api_server, pids.controller_manager, Some(operator.pid())];
    let mut out = std::io::stdout();
    write!(out, "{}", plane.folder().path().display())?;
    for pid in pids.into_iter().flatten() {
        write!(out, " {pid}")?;
    }
    writeln!(out)?;
    std::future::pending().await
}

//! The kubectl plugin: `kubectl email …`.

use std::process::ExitCode;

use clap::Parser;
use mailcow_operator::cli::{Email, run};

fn main() -> ExitCode {
    run(&Email::parse())
}

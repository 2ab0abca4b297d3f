//! The kubectl plugin: `kubectl email …`.

use std::process::ExitCode;

use clap::Parser;
use mailcow_operator::cli::{Email, answer_shells, run};

fn main() -> ExitCode {
    answer_shells();
    run(&Email::parse())
}

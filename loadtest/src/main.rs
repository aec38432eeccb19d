//! The `loadtest` command.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    loadtest::cli::Cli::parse().execute()
}

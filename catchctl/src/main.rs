//! The `catchctl` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    catchctl::cli::main(std::env::args_os())
}

//! Entry of the `ingest-node` binary: the command line, and one arm for each thing it can ask for.

#![forbid(unsafe_code)]
#![allow(
    clippy::print_stderr,
    reason = "how log lines look is part of the configuration that these messages are about"
)]

use std::io::Write;
use std::process::ExitCode;

use catchment_serving::healthcheck;
use ingest_node::app;
use ingest_node::cli::{Cli, Command};
use ingest_node::config::{ConfigErrors, Loaded};
use ingest_node::decode_command;

fn main() -> ExitCode {
    let cli = match Cli::of_process() {
        Ok(cli) => cli,
        Err(status) => return status,
    };
    let loaded = match cli.load_config() {
        Ok(loaded) => loaded,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(error.exit_code());
        }
    };
    match dispatch(&cli, &loaded) {
        Ok(status) => status,
        Err(error) => match error.downcast_ref::<ConfigErrors>() {
            Some(wrong) => {
                eprintln!("{wrong}");
                ExitCode::from(wrong.exit_code())
            }
            None => {
                eprintln!("ingest-node: {error:#}");
                ExitCode::FAILURE
            }
        },
    }
}

fn dispatch(cli: &Cli, loaded: &Loaded) -> anyhow::Result<ExitCode> {
    match cli.command.as_ref().unwrap_or(&Command::Run) {
        Command::Run => app::run(cli, loaded).map(|()| ExitCode::SUCCESS),
        Command::CheckConfig => {
            for warning in &loaded.warnings {
                eprintln!("warning: {warning}");
            }
            writeln!(std::io::stdout(), "configuration ok")?;
            Ok(ExitCode::SUCCESS)
        }
        Command::PrintConfig => {
            std::io::stdout().write_all(loaded.to_yaml().as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Healthcheck => {
            // `health.listen` is plain HTTP by definition.
            let config = &loaded.config;
            let answer = healthcheck::ask(config.health.listen.unwrap_or(config.node.http))?;
            writeln!(std::io::stdout(), "{}", answer.text)?;
            Ok(if answer.ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Command::Decode(args) => Ok(decode_command::command(args, &loaded.config)),
    }
}

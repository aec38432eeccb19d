//! The command line: what can be typed, and what it loads.
//!
//! Exit statuses follow `sysexits.h`: 64 for a wrong command line or configuration, 66 for a file that cannot be read.

use std::path::PathBuf;
use std::process::ExitCode;

use catchment_serving::VERSION;
use catchment_settings::program;
use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

use crate::config::{Config, ConfigErrors, Loaded, Sources};

/// Wrong command line or configuration (`EX_USAGE`).
pub const EX_USAGE: u8 = 64;

/// Shares templates and options state between the nodes of a cluster, keeps their registry, and lets people steer them.
#[derive(Debug, Clone, PartialEq, Parser)]
#[command(name = "coordinator", version = VERSION)]
pub struct Cli {
    /// Configuration file (YAML).
    #[arg(long, global = true, value_name = "FILE", env = program::COORDINATOR.file_variable)]
    pub config: Option<PathBuf>,

    /// Sets one key, such as etcd.endpoints=http://etcd-1:2379; wins over file and environment. Repeatable.
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    pub set: Vec<String>,

    /// What to do; without it: run.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Subcommand)]
pub enum Command {
    /// Serve nodes and people until SIGTERM or SIGINT.
    #[default]
    Run,
    /// Say whether the configuration is right.
    CheckConfig,
    /// Print the configuration in effect as YAML, secrets left out.
    PrintConfig,
    /// Ask the running coordinator whether it is ready: status 0 if so, else 1.
    Healthcheck,
}

impl Cli {
    /// Reads the process's command line. Help and version are printed and mistakes explained; the status to exit with is
    /// the error.
    pub fn of_process() -> Result<Cli, ExitCode> {
        Cli::try_parse().map_err(|error| {
            let wanted = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            // Nobody is left to tell when standard output or error is closed.
            let _ = error.print();
            if wanted { ExitCode::SUCCESS } else { ExitCode::from(EX_USAGE) }
        })
    }

    /// Loads the configuration this command line asks for.
    ///
    /// # Errors
    ///
    /// As [`Config::load`].
    pub fn load_config(&self) -> Result<Loaded, ConfigErrors> {
        // An empty variable is none: a container cannot unset what its image sets.
        let file = self.config.clone().filter(|path| !path.as_os_str().is_empty());
        Config::load(&Sources::of_process(file, self.set.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_arguments_stand_before_and_after_the_command() {
        for arguments in [["--set", "a=b", "check-config"], ["check-config", "--set", "a=b"]] {
            let cli = Cli::try_parse_from(["coordinator"].iter().chain(&arguments)).expect("right");
            assert_eq!((cli.set, cli.command), (vec!["a=b".to_owned()], Some(Command::CheckConfig)));
        }
    }
}

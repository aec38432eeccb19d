//! The command line: what can be typed, and what it loads.
//!
//! Exit statuses follow `sysexits.h`: 64 for a wrong command line or configuration, 66 for a file that cannot be read.

use std::path::PathBuf;
use std::process::ExitCode;

use catchment_serving::VERSION;
use catchment_settings::program;
use clap::error::ErrorKind;
use clap::{Parser, Subcommand, ValueEnum};

use crate::config::{Config, ConfigErrors, Loaded, Sources};

/// Wrong command line or configuration (`EX_USAGE`).
pub const EX_USAGE: u8 = 64;
/// A file cannot be read (`EX_NOINPUT`).
pub const EX_NOINPUT: u8 = 66;

/// Receives NetFlow, IPFIX and sFlow, decodes them and publishes the records.
#[derive(Debug, Clone, PartialEq, Parser)]
#[command(name = "ingest-node", version = VERSION)]
pub struct Cli {
    /// Configuration file (YAML).
    #[arg(long, global = true, value_name = "FILE", env = program::INGEST_NODE.file_variable)]
    pub config: Option<PathBuf>,

    /// Sets one key, such as kafka.brokers=kafka-1:9092,kafka-2:9092; wins over file and environment. Repeatable.
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    pub set: Vec<String>,

    /// What to do; without it: run.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Default, Subcommand)]
pub enum Command {
    /// Receive, decode and publish until SIGTERM or SIGINT.
    #[default]
    Run,
    /// Decode capture files (pcap, pcapng) as the node would, and print the records.
    Decode(decode::Args),
    /// Say whether the configuration is right.
    CheckConfig,
    /// Print the configuration in effect as YAML, secrets left out.
    PrintConfig,
    /// Ask the running node whether it is ready: status 0 if so, else 1.
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
        Config::load(&self.sources())
    }

    /// Where the configuration of this command line comes from.
    pub fn sources(&self) -> Sources {
        // An empty CATCHMENT_CONFIG is none: a container cannot unset what its image sets.
        let file = self.config.clone().filter(|path| !path.as_os_str().is_empty());
        Sources::of_process(file, self.set.clone())
    }
}

/// `ingest-node decode`.
pub mod decode {
    use super::{PathBuf, ValueEnum};

    /// What to decode, and how to print it.
    #[derive(Debug, Clone, PartialEq, clap::Args)]
    pub struct Args {
        /// Capture files (pcap, pcapng).
        #[arg(required = true, value_name = "FILE")]
        pub files: Vec<PathBuf>,

        /// Print each data and options record, and each sFlow sample, as it was on the wire.
        #[arg(long, conflicts_with_all = ["kinds", "format"])]
        pub elements: bool,

        /// Which records to print.
        #[arg(long, value_delimiter = ',', default_value = "flow", value_name = "KIND,...")]
        pub kinds: Vec<Kind>,

        /// How records are written.
        #[arg(long, value_enum, default_value_t = Format::Json)]
        pub format: Format,

        /// Take only datagrams to this UDP port. Repeatable; without it: any port.
        #[arg(long = "port", value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
        pub ports: Vec<u16>,
    }

    /// A stream of records.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
    pub enum Kind {
        /// Flow records.
        Flow,
        /// sFlow counter samples.
        Counters,
        /// sFlow drop samples.
        Drops,
        /// Options records.
        Options,
    }

    /// How records are written.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
    pub enum Format {
        /// One JSON object per line.
        Json,
        /// Messages, each behind its length as a varint.
        Protobuf,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(arguments: &[&str]) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(["ingest-node"].iter().chain(arguments))
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_arguments_stand_before_and_after_the_command() {
        for arguments in [["--set", "a=b", "check-config"], ["check-config", "--set", "a=b"]] {
            let cli = parse(&arguments).expect("right");
            assert_eq!((cli.set, cli.command), (vec!["a=b".to_owned()], Some(Command::CheckConfig)));
        }
    }

    #[test]
    fn decode_arguments() {
        let cli = parse(&["decode", "--kinds", "flow,drops", "--port", "2055", "--port", "9995", "a.pcap"])
            .expect("right");
        let Some(Command::Decode(args)) = cli.command else { panic!("decode") };
        assert_eq!(args.kinds, [decode::Kind::Flow, decode::Kind::Drops]);
        assert_eq!(args.ports, [2055, 9995]);
        assert_eq!(args.format, decode::Format::Json);
        assert!(parse(&["decode"]).is_err(), "a file is needed");
        assert!(parse(&["decode", "--elements", "--format", "protobuf", "a.pcap"]).is_err());
        assert!(parse(&["decode", "--elements", "a.pcap"]).is_ok());
    }
}

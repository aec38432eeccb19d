//! The command line. Doc comments here are what `--help` and docs/catchctl.md say.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use catchment_settings::Value as _;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;

use crate::fault::Fault;
use crate::nearest;
use crate::output::{self, Format};

/// See and steer a Catchment cluster
#[derive(Clone, Debug, Parser)]
#[command(name = "catchctl", version = catchment_serving::VERSION, disable_help_subcommand = true, max_term_width = 120)]
#[command(
    after_help = "Exit status: 0 done, 1 not healthy or refused, 2 wrong command, 3 nobody answers, 4 not allowed."
)]
pub struct Cli {
    /// What to do
    #[command(subcommand)]
    pub command: Command,
    /// How to show the answer [default: table; `tail`: json]
    #[arg(short, long, value_enum, global = true, value_name = "FORMAT")]
    pub output: Option<Format>,
    /// Whom to ask.
    #[command(flatten)]
    pub connection: Connection,
}

/// Whom to ask.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Connection")]
pub struct Connection {
    /// Coordinators, separated by commas; the first that answers is asked [env: CATCHCTL_ENDPOINT] [default:
    /// http://127.0.0.1:7400]
    #[arg(long, global = true, value_name = "URL[,URL]")]
    pub endpoint: Option<String>,
    /// One node, asked without a coordinator
    #[arg(long, global = true, value_name = "URL")]
    pub node_endpoint: Option<String>,
    /// Context file: clusters by name [default: ~/.config/catchctl/context.yaml]
    #[arg(long, global = true, env = "CATCHCTL_CONTEXT", hide_env_values = true, value_name = "FILE")]
    pub context: Option<PathBuf>,
    /// Which of the contexts [default: the file's current one]
    #[arg(long, global = true, value_name = "NAME")]
    pub context_name: Option<String>,
    /// With https: certificates of the authorities that sign servers, PEM
    #[arg(long, global = true, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// With https: your certificate, PEM
    #[arg(long, global = true, value_name = "FILE")]
    pub cert_file: Option<PathBuf>,
    /// With https: the private key of your certificate, PEM
    #[arg(long, global = true, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// With https: the name that the servers' certificates must have [default: the host of the URL]
    #[arg(long, global = true, value_name = "NAME")]
    pub server_name: Option<String>,
    /// How long an answer may take [default: 10s; `config set`: 45s]
    #[arg(long, global = true, value_name = "DURATION", value_parser = duration)]
    pub timeout: Option<Duration>,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// The nodes with their health, rates and losses
    Nodes,
    /// All about one node
    Node {
        /// Its name (`node.id`)
        name: String,
    },
    /// What nodes listen on
    Listeners {
        /// Only of this node
        node: Option<String>,
    },
    /// The exporters with their templates and sequence losses
    Exporters(Filter),
    /// The templates that nodes decode by
    Templates {
        /// Whose.
        #[command(flatten)]
        filter: Filter,
        /// Only this template id
        #[arg(long, value_parser = clap::value_parser!(u32).range(256..=65535))]
        id: Option<u32>,
        /// The fields of each template as well
        #[arg(long)]
        fields: bool,
    },
    /// Whether all is well; status 1 where it is not
    Health,
    /// The ledger: all that came in and what became of it
    Stats {
        /// Only of this node
        node: Option<String>,
    },
    /// Stop reading; the sockets stay open, and what is not read is counted. Kept over restarts
    Pause(Which),
    /// Read again
    Resume(Which),
    /// Let a node read what still comes, deliver what it holds, and end
    Drain {
        /// The node (none with --node-endpoint)
        node: Option<String>,
        /// Why, for the node's log
        #[arg(long, short = 'm', default_value = "")]
        reason: String,
    },
    /// Change what nodes log, without a restart; `default` is what their configuration says
    LogLevel {
        /// All nodes
        #[arg(long)]
        all: bool,
        /// The node, and error, warn, info, debug, trace or default
        #[arg(required = true, num_args = 1..=2, value_names = ["NODE", "LEVEL"])]
        words: Vec<String>,
    },
    /// See and change the cluster's configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Flow records as they are decoded, until Ctrl-C. A slow reader loses records and is told how many
    Tail(TailArgs),
    /// A live screen: nodes, rates, losses, the heaviest exporters
    Top(TopArgs),
    /// Completion for a shell, to be read by it
    Completion {
        /// The shell
        shell: Shell,
    },
    /// The versions of this program and of whom it talks to
    Version,
}

/// Which exporters.
#[derive(Clone, Debug, Default, Args)]
pub struct Filter {
    /// Only of this zone (empty: the default zone)
    #[arg(long)]
    pub zone: Option<String>,
    /// Only exporters in this network, or with this address
    #[arg(long, value_name = "PREFIX", value_parser = prefix)]
    pub prefix: Option<String>,
}

/// Which nodes' sources.
#[derive(Clone, Debug, Default, Args)]
pub struct Which {
    /// The node (none with --node-endpoint)
    pub node: Option<String>,
    /// All nodes
    #[arg(long, conflicts_with = "node")]
    pub all: bool,
    /// Only this source [default: all]
    #[arg(long, default_value = "", hide_default_value = true)]
    pub source: String,
}

/// See and change the cluster's configuration.
#[derive(Clone, Debug, Subcommand)]
pub enum ConfigCommand {
    /// The document that holds now, or an older one
    Get {
        /// Which revision [default: the present one]
        #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
        revision: Option<u64>,
    },
    /// Change it: every node checks it first, and it is rolled back where one refuses
    Set(SetArgs),
    /// Who changed it when
    History {
        /// At most so many revisions, the latest first
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
}

/// A change of the configuration.
#[derive(Clone, Debug, Args)]
pub struct SetArgs {
    /// A file with the whole document (`-`: standard input), or changes of single keys
    #[arg(required_unless_present = "unset", value_name = "FILE|KEY=VALUE")]
    pub what: Vec<String>,
    /// Take a key out of the document; may be given more than once
    #[arg(long, value_name = "KEY")]
    pub unset: Vec<String>,
    /// Only say what would change, and whether every node would take it
    #[arg(long)]
    pub check: bool,
    /// Do not ask at a terminal
    #[arg(short, long)]
    pub yes: bool,
    /// Refuse where the present revision is another one
    #[arg(long, value_name = "N")]
    pub expect_revision: Option<u64>,
    /// Why, for the history
    #[arg(short = 'm', long, default_value = "", hide_default_value = true)]
    pub comment: String,
}

/// Which records to show.
#[derive(Clone, Debug, Default, Args)]
pub struct TailArgs {
    /// Only of this node; may be given more than once
    #[arg(long, value_name = "NAME")]
    pub node: Vec<String>,
    /// Only from this exporter
    #[arg(long, value_name = "ADDRESS")]
    pub exporter: Option<std::net::IpAddr>,
    /// Only with the source or the destination in this network
    #[arg(long, value_parser = prefix)]
    pub prefix: Option<String>,
    /// Only with this source or destination port
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,
    /// Only of this IP protocol: a number, or a name such as tcp
    #[arg(long, value_parser = protocol)]
    pub protocol: Option<u32>,
    /// Only by this template id
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(u32).range(256..=65535))]
    pub template: Option<u32>,
    /// Only of this zone (empty: the default zone)
    #[arg(long)]
    pub zone: Option<String>,
    /// End after so many records
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
}

/// How to show the live screen.
#[derive(Clone, Debug, Args)]
pub struct TopArgs {
    /// One look as tables, then end
    #[arg(long)]
    pub once: bool,
    /// A line for each look, as without a terminal
    #[arg(long, conflicts_with = "once")]
    pub lines: bool,
    /// Time between two looks
    #[arg(long, default_value = "1s", value_parser = interval)]
    pub interval: Duration,
}

/// Reads the arguments, does what they say, and ends with the status that says how it went.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let outcome = match Cli::try_parse_from(arguments) {
        Ok(cli) => crate::run(&cli),
        Err(error) => not_understood(&error),
    };
    let Err(fault) = outcome else { return ExitCode::SUCCESS };
    let text = fault.to_string();
    if !text.is_empty() {
        output::note(&text);
    }
    ExitCode::from(fault.exit_code())
}

/// Help and version are no faults; a wrong argument is said in one line, with the nearest one.
fn not_understood(error: &clap::Error) -> Result<(), Fault> {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            return output::write(&error.render().to_string());
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            return Err(Fault::Usage("what to do? `catchctl --help` lists the commands".to_owned()));
        }
        ErrorKind::InvalidSubcommand => {
            if let Some(ContextValue::String(wrong)) = error.get(ContextKind::InvalidSubcommand) {
                return Err(Fault::Usage(unknown_command(wrong)));
            }
        }
        _ => {}
    }
    // The message, then tips; usage and the pointer to --help are said in one word.
    let text = error.render().to_string();
    let wanted = |line: &&str| !line.is_empty() && !line.starts_with("For more information");
    let lines: Vec<&str> =
        text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:")).filter(wanted).collect();
    let said = lines.join("; ").replace("; tip: ", "; ");
    let said = said.strip_prefix("error: ").unwrap_or(&said);
    Err(Fault::Usage(format!("{said} (see `catchctl --help`)")))
}

fn unknown_command(wrong: &str) -> String {
    let command = Cli::command();
    let inner =
        command.get_subcommands().flat_map(clap::Command::get_subcommands).map(clap::Command::get_name);
    let names: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).chain(inner).collect();
    match nearest::nearest(wrong, names) {
        Some(right) => format!("unknown command `{wrong}`: did you mean `{right}`?"),
        None => format!("unknown command `{wrong}`: `catchctl --help` lists them"),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    match Duration::parse(text) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("expected a duration such as 500ms, 10s or 1m".to_owned()),
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = duration(text)?;
    if interval < Duration::from_millis(100) { Err("at least 100ms".to_owned()) } else { Ok(interval) }
}

fn prefix(text: &str) -> Result<String, String> {
    use catchment_settings::{Prefix, Refusal};
    match Prefix::parse(text) {
        Ok(prefix) => Ok(prefix.to_string()),
        Err(Refusal::Because(why)) => Err(why),
        Err(Refusal::Unexpected) => Err(format!("expected {}", Prefix::EXPECTED)),
    }
}

/// IP protocols that people ask for by name.
const PROTOCOLS: [(&str, u32); 14] = [
    ("icmp", 1),
    ("igmp", 2),
    ("ipip", 4),
    ("tcp", 6),
    ("udp", 17),
    ("ipv6", 41),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("icmpv6", 58),
    ("ipv6-icmp", 58),
    ("ospf", 89),
    ("vrrp", 112),
    ("sctp", 132),
];

fn protocol(text: &str) -> Result<u32, String> {
    if let Ok(number) = text.parse::<u8>() {
        return Ok(number.into());
    }
    let known = PROTOCOLS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
    known.map(|(_, number)| *number).ok_or_else(|| {
        let names = PROTOCOLS.iter().map(|(name, _)| *name);
        match nearest::nearest(text, names) {
            Some(name) => format!("did you mean {name}? A number from 0 to 255 will do as well"),
            None => "expected a number from 0 to 255, or a name such as tcp".to_owned(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(arguments: &[&str]) -> String {
        let arguments = ["catchctl"].iter().chain(arguments);
        let error = Cli::try_parse_from(arguments).expect_err("wrong");
        let fault = not_understood(&error).expect_err("wrong");
        assert_eq!(fault.exit_code(), 2);
        let text = fault.to_string();
        assert!(!text.contains('\n'), "{text}");
        text
    }

    #[test]
    fn the_command_line_is_declared_well() {
        Cli::command().debug_assert();
    }

    #[test]
    fn mistakes_are_one_line_with_the_nearest() {
        assert_eq!(said(&["nod"]), "unknown command `nod`: did you mean `node`?");
        assert_eq!(said(&["exproters"]), "unknown command `exproters`: did you mean `exporters`?");
        assert_eq!(said(&["quux"]), "unknown command `quux`: `catchctl --help` lists them");
        assert!(said(&["config", "gte"]).contains("did you mean `get`?"));
        assert!(said(&[]).starts_with("what to do?"));
        let argument = said(&["nodes", "--endpiont", "x"]);
        assert!(argument.contains("'--endpiont'") && argument.contains("'--endpoint'"), "{argument}");
        let format = said(&["nodes", "-o", "jsno"]);
        assert!(format.contains("'jsno'") && format.contains("'json'"), "{format}");
        assert!(said(&["tail", "--protocol", "tpc"]).contains("did you mean tcp?"));
        assert!(said(&["tail", "--prefix", "10.1.2.3/8"]).contains("the network is 10.0.0.0/8"));
        assert!(said(&["pause", "a", "--all"]).contains("cannot be used with"));
    }

    #[test]
    fn protocols_have_names_and_numbers() {
        assert_eq!(["TCP", "58", "icmpv6"].map(protocol), [Ok(6), Ok(58), Ok(58)]);
        assert!(protocol("256").is_err());
    }
}

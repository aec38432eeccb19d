//! Holds docs/catchctl.md to the command line: its commands and options are made from clap's, between two marks.
//!
//! After a change to `cli.rs`, `UPDATE_DOCS=1 cargo test -p catchctl reference` writes them anew.

use std::fmt::Write as _;

use clap::{Arg, Command, CommandFactory as _};

use crate::cli::Cli;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/catchctl.md");
const BEGIN: &str = "<!-- commands: made from catchctl/src/cli.rs -->\n";
const END: &str = "<!-- end of commands -->\n";

fn commands() -> String {
    let mut command = Cli::command().term_width(0);
    command.build();
    let mut text = String::new();
    for command in command.get_subcommands() {
        section(&mut text, command, "catchctl");
    }
    text.push_str("\n### For all commands\n\n");
    options(&mut text, command.get_arguments().filter(|argument| argument.is_global_set()));
    text
}

fn section(text: &mut String, command: &Command, outer: &str) {
    let name = format!("{outer} {}", command.get_name());
    if command.has_subcommands() {
        command.get_subcommands().for_each(|inner| section(text, inner, &name));
        return;
    }
    let own = |argument: &&Arg| !argument.is_global_set() && argument.get_id() != "help";
    let mut usage = name.clone();
    for argument in command.get_positionals() {
        let names: Vec<String> = match argument.get_value_names() {
            Some(names) => names.iter().map(ToString::to_string).collect(),
            None => vec![argument.get_id().as_str().to_uppercase()],
        };
        let names = names.join(" ");
        let many = argument.get_num_args().is_some_and(|range| range.max_values() > 2);
        let names = if many { format!("{names}...") } else { names };
        _ = write!(usage, " {}", if argument.is_required_set() { names } else { format!("[{names}]") });
    }
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    _ = write!(text, "\n### `{usage}`\n\n{about}.\n");
    if command.get_arguments().any(|argument| own(&argument)) {
        text.push('\n');
        options(text, command.get_arguments().filter(own));
    }
}

fn options<'a>(text: &mut String, arguments: impl Iterator<Item = &'a Arg>) {
    text.push_str("| | |\n|---|---|\n");
    for argument in arguments.filter(|argument| argument.get_id() != "help" && argument.get_id() != "version")
    {
        let value = |argument: &Arg| {
            let names = argument.get_value_names().unwrap_or_default();
            names.iter().map(|name| format!(" {name}")).collect::<String>()
        };
        let takes = argument.get_action().takes_values();
        let shown = match (argument.get_short(), argument.get_long()) {
            (Some(short), Some(long)) => format!("-{short}, --{long}"),
            (None, Some(long)) => format!("--{long}"),
            (Some(short), None) => format!("-{short}"),
            (None, None) => String::new(),
        };
        let shown = if takes { format!("{shown}{}", value(argument)) } else { shown };
        let about = argument.get_help().map(ToString::to_string).unwrap_or_default();
        let mut about = about.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|");
        let choices: Vec<String> = argument
            .get_possible_values()
            .iter()
            .filter(|_| takes)
            .map(|value| format!("`{}`", value.get_name()))
            .collect();
        if !choices.is_empty() {
            _ = write!(about, ": {}", choices.join(", "));
        }
        let default: Vec<_> =
            argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        if takes
            && !default.is_empty()
            && !argument.is_hide_default_value_set()
            && !default.concat().is_empty()
        {
            _ = write!(about, " [default: {}]", default.join(" "));
        }
        if let Some(variable) = argument.get_env() {
            _ = write!(about, " [env: {}]", variable.to_string_lossy());
        }
        _ = writeln!(text, "| `{}` | {about} |", shown.trim().replace('|', "\\|"));
    }
}

#[test]
fn the_page_is_the_command_line() {
    let page = std::fs::read_to_string(PAGE).expect("docs/catchctl.md");
    let (before, rest) = page.split_once(BEGIN).expect("the first mark");
    let (written, after) = rest.split_once(END).expect("the second mark");
    let commands = format!("{}\n", commands());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(PAGE, format!("{before}{BEGIN}{commands}{END}{after}")).expect("writable page");
    } else {
        assert!(written == commands, "docs/catchctl.md differs from cli.rs; see the head of reference.rs");
    }
}

#[test]
fn the_page_says_every_exit_status() {
    let page = std::fs::read_to_string(PAGE).expect("docs/catchctl.md");
    for status in 0..=4 {
        assert!(page.contains(&format!("\n| {status} | ")), "status {status}");
    }
}

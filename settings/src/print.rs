//! `print-config`: the effective configuration as YAML that can be loaded again, secrets apart.
//!
//! Every key is written, so that the text says what the program does and not only what was asked for; a value that is not the
//! default has a comment that says where it came from.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::load::{Configuration, Loaded};
use crate::names::Secret;
use crate::origin::Origin;
use crate::section::{Setting, Shown};

impl<C: Configuration> Loaded<C> {
    /// The configuration as YAML.
    pub fn to_yaml(&self) -> String {
        let (mut settings, mut defaults) = (Vec::new(), Vec::new());
        self.config.show(String::new(), &mut settings);
        C::default().show(String::new(), &mut defaults);
        let mut yaml = Yaml {
            text: String::new(),
            program: C::PROGRAM.called,
            origins: &self.origins,
            open: Vec::new(),
        };
        for (setting, default) in settings.iter().zip(&defaults) {
            yaml.setting(setting, setting != default);
        }
        yaml.text
    }
}

struct Yaml<'a> {
    text: String,
    program: &'static str,
    origins: &'a BTreeMap<String, Origin>,
    /// The sections that the last line stands in.
    open: Vec<&'a str>,
}

impl<'a> Yaml<'a> {
    fn setting(&mut self, setting: &'a Setting, changed: bool) {
        let mut sections: Vec<&str> = setting.path.split('.').collect();
        let name = sections.pop().unwrap_or_default();
        let common = self.open.iter().zip(&sections).take_while(|(open, section)| open == section).count();
        for (level, section) in sections.iter().enumerate().skip(common) {
            let _ = writeln!(self.text, "{:indent$}{section}:", "", indent = 2 * level);
        }
        let level = sections.len();
        self.open = sections;
        let comment = match self.origins.get(&setting.path) {
            _ if !changed => String::new(),
            Some(origin) => format!("  # {}", origin.to_string().replace(char::is_control, "?")),
            None if matches!(setting.shown, Shown::Redacted | Shown::Map(_)) => String::new(),
            None => format!("  # worked out by {}", self.program),
        };
        let _ = write!(self.text, "{:indent$}{name}:", "", indent = 2 * level);
        match &setting.shown {
            Shown::Text(text) => self.line(&format!(" {}{comment}", scalar(text))),
            // A secret that came from its `_file` key is not repeated beside it.
            Shown::Redacted if self.origins.contains_key(&setting.path) => {
                self.line(&format!(" {}{comment}", scalar(Secret::REDACTED)));
            }
            Shown::Redacted => self.line(" \"\""),
            Shown::List(items) => {
                let items: Vec<String> = items.iter().map(|item| scalar(item)).collect();
                self.line(&format!(" [{}]{comment}", items.join(", ")));
            }
            Shown::Map(entries) if entries.is_empty() => self.line(" {}"),
            Shown::Map(entries) => {
                self.line(&comment);
                for (key, value) in entries {
                    self.property(&setting.path, key, value, level + 1);
                }
            }
            Shown::Sections(sections) if sections.is_empty() => self.line(&format!(" []{comment}")),
            Shown::Sections(sections) => {
                self.line(&comment);
                for section in sections {
                    self.element(section, level + 1);
                }
            }
        }
    }

    fn property(&mut self, path: &str, key: &str, value: &Shown, level: usize) {
        let text = match value {
            Shown::Text(text) => text,
            _ => Secret::REDACTED,
        };
        let origin = self.origins.get(&format!("{path}.{key}"));
        let comment = origin.map(|origin| format!("  # {origin}")).unwrap_or_default();
        let line = format!("{:indent$}{}: {}{comment}", "", scalar(key), scalar(text), indent = 2 * level);
        self.line(&line);
    }

    /// A section in a list: a dash before its first key.
    fn element(&mut self, section: &[Setting], level: usize) {
        for (index, setting) in section.iter().enumerate() {
            let dash = if index == 0 { "- " } else { "  " };
            let value = flow(&setting.shown);
            let line = format!("{:indent$}{dash}{}: {value}", "", setting.path, indent = 2 * level);
            self.line(&line);
        }
    }

    fn line(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push('\n');
    }
}

/// A value on one line.
fn flow(shown: &Shown) -> String {
    let joined = |parts: Vec<String>| parts.join(", ");
    match shown {
        Shown::Text(text) => scalar(text),
        Shown::Redacted => scalar(Secret::REDACTED),
        Shown::List(items) => format!("[{}]", joined(items.iter().map(|item| scalar(item)).collect())),
        Shown::Map(entries) => {
            let entry = |(key, value): &(String, Shown)| format!("{}: {}", scalar(key), flow(value));
            format!("{{{}}}", joined(entries.iter().map(entry).collect()))
        }
        Shown::Sections(sections) => {
            let setting = |setting: &Setting| format!("{}: {}", setting.path, flow(&setting.shown));
            let section =
                |section: &Vec<Setting>| format!("{{{}}}", joined(section.iter().map(setting).collect()));
            format!("[{}]", joined(sections.iter().map(section).collect()))
        }
    }
}

/// Plain where no YAML reader could take it for anything but text, else in double quotes.
fn scalar(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '/' | '-');
    let starts = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/');
    if starts && text.chars().all(plain) && !text.eq_ignore_ascii_case("null") {
        return text.to_owned();
    }
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            ' '..='~' => quoted.push(c),
            c if c.is_alphanumeric() => quoted.push(c),
            c => {
                let _ = write!(quoted, "\\U{:08x}", u32::from(c));
            }
        }
    }
    quoted.push('"');
    quoted
}

//! The page of a program in `docs/`: its tables are made from the catalogue, between two marks.
//!
//! A test of each program holds its page to [`page`], and writes it anew where `UPDATE_DOCS` is set.

use std::fmt::Write;

use crate::catalogue::{Catalogue, Key, Status};

/// The line before the tables.
const BEGIN: &str = "<!-- keys: made from the model -->\n";
/// The line behind them.
const END: &str = "<!-- end of keys -->\n";

/// `written` with its tables made anew; `later` says what a key does not do yet. Nothing where a mark is missing.
pub fn page(
    written: &str,
    catalogue: &Catalogue,
    later: impl Fn(&str) -> Option<&'static str>,
) -> Option<String> {
    let (before, rest) = written.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}{}\n{END}{after}", tables(catalogue, &later)))
}

fn tables(catalogue: &Catalogue, later: &dyn Fn(&str) -> Option<&'static str>) -> String {
    let mut text = String::new();
    let keys = catalogue.keys();
    let own = |outer: &str| -> Vec<&Key> {
        keys.iter().filter(|key| key.status != Status::Section && section(key) == outer).collect()
    };
    table(&mut text, "Top level", "Keys outside any section.", &own(""), later);
    for heading in keys.iter().filter(|key| key.status == Status::Section) {
        let own = own(&heading.path);
        if !own.is_empty() {
            table(&mut text, &format!("`{}`", heading.path), heading.about, &own, later);
        }
    }
    text
}

fn section(key: &Key) -> &str {
    key.path.rsplit_once('.').map_or("", |(outer, _)| outer)
}

fn table(
    text: &mut String,
    heading: &str,
    about: &str,
    keys: &[&Key],
    later: &dyn Fn(&str) -> Option<&'static str>,
) {
    let _ = write!(text, "\n### {heading}\n\n{}\n\n", words(about));
    text.push_str("| Key | Type | Default | Range | What it does |\n|---|---|---|---|---|\n");
    for key in keys {
        let kind = match key.status {
            Status::List => format!("list of {}", key.kind.trim()),
            _ => key.kind.trim().replace("` `", "`, `"),
        };
        let default = match (key.said, key.default) {
            ("", "") => "none".to_owned(),
            ("", default) => format!("`{}`", default.replace(',', "`, `")),
            (said, _) => said.to_owned(),
        };
        let range =
            key.limits.map(|limits| format!("{} to {}", limits.lowest, limits.highest)).unwrap_or_default();
        let later = later(&key.path).map(|what| format!(" *No effect yet: {what}.*")).unwrap_or_default();
        let _ =
            writeln!(text, "| `{}` | {kind} | {default} | {range} | {}{later} |", key.path, words(key.about));
    }
}

/// A doc comment as one line.
fn words(about: &str) -> String {
    about.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn tables_stand_between_the_marks() {
        let later = |key: &str| (key == "udp.gro").then_some("there is no kernel");
        let made = page(&format!("before\n{BEGIN}old\n{END}after\n"), &sample::catalogue(), later);
        let made = made.expect("both marks");
        assert!(made.starts_with(&format!("before\n{BEGIN}\n### Top level\n")), "{made}");
        assert!(made.ends_with(&format!(" |\n\n{END}after\n")), "{made}");
        for line in [
            "| `node.id` | name | the host's name |  | A name that the program works out. |",
            "| `udp.gro` | switch | `on` |  | On unless told. *No effect yet: there is no kernel.* |",
            "| `batch.age` | duration | `20ms` | 1ms to 1m | A length of time. |",
            "| `listeners[].allow` | list of host:port | none |  | A list in a list. |",
        ] {
            assert!(made.contains(&format!("\n{line}\n")), "no {line} in\n{made}");
        }
        assert_eq!(page(&made, &sample::catalogue(), later), Some(made.clone()), "made twice, the same");
        assert_eq!(page("no marks", &sample::catalogue(), later), None);
    }
}

//! Holds docs/configuration.md to the model: its tables are made from the catalogue, between two marks.
//!
//! After a change to the model, `UPDATE_DOCS=1 cargo test -p ingest-node reference` writes them anew.

use std::fmt::Write;

use super::catalogue::{self, Key, Status};
use super::later;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
const BEGIN: &str = "<!-- keys: made from ingest-node/src/config/model -->\n";
const END: &str = "<!-- end of keys -->\n";

fn tables() -> String {
    let mut text = String::new();
    let keys = catalogue::keys();
    let own = |outer: &'static str| {
        keys.iter().filter(move |key| key.status != Status::Section && section(key) == outer)
    };
    table(&mut text, "Top level", "Keys outside any section.", own(""));
    for heading in keys.iter().filter(|key| key.status == Status::Section) {
        if own(&heading.path).next().is_some() {
            table(&mut text, &format!("`{}`", heading.path), heading.about, own(&heading.path));
        }
    }
    text
}

fn section(key: &Key) -> &str {
    key.path.rsplit_once('.').map_or("", |(outer, _)| outer)
}

fn table<'a>(text: &mut String, heading: &str, about: &str, keys: impl Iterator<Item = &'a Key>) {
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
        let later =
            later::missing(&key.path).map(|what| format!(" *No effect yet: {what}.*")).unwrap_or_default();
        let _ =
            writeln!(text, "| `{}` | {kind} | {default} | {range} | {}{later} |", key.path, words(key.about));
    }
}

/// A doc comment as one line.
fn words(about: &str) -> String {
    about.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_page_is_the_model() {
    let page = std::fs::read_to_string(PAGE).expect("docs/configuration.md");
    let (before, rest) = page.split_once(BEGIN).expect("the first mark");
    let (written, after) = rest.split_once(END).expect("the second mark");
    let tables = format!("{}\n", tables());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(PAGE, format!("{before}{BEGIN}{tables}{END}{after}")).expect("writable page");
    } else {
        assert!(
            written == tables,
            "docs/configuration.md differs from the model; see the head of reference.rs"
        );
    }
}

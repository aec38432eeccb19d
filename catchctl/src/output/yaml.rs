//! A [`Document`] as YAML in block style.
//!
//! Invariant: whatever a text holds, a YAML reader gets the same text back. What could be read as something else than a
//! text, or has characters with a meaning, stands in double quotes as JSON writes it (which YAML 1.2 reads alike); texts of
//! several lines stand as literal blocks where that is exact.

use std::fmt::Write as _;

use super::Document;

/// The document, with a line feed at its end.
pub(crate) fn text(document: &Document) -> String {
    let mut out = String::new();
    match document {
        Document::Map(members) if !members.is_empty() => map(&mut out, members, 0),
        Document::List(values) if !values.is_empty() => list(&mut out, values, 0),
        value => {
            scalar(&mut out, value, 0);
            out.push('\n');
        }
    }
    out
}

fn map(out: &mut String, members: &[(String, Document)], indent: usize) {
    for (at, (name, value)) in members.iter().enumerate() {
        // The first member of a list's element stands behind its dash.
        if at > 0 || !out.ends_with("- ") {
            margin(out, indent);
        }
        out.push_str(&quoted_where_needed(name));
        out.push(':');
        match value {
            Document::Map(members) if !members.is_empty() => {
                out.push('\n');
                map(out, members, indent + 2);
            }
            Document::List(values) if !values.is_empty() => {
                out.push('\n');
                list(out, values, indent + 2);
            }
            value => {
                out.push(' ');
                scalar(out, value, indent + 2);
                out.push('\n');
            }
        }
    }
}

fn list(out: &mut String, values: &[Document], indent: usize) {
    for (at, value) in values.iter().enumerate() {
        if at > 0 || !out.ends_with("- ") {
            margin(out, indent);
        }
        out.push_str("- ");
        match value {
            Document::Map(members) if !members.is_empty() => map(out, members, indent + 2),
            Document::List(values) if !values.is_empty() => list(out, values, indent + 2),
            value => {
                scalar(out, value, indent + 2);
                out.push('\n');
            }
        }
    }
}

/// A value that has no lines of its own, except for texts of several lines, which stand `indent` deep.
fn scalar(out: &mut String, value: &Document, indent: usize) {
    match value {
        Document::Null => out.push_str("null"),
        Document::List(_) => out.push_str("[]"),
        Document::Map(_) => out.push_str("{}"),
        Document::Text(text) if indent > 0 && is_literal(text) => literal(out, text, indent),
        Document::Text(text) => out.push_str(&quoted_where_needed(text)),
        Document::Written(text) => out.push_str(text),
        Document::Bool(value) => _ = write!(out, "{value}"),
        Document::Unsigned(value) => _ = write!(out, "{value}"),
        Document::Signed(value) => _ = write!(out, "{value}"),
        Document::Float(value) if value.is_nan() => out.push_str(".nan"),
        Document::Float(value) if value.is_infinite() => {
            out.push_str(if *value > 0.0 { ".inf" } else { "-.inf" });
        }
        Document::Float(value) => _ = write!(out, "{value:?}"),
    }
}

fn margin(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

/// Whether a literal block shows the text exactly: several lines, the first of which has text at its margin.
fn is_literal(text: &str) -> bool {
    let plain = |c: char| c == '\n' || is_printable(c);
    text.contains('\n') && !text.starts_with([' ', '\n']) && text.chars().all(plain)
}

fn literal(out: &mut String, text: &str, indent: usize) {
    let body = text.strip_suffix('\n');
    out.push_str(match body {
        None => "|-",
        Some(body) if body.ends_with('\n') => "|+",
        Some(_) => "|",
    });
    for line in body.unwrap_or(text).split('\n') {
        out.push('\n');
        if !line.is_empty() {
            margin(out, indent);
            out.push_str(line);
        }
    }
}

fn is_printable(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

/// The text as a scalar: as it is where it is read as itself, else in double quotes.
pub(crate) fn quoted_where_needed(text: &str) -> String {
    if is_plain(text) {
        return text.to_owned();
    }
    let json = serde_json::to_string(text).expect("a text is JSON");
    // JSON leaves some characters as they are that YAML does not count as printable.
    let mut quoted = String::with_capacity(json.len());
    for c in json.chars() {
        if is_printable(c) {
            quoted.push(c);
        } else {
            _ = write!(quoted, "\\u{:04x}", u32::from(c));
        }
    }
    quoted
}

/// Whether the text, as it stands, is read as itself: letters first, nothing with a meaning behind, no word of YAML's.
fn is_plain(text: &str) -> bool {
    const WORDS: [&str; 9] = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"];
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(inner)
        && !WORDS.contains(&text.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use saphyr_parser::{Event, Parser};

    /// What a YAML reader makes of `text`: lists as `[...]`, mappings as `{...}`, scalars quoted.
    fn read(text: &str) -> String {
        let mut seen = String::new();
        for event in Parser::new_from_str(text) {
            match event.unwrap_or_else(|error| panic!("{error} in\n{text}")).0 {
                Event::MappingStart(..) => seen.push('{'),
                Event::MappingEnd => seen.push('}'),
                Event::SequenceStart(..) => seen.push('['),
                Event::SequenceEnd => seen.push(']'),
                Event::Scalar(text, ..) => _ = write!(seen, "{text:?} "),
                _ => {}
            }
        }
        seen
    }

    /// The same of a document.
    fn meant(document: &Document, seen: &mut String) {
        match document {
            Document::Map(members) => {
                seen.push('{');
                for (name, value) in members {
                    _ = write!(seen, "{name:?} ");
                    meant(value, seen);
                }
                seen.push('}');
            }
            Document::List(values) => {
                seen.push('[');
                values.iter().for_each(|value| meant(value, seen));
                seen.push(']');
            }
            Document::Null => seen.push_str("\"null\" "),
            Document::Bool(value) => _ = write!(seen, "\"{value}\" "),
            Document::Unsigned(value) => _ = write!(seen, "\"{value}\" "),
            Document::Signed(value) => _ = write!(seen, "\"{value}\" "),
            Document::Float(value) => _ = write!(seen, "\"{value:?}\" "),
            Document::Text(text) | Document::Written(text) => _ = write!(seen, "{text:?} "),
        }
    }

    fn documents() -> impl Strategy<Value = Document> {
        let text = prop_oneof![
            any::<String>(),
            "[a-c \n:#-]{0,12}",
            Just("yes".to_owned()),
            Just("1.5".to_owned()),
            Just("a\n".to_owned()),
            Just("a\n\n".to_owned()),
        ];
        let leaf = prop_oneof![
            Just(Document::Null),
            any::<bool>().prop_map(Document::Bool),
            any::<u64>().prop_map(Document::Unsigned),
            text.prop_map(Document::Text),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Document::List),
                proptest::collection::vec(("[a-z]{1,4}|\\PC{1,4}", inner), 0..4).prop_map(Document::Map),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_yaml_reader_gets_back_what_was_written(document in documents()) {
            let written = text(&document);
            let mut wanted = String::new();
            meant(&document, &mut wanted);
            prop_assert_eq!(read(&written), wanted, "{}", written);
        }
    }

    #[test]
    fn it_looks_as_a_person_would_write_it() {
        let document = Document::map([
            ("name", Document::text("node-1")),
            ("address", Document::text("192.0.2.1")),
            ("paused", Document::text("no")),
            ("yaml", Document::text("log:\n  level: debug\n")),
            ("empty", Document::List(vec![])),
            (
                "listeners",
                Document::List(vec![Document::map([
                    ("zone", Document::text("")),
                    ("allow", Document::List(vec![Document::text("a"), Document::Null])),
                ])]),
            ),
        ]);
        let wanted = "name: node-1\naddress: \"192.0.2.1\"\npaused: \"no\"\nyaml: |\n  log:\n    level: debug\n\
                      empty: []\nlisteners:\n  - zone: \"\"\n    allow:\n      - a\n      - null\n";
        assert_eq!(text(&document), wanted);
    }
}

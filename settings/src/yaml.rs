//! A configuration document as a tree: YAML events of `saphyr-parser` with their positions.
//!
//! A configuration is one document of mappings with text keys. Refused with their position: a second document, a key that
//! stands twice in one mapping (the second would silently win), anchors and aliases (a few lines of which expand to
//! gigabytes), tags, and nesting deeper than any configuration needs.

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, StrInput};

use crate::load::Place;
use crate::origin::{Origin, Problem};
use crate::tree::{Content, Node, Pair};

const DEEPEST: usize = 16;

/// Reads `text`. Problems that leave the rest readable (duplicate keys, aliases, tags) are added to `problems`; one that
/// does not is added too, and the tree read until then is dropped.
pub(crate) fn parse(place: &Place, text: &str, problems: &mut Vec<Problem>) -> Option<Node> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut builder = Builder { place, events: Parser::new_from_str(text), problems };
    builder.document().map_err(|problem| problems.push(problem)).ok()
}

struct Builder<'a> {
    place: &'a Place,
    events: Parser<'a, StrInput<'a>>,
    problems: &'a mut Vec<Problem>,
}

impl<'a> Builder<'a> {
    fn document(&mut self) -> Result<Node, Problem> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentEnd | Event::Nothing => {}
                Event::StreamEnd => return Ok(root.unwrap_or_else(Node::empty)),
                Event::DocumentStart(_) if root.is_some() => {
                    return Err(self.problem(span.start, "", "a second document; a configuration is one"));
                }
                Event::DocumentStart(_) => {
                    let (event, span) = self.next()?;
                    let node = self.node(event, span, "", 0)?;
                    if !matches!(node.content, Content::Map(_) | Content::Null) {
                        let what = format!("expected `key: value` lines, found {}", node.describe());
                        return Err(self.problem(span.start, "", &what));
                    }
                    root = Some(node);
                }
                _ => return Err(self.problem(span.start, "", "not a YAML document")),
            }
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span, path: &str, depth: usize) -> Result<Node, Problem> {
        if depth > DEEPEST {
            return Err(self.problem(span.start, path, &format!("nested deeper than {DEEPEST} levels")));
        }
        let (anchor, tag) = match &event {
            Event::Scalar(_, _, anchor, tag)
            | Event::SequenceStart(anchor, tag)
            | Event::MappingStart(anchor, tag) => (*anchor, tag.is_some()),
            _ => (0, false),
        };
        if anchor != 0 || matches!(event, Event::Alias(_)) {
            self.complain(
                span.start,
                path,
                "YAML anchors and aliases are not accepted here; write the value out",
            );
        }
        if tag {
            self.complain(span.start, path, "YAML tags are not accepted here");
        }
        let content = match event {
            Event::SequenceStart(..) => Content::List(self.list(path, depth)?),
            Event::MappingStart(..) => Content::Map(self.map(path, depth)?),
            Event::Scalar(text, style, ..) if style != ScalarStyle::Plain || !is_null(&text) => {
                Content::Scalar(text.into_owned())
            }
            // A null, or an alias that was complained about.
            _ => Content::Null,
        };
        Ok(Node { origin: self.origin(span.start), content })
    }

    fn list(&mut self, path: &str, depth: usize) -> Result<Vec<Node>, Problem> {
        let mut nodes = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(nodes);
            }
            nodes.push(self.node(event, span, &format!("{path}[{}]", nodes.len()), depth + 1)?);
        }
    }

    fn map(&mut self, path: &str, depth: usize) -> Result<Vec<Pair>, Problem> {
        let mut entries: Vec<Pair> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            let key = match event {
                Event::MappingEnd => return Ok(entries),
                Event::Scalar(text, ..) => text.into_owned(),
                _ => return Err(self.problem(span.start, path, "a key must be plain text")),
            };
            let at = span.start;
            let inner = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            let (event, span) = self.next()?;
            let value = self.node(event, span, &inner, depth + 1)?;
            if let Some(first) = entries.iter().find(|entry| entry.key == key) {
                let what = format!("set twice; the first is at {}", first.origin);
                self.complain(at, &inner, &what);
            } else {
                entries.push(Pair { key, origin: self.origin(at), value });
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Problem> {
        match self.events.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(self.syntax(&error)),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn syntax(&self, error: &ScanError) -> Problem {
        self.problem(*error.marker(), "", &format!("not YAML: {}", error.info()))
    }

    fn complain(&mut self, at: Marker, key: &str, what: &str) {
        let problem = self.problem(at, key, what);
        self.problems.push(problem);
    }

    fn problem(&self, at: Marker, key: &str, what: &str) -> Problem {
        Problem { origin: self.origin(at), key: key.to_owned(), what: what.to_owned() }
    }

    /// `Marker` counts lines from 1 and columns from 0.
    fn origin(&self, at: Marker) -> Origin {
        self.place.at(at.line(), at.col() + 1)
    }
}

/// YAML 1.2 core schema's null, which only a plain (unquoted) scalar can be.
fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> (Option<Node>, Vec<String>) {
        let mut problems = Vec::new();
        let node = parse(&Place::File(std::path::Path::new("c.yaml").into()), text, &mut problems);
        (node, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn positions_are_those_of_an_editor() {
        let (node, problems) = read("# é\nkafka:\n  brokers: [a:1,\n     b:2]\n");
        assert_eq!(problems, Vec::<String>::new());
        let Content::Map(top) = node.expect("readable").content else { panic!("a mapping") };
        assert_eq!(top[0].origin.to_string(), "c.yaml:2:1");
        let Content::Map(kafka) = &top[0].value.content else { panic!("a mapping") };
        assert_eq!(kafka[0].origin.to_string(), "c.yaml:3:3");
        let Content::List(brokers) = &kafka[0].value.content else { panic!("a list") };
        assert_eq!(brokers[1].origin.to_string(), "c.yaml:4:6");
    }

    #[test]
    fn duplicate_keys_name_both_places() {
        let (_, problems) = read("kafka:\n  topic: a\n  topic: b\n");
        assert_eq!(problems, ["c.yaml:3:3: kafka.topic: set twice; the first is at c.yaml:2:3"]);
    }

    #[test]
    fn aliases_tags_and_second_documents_are_refused() {
        assert_eq!(read("a: &x 1\nb: *x\n").1.len(), 2);
        assert_eq!(read("a: !!str 1\n").1, ["c.yaml:1:4: a: YAML tags are not accepted here"]);
        assert_eq!(read("a: 1\n---\nb: 2\n").1, ["c.yaml:2:1: a second document; a configuration is one"]);
    }

    #[test]
    fn syntax_errors_have_a_position() {
        let (node, problems) = read("kafka:\n  topic: [a\nlog: x\n");
        assert!(node.is_none());
        assert!(problems[0].starts_with("c.yaml:3:"), "{problems:?}");
        assert!(read("- a\n").1[0].contains("expected `key: value` lines, found a list"));
        assert!(read(&"[".repeat(100_000)).0.is_none(), "refused before the stack is used up");
        assert!(
            read(&format!("a: {}{}", "[".repeat(20), "]".repeat(20))).1[0]
                .contains("nested deeper than 16 levels")
        );
    }

    #[test]
    fn an_empty_file_is_an_empty_configuration() {
        for text in ["", "# nothing\n", "---\n", "\u{feff}"] {
            let (node, problems) = read(text);
            assert!(problems.is_empty(), "{text:?}: {problems:?}");
            assert!(node.is_some());
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[a-c:\\- \n\\[\\]{}&*!'\"#|>,?%@é\t]{0,80}") {
            let (node, problems) = read(&text);
            prop_assert!(node.is_some() || !problems.is_empty());
        }
    }
}

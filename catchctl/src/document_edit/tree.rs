//! A YAML document as a tree that knows where each thing stands, and changes of keys in it.
//!
//! Refused: anchors, aliases and tags, a key that stands twice, a second document, nesting deeper than any configuration needs.

use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput};

use crate::output::{Document, yaml_scalar};

const DEEPEST: usize = 32;

/// What stands in the document, with its place in characters.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Its first character.
    pub(super) start: usize,
    /// Behind its last character.
    pub(super) end: usize,
    pub(super) content: Content,
}

#[derive(Clone, Debug)]
pub(super) enum Content {
    Null,
    /// Its text, and how it is written.
    Scalar(String, String),
    List(Vec<Node>),
    Map(Vec<Pair>),
}

#[derive(Clone, Debug)]
pub(super) struct Pair {
    pub(super) key: String,
    /// First character of the key.
    pub(super) start: usize,
    /// Its place in the line.
    pub(super) column: usize,
    pub(super) value: Node,
}

impl Node {
    pub(super) fn new(content: Content) -> Self {
        Self { start: 0, end: 0, content }
    }

    /// Whether both say the same, wherever and however it stands.
    pub(super) fn means(&self, other: &Self) -> bool {
        match (&self.content, &other.content) {
            (Content::Null, Content::Null) => true,
            (Content::Scalar(one, _), Content::Scalar(two, _)) => one == two,
            (Content::List(one), Content::List(two)) => {
                one.len() == two.len() && one.iter().zip(two).all(|(one, two)| one.means(two))
            }
            (Content::Map(one), Content::Map(two)) => {
                let same = |(one, two): (&Pair, &Pair)| one.key == two.key && one.value.means(&two.value);
                one.len() == two.len() && one.iter().zip(two).all(same)
            }
            // An empty document and an empty section are both nothing.
            (Content::Map(pairs), Content::Null) | (Content::Null, Content::Map(pairs)) => pairs.is_empty(),
            _ => false,
        }
    }

    pub(super) fn document(&self) -> Document {
        match &self.content {
            Content::Null => Document::Null,
            Content::Scalar(_, written) => Document::Written(written.clone()),
            Content::List(items) => Document::List(items.iter().map(Node::document).collect()),
            Content::Map(pairs) => {
                Document::Map(pairs.iter().map(|pair| (pair.key.clone(), pair.value.document())).collect())
            }
        }
    }
}

/// The longest key of the section that begins `path` (a key may hold dots itself), and how many parts it takes.
pub(super) fn find(pairs: &[Pair], path: &[String]) -> Option<(usize, usize)> {
    (1..=path.len()).rev().find_map(|parts| {
        let key = path[..parts].join(".");
        pairs.iter().position(|pair| pair.key == key).map(|at| (at, parts))
    })
}

pub(super) fn set(node: &mut Node, path: &[String], value: &Node) {
    if path.is_empty() {
        *node = value.clone();
        return;
    }
    if !matches!(node.content, Content::Map(_)) {
        node.content = Content::Map(Vec::new());
    }
    let Content::Map(pairs) = &mut node.content else { return };
    let (at, parts) = find(pairs, path).unwrap_or_else(|| {
        let value = Node::new(Content::Map(Vec::new()));
        pairs.push(Pair { key: path[0].clone(), start: 0, column: 0, value });
        (pairs.len() - 1, 1)
    });
    set(&mut pairs[at].value, &path[parts..], value);
}

/// Takes the key out, and sections that are empty then; true where the node itself is.
pub(super) fn unset(node: &mut Node, path: &[String]) -> bool {
    let Content::Map(pairs) = &mut node.content else { return false };
    let Some((at, parts)) = find(pairs, path) else { return false };
    if parts == path.len() || unset(&mut pairs[at].value, &path[parts..]) {
        pairs.remove(at);
    }
    pairs.is_empty()
}
pub(super) fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

/// Reads one document.
pub(super) fn parse(text: &str) -> Result<Node, String> {
    let mut reader = Reader { events: Parser::new_from_str(text), chars: text.chars().collect() };
    let mut root = None;
    loop {
        let (event, span) = reader.next()?;
        match event {
            Event::StreamEnd => return Ok(root.unwrap_or_else(|| Node::new(Content::Null))),
            Event::StreamStart | Event::DocumentEnd | Event::Nothing => {}
            Event::DocumentStart(_) if root.is_some() => return Err(said(span, "a second document")),
            Event::DocumentStart(_) => {
                let (event, span) = reader.next()?;
                let node = reader.node(event, span, 0)?;
                if !matches!(node.content, Content::Map(_) | Content::Null) {
                    return Err(said(span, "expected `key: value` lines"));
                }
                root = Some(node);
            }
            _ => return Err(said(span, "not a YAML document")),
        }
    }
}

struct Reader<'a> {
    events: Parser<'a, StrInput<'a>>,
    chars: Vec<char>,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), String> {
        match self.events.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => {
                let at = error.marker();
                Err(format!("{}:{}: not YAML: {}", at.line(), at.col() + 1, error.info()))
            }
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, String> {
        if depth > DEEPEST {
            return Err(said(span, "nested too deep"));
        }
        let (start, mut end) = (span.start.index(), span.end.index());
        let content = match event {
            Event::Scalar(text, ScalarStyle::Plain, 0, None) if is_null(&text) => Content::Null,
            Event::Scalar(text, style, 0, None) => {
                let stands: Option<String> = self.chars.get(start..end).map(|chars| chars.iter().collect());
                let as_is = matches!(style, ScalarStyle::Plain).then_some(stands).flatten();
                let written = as_is.filter(|stands| *stands == text).unwrap_or_else(|| yaml_scalar(&text));
                Content::Scalar(text.into_owned(), written)
            }
            Event::SequenceStart(0, None) => {
                let mut items = Vec::new();
                loop {
                    let (event, span) = self.next()?;
                    if matches!(event, Event::SequenceEnd) {
                        end = span.end.index();
                        break Content::List(items);
                    }
                    items.push(self.node(event, span, depth + 1)?);
                }
            }
            Event::MappingStart(0, None) => {
                let mut pairs: Vec<Pair> = Vec::new();
                loop {
                    let (event, at) = self.next()?;
                    let key = match event {
                        Event::MappingEnd => {
                            end = at.end.index();
                            break Content::Map(pairs);
                        }
                        Event::Scalar(text, _, 0, None) => text.into_owned(),
                        _ => return Err(said(at, "a key must be plain text")),
                    };
                    if pairs.iter().any(|pair| pair.key == key) {
                        return Err(said(at, &format!("`{key}` is set twice")));
                    }
                    let (event, span) = self.next()?;
                    let value = self.node(event, span, depth + 1)?;
                    pairs.push(Pair { key, start: at.start.index(), column: at.start.col(), value });
                }
            }
            _ => return Err(said(span, "YAML anchors, aliases and tags are not accepted here")),
        };
        Ok(Node { start, end, content })
    }
}

fn said(at: Span, what: &str) -> String {
    format!("{}:{}: {what}", at.start.line(), at.start.col() + 1)
}

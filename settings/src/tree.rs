//! The configuration before it has types: a tree of texts that know where they come from.
//!
//! The YAML file becomes the tree first; the environment and `--set` are then laid over it, key by key. Nothing is
//! interpreted here: `64MiB`, `on` and `7401` are all text until the model asks for a size, a switch or a number, so that
//! a value means the same in all three sources.

use crate::origin::Origin;

/// A value and the place it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where it was written.
    pub origin: Origin,
    /// What stands there.
    pub content: Content,
}

/// What stands at a place.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// Nothing: `key:` or `~`. It counts as not set.
    Null,
    /// Text, whatever it means.
    Scalar(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping in the order written. Keys are unique.
    Map(Vec<Pair>),
}

/// One key of a mapping.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair {
    /// The key, as written.
    pub key: String,
    /// Where the key stands (the value may be lines below).
    pub origin: Origin,
    /// What stands behind it.
    pub value: Node,
}

impl Node {
    /// An empty mapping which nobody wrote.
    pub fn empty() -> Node {
        Node { origin: Origin::Default, content: Content::Map(Vec::new()) }
    }

    /// Lays `value` over whatever stands at `path`; mappings on the way are made, and replace anything else there.
    pub fn put(&mut self, path: &[&str], value: Node) {
        let Some((first, rest)) = path.split_first() else {
            *self = value;
            return;
        };
        if !matches!(self.content, Content::Map(_)) {
            self.content = Content::Map(Vec::new());
        }
        let Content::Map(entries) = &mut self.content else { unreachable!("made a mapping above") };
        let index = entries.iter().position(|entry| entry.key == *first).unwrap_or_else(|| {
            let origin = value.origin.clone();
            let child = Node { origin: origin.clone(), content: Content::Map(Vec::new()) };
            entries.push(Pair { key: (*first).to_owned(), origin, value: child });
            entries.len() - 1
        });
        if rest.is_empty() {
            entries[index].origin = value.origin.clone();
        }
        entries[index].value.put(rest, value);
    }

    /// Lays all that is set in `over` over this, key by key; anything but a mapping is laid over as a whole.
    pub fn lay(&mut self, over: Node) {
        match (&mut self.content, over) {
            (_, Node { content: Content::Null, .. }) => {}
            (Content::Map(entries), Node { content: Content::Map(over), .. }) => {
                for pair in over {
                    match entries.iter_mut().find(|entry| entry.key == pair.key) {
                        Some(entry) => {
                            entry.value.lay(pair.value);
                            entry.origin = pair.origin;
                        }
                        None => entries.push(pair),
                    }
                }
            }
            (_, over) => *self = over,
        }
    }

    /// What kind of thing this is, for error texts.
    pub fn describe(&self) -> String {
        match &self.content {
            Content::Null => "nothing".to_owned(),
            Content::Scalar(text) => quoted(text),
            Content::List(_) => "a list".to_owned(),
            Content::Map(_) => "a section".to_owned(),
        }
    }
}

/// At most 60 characters of `text` in quotes, for error texts.
pub(crate) fn quoted(text: &str) -> String {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("\"{}...\"", &text[..end]),
        None => format!("\"{text}\""),
    }
}

//! How the model is declared, read and shown.
//!
//! `section!` turns one declaration (doc comment, field, type, default, limits) into the struct, its [`Default`], its rows
//! in the [catalogue](crate::catalogue), the code that reads it from a [`Node`] and the code that shows it. There is
//! therefore no second list of keys that could differ: unknown keys, suggestions, `print-config` and
//! the page in `docs/` all follow from the declarations.
//!
//! ```text
//! section! {
//!     /// What the section is about.
//!     Batch {
//!         /// What the key does.
//!         age: Duration = "20ms" in "1ms" to "10s",
//!         /// A default that the program works out, and how the documentation says it.
//!         workers: NonZeroUsize = "1" (as "available CPUs"),
//!         /// A section of its own.
//!         tls: Tls,
//!     }
//! }
//! ```

use std::collections::BTreeMap;

use crate::catalogue::{Catalogue, Key, Status};
use crate::origin::{Origin, Problem};
use crate::suggest;
use crate::tree::{self, Content, Node, Pair};
use crate::value::{Limits, Refusal, Value};

/// What can stand behind a key: a [`Value`], a list, or a section of more keys.
pub trait Entry: Sized {
    /// The default, from its text in the declaration. Sections ignore it.
    fn initial(default: &str) -> Self;

    /// Takes what was set below `node`; what was not set stays, and what is wrong is reported and stays too.
    fn read(&mut self, node: &Node, path: &str, limits: Option<Limits>, reading: &mut Reading);

    /// Adds `key` (and, for a section, the keys below it) to the catalogue.
    fn list(key: Key, keys: &mut Vec<Key>);

    /// Adds what stands here now to `settings`.
    fn show(&self, path: String, settings: &mut Vec<Setting>);
}

/// One leaf of a configuration, for `print-config`.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// The full key.
    pub path: String,
    /// Its value.
    pub shown: Shown,
}

/// A leaf's value as text.
#[derive(Debug, Clone, PartialEq)]
pub enum Shown {
    /// A value.
    Text(String),
    /// Something is set, and not to be shown.
    Redacted,
    /// A list of values.
    List(Vec<String>),
    /// A map of values.
    Map(Vec<(String, Shown)>),
    /// A list of sections; the paths inside are relative.
    Sections(Vec<Vec<Setting>>),
}

/// What reading has found so far.
#[derive(Debug)]
pub struct Reading {
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// The place of every key that was set.
    pub origins: BTreeMap<String, Origin>,
    catalogue: Catalogue,
}

impl Reading {
    /// Nothing yet, of a configuration with the keys of `catalogue`.
    pub fn new(catalogue: Catalogue) -> Self {
        Self { problems: Vec::new(), origins: BTreeMap::new(), catalogue }
    }

    /// The keys there are.
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// Whether `key` was set.
    pub fn is_set(&self, key: &str) -> bool {
        self.origins.contains_key(key)
    }

    /// Notes a problem with a value.
    pub fn problem(&mut self, origin: &Origin, key: &str, what: impl Into<String>) {
        self.problems.push(Problem { origin: origin.clone(), key: key.to_owned(), what: what.into() });
    }

    /// Notes that the setting of `key` and that of `other` contradict each other, at whichever was set, unless something is
    /// wrong with `key` by itself.
    pub fn conflict(&mut self, [key, other]: [&str; 2], what: impl Into<String>) {
        let about =
            |problem: &Problem| problem.key.strip_prefix(key).is_some_and(|rest| !rest.starts_with('_'));
        if !self.problems.iter().any(about) {
            let origin = self.origins.get(key).or_else(|| self.origins.get(other)).cloned();
            self.problem(&origin.unwrap_or(Origin::Default), key, what);
        }
    }

    /// A doubt about the setting of `key`, to be told as a warning.
    pub fn doubt(&self, key: &str, what: impl Into<String>) -> Problem {
        let origin = self.origins.get(key).cloned().unwrap_or(Origin::Default);
        Problem { origin, key: key.to_owned(), what: what.into() }
    }

    /// The keys of a section; nothing where nothing is set or where it is no section.
    pub fn section<'n>(&mut self, node: &'n Node, path: &str) -> &'n [Pair] {
        match &node.content {
            Content::Map(entries) => entries,
            Content::Null => &[],
            Content::Scalar(_) | Content::List(_) => {
                let what = format!("expected a section (keys below it), found {}", node.describe());
                self.problem(&node.origin, path, what);
                &[]
            }
        }
    }

    /// Reports a key that does not exist. The file shows an unknown section with its keys; elsewhere whole keys are written.
    pub fn unknown(&mut self, entry: &Pair, path: &str) {
        if let (Content::Map(entries), Origin::Environment(_) | Origin::Set(_)) =
            (&entry.value.content, &entry.origin)
        {
            for inner in entries {
                self.unknown(inner, &join(path, &inner.key));
            }
            return;
        }
        let what = suggest::unknown(&self.catalogue, path, entry);
        self.problem(&entry.origin, path, what);
    }

    /// Reads one value, or reports why it is none.
    pub fn value<T: Value>(&mut self, node: &Node, path: &str, limits: Option<Limits>) -> Option<T> {
        match &node.content {
            Content::Null => None,
            Content::Scalar(text) => self.text(text.trim(), node, path, limits),
            Content::List(_) | Content::Map(_) => {
                self.problem(
                    &node.origin,
                    path,
                    format!("expected {}, found {}", T::EXPECTED, node.describe()),
                );
                None
            }
        }
    }

    fn text<T: Value>(&mut self, text: &str, node: &Node, path: &str, limits: Option<Limits>) -> Option<T> {
        let shown = if T::SECRET { "this value".to_owned() } else { tree::quoted(text) };
        match T::parse_within(text, limits) {
            Ok(value) => return Some(value),
            Err(Refusal::Unexpected) => {
                self.problem(&node.origin, path, format!("expected {}, found {shown}", T::EXPECTED));
            }
            Err(Refusal::Because(why)) => self.problem(&node.origin, path, format!("{shown}: {why}")),
        }
        None
    }

    /// Reads a list: a YAML sequence, or text with commas. `one` reads an element.
    pub fn list<T>(
        &mut self,
        node: &Node,
        path: &str,
        mut one: impl FnMut(&mut Reading, &Node, &str) -> Option<T>,
    ) -> Option<Vec<T>> {
        let split;
        let nodes: &[Node] = match &node.content {
            Content::Null => return None,
            Content::List(nodes) => nodes,
            Content::Scalar(text) => {
                let scalar = |text: &str| Node {
                    origin: node.origin.clone(),
                    content: Content::Scalar(text.trim().to_owned()),
                };
                split =
                    text.split(',').filter(|part| !part.trim().is_empty()).map(scalar).collect::<Vec<_>>();
                &split
            }
            Content::Map(_) => {
                self.problem(&node.origin, path, "expected a list, found a section");
                return None;
            }
        };
        self.origins.insert(path.to_owned(), node.origin.clone());
        let mut items = Vec::with_capacity(nodes.len());
        for (index, node) in nodes.iter().enumerate() {
            items.extend(one(self, node, &format!("{path}[{index}]")));
        }
        Some(items)
    }
}

impl<T: Value> Entry for T {
    fn initial(default: &str) -> Self {
        T::parse(default).unwrap_or_else(|_| panic!("the model's default {default:?} is {}", T::EXPECTED))
    }

    fn read(&mut self, node: &Node, path: &str, limits: Option<Limits>, reading: &mut Reading) {
        if let Some(value) = reading.value(node, path, limits) {
            *self = value;
            reading.origins.insert(path.to_owned(), node.origin.clone());
        }
    }

    fn list(key: Key, keys: &mut Vec<Key>) {
        keys.push(Key { kind: T::KIND, status: Status::Setting, ..key });
    }

    fn show(&self, path: String, settings: &mut Vec<Setting>) {
        let text = self.render();
        let shown = if T::SECRET && !text.is_empty() { Shown::Redacted } else { Shown::Text(text) };
        settings.push(Setting { path, shown });
    }
}

/// What a list can have: a [`Value`], or a section with a short form.
pub trait Element: Sized {
    /// An element of the list's default, from its text in the declaration.
    fn from_default(text: &str) -> Self;

    /// Reads one element, or reports why it is none.
    fn read_element(node: &Node, path: &str, limits: Option<Limits>, reading: &mut Reading) -> Option<Self>;

    /// Adds the list's key (and for sections the keys in them, as `list[].key`) to the catalogue.
    fn list_elements(key: Key, keys: &mut Vec<Key>);

    /// The list's text: [`Shown::List`], or [`Shown::Sections`] without further sections inside.
    fn show_elements(elements: &[Self]) -> Shown;
}

impl<T: Value> Element for T {
    fn from_default(text: &str) -> Self {
        <T as Entry>::initial(text)
    }

    fn read_element(node: &Node, path: &str, limits: Option<Limits>, reading: &mut Reading) -> Option<Self> {
        reading.value(node, path, limits)
    }

    fn list_elements(key: Key, keys: &mut Vec<Key>) {
        keys.push(Key { kind: T::KIND, status: Status::List, ..key });
    }

    fn show_elements(elements: &[Self]) -> Shown {
        Shown::List(elements.iter().map(T::render).collect())
    }
}

impl<T: Element> Entry for Vec<T> {
    fn initial(default: &str) -> Self {
        default.split(',').filter(|text| !text.is_empty()).map(T::from_default).collect()
    }

    fn read(&mut self, node: &Node, path: &str, limits: Option<Limits>, reading: &mut Reading) {
        let one =
            |reading: &mut Reading, node: &Node, path: &str| T::read_element(node, path, limits, reading);
        if let Some(items) = reading.list(node, path, one) {
            *self = items;
        }
    }

    fn list(key: Key, keys: &mut Vec<Key>) {
        T::list_elements(key, keys);
    }

    fn show(&self, path: String, settings: &mut Vec<Setting>) {
        settings.push(Setting { path, shown: T::show_elements(self) });
    }
}

/// `outer.inner`, or `inner` at the top.
pub fn join(outer: &str, inner: &str) -> String {
    if outer.is_empty() { inner.to_owned() } else { format!("{outer}.{inner}") }
}

/// Declares a section: the struct, its defaults, its rows in the catalogue, and how it is read and shown. The head of the
/// module [`section`](mod@crate::section) says how.
#[macro_export]
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        $name:ident {
            $(
                $(#[doc = $doc:literal])+
                $field:ident: $type:ty $(= $default:literal $(in $lowest:literal to $highest:literal)? $((as $said:literal))?)?,
            )+
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            $($(#[doc = $doc])+ pub $field: $type,)+
        }

        impl Default for $name {
            fn default() -> Self {
                $name { $($field: <$type as $crate::Entry>::initial(concat!($($default)?)),)+ }
            }
        }

        impl $crate::Entry for $name {
            fn initial(_default: &str) -> Self {
                Self::default()
            }

            fn read(
                &mut self,
                node: &$crate::Node,
                path: &str,
                _limits: Option<$crate::Limits>,
                reading: &mut $crate::Reading,
            ) {
                for entry in reading.section(node, path) {
                    let path = $crate::section::join(path, &entry.key);
                    match entry.key.as_str() {
                        $(stringify!($field) => {
                            let limits = $crate::section::limits(&[$($($lowest, $highest)?)?]);
                            self.$field.read(&entry.value, &path, limits, reading);
                        })+
                        _ => reading.unknown(entry, &path),
                    }
                }
            }

            fn list(key: $crate::Key, keys: &mut Vec<$crate::Key>) {
                let outer = key.path.clone();
                keys.push($crate::Key {
                    about: concat!($($about, "\n"),+),
                    status: $crate::Status::Section,
                    ..key
                });
                $(<$type as $crate::Entry>::list(
                    $crate::Key {
                        path: $crate::section::join(&outer, stringify!($field)),
                        about: concat!($($doc, "\n"),+),
                        default: concat!($($default)?),
                        said: [$($($said,)?)? ""][0],
                        limits: $crate::section::limits(&[$($($lowest, $highest)?)?]),
                        ..Default::default()
                    },
                    keys,
                );)+
            }

            fn show(&self, path: String, settings: &mut Vec<$crate::Setting>) {
                $(self.$field.show($crate::section::join(&path, stringify!($field)), settings);)+
            }
        }
    };
}
/// The limits a declaration gives: none, or the lowest and the highest.
pub fn limits(given: &[&'static str]) -> Option<Limits> {
    match given {
        [lowest, highest] => Some(Limits { lowest, highest }),
        _ => None,
    }
}

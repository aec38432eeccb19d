//! Every key there is, as the model declares it: what suggestions and the page in `docs/` are made from.

use crate::load::Configuration;
use crate::program::Program;
use crate::value::Limits;

/// One key or section.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Key {
    /// The full key, such as `kafka.queue_bytes`; the keys inside a list of sections as `outer[].inner`.
    pub path: String,
    /// The value's type.
    pub kind: &'static str,
    /// The doc comment, one space before each line.
    pub about: &'static str,
    /// The default as it would be written; empty for none.
    pub default: &'static str,
    /// The default in words, where the program works it out; empty for none.
    pub said: &'static str,
    /// The lowest and the highest value.
    pub limits: Option<Limits>,
    /// What stands behind the key.
    pub status: Status,
}

/// What stands behind a key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Status {
    /// More keys.
    #[default]
    Section,
    /// One value.
    Setting,
    /// Values, or sections.
    List,
    /// Names that the program does not know beforehand, each with a value. A name may have dots in it.
    Map,
}

/// All keys of a program.
#[derive(Debug, Clone, PartialEq)]
pub struct Catalogue {
    program: &'static Program,
    keys: Vec<Key>,
}

impl Catalogue {
    /// The catalogue of a configuration.
    pub fn of<C: Configuration>() -> Self {
        let mut keys = Vec::new();
        C::list(Key::default(), &mut keys);
        keys.retain(|key| !key.path.is_empty());
        Self { program: C::PROGRAM, keys }
    }

    /// Whose keys these are.
    pub fn program(&self) -> &'static Program {
        self.program
    }

    /// All keys and sections in the order of the declarations, without the root.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// Whether `path` is a key or a section, or a name in a map.
    pub fn knows(&self, path: &str) -> bool {
        self.keys.iter().any(|key| key.path == path) || self.map(path).is_some()
    }

    /// The map that `path` is a name in, and that name.
    pub fn map<'p>(&self, path: &'p str) -> Option<(&str, &'p str)> {
        let maps = self.keys.iter().filter(|key| key.status == Status::Map);
        maps.map(|map| map.path.as_str())
            .find_map(|map| path.strip_prefix(map)?.strip_prefix('.').map(|name| (map, name)))
    }

    /// What is wrong with the declarations: keys that stand twice or have no documentation, and defaults that are beyond
    /// their own limits. For a test of each program.
    pub fn mistakes<C: Configuration>() -> Vec<String> {
        let catalogue = Self::of::<C>();
        let mut seen = std::collections::BTreeSet::new();
        let mut mistakes = Vec::new();
        for key in &catalogue.keys {
            if !seen.insert(&key.path) {
                mistakes.push(format!("{} stands twice", key.path));
            }
            if key.about.len() <= 10 {
                mistakes.push(format!("{} has no documentation", key.path));
            }
            let Some(Limits { lowest, highest }) = key.limits.filter(|_| !key.path.contains("[]")) else {
                continue;
            };
            for value in [lowest, highest, key.default] {
                let set = vec![format!("{}={value}", key.path)];
                let sources = crate::Sources { set, ..crate::Sources::default() };
                let problems = crate::Loaded::<C>::load(&sources).err().map(|error| error.to_string());
                // Another key may disagree with an extreme value; the key's own limits may not.
                let refused = |text: &String| text.contains("must be from") || text.contains("expected");
                mistakes.extend(problems.filter(refused));
            }
        }
        mistakes
    }
}

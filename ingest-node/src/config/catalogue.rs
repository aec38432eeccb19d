//! Every key there is, as the model declares it: what suggestions and docs/configuration.md are made from.

use std::sync::OnceLock;

use super::model::Config;
use super::section::Entry;
use super::value::Limits;

/// One key or section.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Key {
    /// The full key, such as `kafka.queue_bytes`; the keys inside a list of sections as `outer[].inner`.
    pub(super) path: String,
    /// The value's type.
    pub(super) kind: &'static str,
    /// The doc comment, one space before each line.
    pub(super) about: &'static str,
    /// The default as it would be written; empty for none.
    pub(super) default: &'static str,
    /// The default in words, where the program works it out; empty for none.
    pub(super) said: &'static str,
    pub(super) limits: Option<Limits>,
    pub(super) status: Status,
}

/// What stands behind a key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Status {
    #[default]
    Section,
    Setting,
    List,
    Map,
}

/// All keys and sections in the order of the declarations, without the root.
pub(super) fn keys() -> &'static [Key] {
    static KEYS: OnceLock<Vec<Key>> = OnceLock::new();
    KEYS.get_or_init(|| {
        let mut keys = Vec::new();
        Config::list(Key::default(), &mut keys);
        keys.retain(|key| !key.path.is_empty());
        keys
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;

    #[test]
    fn defaults_and_limits_are_values_and_agree() {
        for key in keys() {
            let Some(Limits { lowest, highest }) = key.limits else { continue };
            for value in [lowest, highest, key.default] {
                if key.path.contains("[]") {
                    continue;
                }
                let set = vec![format!("{}={value}", key.path)];
                // Another key may disagree with an extreme value; the key's own limits may not.
                let problems =
                    Config::load(&Sources { set, ..Sources::default() }).err().map(|error| error.to_string());
                let refused = |text: &str| text.contains("must be from") || text.contains("expected");
                assert!(!problems.as_deref().is_some_and(refused), "{problems:?}");
            }
        }
    }

    #[test]
    fn every_key_is_documented_and_stands_once() {
        let mut seen = std::collections::BTreeSet::new();
        for key in keys() {
            assert!(seen.insert(&key.path), "{} stands twice", key.path);
            assert!(key.about.len() > 10, "{} has no documentation", key.path);
        }
    }
}

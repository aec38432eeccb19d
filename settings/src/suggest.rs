//! The nearest known key to one that does not exist.
//!
//! Whole paths are compared, so that a slip in the section (`kafak.brokers`), a slip in the key (`kafka.brokres`) and a key
//! at the wrong place (`brokers`, `output.kafka.brokers`) all find `kafka.brokers`.

use crate::catalogue::{Catalogue, Key, Status};
use crate::origin::Origin;
use crate::overlay;
use crate::tree::{Content, Pair};

/// What to say about the unknown key at `path`.
pub(crate) fn unknown(catalogue: &Catalogue, path: &str, entry: &Pair) -> String {
    let section = matches!(entry.value.content, Content::Map(_));
    // The keys inside a list of sections can only be set in a document.
    let of_document = !matches!(entry.origin, Origin::Environment(_) | Origin::Set(_));
    let settable = |key: &Key| of_document || !key.path.contains("[]");
    // An unknown section is called by its nearest section, else by where its first key belongs.
    let found = nearest(catalogue, path, |key| settable(key) && (key.status == Status::Section) == section)
        .or_else(|| nearest(catalogue, &first_leaf(path, entry), |key| settable(key) && is_leaf(key)));
    match (found, &entry.origin) {
        (None, _) => "unknown key".to_owned(),
        (Some(key), Origin::Environment(_)) => {
            format!("unknown key; did you mean `{key}` ({})?", overlay::variable(key))
        }
        (Some(key), _) => format!("unknown key; did you mean `{key}`?"),
    }
}

fn is_leaf(key: &Key) -> bool {
    key.status != Status::Section
}

fn first_leaf(path: &str, entry: &Pair) -> String {
    match &entry.value.content {
        Content::Map(entries) => match entries.first() {
            Some(first) => first_leaf(&format!("{path}.{}", first.key), first),
            None => path.to_owned(),
        },
        _ => path.to_owned(),
    }
}

/// The known key that is nearest to `path`, if any is near enough to be meant.
fn nearest<'c>(catalogue: &'c Catalogue, path: &str, wanted: impl Fn(&Key) -> bool) -> Option<&'c str> {
    let path = path.to_ascii_lowercase().replace('-', "_");
    let candidates = catalogue.keys().iter().filter(|key| wanted(key));
    let scored = candidates.filter_map(|key| distance(&path, &key.path).map(|distance| (distance, key)));
    scored.min_by_key(|(distance, key)| (*distance, key.path.len())).map(|(_, key)| key.path.as_str())
}

/// How far `wrong` is from `right` in edits, where it is near enough: a third of the length may differ. The right last
/// word at the wrong place counts as two edits more than it takes to spell it.
fn distance(wrong: &str, right: &str) -> Option<usize> {
    let near = |wrong: &str, right: &str, allowed: usize| {
        let edits = strsim::damerau_levenshtein(wrong, right);
        (edits <= allowed).then_some(edits)
    };
    let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    let (wrong_name, right_name) = (last(wrong), last(right));
    let spelt = near(wrong, right, (right.len() / 3).clamp(1, 4));
    let misplaced = near(&wrong_name, &right_name, right_name.len() / 4).map(|edits| edits + 2);
    [spelt, misplaced].into_iter().flatten().min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    fn leaf(path: &str) -> Option<String> {
        nearest(&sample::catalogue(), path, is_leaf).map(str::to_owned)
    }

    #[test]
    fn slips_find_the_key_they_meant() {
        for (wrong, right) in [
            ("kafak.brokers", "kafka.brokers"),
            ("kafka.brokres", "kafka.brokers"),
            ("brokers", "kafka.brokers"),
            ("output.kafka.brokers", "kafka.brokers"),
            ("kafka.queue_size", "kafka.queue_age"),
            ("kafka.queue_byte", "kafka.queue_bytes"),
            ("kafka.queue-bytes", "kafka.queue_bytes"),
            ("Kafka.Topic", "kafka.topic"),
            ("udp.recieve_buffer", "udp.receive_buffer"),
            ("listener", "listeners"),
            ("node.worker", "node.workers"),
            ("batch.ages", "batch.age"),
        ] {
            assert_eq!(leaf(wrong).as_deref(), Some(right), "{wrong}");
        }
    }

    #[test]
    fn what_is_near_nothing_gets_no_suggestion() {
        for wrong in ["quux", "database.connection_string", "é"] {
            assert_eq!(leaf(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn sections_find_sections() {
        let catalogue = sample::catalogue();
        assert_eq!(nearest(&catalogue, "kafak", |key| key.status == Status::Section), Some("kafka"));
    }
}

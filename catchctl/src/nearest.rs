//! The nearest name to one that does not exist.

/// The one of `names` that was probably meant by `wrong`: a third of its characters may differ, and at least two.
pub(crate) fn nearest<'n>(wrong: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let wrong = wrong.to_lowercase();
    let edits = |name: &str| strsim::damerau_levenshtein(&wrong, &name.to_lowercase());
    let near = |name: &&str| edits(name) <= (name.chars().count() / 3).max(2).min(name.chars().count() - 1);
    names.into_iter().filter(|name| !name.is_empty()).filter(near).min_by_key(|name| edits(name))
}

/// ``unknown KIND `WRONG`: did you mean `RIGHT`?``, or what there is, or `none`.
pub(crate) fn unknown(kind: &str, wrong: &str, names: &[&str], none: &str) -> String {
    const LISTED: usize = 10;
    match nearest(wrong, names.iter().copied()) {
        Some(right) => format!("unknown {kind} `{wrong}`: did you mean `{right}`?"),
        None if names.is_empty() => format!("unknown {kind} `{wrong}`: {none}"),
        None if names.len() > LISTED => format!("unknown {kind} `{wrong}`: there are {}", names.len()),
        None => format!("unknown {kind} `{wrong}`: there is {}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_find_what_was_meant() {
        let names = ["node-1", "node-2", "collector-berlin"];
        for (wrong, right) in [
            ("nod-1", "node-1"),
            ("NODE-2", "node-2"),
            ("colector-berln", "collector-berlin"),
            ("noed-1", "node-1"),
        ] {
            assert_eq!(nearest(wrong, names), Some(right), "{wrong}");
        }
        assert_eq!(nearest("router", names), None);
        assert_eq!(nearest("a", ["b", ""]), None);
    }

    #[test]
    fn the_message_names_the_nearest_or_what_there_is() {
        assert_eq!(
            unknown("node", "nod-1", &["node-1", "edge"], "-"),
            "unknown node `nod-1`: did you mean `node-1`?"
        );
        assert_eq!(unknown("node", "x", &["node-1", "edge"], "-"), "unknown node `x`: there is node-1, edge");
        assert_eq!(
            unknown("node", "x", &[], "no node has a session"),
            "unknown node `x`: no node has a session"
        );
    }
}

//! Names that do not exist, and which was meant.

/// The known name nearest to `wrong`, if any is near enough to be meant: a third of it may differ.
pub(super) fn nearest<'n>(wrong: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let wrong = wrong.to_lowercase();
    let distance = |name: &str| {
        let edits = strsim::damerau_levenshtein(&wrong, &name.to_lowercase());
        // `node-1` for `node-1.example.net` is meant, too.
        let short = !wrong.is_empty() && name.to_lowercase().starts_with(&wrong);
        (short || edits <= (name.chars().count() / 3).clamp(1, 4)).then_some(edits)
    };
    let near = known.into_iter().filter_map(|name| distance(name).map(|edits| (edits, name)));
    near.min().map(|(_, name)| name)
}

/// `there is no <what> <name>`, with the nearest one there is.
pub(super) fn no_such<'n>(what: &str, name: &str, known: impl IntoIterator<Item = &'n str>) -> String {
    match nearest(name, known) {
        Some(meant) => format!("there is no {what} `{name}`; did you mean `{meant}`?"),
        None => format!("there is no {what} `{name}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_told_where_one_is_near() {
        let known = ["edge-1", "edge-2", "core-1.example.net"];
        assert_eq!(nearest("egde-2", known), Some("edge-2"));
        assert_eq!(nearest("Edge-1", known), Some("edge-1"));
        assert_eq!(nearest("core-1", known), Some("core-1.example.net"));
        assert_eq!(nearest("spine-7", known), None);
        assert_eq!(no_such("node", "edge1", known), "there is no node `edge1`; did you mean `edge-1`?");
        assert_eq!(no_such("node", "", known), "there is no node ``");
    }
}

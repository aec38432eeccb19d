//! Changes of single keys in a YAML document, as `config set KEY=VALUE` makes them.
//!
//! The document is edited as text, so that comments and the order of keys stay: a value is replaced where it stands, a new
//! key comes behind the last one of its section, a key is taken out with its lines. What comes out is read again and held
//! against the change in the tree; where text cannot be edited that way (flow style, a list that becomes a value), the
//! document is written anew from the tree, and its comments are lost ([`Edited::kept_comments`]).

mod tree;

use crate::output::{yaml_scalar, yaml_text};
use tree::{Content, Node, Pair, find, is_null, parse, set, unset};

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// The key has this value from now on: YAML where it begins with `[`, `{` or a quote, else text as it is.
    Set(Vec<String>, String),
    /// The key is not set any more.
    Unset(Vec<String>),
}

/// A document after its changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Edited {
    /// The document.
    pub(crate) text: String,
    /// Whether its comments are as they were.
    pub(crate) kept_comments: bool,
}

/// Splits `a.b."c.d"`: a part in double quotes may hold dots.
pub(crate) fn path(key: &str) -> Result<Vec<String>, String> {
    let wrong = || format!("`{key}` is no key: expected words with dots between, such as log.level");
    let mut parts = Vec::new();
    let mut rest = key;
    loop {
        let (part, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').ok_or_else(wrong)?,
            None => rest.split_at(rest.find('.').unwrap_or(rest.len())),
        };
        if part.is_empty() || part.contains(['\n', '"']) {
            return Err(wrong());
        }
        parts.push(part.to_owned());
        match after.strip_prefix('.') {
            Some(next) => rest = next,
            None if after.is_empty() => return Ok(parts),
            None => return Err(wrong()),
        }
    }
}

/// The document with the changes made, one after the other.
///
/// # Errors
/// Where the document or a value is not YAML, with line and column.
pub(crate) fn apply(document: &str, changes: &[Change]) -> Result<Edited, String> {
    let mut edited = Edited { text: document.to_owned(), kept_comments: true };
    for change in changes {
        let root = parse(&edited.text)?;
        let mut wanted = root.clone();
        match change {
            Change::Set(path, value) => set(&mut wanted, path, &value_of(value)?),
            Change::Unset(path) => {
                unset(&mut wanted, path);
            }
        }
        let by_text = match change {
            Change::Set(path, value) => set_text(&edited.text, &root, path, &written(value)),
            Change::Unset(path) => unset_text(&edited.text, &root, path),
        };
        let right = |text: &String| parse(text).is_ok_and(|tree| tree.means(&wanted));
        edited.text = by_text.filter(right).unwrap_or_else(|| {
            edited.kept_comments &= !edited.text.contains('#');
            match &wanted.content {
                Content::Map(pairs) if pairs.is_empty() => String::new(),
                Content::Null => String::new(),
                _ => yaml_text(&wanted.document()),
            }
        });
    }
    Ok(edited)
}
fn set_text(text: &str, root: &Node, path: &[String], value: &str) -> Option<String> {
    let chars: Vec<char> = text.chars().collect();
    let mut node = root;
    let mut rest = path;
    loop {
        let pairs = match &node.content {
            Content::Map(pairs) => pairs.as_slice(),
            // Nothing at all yet.
            Content::Null if rest.len() == path.len() => &[],
            _ => return None,
        };
        let Some((at, parts)) = find(pairs, rest) else {
            return insert(&chars, pairs, rest, value);
        };
        node = &pairs[at].value;
        rest = &rest[parts..];
        if rest.is_empty() {
            break;
        }
    }
    let stands = chars.get(node.start..node.end)?;
    if !matches!(node.content, Content::Scalar(..)) || stands.is_empty() || stands.contains(&'\n') {
        return None;
    }
    Some(
        chars[..node.start]
            .iter()
            .copied()
            .chain(value.chars())
            .chain(chars[node.end..].iter().copied())
            .collect(),
    )
}

/// New lines behind the last key of a section.
fn insert(chars: &[char], pairs: &[Pair], path: &[String], value: &str) -> Option<String> {
    let column = match pairs.first() {
        Some(first) if is_block(chars, first) => first.column,
        Some(_) => return None,
        None => 0,
    };
    let at = pairs.last().map_or(chars.len(), |last| line_after(chars, end_of(last)));
    let mut added = String::new();
    if at > 0 && chars[at - 1] != '\n' {
        added.push('\n');
    }
    let (name, sections) = path.split_last()?;
    let mut indent = column;
    for section in sections {
        added += &format!("{}{}:\n", " ".repeat(indent), yaml_scalar(section));
        indent += 2;
    }
    added += &format!("{}{}: {value}\n", " ".repeat(indent), yaml_scalar(name));
    Some(chars[..at].iter().copied().chain(added.chars()).chain(chars[at..].iter().copied()).collect())
}

fn unset_text(text: &str, root: &Node, path: &[String]) -> Option<String> {
    let chars: Vec<char> = text.chars().collect();
    let mut node = root;
    let mut rest = path;
    // The outermost key that would be left with nothing.
    let mut out: Option<&Pair> = None;
    loop {
        let Content::Map(pairs) = &node.content else { return Some(text.to_owned()) };
        let Some((at, parts)) = find(pairs, rest) else { return Some(text.to_owned()) };
        out = out.filter(|_| pairs.len() == 1).or(Some(&pairs[at]));
        node = &pairs[at].value;
        rest = &rest[parts..];
        if rest.is_empty() {
            break;
        }
    }
    let out = out.filter(|pair| is_block(&chars, pair))?;
    let from = out.start - out.column;
    let to = line_after(&chars, end_of(out));
    Some(chars[..from].iter().chain(&chars[to..]).collect())
}

/// Whether the key begins its line.
fn is_block(chars: &[char], pair: &Pair) -> bool {
    let line = pair.start.checked_sub(pair.column).and_then(|from| chars.get(from..pair.start));
    line.is_some_and(|before| before.iter().all(|c| *c == ' '))
}

/// Where the last thing below the key ends.
fn end_of(pair: &Pair) -> usize {
    fn last(node: &Node) -> usize {
        match &node.content {
            Content::Map(pairs) => pairs.iter().map(end_of).max().unwrap_or(node.end),
            Content::List(items) => items.iter().map(last).max().unwrap_or(node.end),
            Content::Null | Content::Scalar(..) => node.end,
        }
    }
    last(&pair.value).max(pair.start)
}

fn line_after(chars: &[char], at: usize) -> usize {
    // A block scalar ends behind its last line feed.
    if at > 0 && chars.get(at - 1) == Some(&'\n') {
        return at;
    }
    chars[at.min(chars.len())..].iter().position(|c| *c == '\n').map_or(chars.len(), |line| at + line + 1)
}
/// The value as it is to stand in the document.
fn written(value: &str) -> String {
    if value.starts_with(['[', '{', '"', '\'']) {
        return value.to_owned();
    }
    let safe =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '+' | '@' | '%' | '-' | ':');
    let plain = value.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/')
        && value.chars().all(safe)
        && !value.ends_with(':')
        && !is_null(value);
    if plain { value.to_owned() } else { serde_json::to_string(value).unwrap_or_default() }
}

fn value_of(value: &str) -> Result<Node, String> {
    if !value.starts_with(['[', '{', '"', '\'']) {
        return Ok(Node::new(Content::Scalar(value.to_owned(), written(value))));
    }
    let as_key = parse(&format!("value: {value}\n")).map_err(|error| format!("value {value}: {error}"))?;
    match as_key.content {
        Content::Map(mut pairs) if pairs.len() == 1 => Ok(pairs.remove(0).value),
        _ => Err(format!("value {value}: not one YAML value")),
    }
}
#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn change(text: &str) -> Change {
        match text.split_once('=') {
            Some((key, value)) => Change::Set(path(key).expect("a key"), value.to_owned()),
            None => Change::Unset(path(text).expect("a key")),
        }
    }

    fn edit(document: &str, changes: &[&str]) -> Edited {
        let changes: Vec<Change> = changes.iter().map(|text| change(text)).collect();
        apply(document, &changes).expect("YAML")
    }

    const DOCUMENT: &str = "\
# what the cluster steers
log:
  level: info # as at the start
sources:
  flow:
    allow:
      - 10.0.0.0/8 # ours
      - 192.0.2.0/24

# the end
";

    #[test]
    fn a_value_is_replaced_where_it_stands() {
        let edited = edit(DOCUMENT, &["log.level=debug"]);
        assert_eq!(edited.text, DOCUMENT.replace("info", "debug"));
        assert!(edited.kept_comments);
    }

    #[test]
    fn a_new_key_comes_behind_the_last_of_its_section() {
        let edited = edit(DOCUMENT, &["log.format=json", "sources.flow.sampling=1:100", "batch.age=20ms"]);
        let wanted = DOCUMENT
            .replace("  level: info # as at the start\n", "  level: info # as at the start\n  format: json\n")
            .replace("192.0.2.0/24\n", "192.0.2.0/24\n    sampling: 1:100\nbatch:\n  age: 20ms\n");
        assert_eq!(edited.text, wanted);
        assert!(edited.kept_comments);
    }

    #[test]
    fn a_key_is_taken_out_with_its_lines_and_empty_sections() {
        let edited = edit(DOCUMENT, &["sources.flow.allow"]);
        assert_eq!(
            edited.text,
            "# what the cluster steers\nlog:\n  level: info # as at the start\n\n# the end\n"
        );
        assert_eq!(edit(DOCUMENT, &["log.colour"]).text, DOCUMENT, "what is not there is not missed");
    }

    #[test]
    fn an_empty_document_grows() {
        let edited =
            edit("", &["log.level=debug", "sources.flow.allow=[10.0.0.0/8, \"::/0\"]", "x.\"a.b\"="]);
        let wanted =
            "log:\n  level: debug\nsources:\n  flow:\n    allow: [10.0.0.0/8, \"::/0\"]\nx:\n  a.b: \"\"\n";
        assert_eq!(edited.text, wanted);
        assert_eq!(edit("log:\n  level: debug\n", &["log.level"]).text, "");
    }

    #[test]
    fn what_cannot_be_edited_as_text_is_written_anew() {
        let edited = edit("log: {level: info} # flow style\nsize: 5\n", &["log.format=json"]);
        assert_eq!(edited.text, "log:\n  level: info\n  format: json\nsize: 5\n");
        assert!(!edited.kept_comments);
        let list = edit("allow:\n  - a\n  - b\n", &["allow=[c]"]);
        assert_eq!((list.text.as_str(), list.kept_comments), ("allow:\n  - c\n", true));
    }

    #[test]
    fn values_that_mean_something_in_yaml_are_quoted() {
        for (value, stands) in [
            ("64MiB", "64MiB"),
            ("a: b", "\"a: b\""),
            ("null", "\"null\""),
            ("", "\"\""),
            ("*x", "\"*x\""),
            ("[::]:1", "\"[::]:1\""),
        ] {
            let value = if value.starts_with('[') { format!("\"{value}\"") } else { value.to_owned() };
            assert_eq!(edit("", &[&format!("k={value}")]).text, format!("k: {stands}\n"));
        }
    }

    #[test]
    fn keys_with_dots_are_found() {
        let edited = edit("kafka:\n  properties:\n    linger.ms: 5\n", &["kafka.properties.linger.ms=7"]);
        assert_eq!(edited.text, "kafka:\n  properties:\n    linger.ms: 7\n");
    }

    #[test]
    fn mistakes_have_a_place() {
        let set = [change("a=1")];
        assert!(apply("a: [b\n", &set).expect_err("not YAML").contains("not YAML"));
        assert_eq!(apply("a: 1\na: 2\n", &set), Err("2:1: `a` is set twice".to_owned()));
        assert!(apply("a: *x\n", &set).is_err());
        assert!(apply("", &[change("a=[b")]).expect_err("not YAML").starts_with("value [b: "));
        for wrong in ["", "a..b", ".a", "a.", "a.\"b", "\"\""] {
            assert!(path(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        /// Whatever is set can be read again, and nothing else has changed.
        #[test]
        fn what_is_set_is_there(
            document in "(( {0,4}[a-c]:( [a-d0-9]{1,3}| \\[x, y\\]|)| {0,4}- [a-c]|# [a-c]|)\n){0,6}",
            key in "[a-c](\\.[a-c]){0,2}",
            value in "[ -~é]{0,12}",
        ) {
            prop_assume!(parse(&document).is_ok());
            let value = if value.starts_with(['[', '{', '"', '\'']) { "x".to_owned() } else { value };
            let path = path(&key).expect("a key");
            let edited = apply(&document, &[Change::Set(path.clone(), value.clone())]).expect("YAML");
            let mut wanted = parse(&document).expect("YAML");
            set(&mut wanted, &path, &Node::new(Content::Scalar(value, String::new())));
            let got = parse(&edited.text).map_err(TestCaseError::fail)?;
            prop_assert!(got.means(&wanted), "{:?} becomes {:?}", document, edited.text);
            let removed = apply(&edited.text, &[Change::Unset(path.clone())]).expect("YAML");
            unset(&mut wanted, &path);
            let got = parse(&removed.text).map_err(TestCaseError::fail)?;
            prop_assert!(got.means(&wanted), "{:?} becomes {:?}", edited.text, removed.text);
        }
    }
}

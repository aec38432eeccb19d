//! What becomes of malformed input, class by class, from `wrong.txt`, and what holds it to the code.
//!
//! Each case names tests that exist; each reason that it counts is one that such a test looks at; and each [`Reason`] is one of a
//! case, or in [`ELSEWHERE`].

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;

use super::workspace;
use crate::error::Reason;

/// The cases of all classes; its head says how they are written.
const CASES: &str = include_str!("wrong.txt");

/// Reasons that say nothing of the input.
const ELSEWHERE: &[(Reason, &str)] = &[
    (Reason::NotAllowed, "the listener's allow list: the datagram is not looked at"),
    (Reason::Panicked, "a defect of the decoder"),
    (Reason::Shutdown, "a drain whose time was over"),
];

/// Where metrics are documented.
const METRICS: [&str; 2] = ["docs/metrics.md", "docs/coordinator-metrics.md"];

/// One kind of damage.
#[derive(Default)]
struct Case {
    class: &'static str,
    input: &'static str,
    kept: &'static str,
    /// Labels of reasons, and names of metrics.
    counted: Vec<&'static str>,
    /// `file::name`.
    tests: Vec<&'static str>,
}

impl Case {
    fn reasons(&self) -> impl Iterator<Item = Reason> {
        self.counted.iter().filter_map(|label| reason(label))
    }

    fn metrics(&self) -> impl Iterator<Item = &'static str> {
        self.counted.iter().copied().filter(|label| reason(label).is_none())
    }
}

fn reason(label: &str) -> Option<Reason> {
    Reason::ALL.iter().copied().find(|reason| reason.label() == label)
}

fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut class = "";
    for line in CASES.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            class = name;
            continue;
        }
        let (key, value) = line.split_once(": ").unwrap_or_else(|| panic!("wrong.txt: {line}"));
        if key == "input" {
            cases.push(Case { class, input: value, ..Case::default() });
            continue;
        }
        let case = cases.last_mut().expect("a case begins with its input");
        match key {
            "kept" => case.kept = value,
            "counted" => case.counted = value.split(' ').collect(),
            "test" => case.tests.push(value),
            _ => panic!("wrong.txt: {line}"),
        }
    }
    cases
}

/// The tables of the page.
pub(super) fn tables() -> String {
    let cases = cases();
    let mut tables = String::from("| class | input | what is kept | what is counted |\n|---|---|---|---|\n");
    for Case { class, input, kept, counted, .. } in &cases {
        let counted: Vec<String> = counted.iter().map(|label| format!("`{label}`")).collect();
        let counted = if counted.is_empty() { "nothing".to_owned() } else { counted.join(", ") };
        let _ = writeln!(tables, "| {class} | {input} | {kept} | {counted} |");
    }
    tables.push_str("\n| reason | meaning | of what |\n|---|---|---|\n");
    for &reason in Reason::ALL {
        let elsewhere = ELSEWHERE.iter().find(|(other, _)| *other == reason);
        let of = elsewhere.map_or_else(|| classes_of(reason, &cases), |(_, of)| (*of).to_owned());
        let _ = writeln!(tables, "| `{}` | {} | {of} |", reason.label(), reason.text());
    }
    tables
}

fn classes_of(reason: Reason, cases: &[Case]) -> String {
    let mut classes: Vec<&str> =
        cases.iter().filter(|case| case.reasons().any(|of| of == reason)).map(|case| case.class).collect();
    classes.dedup();
    classes.join(", ")
}

/// The text of a test, where there is one of this name that is run as a test.
fn test_text(test: &str) -> Option<String> {
    let (file, name) = test.rsplit_once("::")?;
    let text = [format!("flow-decoder/tests/{file}"), file.to_owned()]
        .iter()
        .find_map(|path| fs::read_to_string(workspace(path)).ok())?;
    let at = text.find(&format!("fn {name}("))?;
    let line = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let above = text[..line].rsplit("\n\n").next()?;
    let is_test = ["#[test]", "#[tokio::test"].iter().any(|attribute| above.contains(attribute));
    let indent: String = text[line..].chars().take_while(|c| *c == ' ').collect();
    let body = &text[line..];
    let end = body.find(&format!("\n{indent}}}"))?;
    is_test.then(|| body[..end].to_owned())
}

#[test]
fn every_case_names_tests_that_look_at_what_it_counts() {
    for case in cases() {
        let text = |test: &&str| test_text(test).unwrap_or_else(|| panic!("no test {test}"));
        let texts: String = case.tests.iter().map(text).collect();
        assert!(!texts.is_empty() && !case.kept.is_empty(), "{}", case.input);
        for reason in case.reasons() {
            let named = format!("Reason::{reason:?}");
            assert!(texts.contains(&named), "no test of '{}' looks at {named}", case.input);
        }
    }
}

#[test]
fn every_reason_is_one_of_a_case_or_says_nothing_of_the_input() {
    let cases = cases();
    for &reason in Reason::ALL {
        let elsewhere = ELSEWHERE.iter().any(|(other, _)| *other == reason);
        let counted = cases.iter().flat_map(Case::reasons).any(|counted| counted == reason);
        assert!(counted != elsewhere, "{}", reason.label());
    }
    let classes: BTreeSet<&str> = cases.iter().map(|case| case.class).collect();
    assert_eq!(classes.len(), 18, "the classes of what has killed collectors");
}

#[test]
fn every_metric_that_a_case_names_exists() {
    let documented = METRICS.map(|page| fs::read_to_string(workspace(page)).expect(page)).concat();
    for metric in cases().iter().flat_map(Case::metrics) {
        assert!(documented.contains(&format!("`{metric}`")), "{metric}");
    }
}

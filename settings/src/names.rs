//! Names with rules of their own, and secrets.

use std::fmt;

use crate::value::{Refusal, Value};

/// A name that can stand in an etcd key, a metric label and a Kafka header: 1 to 63 letters, digits, `.`, `_` and `-`,
/// with a letter or digit at both ends.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(String);

impl Label {
    const LONGEST: usize = 63;

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The nearest label to any text: what cannot stand in one becomes `-`. Nothing is left of some texts.
    pub fn from_any(text: &str) -> Option<Label> {
        let safe: String = text.chars().map(|c| if is_name_character(c) { c } else { '-' }).collect();
        let start = safe.trim_start_matches(['.', '_', '-']);
        let cut = &start[..start.len().min(Self::LONGEST)];
        Self::parse(cut.trim_end_matches(['.', '_', '-'])).ok()
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Value for Label {
    const KIND: &'static str = "name";
    const EXPECTED: &'static str = "a name of up to 63 letters, digits, '.', '_' and '-'";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let ends = |c: char| c.is_ascii_alphanumeric();
        let fits = (1..=Self::LONGEST).contains(&text.len()) && text.chars().all(is_name_character);
        if fits && text.starts_with(ends) && text.ends_with(ends) {
            Ok(Label(text.to_owned()))
        } else {
            Err(Refusal::Unexpected)
        }
    }

    fn render(&self) -> String {
        self.0.clone()
    }
}

fn is_name_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

/// A password or passphrase. Nothing that prints it shows it.
#[derive(Clone, PartialEq, Eq, PartialOrd)]
pub struct Secret(String);

impl Secret {
    /// What stands in a secret's place wherever it is shown.
    pub const REDACTED: &'static str = "***";

    /// The secret itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::REDACTED)
    }
}

impl Value for Secret {
    const KIND: &'static str = "secret";
    const EXPECTED: &'static str = "a secret";
    const SECRET: bool = true;

    fn parse(text: &str) -> Result<Self, Refusal> {
        match text {
            "" => Err(Refusal::Unexpected),
            Self::REDACTED => {
                Err(Refusal::Because("is what print-config shows in place of the secret".to_owned()))
            }
            _ => Ok(Secret(text.to_owned())),
        }
    }

    fn render(&self) -> String {
        Self::REDACTED.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn labels() {
        for right in ["a", "node-1.example", "0", &"x".repeat(63)] {
            assert!(Label::parse(right).is_ok(), "{right}");
        }
        for wrong in ["", "-a", "a.", "a/b", "a b", "é", &"x".repeat(64)] {
            assert!(Label::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let secret = Secret::parse("hunter2").expect("a secret");
        assert_eq!(format!("{secret:?} {}", secret.render()), "*** ***");
        assert_eq!(secret.expose(), "hunter2");
        assert!(Secret::parse("***").is_err(), "print-config's output is not a password");
    }

    proptest! {
        #[test]
        fn any_host_name_becomes_a_label_or_nothing(text in "\\PC{0,80}") {
            if let Some(label) = Label::from_any(&text) {
                prop_assert_eq!(Label::parse(label.as_str()), Ok(label));
            }
        }
    }
}

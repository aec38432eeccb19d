//! Names of Kafka topics.

use std::fmt;

use catchment_settings::{Refusal, Value};

/// The name of a Kafka topic by Kafka's own rule: 1 to 249 letters, digits, `.`, `_` and `-`, not `.` or `..`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic(String);

impl Topic {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Value for Topic {
    const KIND: &'static str = "topic";
    const EXPECTED: &'static str = "a topic name of up to 249 letters, digits, '.', '_' and '-'";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let fits = (1..=249).contains(&text.len()) && text.chars().all(allowed);
        if fits && !matches!(text, "." | "..") {
            Ok(Topic(text.to_owned()))
        } else {
            Err(Refusal::Unexpected)
        }
    }

    fn render(&self) -> String {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics() {
        assert!(Topic::parse("catchment.flows_v1-x").is_ok());
        for wrong in ["", ".", "..", "a/b", &"x".repeat(250)] {
            assert!(Topic::parse(wrong).is_err(), "{wrong}");
        }
    }
}

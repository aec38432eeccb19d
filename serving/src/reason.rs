//! Errors of connections as one line that says what is wrong.
//!
//! What a person can act on (an unknown authority, a refused connection) is the innermost cause; tonic's own texts
//! ("transport error") say nothing.

use std::error::Error;

use tonic::{Code, Status};

/// Texts that only say that there is a cause.
const EMPTY: [&str; 3] = ["transport error", "tcp connect error", "error trying to connect"];

/// The error and its causes, each said once.
pub fn reason(error: &(dyn Error + 'static)) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if !EMPTY.contains(&text.as_str()) && !texts.iter().any(|said| said.contains(&text)) {
            // A wrapper commonly repeats its cause behind a text of its own: that one is enough.
            texts.retain(|said| !text.contains(said.as_str()));
            texts.push(text);
        }
        next = error.source();
    }
    match texts.is_empty() {
        true => error.to_string(),
        false => hinted(texts.join(": ")),
    }
}

/// What a failed call says: the server's message, or why there was none.
pub fn status_reason(status: &Status) -> String {
    match status.source() {
        // A status that was made here of a broken connection.
        Some(source) if matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Internal) => {
            reason(source)
        }
        _ if status.message().is_empty() => status.code().description().to_owned(),
        _ => status.message().to_owned(),
    }
}

/// Alerts by which a TLS peer says so; a signature that another authority of the same name made is none that it can read.
const REFUSALS: [&str; 6] = [
    "fatal alert: BadCertificate",
    "fatal alert: UnsupportedCertificate",
    "fatal alert: CertificateRevoked",
    "fatal alert: CertificateExpired",
    "fatal alert: CertificateUnknown",
    "fatal alert: DecryptError",
];

/// Adds what commonly is behind a text that says little.
fn hinted(text: String) -> String {
    let hint = if text.contains("InvalidContentType") {
        "one side speaks TLS and the other plain text: see http:// and https:// of the endpoint, and the server's certificate"
    } else if text.contains("UnknownIssuer") {
        "the certificate is not signed by an authority that this side was given"
    } else if text.contains("CertificateRequired") || text.contains("NoCertificatesPresented") {
        "a client certificate is required and none was sent"
    } else if text.contains("UnknownCA") {
        "the other side does not know the authority of the certificate that it was sent"
    } else if REFUSALS.iter().any(|alert| text.contains(alert)) {
        "the other side does not take the certificate that it was sent"
    } else {
        return text;
    };
    format!("{text} ({hint})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Layer {
        text: &'static str,
        source: Option<Box<Layer>>,
    }

    fn layers(texts: &[&'static str]) -> Layer {
        let (text, rest) = texts.split_first().expect("a text");
        Layer { text, source: (!rest.is_empty()).then(|| Box::new(layers(rest))) }
    }

    #[test]
    fn causes_are_said_once_and_empty_words_left_out() {
        let error = layers(&["transport error", "tcp connect error", "Connection refused (os error 111)"]);
        assert_eq!(reason(&error), "Connection refused (os error 111)");
        assert_eq!(reason(&layers(&["handshake: bad record", "bad record"])), "handshake: bad record");
        assert_eq!(reason(&layers(&["bad record", "handshake: bad record"])), "handshake: bad record");
        assert_eq!(reason(&layers(&["reading", "reset"])), "reading: reset");
        assert_eq!(reason(&layers(&["transport error"])), "transport error");
    }

    /// The words by which a caller knows that no later try will be better.
    #[test]
    fn a_refused_certificate_is_called_so() {
        for alert in ["DecryptError", "UnknownCA", "CertificateExpired", "CertificateRequired"] {
            let said = hinted(format!("received fatal alert: {alert}"));
            assert!(said.contains("certificate"), "{said}");
        }
        assert_eq!(
            hinted("received fatal alert: RecordOverflow".into()),
            "received fatal alert: RecordOverflow"
        );
    }

    #[test]
    fn a_status_says_its_message_or_its_code() {
        assert_eq!(status_reason(&Status::not_found("no node n9")), "no node n9");
        assert_eq!(status_reason(&Status::new(Code::Cancelled, "")), Code::Cancelled.description());
    }
}

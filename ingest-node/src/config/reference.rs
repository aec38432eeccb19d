//! Holds the model's declarations, docs/configuration.md and the environment's rules to each other.
//!
//! After a change to the model, `UPDATE_DOCS=1 cargo test -p ingest-node reference` writes the page anew.

use catchment_settings::{Catalogue, Program, reference};

use super::{Config, later};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");

#[test]
fn the_page_is_the_model() {
    let written = std::fs::read_to_string(PAGE).expect("docs/configuration.md");
    let made = reference::page(&written, &Catalogue::of::<Config>(), later::missing).expect("both marks");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(PAGE, made).expect("writable page");
    } else {
        assert!(
            written == made,
            "docs/configuration.md differs from the model; see the head of reference.rs"
        );
    }
}

#[test]
fn declarations_are_documented_and_agree_with_their_limits() {
    assert_eq!(Catalogue::mistakes::<Config>(), Vec::<String>::new());
}

#[test]
fn other_programs_know_which_variables_are_the_nodes() {
    assert_eq!(Program::differences(&Catalogue::of::<Config>()), Vec::<String>::new());
}

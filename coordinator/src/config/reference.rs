//! Holds the model's declarations, docs/coordinator-configuration.md and the environment's rules to each other.
//!
//! After a change to the model, `UPDATE_DOCS=1 cargo test -p coordinator reference` writes the page anew.

use catchment_settings::{Catalogue, Program, reference};

use super::Config;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/coordinator-configuration.md");

#[test]
fn the_page_is_the_model() {
    let written = std::fs::read_to_string(PAGE).expect("docs/coordinator-configuration.md");
    let made = reference::page(&written, &Catalogue::of::<Config>(), |_| None).expect("both marks");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(PAGE, made).expect("writable page");
    } else {
        assert!(written == made, "the page differs from the model; see the head of reference.rs");
    }
}

#[test]
fn declarations_are_documented_and_agree_with_their_limits() {
    assert_eq!(Catalogue::mistakes::<Config>(), Vec::<String>::new());
}

#[test]
fn other_programs_know_which_variables_are_the_coordinators() {
    assert_eq!(Program::differences(&Catalogue::of::<Config>()), Vec::<String>::new());
}

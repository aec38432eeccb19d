//! Replays the corpus of the fuzz target that reads values of the store (`fuzz/corpus`).

use std::fs;
use std::path::Path;

use coordinator::fuzzing;

/// The name of the input that panics is the last one printed.
#[test]
fn what_the_store_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/stored_scope");
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut count = 0;
    for entry in entries {
        let path = entry.expect("an entry").path();
        println!("{}", path.display());
        fuzzing::stored_scope(&fs::read(&path).expect("an input"));
        count += 1;
    }
    assert!(count > 0, "no corpus");
}

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| coordinator::fuzzing::stored_scope(bytes));

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| flow_decoder::fuzzing::datagram(bytes));

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| countermark::fuzzing::backup(data));

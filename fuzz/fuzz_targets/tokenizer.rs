//! For `cargo fuzz run tokenizer --features libfuzzer`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| trustformers_fuzz::tokenizer(bytes));

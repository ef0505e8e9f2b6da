//! For `cargo fuzz run gguf --features libfuzzer`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| trustformers_fuzz::gguf(bytes));

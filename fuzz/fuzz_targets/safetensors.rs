//! For `cargo +nightly fuzz run safetensors --features libfuzzer`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| trustformers_fuzz::safetensors(bytes));

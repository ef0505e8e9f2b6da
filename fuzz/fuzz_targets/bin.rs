//! For `cargo +nightly fuzz run bin --features libfuzzer`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| trustformers_fuzz::bin(bytes));

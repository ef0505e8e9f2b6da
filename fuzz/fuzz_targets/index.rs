//! For `cargo +nightly fuzz run index --features libfuzzer`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| trustformers_fuzz::index(bytes));

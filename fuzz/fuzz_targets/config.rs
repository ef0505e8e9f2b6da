//! For `cargo +nightly fuzz run config --features libfuzzer`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| trustformers_fuzz::config(bytes));

//! For `cargo +nightly fuzz run sentencepiece --features libfuzzer`.
#![no_main]

libfuzzer_sys::fuzz_target!(
    // The crate `tokenizers` panics and is caught at it: libFuzzer's own hook would end the process before that.
    init: std::panic::set_hook(Box::new(|_| ())),
    |bytes: &[u8]| trustformers_fuzz::sentencepiece(bytes)
);

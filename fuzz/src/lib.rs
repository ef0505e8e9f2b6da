//! What is thrown broken files at: functions that must come back from any bytes whatever, with tensors or an error.
//!
//! `make fuzz` runs them on stable Rust (`main.rs`); with a nightly compiler `cargo fuzz` runs the same ones guided by coverage.

// Here a panic is the finding, and the set-up may have its own.
#![allow(clippy::expect_used)]

use std::fs;
use std::path::Path;

use tempfile::TempDir;
use trustformers::gguf;
use trustformers::hub::Repo;
use trustformers::models::{Checkpoint, Config, Error, LoadOptions, MappedFile, Model, load_bin};
use trustformers::tensor::Tensor;
use trustformers::tokenizers::{Column, EncodeOptions, Settings, Tokenizer, Vocabulary, find_kind};

/// One reader of files.
pub struct Target {
    /// Its name, and that of its folder of seeds.
    pub name: &'static str,
    /// Reads the file with these bytes.
    pub run: fn(&[u8]),
    /// Where more seeds are: the files below this folder of the tests whose names end so.
    pub fixtures: (&'static str, &'static str),
    /// What the format is made of, to be put anywhere.
    pub words: &'static [&'static [u8]],
}

const JSON: &[&[u8]] = &[
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b":",
    b",",
    b"null",
    b"true",
    b"-1",
    b"0",
    b"1e999",
    b"0.5",
    b"18446744073709551615",
    b"9223372036854775808",
    b"4294967296",
    b"\\ud800",
    b"[[[[[[[[",
    b"{\"a\":",
    b"\"\"",
];

const PICKLE: &[&[u8]] = &[
    b"(",
    b")",
    b".",
    b"0",
    b"1",
    b"2",
    b"N",
    b"R",
    b"b",
    b"Q",
    b"]",
    b"}",
    b"a",
    b"e",
    b"s",
    b"u",
    b"t",
    b"\x81",
    b"\x85",
    b"\x86",
    b"\x87",
    b"\x93",
    b"\x94",
    b"K\xff",
    b"J\xff\xff\xff\x7f",
    b"J\xff\xff\xff\xff",
    b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f",
    b"h\x00",
    b"q\x01",
    b"cposix\nsystem\n",
    b"ccollections\nOrderedDict\n",
    b"ctorch\nFloatStorage\n",
    b"ctorch._utils\n_rebuild_tensor_v2\n",
    b"PK\x01\x02",
    b"PK\x03\x04",
    b"PK\x05\x06",
    b"PK\x06\x06",
    b"PK\x06\x07",
    b"\xff\xff\xff\xff",
    b"\xff\xff",
];

const GGUF: &[&[u8]] = &[
    b"GGUF",
    b"general.architecture",
    b"general.alignment",
    b"llama",
    b"gemma3",
    b"tokenizer.ggml.model",
    b"tokenizer.ggml.pre",
    b"gpt2",
    b"weight",
    b"\x00\x00\x00\x00",
    b"\x02\x00\x00\x00",
    b"\x08\x00\x00\x00",
    b"\x09\x00\x00\x00",
    b"\x0c\x00\x00\x00",
    b"\xff\xff\xff\xff",
    b"\x00\x00\x00\x00\x00\x00\x00\x00",
    b"\x01\x00\x00\x00\x00\x00\x00\x00",
    b"\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\xff\xff\xff\xff\xff\xff\xff\x7f",
];

const PIECES: &[&[u8]] = &[
    b"\x0a\x0e\x0a\x05",
    b"\x15\x00\x00\x80\x7f",
    b"\x15\x00\x00\xc0\x7f",
    b"\x18\x03",
    b"\x18\x04",
    b"\x12\x04",
    b"\x1a\x04",
    b"\x18\x01",
    b"\x18\x02",
    b"\xc0\x02\xff\xff\xff\xff\x0f",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
    b"\xff\xff\xff\xff",
    b"<unk>",
    b"<0x09>",
    b"\xe2\x96\x81",
];

const RANKS: &[&[u8]] =
    &[b"\n", b" ", b"=", b"==", b"YQ==", b"4294967295", b"4294967296", b"-1", b"0", b"IGE="];

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "bin", run: bin, fixtures: ("torch", ".bin"), words: PICKLE },
    Target { name: "config", run: config, fixtures: ("", "config.json"), words: JSON },
    Target { name: "gguf", run: gguf, fixtures: ("gguf", ".gguf"), words: GGUF },
    Target { name: "index", run: index, fixtures: ("", ".index.json"), words: JSON },
    Target { name: "safetensors", run: safetensors, fixtures: ("torch", ".safetensors"), words: JSON },
    Target {
        name: "sentencepiece",
        run: sentencepiece,
        fixtures: ("slow_tokenizers", ".model"),
        words: PIECES,
    },
    Target {
        name: "tiktoken",
        run: tiktoken,
        fixtures: ("slow_tokenizers/tiktoken", ".model"),
        words: RANKS,
    },
    Target { name: "tokenizer", run: tokenizer, fixtures: ("tokenizers", "tokenizer.json"), words: JSON },
];

/// `pytorch_model.bin`.
pub fn bin(bytes: &[u8]) {
    with_file("pytorch_model.bin", bytes, |path| load_bin(path).map(touch));
}

/// `model.safetensors`.
pub fn safetensors(bytes: &[u8]) {
    with_file("model.safetensors", bytes, |path| MappedFile::open(path)?.tensors().map(touch));
}

/// `model.gguf`: the model, every number of it, and the tokenizer.
pub fn gguf(bytes: &[u8]) {
    with_file("model.gguf", bytes, |path| {
        if let Ok(file) = gguf::File::open(path) {
            let tokenizer = Tokenizer::from_gguf(&file);
            let encode =
                |tokenizer: &Tokenizer| tokenizer.encode_batch(&["Hello".into()], &EncodeOptions::default());
            let _ = tokenizer.map(|(tokenizer, _)| encode(&tokenizer));
        }
        let config = Config::from_gguf(path)?;
        let checkpoint = Checkpoint::from_gguf(path)?;
        for parameter in checkpoint.tensors.values().filter(|parameter| parameter.numel() < 1 << 20) {
            let _ = parameter.tensor()?.to_bytes();
        }
        Model::from_checkpoint(checkpoint, config, &LoadOptions::default()).map(drop)
    });
}

/// `model.safetensors.index.json`, beside one shard without tensors.
pub fn index(bytes: &[u8]) {
    with_file("model.safetensors.index.json", bytes, |path| {
        let folder = beside(path, "model-00001-of-00001.safetensors");
        Checkpoint::from_repo(&Repo::open(folder, Default::default())?, None, None).map(drop)
    });
}

/// `config.json`, beside weights without tensors: so models are built, and none is loaded.
pub fn config(bytes: &[u8]) {
    with_file("config.json", bytes, |path| Model::from_folder(beside(path, "model.safetensors")).map(drop));
}

/// `tokenizer.json`, and a text for what comes of it.
pub fn tokenizer(bytes: &[u8]) {
    if let Ok(tokenizer) = Tokenizer::from_json(bytes) {
        let _ = tokenizer.encode_batch(&["Hello, world! déjà 123".into()], &EncodeOptions::default());
    }
}

/// A SentencePiece model, as Llama's, Gemma's and XLM-RoBERTa's tokenizers read it.
pub fn sentencepiece(bytes: &[u8]) {
    for class in ["LlamaTokenizer", "GemmaTokenizer", "XLMRobertaTokenizer", "PegasusTokenizer"] {
        model(class, bytes);
    }
}

/// tiktoken's file.
pub fn tiktoken(bytes: &[u8]) {
    model("LlamaTokenizer", bytes);
}

/// A `.model` file for a class of tokenizers, and a text for what comes of it.
fn model(class: &str, bytes: &[u8]) {
    let kind = find_kind(class).expect("the class is known");
    let Ok(vocabulary) = Vocabulary::from_model(bytes) else { return };
    if let Ok(tokenizer) = Tokenizer::from_vocabulary(kind, vocabulary, &Settings::new()) {
        let batch = tokenizer.encode_batch(&["Hello, world! déjà\t ﬁ 123".into()], &EncodeOptions::default());
        let _ = batch.and_then(|batch| batch.ids(Column::InputIds));
    }
}

/// Runs `read` on a file with these bytes, in a folder of its own. That it refuses the file is as good as that it reads it.
fn with_file(name: &str, bytes: &[u8], read: impl FnOnce(&Path) -> Result<(), Error>) {
    FOLDER.with(|folder| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).expect("the temporary folder can be written");
        let _ = read(&path);
    });
}

thread_local! {
    static FOLDER: TempDir = tempfile::tempdir().expect("there is a temporary folder");
}

/// A safetensors file without tensors beside `path`; returns the folder.
fn beside<'a>(path: &'a Path, name: &str) -> &'a Path {
    let folder = path.parent().expect("the file is in a folder");
    fs::write(folder.join(name), b"\x08\0\0\0\0\0\0\0{}      ").expect("the temporary folder can be written");
    folder
}

/// Reads every element, so that a tensor beyond its file shows.
fn touch(tensors: Vec<(String, Tensor)>) {
    for (_, tensor) in tensors {
        // A view may repeat few bytes very often.
        if tensor.numel() < 1 << 20 {
            let _ = tensor.to_bytes();
        }
    }
}

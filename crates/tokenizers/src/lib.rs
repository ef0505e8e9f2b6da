//! Text to ids and back: the tokenizers that `tokenizer.json` describes, one of them shared by any number of threads.
//!
//! The parts of a tokenizer (normalizer, pre-tokenizer, model, post-processor, decoder) are those of the crate
//! [`tokenizers`], so the ids are the same. What differs is where padding and truncation live: there they are
//! settings of the tokenizer that every call overwrites, here they travel with the call, in [`EncodeOptions`]. A [`Tokenizer`] has no
//! state that a call could change.
//!
//! ```
//! # fn main() -> trustformers_tokenizers::Result<()> {
//! use trustformers_tokenizers::{BertOptions, Column, EncodeOptions, PaddingParams, Tokenizer, TruncationParams};
//!
//! let vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hello", "world", "##s"];
//! let tokenizer = Tokenizer::from_bert_vocab(vocab, &BertOptions::default())?;
//! let options = EncodeOptions {
//!     truncation: Some(TruncationParams { max_length: 4, ..Default::default() }),
//!     padding: Some(PaddingParams::default()),
//!     ..Default::default()
//! };
//! let batch = tokenizer.encode_batch(&["Hello worlds".into(), "world".into()], &options)?;
//! assert_eq!(batch.ids(Column::InputIds)?, [[2, 5, 6, 3], [2, 6, 3, 0]].concat());
//! # Ok(())
//! # }
//! ```

mod base64;
mod batch;
mod bert;
mod bounded;
mod chat;
mod encode;
mod error;
mod file;
mod gguf;
mod json;
mod memory;
mod merges;
mod model;
mod pieces;
mod python;
mod slow;
mod steps;
mod threads;
mod tokenizer;
mod train;
mod truncate;

pub use batch::{Batch, Column};
pub use bert::BertOptions;
pub use chat::{Clock, Rendered, chat_template_texts, render_chat};
pub use encode::{EncodeOptions, Input, Sequence};
pub use error::{Error, Result};
pub use gguf::GgufSettings;
pub use memory::check_memory;
pub use slow::{Bpe, Kind, Languages, Settings, Vocabulary, find_kind, kinds};
pub use tokenizer::Tokenizer;
pub use tokenizers::normalizers::BertNormalizer;
pub use tokenizers::{
    AddedToken, Encoding, PaddingDirection, PaddingParams, PaddingStrategy, TruncationDirection,
    TruncationParams, TruncationStrategy,
};
pub use train::Training;

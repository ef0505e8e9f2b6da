//! What can go wrong between text and ids, each with what to do about it.

use std::any::Any;
use std::error::Error as StdError;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use trustformers_gguf as gguf;

/// The result of working with a tokenizer.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a tokenizer could not be made, or could not do its work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file that cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },

    /// Content that is no tokenizer.
    #[error("{origin} is not a tokenizer: {reason}. Check that it was copied or downloaded whole")]
    Format {
        /// The file, or what else the content came from.
        origin: String,
        /// What is wrong with it.
        reason: String,
    },

    /// A GGUF file that cannot be used.
    #[error(transparent)]
    Gguf(Box<gguf::Error>),

    /// Tokens that cannot be added.
    #[error("these tokens cannot be added: {0}")]
    Tokens(String),

    /// A template that cannot be used.
    #[error("this template of special tokens cannot be used: {0}")]
    Template(String),

    /// A chat template that cannot be rendered, or that refuses the conversation.
    #[error("{0}")]
    Chat(String),

    /// `max_length` does not even hold the special tokens.
    #[error(
        "max_length={max_length} leaves no room for the {special} special tokens of each sequence: raise max_length, \
         or encode with add_special_tokens=False"
    )]
    NoRoom {
        /// The length asked for.
        max_length: usize,
        /// How many special tokens there are.
        special: usize,
    },

    /// Parts would overlap by all that they can hold.
    #[error(
        "stride={stride} is too large: each part holds {room} tokens of its sequence (max_length={max_length} without \
         special tokens), and stride must be smaller than that. Lower stride or raise max_length"
    )]
    Stride {
        /// The overlap asked for.
        stride: usize,
        /// The tokens of a sequence that one part holds.
        room: usize,
        /// The length asked for.
        max_length: usize,
    },

    /// The second sequence is to be truncated and there is none.
    #[error(
        "Truncation error: Second sequence not provided, but truncation='only_second' was asked for. Use truncation=True \
         for single sequences"
    )]
    NoSecondSequence,

    /// The one sequence that may be truncated cannot make up for the other one.
    #[error(
        "Truncation error: Sequence to truncate too short to respect the provided max_length ({max_length}): it has \
         {length} tokens and {excess} must go. Raise max_length, or let both sequences be cut with \
         truncation='longest_first'"
    )]
    TooShort {
        /// The length asked for.
        max_length: usize,
        /// The length of the sequence that may be cut.
        length: usize,
        /// How many tokens are too many.
        excess: usize,
    },

    /// Two sequences overflow into more parts than anybody can want.
    #[error(
        "the two sequences overflow into {first} times {second} parts, each with each: cut only one of them with \
         truncation='only_first' or 'only_second', or raise max_length"
    )]
    TooManyParts {
        /// How many parts the first sequence has.
        first: usize,
        /// How many parts the second sequence has.
        second: usize,
    },

    /// Rows of different lengths where one array was asked for.
    #[error(
        "the sequences have different lengths ({shortest} to {longest} tokens), so they are not one array"
    )]
    Ragged {
        /// The length of the shortest row.
        shortest: usize,
        /// The length of the longest row.
        longest: usize,
    },

    /// More padding than any memory holds.
    #[error(
        "padding to {length} tokens is more than any memory holds: lower max_length or pad_to_multiple_of"
    )]
    TooLong {
        /// The length asked for.
        length: usize,
    },

    /// Less memory than the rows take.
    #[error(
        "there is no memory for {bytes} bytes of tokens: lower max_length or pad_to_multiple_of, or encode fewer texts at once"
    )]
    OutOfMemory {
        /// How much was asked for.
        bytes: usize,
    },

    /// A row that is not in the batch.
    #[error("row {row} of a batch of {rows}")]
    Row {
        /// The index asked for.
        row: usize,
        /// How many rows there are.
        rows: usize,
    },

    /// A part of the tokenizer refused its input.
    #[error(transparent)]
    Part(#[from] Box<dyn StdError + Send + Sync>),

    /// A part of the tokenizer panicked: its settings contradict each other.
    #[error(
        "a part of this tokenizer failed ({0}): the settings in its tokenizer.json contradict each other"
    )]
    Panicked(String),

    /// The threads that encode could not be had.
    #[error(transparent)]
    Threads(#[from] trustformers_tensor::Error),
}

/// Runs parts of the `tokenizers` crate. Some settings that a file can hold make them panic (`Strip` with a `stop` beyond the token does
/// while decoding); what input can reach must be an error.
pub(crate) fn guard<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(Error::Panicked(message(panic.as_ref()))))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("unknown reason").to_owned()
}

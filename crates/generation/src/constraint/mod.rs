//! Output that keeps to a grammar: a JSON schema, a regular expression, or a grammar in llguidance's language.
//!
//! A [`Vocabulary`] is the tokens of a tokenizer in a tree, a [`Grammar`] is compiled over one, and a [`Constraint`] is the logits processor
//! that leaves those tokens that go on as the grammar has it, and the end where a text is complete. A text that a limit of length cuts
//! is the beginning of one that the grammar allows.

mod format;
mod grammar;
mod place;
mod processor;
#[cfg(test)]
mod tests;
mod vocabulary;

pub use format::ResponseFormat;
pub use grammar::Grammar;
pub use processor::Constraint;
pub use vocabulary::Vocabulary;

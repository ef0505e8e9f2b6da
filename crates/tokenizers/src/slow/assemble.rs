//! From a vocabulary and a row of the table to a tokenizer.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokenizers::models::bpe::BPE;
use tokenizers::models::unigram::Unigram;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::{Precompiled, Sequence as Normalizers};
use tokenizers::{AddedToken, ModelWrapper, NormalizerWrapper, PostProcessorWrapper};

use super::kind::{BpeOptions, Layout, Processor, Reads, Step, flag, token};
use super::sentencepiece::{Algorithm, SentencePiece, Use};
use super::{Bpe, Content, Kind, Read, Settings, Vocabulary};
use crate::error::guard;
use crate::merges::{Vocab, implied};
use crate::model::{Ids, Model};
use crate::{Error, Result, Tokenizer};

/// How text is split before tiktoken's merges: Llama 3's expression, which transformers takes for all.
const TIKTOKEN: [Step; 2] = [
    Step::Part(
        r#"{"type": "Split", "behavior": "Isolated", "invert": false, "pattern": {"Regex":
            "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}}"#,
    ),
    Step::Part(
        r#"{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}"#,
    ),
];
const BYTE_LEVEL: [Step; 1] = [Step::Part(
    r#"{"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true}"#,
)];

impl Tokenizer {
    /// A tokenizer of a kind over a vocabulary. Its special tokens are added by [`with_tokens`](Self::with_tokens), those that the
    /// vocabulary lacks behind all others, and then placed by [`with_special_tokens_of`](Self::with_special_tokens_of).
    ///
    /// # Errors
    /// [`Error::Format`] for a vocabulary that contradicts itself or that the kind is not made from.
    pub fn from_vocabulary(kind: &Kind, vocabulary: Vocabulary, settings: &Settings) -> Result<Self> {
        let settings = &completed(kind, &with_spaces(&vocabulary, settings));
        guard(|| assemble(kind, vocabulary, settings)).map_err(|error| match error {
            error @ Error::Format { .. } => error,
            other => {
                let origin = format!("this vocabulary of a {}", kind.class);
                Error::Format { origin, reason: other.to_string() }
            }
        })
    }

    /// This tokenizer with special tokens around sequences as its kind places them; as it is if it is for others to say.
    ///
    /// # Errors
    /// [`Error::Template`] if a special token cannot stand in a template, as one with a space cannot.
    pub fn with_special_tokens_of(&self, kind: &Kind, settings: &Settings) -> Result<Self> {
        let settings = &completed(kind, settings);
        let part: Value = match &kind.processor {
            Processor::Asked => return Ok(self.clone()),
            Processor::Template(single, pair) => {
                let [single, pair] = [single, pair].map(|template| filled(template, settings));
                let tokens = single.split(' ').chain(pair.split(' ')).filter(|piece| !piece.starts_with('$'));
                let tokens =
                    tokens.filter_map(|piece| piece.rsplit_once(':')).map(|(token, _)| token.to_owned());
                let ids = tokens.filter_map(|token| Some((token.clone(), self.token_to_id(&token)?)));
                return self.with_template(&single, &pair, &ids.collect::<Vec<_>>());
            }
            Processor::Part(part) => serde_json::from_str(part).map_err(|error| Error::Part(error.into()))?,
            Processor::Roberta => {
                let placed = |name: &str| {
                    let token = token(settings, name).unwrap_or_default();
                    self.token_to_id(token).map(|id| json!([token, id]))
                };
                let (Some(cls), Some(sep)) = (placed("cls_token"), placed("sep_token")) else {
                    return Err(Error::Template(
                        "cls_token and sep_token are not in the vocabulary".to_owned(),
                    ));
                };
                json!({"type": "RobertaProcessing", "cls": cls, "sep": sep, "trim_offsets": true,
                    "add_prefix_space": flag(settings, "add_prefix_space")})
            }
        };
        let processor: PostProcessorWrapper = part_of(part)?;
        Ok(self.clone().post_processed(Some(processor)))
    }
}

impl Kind {
    /// Whether no `tokenizer.json` can say what a tokenizer of this kind is.
    pub fn vocabulary_only(&self) -> bool {
        matches!(self.reads, Reads::SentencePieceAndIds)
    }

    /// The special tokens without a name that a tokenizer of this kind has.
    pub fn extra_special_tokens(&self, settings: &Settings) -> Vec<String> {
        (self.extra)(&completed(self, settings))
    }
}

/// The settings with defaults for what is not said, and with what follows from others.
fn completed(kind: &Kind, settings: &Settings) -> Settings {
    // The table is checked by a test.
    let mut all: Settings = serde_json::from_str(kind.keywords).unwrap_or_default();
    for value in all.values_mut() {
        if let Some(content) = value.get("content") {
            *value = content.clone();
        }
    }
    for (name, value) in settings {
        all.insert(name.clone(), value.clone());
    }
    if matches!(kind.reads, Reads::SentencePiece { .. }) {
        for name in ["add_prefix_space", "legacy"] {
            if all.get(name).is_none_or(Value::is_null) {
                all.insert(name.to_owned(), Value::Bool(true));
            }
        }
        let (prefix, legacy) = (flag(&all, "add_prefix_space"), flag(&all, "legacy"));
        let scheme = if !prefix {
            "never"
        } else if legacy {
            "always"
        } else {
            "first"
        };
        all.insert("prepend_scheme".to_owned(), scheme.into());
        all.insert("legacy_prefix".to_owned(), (legacy && prefix).into());
        let dummy = flag(&all, "add_dummy_prefix");
        all.insert("legacy_dummy_prefix".to_owned(), (legacy && dummy).into());
    }
    all
}

/// The settings with what a SentencePiece model says of spaces, unless something else is said.
fn with_spaces(vocabulary: &Vocabulary, settings: &Settings) -> Settings {
    let mut settings = settings.clone();
    if let Vocabulary::File(Content(Read::SentencePiece(read))) = vocabulary {
        let said = [("remove_extra", read.spaces.remove_extra), ("escape", read.spaces.escape)];
        settings.extend(said.map(|(name, flag)| (name.to_owned(), flag.into())));
        settings.entry("add_dummy_prefix").or_insert(read.spaces.add_dummy_prefix.into());
    }
    settings
}

fn assemble(kind: &Kind, vocabulary: Vocabulary, settings: &Settings) -> Result<Tokenizer> {
    let mut charsmap = Vec::new();
    let mut marked = Vec::new();
    let mut steps = (kind.normalizer, kind.pre_tokenizer, kind.decoder);
    let model: Model = match (vocabulary, kind.reads) {
        (Vocabulary::Ids(vocab), Reads::WordPiece) => {
            let unknown = token(settings, "unk_token").unwrap_or("[UNK]").to_owned();
            ModelWrapper::from(WordPiece::builder().vocab(vocab).unk_token(unknown).build()?).into()
        }
        (Vocabulary::Bpe(files), Reads::Bpe(options)) => bpe(files, options, settings)?.into(),
        (Vocabulary::Bpe(pieces), Reads::SentencePiece { bytes, .. }) => {
            let unknown = token(settings, "unk_token").unwrap_or("<unk>");
            joined_pieces(pieces, unknown, bytes)?.into()
        }
        (Vocabulary::Pieces(pieces), Reads::SentencePiece { bytes, .. }) => {
            let unknown = token(settings, "unk_token").unwrap_or("<unk>");
            let unknown = pieces.iter().position(|(piece, _)| piece == unknown);
            ModelWrapper::from(Unigram::from(pieces, unknown, bytes)?).into()
        }
        (Vocabulary::File(Content(Read::SentencePiece(read))), Reads::SentencePiece { bytes, tab }) => {
            let layout = (kind.layout)(settings);
            marked = marked_pieces(&read, layout.special);
            let model = pieces(&read, layout, bytes, tab, settings)?;
            charsmap = read.charsmap;
            model.into()
        }
        (Vocabulary::File(Content(Read::Tiktoken(ranks))), Reads::SentencePiece { .. }) => {
            steps = (&[], &TIKTOKEN, &BYTE_LEVEL);
            let model = BPE::builder().vocab_and_merges(ranks.vocab, ranks.merges).ignore_merges(true);
            ModelWrapper::from(model.build()?).into()
        }
        (Vocabulary::File(Content(Read::WithIds(mut read, ids))), Reads::SentencePieceAndIds) => {
            // No text is `<s>`, and the place of a piece does not count here.
            read.unk_id = None;
            read.pieces.retain(|piece| piece.used != Use::Control);
            let unknown = token(settings, "unk_token").unwrap_or("<unk>");
            let unknown = *ids.get(unknown).ok_or_else(|| {
                Error::Part(format!("its vocab.json does not have the unknown token, {unknown:?}").into())
            })?;
            let model = pieces(&read, Layout::default(), false, false, settings)?;
            charsmap = read.charsmap;
            Model::with_ids(model, Ids::new(ids, unknown, kind.languages.is_none()))
        }
        _ => {
            let reason = format!("a {} is made from other files", kind.class);
            return Err(Error::Part(reason.into()));
        }
    };
    let normalizer = normalizer(steps.0, settings, &charsmap)?;
    let pre_tokenizer = part(steps.1, settings, "pretokenizers")?;
    let decoder = part(steps.2, settings, "decoders")?;
    let tokenizer = Tokenizer::from_parts(model, normalizer, pre_tokenizer, decoder);
    Ok(tokenizer.with_tokens(marked)?.0)
}

fn bpe(files: Bpe, options: BpeOptions, settings: &Settings) -> Result<ModelWrapper> {
    let mut model = BPE::builder().vocab_and_merges(files.vocab, files.merges);
    if options.unknown {
        model = model.unk_token(token(settings, "unk_token").unwrap_or("<unk>").to_owned());
    }
    if !options.suffix.is_empty() {
        model = model.end_of_word_suffix(options.suffix.to_owned());
    }
    Ok(model.build()?.into())
}

fn joined_pieces(pieces: Bpe, unknown: &str, bytes: bool) -> Result<ModelWrapper> {
    let model = BPE::builder().vocab_and_merges(pieces.vocab, pieces.merges);
    let model = model.unk_token(unknown.to_owned()).fuse_unk(true).byte_fallback(bytes);
    Ok(model.build()?.into())
}

/// The model of a SentencePiece file's pieces, laid out as a kind has them.
fn pieces(
    read: &SentencePiece,
    layout: Layout,
    bytes: bool,
    tab: bool,
    settings: &Settings,
) -> Result<ModelWrapper> {
    let own = read.pieces.iter().skip(layout.replaced);
    let own = own.map(|piece| {
        let punished = layout.numbers_without_commas && ends_a_number(&piece.text);
        (piece.text.clone(), f64::from(piece.score) - if punished { 100.0 } else { 0.0 })
    });
    let mut pieces: Vec<(String, f64)> = layout.before.into_iter().chain(own).collect();
    pieces.extend(layout.after.into_iter().map(|token| (token, 0.0)));
    let has_tab = pieces.iter().any(|(piece, _)| piece == "\t");
    if tab
        && !has_tab
        && let Some(byte) = pieces.iter_mut().find(|(piece, _)| piece == "<0x09>")
    {
        *byte = ("\t".to_owned(), 0.0);
    }
    if read.algorithm == Algorithm::Unigram {
        let named = read.unk_id.and_then(|id| read.pieces.get(id)).map(|piece| piece.text.as_str());
        let names = [named, token(settings, "unk_token")];
        let unknown =
            names.into_iter().flatten().find_map(|name| pieces.iter().position(|(piece, _)| piece == name));
        return Ok(Unigram::from(pieces, unknown, bytes)?.into());
    }
    // The merges are those of the file's own pieces, in the order of the scores that the laid out ones have.
    let mut own: Vocab = read.pieces.iter().map(|piece| piece.text.clone()).zip(0..).collect();
    if tab && let Some(&byte) = own.get("<0x09>") {
        own.entry("\t".to_owned()).or_insert(byte);
    }
    let (texts, scores): (Vec<String>, Vec<f64>) = pieces.into_iter().unzip();
    let merges = implied(&own, &texts, |index| scores[index]);
    let vocab = texts.into_iter().zip(0..).collect();
    joined_pieces(Bpe { vocab, merges }, &read.unk_piece, bytes)
}

/// The pieces that are found whole in a text; control pieces are special.
fn marked_pieces(read: &SentencePiece, special: &[&str]) -> Vec<AddedToken> {
    let marked = read.pieces.iter().filter(|piece| matches!(piece.used, Use::Control | Use::UserDefined));
    let token = |text: &str, control: bool| {
        AddedToken::from(text, control || special.contains(&text)).normalized(false)
    };
    marked.map(|piece| token(&piece.text, piece.used == Use::Control)).collect()
}

/// `1,` and the like, which ALBERT's tokenizer takes apart.
fn ends_a_number(piece: &str) -> bool {
    let mut characters = piece.chars().rev();
    characters.next() == Some(',') && characters.next().is_some_and(char::is_numeric)
}

/// The steps that apply, with the values of settings in them.
fn chosen(steps: &[Step], settings: &Settings) -> Result<Vec<Option<Value>>> {
    let asked = steps.iter().filter_map(|step| match step {
        Step::Part(part) => Some(Some(*part)),
        Step::If(name, part) => flag(settings, name).then_some(Some(*part)),
        Step::Unless(name, part) => (!flag(settings, name)).then_some(Some(*part)),
        Step::Charsmap => Some(None),
    });
    asked
        .map(|part| {
            let Some(part) = part else { return Ok(None) };
            let mut part: Value = serde_json::from_str(part).map_err(|error| Error::Part(error.into()))?;
            for value in part.as_object_mut().into_iter().flat_map(|fields| fields.values_mut()) {
                if let Some(name) = value.as_str().and_then(|text| text.strip_prefix('$')) {
                    *value = settings.get(name).cloned().unwrap_or(Value::Null);
                }
            }
            Ok(Some(part))
        })
        .collect()
}

fn part<T: DeserializeOwned>(steps: &[Step], settings: &Settings, several: &str) -> Result<Option<T>> {
    let mut parts: Vec<Value> = chosen(steps, settings)?.into_iter().flatten().collect();
    let part = match parts.len() {
        0 => return Ok(None),
        1 => parts.remove(0),
        _ => json!({"type": "Sequence", several: parts}),
    };
    part_of(part).map(Some)
}

fn normalizer(steps: &[Step], settings: &Settings, charsmap: &[u8]) -> Result<Option<NormalizerWrapper>> {
    let mut parts: Vec<NormalizerWrapper> = Vec::new();
    for part in chosen(steps, settings)? {
        match part {
            Some(part) => parts.push(part_of(part)?),
            None if charsmap.is_empty() => {}
            None => {
                let rules = Precompiled::from(charsmap);
                parts.push(rules.map_err(|error| Error::Part(error.to_string().into()))?.into());
            }
        }
    }
    Ok(match parts.len() {
        0 => None,
        1 => parts.pop(),
        _ => Some(Normalizers::new(parts).into()),
    })
}

fn part_of<T: DeserializeOwned>(part: Value) -> Result<T> {
    serde_json::from_value(part).map_err(|error| Error::Part(error.into()))
}

/// A template with the special tokens in it.
fn filled(template: &str, settings: &Settings) -> String {
    let names = ["cls_token", "sep_token", "eos_token"];
    names.iter().fold(template.to_owned(), |template, name| {
        template.replace(&format!("{{{name}}}"), token(settings, name).unwrap_or_default())
    })
}

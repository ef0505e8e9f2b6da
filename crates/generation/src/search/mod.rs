//! From a prompt to texts: what all ways of searching share.

mod assisted;
mod beams;
mod contrastive;
mod record;
mod steps;

use trustformers_models::{Cache, Family, Inputs, Model, Outputs, Text};
use trustformers_tensor::ops::StoreForm;
use trustformers_tensor::{Generator, Tensor};

use crate::config::GenerationConfig;
use crate::decoder::{Decoder, index_of, rows, table};
use crate::error::{Error, setting};
use crate::processors::{Chain, Guidance, LogitsProcessor, Prompt};
use crate::stopping::{EndToken, MaxLength, MaxTime, StopStrings, StoppingCriterion, Stops};
use crate::{Result, Scores};
use record::Record;

/// Where tokens go as they are chosen.
pub trait Streamer: Send {
    /// Takes a token for each of some sequences, or, first of all, their prompts: (rows) or (rows, length).
    ///
    /// # Errors
    /// Its own, which end the generation.
    fn put(&mut self, tokens: &Tensor) -> Result<()>;

    /// Takes the end.
    ///
    /// # Errors
    /// Its own.
    fn end(&mut self) -> Result<()>;
}

/// What is to be generated, beside the settings.
#[derive(Default)]
pub struct Request<'r> {
    /// The prompt: `text` of a decoder; of an encoder-decoder, `text` is the source, or `encoder_hidden_states` with its mask, and
    /// `decoder` what the text begins with, if not with the configuration's token.
    pub inputs: Inputs,
    /// transformers' `past_key_values`: what has been read already, the beginning of the prompt or what came before it.
    pub cache: Option<Cache>,
    /// What changes scores, beside what the settings ask for.
    pub processors: Vec<Box<dyn LogitsProcessor + 'r>>,
    /// What may come at all; it stands between what keeps a text from ending and what forces tokens.
    pub constraint: Option<Box<dyn LogitsProcessor + 'r>>,
    /// What ends the generation, beside what the settings ask for.
    pub criteria: Vec<Box<dyn StoppingCriterion + 'r>>,
    /// For `stop_strings`: the texts of all tokens by number.
    pub pieces: Option<std::sync::Arc<Vec<Vec<u8>>>>,
    /// Where tokens go as they are chosen.
    pub streamer: Option<Box<dyn Streamer + 'r>>,
    /// A smaller model of the same vocabulary that drafts (Leviathan et al. 2023), and its settings.
    pub assistant: Option<(&'r Model, GenerationConfig)>,
    /// What to keep away from, with `guidance_scale`.
    pub negative: Option<Text>,
}

/// What has been generated: transformers' `GenerateDecoderOnlyOutput` and its siblings.
#[derive(Default)]
pub struct Generated {
    /// (texts, length) token numbers, int64, prompts included.
    pub sequences: Option<Tensor>,
    /// The sum of the logarithms of probabilities of each text over a power of its length: (texts). Of beams, where scores are asked
    /// for.
    pub sequences_scores: Option<Tensor>,
    /// Which beam each token comes from, -1 behind the end: (texts, length), int32.
    pub beam_indices: Option<Tensor>,
    /// The processed scores of every step, (rows, vocabulary) each.
    pub scores: Option<Vec<Tensor>>,
    /// The logits of every step.
    pub logits: Option<Vec<Tensor>>,
    /// Hidden states of every step, one for each layer.
    pub hidden_states: Option<Vec<Vec<Tensor>>>,
    /// Attention probabilities of every step, one for each layer.
    pub attentions: Option<Vec<Vec<Tensor>>>,
    /// Those over the source.
    pub cross_attentions: Option<Vec<Vec<Tensor>>>,
    /// The encoder's hidden states.
    pub encoder_hidden_states: Option<Vec<Tensor>>,
    /// The encoder's attention probabilities.
    pub encoder_attentions: Option<Vec<Tensor>>,
    /// The keys and values of what has been read.
    pub cache: Option<Cache>,
}

/// A generation under way.
struct Session<'r> {
    config: &'r GenerationConfig,
    generator: &'r Generator,
    decoder: Decoder<'r>,
    chain: Chain<'r>,
    stops: Stops<'r>,
    streamer: Option<Box<dyn Streamer + 'r>>,
    record: Record,
    /// The sequences so far, prompts included: one for each prompt until the first step has been read.
    sequences: Vec<Vec<i64>>,
    /// What an encoder reads, for an assistant that has one too.
    source: Text,
    /// How many texts are written for each prompt.
    copies: usize,
    greatest_length: usize,
}

/// Writes texts behind a prompt.
///
/// Which way depends on the settings, as in transformers: the likeliest token or a drawn one at every step, beams, contrastive search
/// (`penalty_alpha`), or drafts that are verified, by an assistant or from the prompt itself.
///
/// # Errors
/// `Setting` for settings that cannot be or contradict one another, `Model` for inputs that do not fit the model, `Runtime` for scores
/// that nothing can be drawn from, `Callback` for what the caller's own parts raise.
pub fn generate(
    model: &Model,
    config: &GenerationConfig,
    request: Request,
    generator: &Generator,
) -> Result<Generated> {
    config.check()?;
    let Request { inputs, cache, processors, constraint, criteria, pieces, streamer, assistant, negative } =
        request;
    let is_assisted = assistant.is_some() || config.prompt_lookup_num_tokens.is_some();
    let alpha = config.penalty_alpha.filter(|&alpha| alpha > 0.0 && config.top_k.unwrap_or(50) > 1);
    let is_contrastive = alpha.is_some() && !config.samples() && config.beams() == 1 && !is_assisted;

    let encoder_text = inputs.text.clone();
    let Prepared { mut inputs, encoded, source } = prepared(model, config, inputs)?;
    inputs.output_hidden_states = config.output_hidden_states == Some(true) || is_contrastive;
    inputs.output_attentions = config.output_attentions == Some(true);
    let (text, family) = (&inputs.text, model.family());
    let prompt = if family == Family::EncoderDecoder { &inputs.decoder } else { text };
    let sequences = match (&prompt.ids, &prompt.embeds) {
        (Some(ids), _) => rows(ids)?,
        (None, Some(embeds)) => vec![Vec::new(); embeds.shape()[0]],
        (None, None) => {
            return setting("there is nothing to begin with: neither a prompt nor a bos_token_id");
        }
    };
    let length = sequences.first().map_or(0, Vec::len);
    let positions = model.config().size("max_position_embeddings").ok();
    let greatest_length = config.greatest_length(length, positions);
    if length >= greatest_length {
        let name = if family == Family::EncoderDecoder { "decoder_input_ids" } else { "input_ids" };
        return setting(format!(
            "Input length of {name} is {length}, but `max_length` is set to {greatest_length}. This can lead to unexpected \
             behavior. You should consider increasing `max_length` or, better yet, setting `max_new_tokens`."
        ));
    }

    let has_embeds = prompt.embeds.is_some();
    let uses_cache = config.use_cache.unwrap_or(true) || has_embeds || is_assisted || is_contrastive;
    let cache = uses_cache.then(|| {
        let mut cache = cache.unwrap_or_default();
        if config.cache_implementation.as_deref() == Some("quantized") {
            cache.keep_as(StoreForm::Int8);
        }
        // Room for all at once, unless that is much more than may ever be needed.
        cache.reserve(greatest_length.min(length + ROOM));
        cache
    });
    if family == Family::EncoderDecoder && config.guidance().is_some() {
        return setting(
            "`guidance_scale` is for models without an encoder: an encoder-decoder has no prompt to leave out",
        );
    }
    let guidance = config.guidance().map(|scale| Guidance::new(scale, model, &inputs, negative, uses_cache));
    let decoder = Decoder::new(model, inputs, cache, length)?;

    let copies = config.beams().max(config.texts());
    let padding = repeat_all(&decoder.padding(), copies);
    let source = source.as_deref().map(|source| repeat_all(source, copies));
    let chain = Chain::new(
        config,
        Prompt {
            length,
            padding: &padding,
            source: source.as_deref(),
            greatest_length,
            vocabulary: model.config().count("vocab_size")?,
        },
        guidance,
        constraint,
        processors,
    )?;
    let mut defaults: Vec<Box<dyn StoppingCriterion>> = vec![Box::new(MaxLength(greatest_length))];
    if let Some(seconds) = config.max_time {
        defaults.push(Box::new(MaxTime::new(seconds)));
    }
    if let Some(strings) = config.stop_strings.as_deref().filter(|strings| !strings.is_empty()) {
        let missing =
            || Error::Setting("stop_strings need the texts of the tokens: pass the tokenizer".into());
        defaults.push(Box::new(StopStrings::new(strings, pieces.ok_or_else(missing)?)));
    }
    if !config.ends().is_empty() {
        defaults.push(Box::new(EndToken(config.ends().to_vec())));
    }
    let mut session = Session {
        config,
        generator,
        decoder,
        chain,
        stops: Stops::new(defaults, criteria),
        streamer,
        record: Record::new(config),
        sequences,
        source: encoder_text,
        copies,
        greatest_length,
    };
    if let Some(streamer) = &mut session.streamer {
        streamer.put(&table(repeat_all(&session.sequences, copies))?)?;
    }
    let mut generated = match alpha.filter(|_| is_contrastive) {
        Some(alpha) => session.contrastive(alpha as f32)?,
        None if config.beams() > 1 => session.beams()?,
        None if is_assisted => session.assisted(assistant)?,
        None => session.steps()?,
    };
    generated.encoder_hidden_states = encoded.encoder_hidden_states;
    generated.encoder_attentions = encoded.encoder_attentions;
    Ok(generated)
}

/// More than so many tokens are not made room for beforehand.
const ROOM: usize = 4096;

fn repeat_all<T: Clone>(rows: &[T], copies: usize) -> Vec<T> {
    rows.iter().flat_map(|row| std::iter::repeat_n(row.clone(), copies)).collect()
}

/// What a generation begins with.
struct Prepared {
    /// The inputs with everything that the first step needs.
    inputs: Inputs,
    /// What the encoder gave.
    encoded: Outputs,
    /// The tokens of the source, if it is tokens.
    source: Option<Vec<Vec<i64>>>,
}

/// Runs the encoder, if there is one, and lets the text begin.
fn prepared(model: &Model, config: &GenerationConfig, mut inputs: Inputs) -> Result<Prepared> {
    if inputs.text.ids.is_none() && inputs.text.embeds.is_none() && inputs.encoder_hidden_states.is_none() {
        let Some(first) = config.bos_token_id else {
            return setting("`bos_token_id` has to be defined when no `input_ids` are provided.");
        };
        inputs.text.ids = Some(table([[first]])?);
    }
    if let Some(ids) = &inputs.text.ids
        && ids.ndim() == 1
    {
        inputs.text.ids = Some(ids.unsqueeze(0)?);
    }
    let source = inputs.text.ids.as_ref().map(rows).transpose()?;
    if model.family() != Family::EncoderDecoder {
        if inputs.text.mask.is_none() && inputs.text.embeds.is_none() {
            inputs.text.mask = shown(config, source.as_deref().unwrap_or(&[]))?;
        }
        return Ok(Prepared { inputs, encoded: Outputs::default(), source });
    }
    let mut encoded = Outputs::default();
    if inputs.encoder_hidden_states.is_none() {
        if inputs.text.mask.is_none() && inputs.text.embeds.is_none() {
            inputs.text.mask = shown(config, source.as_deref().unwrap_or(&[]))?;
        }
        let asking = Inputs {
            output_hidden_states: config.output_hidden_states == Some(true),
            output_attentions: config.output_attentions == Some(true),
            ..inputs.clone()
        };
        encoded = model.encode_source(&asking)?;
        inputs.encoder_hidden_states = encoded.last_hidden_state.take();
        encoded.encoder_hidden_states = encoded.hidden_states.take();
        encoded.encoder_attentions = encoded.attentions.take();
        (inputs.text.ids, inputs.text.embeds) = (None, None);
    }
    let batch = inputs.encoder_hidden_states.as_ref().map_or(1, |states| states.shape()[0]);
    inputs.decoder.prefix = "decoder_";
    begin_decoder(config, &mut inputs.decoder, batch)?;
    Ok(Prepared { inputs, encoded, source })
}

/// Lets a decoder's text begin with the token that it must begin with.
fn begin_decoder(config: &GenerationConfig, decoder: &mut Text, batch: usize) -> Result<()> {
    let start = config.decoder_start_token_id.clone().or(config.bos_token_id.map(|token| vec![token]));
    let Some(start) = start.filter(|start| !start.is_empty()) else {
        return setting(
            "`decoder_start_token_id` or `bos_token_id` has to be defined for encoder-decoder generation.",
        );
    };
    if start.len() != 1 && start.len() != batch {
        return setting(format!(
            "`decoder_start_token_id` expected to have length {batch} but got {}",
            start.len()
        ));
    }
    let start = |row: usize| start[row % start.len()];
    let given = decoder.ids.as_ref().map(rows).transpose()?;
    let rows: Vec<Vec<i64>> = match given {
        None => (0..batch).map(|row| vec![start(row)]).collect(),
        Some(given) if given.iter().enumerate().all(|(row, ids)| ids.first() != Some(&start(row))) => {
            if let Some(mask) = &decoder.mask {
                let first = Tensor::ones(&[mask.shape()[0], 1], mask.dtype())?;
                decoder.mask = Some(Tensor::cat(&[&first, mask], 1)?);
            }
            let begun = |(row, ids): (usize, Vec<i64>)| [vec![start(row)], ids].concat();
            given.into_iter().enumerate().map(begun).collect()
        }
        Some(given) => given,
    };
    decoder.ids = Some(table(&rows)?);
    Ok(())
}

/// The mask that the padding token stands for, as transformers infers it: where it is there and is no end too.
fn shown(config: &GenerationConfig, rows: &[Vec<i64>]) -> Result<Option<Tensor>> {
    let Some(padding) = config.pad_token_id.filter(|padding| !config.ends().contains(padding)) else {
        return Ok(None);
    };
    if !rows.iter().flatten().any(|&token| token == padding) {
        return Ok(None);
    }
    let flags: Vec<Vec<i64>> =
        rows.iter().map(|row| row.iter().map(|&token| i64::from(token != padding)).collect()).collect();
    table(&flags).map(Some)
}

/// Some rows of what a pass gave of every layer.
fn selected(outputs: Outputs, rows: &[usize]) -> Result<Outputs> {
    let index = index_of(rows)?;
    let select = |all: Option<Vec<Tensor>>| -> Result<Option<Vec<Tensor>>> {
        all.map(|all| all.iter().map(|one| Ok(one.index_select(0, &index)?)).collect()).transpose()
    };
    Ok(Outputs {
        hidden_states: select(outputs.hidden_states)?,
        attentions: select(outputs.attentions)?,
        decoder_hidden_states: select(outputs.decoder_hidden_states)?,
        decoder_attentions: select(outputs.decoder_attentions)?,
        cross_attentions: select(outputs.cross_attentions)?,
        ..Outputs::default()
    })
}

impl Session<'_> {
    /// Reads the prompts, each once, and makes as many sequences of each as texts are written: the scores behind them.
    fn read_prompts(&mut self) -> Result<(Scores, Outputs)> {
        let (scores, outputs) = self.decoder.next(&self.sequences)?;
        if self.copies == 1 {
            return Ok((scores, outputs));
        }
        let sources: Vec<usize> = repeat_all(&(0..self.sequences.len()).collect::<Vec<_>>(), self.copies);
        self.decoder.select(&sources)?;
        self.sequences = sources.iter().map(|&source| self.sequences[source].clone()).collect();
        Ok((scores.select(&sources), selected(outputs, &sources)?))
    }

    /// Takes a token for each sequence and streams it. `unfinished` keeps those that go on; whether there is one.
    fn take(&mut self, tokens: &[i64], unfinished: &mut [bool]) -> Result<bool> {
        self.sequences.iter_mut().zip(tokens).for_each(|(sequence, &token)| sequence.push(token));
        if let Some(streamer) = &mut self.streamer {
            streamer.put(&Tensor::from_slice(tokens, &[tokens.len()])?)?;
        }
        let stopped = self.stops.check(&self.sequences, self.record.all_scores())?;
        unfinished.iter_mut().zip(stopped).for_each(|(unfinished, stopped)| *unfinished &= !stopped);
        Ok(unfinished.contains(&true))
    }

    /// [`Session::finish`] with the sequences as they are.
    fn finish_all(mut self) -> Result<Generated> {
        let sequences = std::mem::take(&mut self.sequences);
        self.finish(&sequences)
    }

    /// What has been generated.
    fn finish(mut self, sequences: &[Vec<i64>]) -> Result<Generated> {
        if let Some(streamer) = &mut self.streamer {
            streamer.end()?;
        }
        let sequences = Some(table(sequences)?);
        Ok(Generated { sequences, cache: self.decoder.into_cache(), ..self.record.into_generated()? })
    }
}

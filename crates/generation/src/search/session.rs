//! A generation under way: what all ways of searching share.

use trustformers_models::{Family, Model, Outputs, Text};
use trustformers_tensor::ops::StoreForm;
use trustformers_tensor::{Generator, Tensor};

use super::prompt::{Prepared, prepared};
use super::record::Record;
use super::{Generated, Request, Streamer, Way, repeat_all, selected};
use crate::Result;
use crate::config::GenerationConfig;
use crate::decoder::{Decoder, index_of, rows, table};
use crate::error::{Error, setting};
use crate::processors::{Chain, Guidance, Prompt};
use crate::stopping::{EndToken, MaxLength, MaxTime, StopStrings, StoppingCriterion, Stops};

/// More than so many tokens are not made room for beforehand.
const ROOM: usize = 4096;

/// A generation under way.
pub(super) struct Session<'r> {
    pub model: &'r Model,
    pub config: GenerationConfig,
    pub generator: Generator,
    pub decoder: Decoder<'r>,
    pub chain: Chain<'r>,
    pub stops: Stops<'r>,
    pub streamer: Option<Box<dyn Streamer + 'r>>,
    pub record: Record,
    /// The sequences so far, prompts included: one for each prompt until the first step has been read.
    pub sequences: Vec<Vec<i64>>,
    /// Which of them have not come to their end, once the prompts have been read.
    pub unfinished: Vec<bool>,
    /// What an encoder reads, for an assistant that has one too.
    pub source: Text,
    pub way: Way,
    pub assistant: Option<(&'r Model, GenerationConfig)>,
    /// What the encoder gave.
    pub encoded: Outputs,
    /// How many texts are written for each prompt.
    pub copies: usize,
    pub greatest_length: usize,
}

impl<'r> Session<'r> {
    /// What is written for `request`, of which nothing has been read yet.
    pub fn begin(
        model: &'r Model,
        config: GenerationConfig,
        request: Request<'r>,
        generator: Generator,
    ) -> Result<Session<'r>> {
        config.check()?;
        let Request {
            inputs,
            cache,
            processors,
            constraint,
            criteria,
            pieces,
            streamer,
            assistant,
            negative,
        } = request;
        let way = Way::of(&config, assistant.is_some());
        let is_contrastive = matches!(way, Way::Contrastive(_));
        let encoder_text = inputs.text.clone();
        let Prepared { mut inputs, encoded, source } = prepared(model, &config, inputs)?;
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
        let needs_cache = has_embeds || matches!(way, Way::Assisted | Way::Contrastive(_));
        let uses_cache = config.use_cache.unwrap_or(true) || needs_cache;
        let cache = uses_cache.then(|| {
            let mut cache = cache.unwrap_or_default();
            if config.cache_implementation.as_deref() == Some("quantized") {
                cache.keep_as(StoreForm::Int8);
            }
            cache
        });
        if family == Family::EncoderDecoder && config.guidance().is_some() {
            return setting(
                "`guidance_scale` is for models without an encoder: an encoder-decoder has no prompt to leave out",
            );
        }
        let guidance = config.guidance().map(|scale| Guidance::new(scale, model, negative, uses_cache));
        let decoder = Decoder::new(model, inputs, cache, length)?;

        let copies = config.beams().max(config.texts());
        let padding = repeat_all(&decoder.padding(), copies);
        let source = source.as_deref().map(|source| repeat_all(source, copies));
        let chain = Chain::new(
            &config,
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
            model,
            record: Record::new(&config),
            config,
            generator,
            decoder,
            chain,
            stops: Stops::new(defaults, criteria),
            streamer,
            sequences,
            unfinished: Vec::new(),
            source: encoder_text,
            way,
            assistant,
            encoded,
            copies,
            greatest_length,
        };
        if let Some(streamer) = &mut session.streamer {
            streamer.put(&table(repeat_all(&session.sequences, copies))?)?;
        }
        Ok(session)
    }

    /// Whether it can go on beside others, which have settings and lengths of their own: a step reads a token of each text and gives
    /// nothing but scores, and a text that is there does not change.
    pub fn can_join(&self) -> bool {
        let inputs = self.decoder.inputs();
        let wants_outputs = inputs.output_hidden_states || inputs.output_attentions;
        matches!(self.way, Way::Steps)
            && self.config.guidance().is_none()
            && self.model.family() == Family::Decoder
            && self.decoder.can_join(self.greatest_length)
            && inputs.encoder_hidden_states.is_none()
            && !wants_outputs
    }

    /// Writes to the end.
    pub fn run(mut self) -> Result<Generated> {
        let length = self.sequences.first().map_or(0, Vec::len);
        // Room for all at once, unless that is much more than may ever be needed.
        self.decoder.reserve(self.greatest_length.min(length + ROOM));
        let encoded = std::mem::take(&mut self.encoded);
        let mut generated = match self.way {
            Way::Steps => self.steps()?,
            Way::Beams => self.beams()?,
            Way::Assisted => {
                let assistant = self.assistant.take();
                self.assisted(assistant)?
            }
            Way::Contrastive(alpha) => self.contrastive(alpha)?,
        };
        generated.encoder_hidden_states = encoded.encoder_hidden_states;
        generated.encoder_attentions = encoded.encoder_attentions;
        Ok(generated)
    }

    /// How many tokens of the prompts have not been read.
    pub fn unread(&self) -> usize {
        self.sequences.iter().map(|prompt| self.decoder.unread(prompt.len())).sum()
    }

    /// Reads so many of the prompts' tokens ahead of [`Session::read_prompts`], of which there must be more; `false` if they cannot be
    /// read in pieces.
    pub fn read_ahead(&mut self, tokens: usize) -> Result<bool> {
        if !self.decoder.reads_in_pieces() {
            return Ok(false);
        }
        let (rows, length) = (self.sequences.len().max(1), self.sequences.first().map_or(0, Vec::len));
        let read = length - self.decoder.unread(length);
        // At least one, and not the last one, behind which the scores are.
        let end = (read + (tokens / rows).max(1)).min(length - 1);
        if end > read {
            let begun: Vec<Vec<i64>> = self.sequences.iter().map(|prompt| prompt[..end].to_vec()).collect();
            self.decoder.read(&begun, 1)?;
        }
        Ok(end > read)
    }

    /// Reads the prompts, each once, and makes as many sequences of each as texts are written: the logits behind them.
    pub fn read_prompts(&mut self) -> Result<(Tensor, Outputs)> {
        let (logits, outputs) = self.decoder.next(&self.sequences)?;
        self.unfinished = vec![true; self.sequences.len() * self.copies];
        if self.copies == 1 {
            return Ok((logits, outputs));
        }
        let sources: Vec<usize> = repeat_all(&(0..self.sequences.len()).collect::<Vec<_>>(), self.copies);
        self.decoder.select(&sources)?;
        self.sequences = sources.iter().map(|&source| self.sequences[source].clone()).collect();
        Ok((logits.index_select(0, &index_of(&sources)?)?, selected(outputs, &sources)?))
    }

    /// Takes a token for each sequence and streams it; whether one of them goes on.
    pub fn take(&mut self, tokens: &[i64]) -> Result<bool> {
        self.sequences.iter_mut().zip(tokens).for_each(|(sequence, &token)| sequence.push(token));
        if let Some(streamer) = &mut self.streamer {
            streamer.put(&Tensor::from_slice(tokens, &[tokens.len()])?)?;
        }
        let stopped = self.stops.check(&self.sequences, self.record.all_scores())?;
        self.unfinished.iter_mut().zip(stopped).for_each(|(unfinished, stopped)| *unfinished &= !stopped);
        Ok(self.unfinished.contains(&true))
    }

    /// [`Session::finish`] with the sequences as they are.
    pub fn finish_all(mut self) -> Result<Generated> {
        let sequences = std::mem::take(&mut self.sequences);
        self.finish(&sequences)
    }

    /// What has been generated.
    pub fn finish(mut self, sequences: &[Vec<i64>]) -> Result<Generated> {
        if let Some(streamer) = &mut self.streamer {
            streamer.end()?;
        }
        let sequences = Some(table(sequences)?);
        Ok(Generated { sequences, cache: self.decoder.into_cache(), ..self.record.into_generated()? })
    }
}

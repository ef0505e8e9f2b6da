//! From a prompt to texts: what all ways of searching share.

mod assisted;
mod beams;
mod contrastive;
mod prompt;
mod record;
mod session;
mod steps;
mod together;

use trustformers_models::{Cache, Inputs, Model, Outputs, Text};
use trustformers_tensor::{Generator, Tensor, profile};

use crate::Result;
use crate::config::GenerationConfig;
use crate::decoder::index_of;
use crate::processors::LogitsProcessor;
use crate::stopping::StoppingCriterion;
use session::Session;
pub use together::{Job, Turn, Writer, write_together};

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
    config: GenerationConfig,
    request: Request,
    generator: Generator,
) -> Result<Generated> {
    let _measured = profile::span("generate");
    Session::begin(model, config, request, generator)?.run()
}

/// The way of searching that settings ask for.
#[derive(Clone, Copy)]
enum Way {
    Steps,
    Beams,
    Assisted,
    /// With its `penalty_alpha`.
    Contrastive(f32),
}

impl Way {
    fn of(config: &GenerationConfig, has_assistant: bool) -> Way {
        let alpha = config.penalty_alpha.filter(|&alpha| alpha > 0.0 && config.top_k.unwrap_or(50) > 1);
        match alpha {
            _ if config.beams() > 1 => Way::Beams,
            _ if has_assistant || config.prompt_lookup_num_tokens.is_some() => Way::Assisted,
            Some(alpha) if !config.samples() => Way::Contrastive(alpha as f32),
            _ => Way::Steps,
        }
    }
}

fn repeat_all<T: Clone>(rows: &[T], copies: usize) -> Vec<T> {
    rows.iter().flat_map(|row| std::iter::repeat_n(row.clone(), copies)).collect()
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

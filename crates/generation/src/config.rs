//! What shall be generated and how: transformers' `GenerationConfig`.

use std::fs;

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use trustformers_hub::Repo;

use crate::Result;
use crate::error::{Error, setting};

/// The settings of a generation, under transformers' names. What is `None` has the default that is given with it.
///
/// Fields that only Python's side or other devices have a use for are passed over when one is read.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub struct GenerationConfig {
    /// The length of prompt and text together; 20 more than the prompt.
    pub max_length: Option<usize>,
    /// The length of the text without the prompt; counts for more than `max_length`.
    pub max_new_tokens: Option<usize>,
    /// The least length of prompt and text together.
    pub min_length: Option<usize>,
    /// The least length of the text.
    pub min_new_tokens: Option<usize>,
    /// When beam search stops: [`EarlyStopping::No`].
    pub early_stopping: Option<EarlyStopping>,
    /// Seconds after which no further token is begun.
    pub max_time: Option<f64>,
    /// Texts at which generation stops.
    #[serde(deserialize_with = "one_or_many")]
    pub stop_strings: Option<Vec<String>>,
    /// Whether tokens are drawn, and not the likeliest ones taken: no.
    pub do_sample: Option<bool>,
    /// How many beams are searched: 1.
    pub num_beams: Option<usize>,
    /// Whether keys and values are kept from step to step: yes.
    pub use_cache: Option<bool>,
    /// `quantized` keeps keys and values in 8 bits; every other kind of cache is one that holds them as the model does.
    pub cache_implementation: Option<String>,
    /// What scores are divided by before they are drawn from: 1.
    pub temperature: Option<f64>,
    /// So many likeliest tokens are drawn from: 50; 0 for all.
    pub top_k: Option<usize>,
    /// The likeliest tokens that have this probability together are drawn from: 1.
    pub top_p: Option<f64>,
    /// Tokens that are less likely than this times the likeliest are not drawn.
    pub min_p: Option<f64>,
    /// The likeliest tokens that have this share of the entropy are drawn from (Ben Potdevin et al. 2025).
    pub top_h: Option<f64>,
    /// Locally typical tokens that have this probability together are drawn from (Meister et al. 2022): 1.
    pub typical_p: Option<f64>,
    /// Tokens that are less likely are not drawn (Hewitt et al. 2022): 0.
    pub epsilon_cutoff: Option<f64>,
    /// The same, relative to the entropy: 0.
    pub eta_cutoff: Option<f64>,
    /// What the scores of tokens that are there already are divided by (Keskar et al. 2019): 1.
    pub repetition_penalty: Option<f64>,
    /// The same for what the source does not hold: 1.
    pub encoder_repetition_penalty: Option<f64>,
    /// OpenAI's: taken off the score of a token for each time that it has been generated.
    pub frequency_penalty: Option<f64>,
    /// OpenAI's: taken off the score of a token that has been generated.
    pub presence_penalty: Option<f64>,
    /// OpenAI's: added to the scores of tokens, by their numbers.
    #[serde(deserialize_with = "by_number")]
    pub logit_bias: Option<Vec<(i64, f64)>>,
    /// DRY (Weidman 2024): what a token is punished with that would go on with a repetition.
    pub dry_multiplier: Option<f64>,
    /// What the punishment grows by with each token of the repetition: 1.75.
    pub dry_base: Option<f64>,
    /// Repetitions up to this length are free: 2.
    pub dry_allowed_length: Option<usize>,
    /// Tokens that no repetition reaches across.
    pub dry_sequence_breakers: Option<Vec<i64>>,
    /// The power of the length that beams are measured by: 1.
    pub length_penalty: Option<f64>,
    /// No run of so many tokens comes twice: 0 for any may.
    pub no_repeat_ngram_size: Option<usize>,
    /// No run of so many tokens of the source comes: 0 for any may.
    pub encoder_no_repeat_ngram_size: Option<usize>,
    /// Runs of tokens that do not come.
    pub bad_words_ids: Option<Vec<Vec<i64>>>,
    /// Whether scores become logarithms of probabilities again after processing.
    pub renormalize_logits: Option<bool>,
    /// The token that comes first.
    pub forced_bos_token_id: Option<i64>,
    /// The token that comes last where the greatest length is reached.
    #[serde(deserialize_with = "one_or_many")]
    pub forced_eos_token_id: Option<Vec<i64>>,
    /// Whether NaN and infinities among the scores are replaced.
    pub remove_invalid_values: Option<bool>,
    /// From so many tokens on, the end becomes likelier by this power.
    pub exponential_decay_length_penalty: Option<(usize, f64)>,
    /// Tokens that do not come.
    pub suppress_tokens: Option<Vec<i64>>,
    /// Tokens that do not come first.
    pub begin_suppress_tokens: Option<Vec<i64>>,
    /// What is added to the score of a token that would end a run of tokens.
    pub sequence_bias: Option<Vec<(Vec<i64>, f64)>>,
    /// How far scores are moved away from those without the prompt (Sanchez et al. 2023): 1 for not at all.
    pub guidance_scale: Option<f64>,
    /// How the text is marked as generated (Kirchenbauer et al. 2023).
    pub watermarking_config: Option<Watermarking>,
    /// How many texts each prompt gets: 1.
    pub num_return_sequences: Option<usize>,
    /// Whether the attention probabilities of every step are returned.
    pub output_attentions: Option<bool>,
    /// Whether the hidden states of every step are returned.
    pub output_hidden_states: Option<bool>,
    /// Whether the processed scores of every step are returned.
    pub output_scores: Option<bool>,
    /// Whether the logits of every step are returned.
    pub output_logits: Option<bool>,
    /// What stands where a text has ended before others: the first end.
    pub pad_token_id: Option<i64>,
    /// What a text begins with where there is no prompt.
    pub bos_token_id: Option<i64>,
    /// What ends a text.
    #[serde(deserialize_with = "one_or_many")]
    pub eos_token_id: Option<Vec<i64>>,
    /// What a decoder's text begins with: `bos_token_id`. One, or one for each sequence.
    #[serde(deserialize_with = "one_or_many")]
    pub decoder_start_token_id: Option<Vec<i64>>,
    /// How many tokens an assistant drafts: 20.
    pub num_assistant_tokens: Option<usize>,
    /// Whether that number follows success: [`Schedule::Constant`].
    pub num_assistant_tokens_schedule: Option<Schedule>,
    /// An assistant that is less sure of its token drafts no further: 0.4.
    pub assistant_confidence_threshold: Option<f64>,
    /// How many tokens are drafted from where the prompt said the same.
    pub prompt_lookup_num_tokens: Option<usize>,
    /// The longest run of tokens that is looked up: 2.
    pub max_matching_ngram_size: Option<usize>,
    /// Contrastive search (Su et al. 2022): how much it counts that a token is unlike those before.
    pub penalty_alpha: Option<f64>,
}

/// The error about settings that cannot be read, which names the first of them.
fn misread(text: &str, error: &serde_json::Error) -> Error {
    let fields: Map<String, Value> = serde_json::from_str(text).unwrap_or_default();
    let alone = |(name, value): (String, Value)| {
        let field: Value = [(name.clone(), value.clone())].into_iter().collect();
        let error = serde_json::from_value::<GenerationConfig>(field).err()?;
        Some(Error::Setting(format!("`{name}` cannot be {value}: {error}")))
    };
    let named = fields.into_iter().find_map(alone);
    named.unwrap_or_else(|| Error::Setting(format!("generation_config: {error}")))
}

/// When beam search stops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EarlyStopping {
    /// When it is unlikely that a better one comes.
    #[default]
    No,
    /// As soon as there are enough.
    Yes,
    /// When no better one can come.
    Never,
}

impl<'de> Deserialize<'de> for EarlyStopping {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Bool(false) => Ok(EarlyStopping::No),
            Value::Bool(true) => Ok(EarlyStopping::Yes),
            Value::String(word) if word == "never" => Ok(EarlyStopping::Never),
            other => {
                let message = format!("`early_stopping` must be a boolean or 'never', but is {other}.");
                Err(serde::de::Error::custom(message))
            }
        }
    }
}

/// Whether the number of drafted tokens follows success.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// It stays.
    Constant,
    /// Two more after a full success, one less after a failure.
    Heuristic,
    /// The same within one generation.
    HeuristicTransient,
}

/// transformers' `WatermarkingConfig`.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default)]
pub struct Watermarking {
    /// The share of tokens that are made likelier.
    pub greenlist_ratio: f64,
    /// What is added to their scores.
    pub bias: f32,
    /// The secret.
    pub hashing_key: u64,
    /// `lefthash` or `selfhash`.
    pub seeding_scheme: String,
    /// How many tokens before decide which those are.
    pub context_width: usize,
}

impl Default for Watermarking {
    fn default() -> Watermarking {
        Watermarking {
            greenlist_ratio: 0.25,
            bias: 2.0,
            hashing_key: 15_485_863,
            seeding_scheme: "lefthash".into(),
            context_width: 1,
        }
    }
}

/// A value, or a list of them.
pub(crate) fn one_or_many<'de, D: Deserializer<'de>, T: serde::de::DeserializeOwned>(
    deserializer: D,
) -> std::result::Result<Option<Vec<T>>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(None),
        Value::Array(many) => serde_json::from_value(Value::Array(many)).map(Some),
        one => serde_json::from_value(one).map(|one| Some(vec![one])),
    }
    .map_err(serde::de::Error::custom)
}

/// An object whose keys are numbers, or pairs.
fn by_number<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Option<Vec<(i64, f64)>>, D::Error> {
    let wrong = || serde::de::Error::custom("`logit_bias` must be an object of numbers by token numbers");
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(None),
        Value::Object(biases) => {
            let pair = |(token, bias): (&String, &Value)| Some((token.parse().ok()?, bias.as_f64()?));
            biases.iter().map(pair).collect::<Option<_>>().map(Some).ok_or_else(wrong)
        }
        pairs => serde_json::from_value(pairs).map(Some).map_err(|_| wrong()),
    }
}

impl GenerationConfig {
    /// The settings in JSON text.
    ///
    /// # Errors
    /// `Setting` that names the field.
    pub fn from_json(text: &str) -> Result<GenerationConfig> {
        let config: GenerationConfig = serde_json::from_str(text).map_err(|error| misread(text, &error))?;
        config.check()?;
        Ok(config)
    }

    /// The settings that a model comes with: its generation_config.json, or else the fields of its configuration that say how to
    /// generate, as older checkpoints have them.
    ///
    /// # Errors
    /// `Setting`, or what the hub says.
    pub fn from_repo(repo: &Repo, config: &Map<String, Value>) -> Result<GenerationConfig> {
        match repo.file("generation_config.json")? {
            Some(path) => {
                let text = fs::read_to_string(&path)
                    .map_err(|error| Error::Setting(format!("could not read {}: {error}", path.display())))?;
                GenerationConfig::from_json(&text)
            }
            None => GenerationConfig::from_json(&Value::Object(config.clone()).to_string()),
        }
    }

    /// Refuses what cannot be whatever is generated.
    pub(crate) fn check(&self) -> Result<()> {
        if self.max_new_tokens == Some(0) {
            return setting("`max_new_tokens` must be greater than 0, but is 0.");
        }
        let (beams, texts) = (self.beams(), self.texts());
        if beams == 0 || texts == 0 {
            return setting(format!(
                "`num_beams` ({beams}) and `num_return_sequences` ({texts}) must be at least 1"
            ));
        }
        if texts > 1 && beams == 1 && !self.samples() {
            return setting(format!(
                "Greedy methods without beam search do not support `num_return_sequences` different than 1 (got {texts})."
            ));
        }
        if beams > 1 && texts > beams {
            return setting(format!(
                "`num_return_sequences` ({texts}) has to be smaller or equal to `num_beams` ({beams})."
            ));
        }
        if let Some(time) = self.max_time
            && !time.is_finite()
        {
            return setting(format!("`max_time` must be a number of seconds, but is {time}"));
        }
        Ok(())
    }

    /// The number of beams.
    pub fn beams(&self) -> usize {
        self.num_beams.unwrap_or(1)
    }

    /// The number of texts for each prompt.
    pub fn texts(&self) -> usize {
        self.num_return_sequences.unwrap_or(1)
    }

    /// Whether tokens are drawn.
    pub fn samples(&self) -> bool {
        self.do_sample.unwrap_or(false)
    }

    /// How far scores are moved away from those without the prompt, if they are.
    pub fn guidance(&self) -> Option<f64> {
        self.guidance_scale.filter(|&scale| scale != 1.0)
    }

    /// What ends a text.
    pub fn ends(&self) -> &[i64] {
        self.eos_token_id.as_deref().unwrap_or(&[])
    }

    /// What stands behind the end of a text.
    pub fn padding(&self) -> Option<i64> {
        self.pad_token_id.or_else(|| self.ends().first().copied())
    }

    /// The greatest length for prompts of `prompt` tokens and a model of so many `positions`.
    pub fn greatest_length(&self, prompt: usize, positions: Option<usize>) -> usize {
        match (self.max_new_tokens, self.max_length) {
            (Some(new), _) => prompt.saturating_add(new),
            (None, Some(length)) => length,
            (None, None) => positions.unwrap_or(usize::MAX).min(prompt + 20),
        }
    }

    /// The least length for prompts of `prompt` tokens.
    pub fn least_length(&self, prompt: usize) -> usize {
        self.min_new_tokens.map_or(self.min_length.unwrap_or(0), |new| prompt.saturating_add(new))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_say_it_in_several_ways() {
        let config = GenerationConfig::from_json(
            r#"{"eos_token_id": [1, 2], "stop_strings": "x", "early_stopping": "never", "logit_bias": {"3": -1.5},
                "unknown": {"a": 1}, "sequence_bias": [[[1, 2], -3.0]], "forced_eos_token_id": 7}"#,
        )
        .unwrap();
        assert_eq!(config.ends(), [1, 2]);
        assert_eq!(config.padding(), Some(1));
        assert_eq!(config.stop_strings.as_deref(), Some(&["x".to_owned()][..]));
        assert_eq!(config.early_stopping, Some(EarlyStopping::Never));
        assert_eq!(config.logit_bias, Some(vec![(3, -1.5)]));
        assert_eq!(config.forced_eos_token_id, Some(vec![7]));
        assert_eq!(config.sequence_bias, Some(vec![(vec![1, 2], -3.0)]));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (text, part) in [
            (r#"{"max_new_tokens": 0}"#, "max_new_tokens"),
            (r#"{"num_beams": 0}"#, "num_beams"),
            (r#"{"num_return_sequences": 3}"#, "num_return_sequences"),
            (r#"{"num_beams": 2, "num_return_sequences": 3}"#, "num_return_sequences"),
            (r#"{"early_stopping": 3}"#, "early_stopping"),
            (r#"{"top_p": 0.5, "top_k": -1}"#, "`top_k` cannot be -1"),
            ("[1", "generation_config"),
        ] {
            let error = GenerationConfig::from_json(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn new_tokens_count_for_more_than_the_whole_length() {
        let config = |text| GenerationConfig::from_json(text).unwrap();
        assert_eq!(config("{}").greatest_length(5, None), 25);
        assert_eq!(config("{}").greatest_length(5, Some(16)), 16);
        assert_eq!(config(r#"{"max_length": 9}"#).greatest_length(5, None), 9);
        assert_eq!(config(r#"{"max_length": 9, "max_new_tokens": 3}"#).greatest_length(5, Some(2)), 8);
        assert_eq!(config(r#"{"min_length": 9, "min_new_tokens": 3}"#).least_length(5), 8);
    }
}

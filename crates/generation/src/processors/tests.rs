use super::*;
use crate::Scores;
use trustformers_tensor::Tensor;

fn scores(values: &[f32]) -> Scores {
    Scores::new(&Tensor::from_slice(values, &[1, values.len()]).unwrap()).unwrap()
}

fn prompt<'a>() -> Prompt<'a> {
    Prompt { length: 2, padding: &[], source: None, greatest_length: 9, vocabulary: 4 }
}

fn names(chain: &Chain) -> Vec<String> {
    chain.0.iter().map(|one| one.name().to_owned()).collect()
}

/// A processor of a caller's.
struct Mine(&'static str);

impl LogitsProcessor for Mine {
    fn process(&mut self, _: &[Vec<i64>], scores: &mut Scores) -> Result<()> {
        scores.rows_mut().for_each(|row| row.fill(7.0));
        Ok(())
    }

    fn name(&self) -> &str {
        self.0
    }
}

#[test]
fn processors_stand_in_transformers_order() {
    let config = GenerationConfig::from_json(
        r#"{"do_sample": true, "temperature": 0.5, "top_k": 3, "top_p": 0.9, "min_p": 0.1, "typical_p": 0.9, "top_h": 0.5,
            "epsilon_cutoff": 0.1, "eta_cutoff": 0.1, "repetition_penalty": 2.0, "no_repeat_ngram_size": 2, "bad_words_ids": [[1]],
            "min_length": 3, "min_new_tokens": 1, "eos_token_id": 2, "forced_bos_token_id": 1, "forced_eos_token_id": 2,
            "remove_invalid_values": true, "exponential_decay_length_penalty": [1, 1.1], "suppress_tokens": [3],
            "begin_suppress_tokens": [3], "sequence_bias": [[[1], 1.0]], "watermarking_config": {}, "renormalize_logits": true}"#,
    )
    .unwrap();
    let own: Vec<Box<dyn LogitsProcessor>> = vec![Box::new(Mine("mine"))];
    let chain = Chain::new(&config, prompt(), None, Some(Box::new(Mine("allowed"))), own).unwrap();
    let wanted = "SequenceBiasLogitsProcessor RepetitionPenaltyLogitsProcessor NoRepeatNGramLogitsProcessor NoBadWordsLogitsProcessor \
                  MinLengthLogitsProcessor MinNewTokensLengthLogitsProcessor allowed ForcedBOSTokenLogitsProcessor \
                  ForcedEOSTokenLogitsProcessor InfNanRemoveLogitsProcessor ExponentialDecayLengthPenalty SuppressTokensLogitsProcessor \
                  SuppressTokensAtBeginLogitsProcessor mine TemperatureLogitsWarper TopHLogitsWarper TopKLogitsWarper TopPLogitsWarper \
                  MinPLogitsWarper TypicalLogitsWarper EpsilonLogitsWarper EtaLogitsWarper WatermarkLogitsProcessor LogitNormalization";
    assert_eq!(names(&chain).join(" "), wanted);
}

#[test]
fn one_of_the_callers_takes_the_place_of_one_of_its_name() {
    let config =
        GenerationConfig::from_json(r#"{"repetition_penalty": 2.0, "suppress_tokens": [0]}"#).unwrap();
    let own: Vec<Box<dyn LogitsProcessor>> = vec![Box::new(Mine("RepetitionPenaltyLogitsProcessor"))];
    let mut chain = Chain::new(&config, prompt(), None, None, own).unwrap();
    assert_eq!(names(&chain), ["RepetitionPenaltyLogitsProcessor", "SuppressTokensLogitsProcessor"]);
    let mut changed = scores(&[1.0, 2.0]);
    chain.process(&[vec![1]], &mut changed).unwrap();
    assert_eq!(changed.rows().next().unwrap(), [f32::NEG_INFINITY, 7.0]);
}

#[test]
fn several_of_the_callers_that_have_one_name_all_count() {
    let of = |config: &str, own: &[&'static str]| {
        let own = own.iter().map(|&name| Box::new(Mine(name)) as Box<dyn LogitsProcessor>).collect();
        let config = GenerationConfig::from_json(config).unwrap();
        names(&Chain::new(&config, prompt(), None, None, own).unwrap())
    };
    assert_eq!(of("{}", &["mine", "mine"]), ["mine", "mine"]);
    let name = "RepetitionPenaltyLogitsProcessor";
    let both = r#"{"repetition_penalty": 2.0, "suppress_tokens": [0]}"#;
    assert_eq!(of(both, &[name, name]), [name, "SuppressTokensLogitsProcessor", name]);
}

#[test]
fn what_is_forced_is_in_the_vocabulary() {
    for text in [
        r#"{"type": "ForcedEOSTokenLogitsProcessor", "max_length": 2, "eos_token_id": 9}"#,
        r#"{"type": "ForcedEOSTokenLogitsProcessor", "max_length": 2, "eos_token_id": []}"#,
        r#"{"type": "ForcedBOSTokenLogitsProcessor", "bos_token_id": 9}"#,
    ] {
        let error = from_json(text).unwrap().process(&[vec![1]], &mut scores(&[1.0, 2.0])).unwrap_err();
        assert!(error.to_string().contains("none of the 2 tokens"), "{error}");
    }
}

#[test]
fn what_shapes_a_distribution_is_done_where_tokens_are_drawn() {
    let shaped = |config: &str, own: &[&str]| {
        let own = own.iter().map(|text| from_json(text).unwrap()).collect();
        let chain =
            Chain::new(&GenerationConfig::from_json(config).unwrap(), prompt(), None, None, own).unwrap();
        let logits = Tensor::from_slice(&[1f32, -2.0, 3.0, 0.5, 4.0, -1.0], &[2, 3]).unwrap();
        chain.shaped(&[vec![1, 9, 1], vec![0, 2]], &logits).unwrap()
    };
    let all = r#"{"do_sample": true, "temperature": 0.5, "top_k": 3, "top_p": 0.9, "min_p": 0.1, "repetition_penalty": 2.0}"#;
    let (scores, sampling) = shaped(all, &[]).unwrap();
    assert_eq!(sampling, Sampling { temperature: 0.5, top_k: 3, top_p: 0.9, min_p: 0.1 });
    assert_eq!(scores.as_slice::<f32>().unwrap(), [1.0, -4.0, 3.0, 0.25, 4.0, -2.0]);
    assert_eq!(shaped("{}", &[]).unwrap().1, Sampling::default());
    let drawn = r#"{"do_sample": true, "top_k": 0, "temperature": 0.5}"#;
    let warper = r#"{"type": "TopPLogitsWarper", "top_p": 0.5"#;
    // Between what the settings ask for, in another order; with a value that may be drawn; with more tokens to keep.
    assert!(shaped(drawn, &[&format!("{warper}}}")]).is_none());
    assert!(shaped("{}", &[&format!("{warper}}}")]).is_some());
    assert!(shaped("{}", &[&format!("{warper}, \"filter_value\": -5}}")]).is_none());
    assert!(shaped("{}", &[&format!("{warper}, \"min_tokens_to_keep\": 2}}")]).is_none());
    for other in [r#"{"suppress_tokens": [1]}"#, r#"{"do_sample": true, "typical_p": 0.5}"#] {
        assert!(shaped(other, &[]).is_none(), "{other}");
    }
}

#[test]
fn without_settings_nothing_is_changed() {
    let chain = Chain::new(&GenerationConfig::default(), prompt(), None, None, Vec::new()).unwrap();
    assert!(names(&chain).is_empty());
}

#[test]
fn what_cannot_be_made_is_refused() {
    for text in [
        "",
        "{}",
        r#"{"type": "Nothing"}"#,
        r#"{"type": "TopKLogitsWarper"}"#,
        r#"{"type": "TopKLogitsWarper", "top_k": 0}"#,
        r#"{"type": "TopKLogitsWarper", "top_k": -1}"#,
        r#"{"type": "TypicalLogitsWarper", "mass": 1.5}"#,
        r#"{"type": "WatermarkLogitsProcessor", "vocab_size": 5, "context_width": 0}"#,
    ] {
        assert!(from_json(text).is_err(), "{text}");
    }
}

#[test]
fn no_tokens_and_no_vocabulary_panic_nowhere() {
    for text in [
        r#"{"type": "NoRepeatNGramLogitsProcessor", "ngram_size": 3}"#,
        r#"{"type": "RepetitionPenaltyLogitsProcessor", "penalty": 2.0, "prompt_ignore_length": 9}"#,
        r#"{"type": "TopPLogitsWarper", "top_p": 0.0, "min_tokens_to_keep": 99}"#,
        r#"{"type": "TopHLogitsWarper", "top_h": 1.0}"#,
        r#"{"type": "MinPLogitsWarper", "min_p": 1.0, "min_tokens_to_keep": 99}"#,
        r#"{"type": "TypicalLogitsWarper", "mass": 0.5, "min_tokens_to_keep": 99}"#,
        r#"{"type": "EtaLogitsWarper", "epsilon": 0.5, "min_tokens_to_keep": 99}"#,
        r#"{"type": "DryLogitsProcessor", "multiplier": 1.0, "base": 2.0, "allowed_length": 0, "sequence_breakers": []}"#,
        r#"{"type": "WatermarkLogitsProcessor", "vocab_size": 1}"#,
        r#"{"type": "ForcedEOSTokenLogitsProcessor", "max_length": 0, "eos_token_id": 99}"#,
    ] {
        for sequence in [vec![], vec![0], vec![-5, 1 << 40, 0, 0, 0]] {
            for values in [&[1.0][..], &[f32::NEG_INFINITY; 3], &[f32::NAN, 1.0]] {
                from_json(text)
                    .unwrap()
                    .process(std::slice::from_ref(&sequence), &mut scores(values))
                    .unwrap();
            }
        }
    }
}

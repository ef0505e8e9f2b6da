//! Writing with a tiny model of drawn weights, as a Rust user does.

#![allow(clippy::unwrap_used)] // What goes wrong here fails the test.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use trustformers_generation::{
    Error, Generated, GenerationConfig, Request, Result, Streamer, generate, rows, table,
};
use trustformers_models::{self as models, Config, Inputs, LoadOptions, Model, Text};
use trustformers_tensor::{self as tensor, Generator, Tensor, interrupt};

fn model() -> Model {
    let config = r#"{"model_type": "llama", "vocab_size": 40, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
                     "num_attention_heads": 4, "num_key_value_heads": 2, "initializer_range": 0.4}"#;
    let options = LoadOptions { class: Some("LlamaForCausalLM".into()), ..LoadOptions::default() };
    Model::from_config(Config::from_json(config).unwrap(), &options, 3).unwrap()
}

fn inputs() -> Inputs {
    let ids = table([[7, 8, 9], [5, 6, 7]]).unwrap();
    Inputs { text: Text { ids: Some(ids), ..Text::default() }, ..Inputs::default() }
}

fn written(model: &Model, config: &str, request: Request) -> Result<Generated> {
    generate(model, GenerationConfig::from_json(config)?, request, Generator::new(5))
}

fn texts(model: &Model, config: &str) -> Vec<Vec<i64>> {
    let request = Request { inputs: inputs(), ..Request::default() };
    rows(&written(model, config, request).unwrap().sequences.unwrap()).unwrap()
}

#[test]
fn a_cache_changes_nothing() {
    let model = model();
    let greedy = texts(&model, r#"{"max_new_tokens": 8}"#);
    assert_eq!(greedy, texts(&model, r#"{"max_new_tokens": 8, "use_cache": false}"#));
    assert!(greedy.iter().all(|text| text.len() == 11));
    let beams = texts(&model, r#"{"max_new_tokens": 6, "num_beams": 3}"#);
    assert_eq!(beams, texts(&model, r#"{"max_new_tokens": 6, "num_beams": 3, "use_cache": false}"#));
}

#[test]
fn one_seed_draws_one_text() {
    let model = model();
    let drawn = r#"{"max_new_tokens": 8, "do_sample": true, "num_return_sequences": 3}"#;
    let found = texts(&model, drawn);
    assert_eq!(found, texts(&model, drawn));
    assert_eq!(found.len(), 6);
    assert!(found[0] != found[1] || found[1] != found[2], "all texts are alike");
}

#[test]
fn who_looks_at_scores_changes_no_token() {
    let model = model();
    for rest in [
        r#""top_k": 0"#,
        r#""temperature": 0.7"#,
        r#""top_k": 0, "top_p": 0.8"#,
        r#""top_k": 20, "top_p": 0.9, "min_p": 0.05, "temperature": 1.3, "repetition_penalty": 1.4"#,
        r#""eos_token_id": [1, 2, 3, 4, 5, 6, 8], "pad_token_id": 0"#,
    ] {
        let asked = |scores: bool| {
            let config = r#""max_new_tokens": 20, "do_sample": true, "num_return_sequences": 3"#;
            texts(&model, &format!(r#"{{{config}, "output_scores": {scores}, {rest}}}"#))
        };
        assert_eq!(asked(false), asked(true), "{rest}");
    }
}

#[test]
fn texts_stop_where_they_shall() {
    let model = model();
    let greedy = texts(&model, r#"{"max_new_tokens": 8}"#);
    let end = greedy[0][5];
    let ended =
        texts(&model, &format!(r#"{{"max_new_tokens": 8, "eos_token_id": {end}, "pad_token_id": 0}}"#));
    let first = ended[0].iter().skip(3).position(|&token| token == end).unwrap() + 3;
    assert!(ended[0][first + 1..].iter().all(|&token| token == 0));

    let pieces = Arc::new((0..40).map(|token| format!("<{token}>").into_bytes()).collect::<Vec<_>>());
    let stop = format!(r#"{{"max_new_tokens": 8, "stop_strings": "{}><{}"}}"#, greedy[0][4], greedy[0][5]);
    let mut one = inputs();
    one.text.ids = Some(table([&greedy[0][..3]]).unwrap());
    let request = Request { inputs: one, pieces: Some(pieces), ..Request::default() };
    let stopped = rows(&written(&model, &stop, request).unwrap().sequences.unwrap()).unwrap();
    assert!(greedy[0].starts_with(&stopped[0]) && stopped[0].len() <= 6, "{stopped:?} {greedy:?}");
}

/// Counts tokens, and gives up when there are enough.
struct Count(Arc<AtomicUsize>, usize);

impl Streamer for Count {
    fn put(&mut self, tokens: &Tensor) -> Result<()> {
        let before = self.0.fetch_add(tokens.numel(), Ordering::Relaxed);
        match before < self.1 {
            true => Ok(()),
            false => Err(Error::Callback("enough".into())),
        }
    }

    fn end(&mut self) -> Result<()> {
        self.0.fetch_add(1000, Ordering::Relaxed);
        Ok(())
    }
}

#[test]
fn a_streamer_is_given_everything_and_may_end_it() {
    let model = model();
    let count = Arc::new(AtomicUsize::new(0));
    let request = |limit| Request {
        inputs: inputs(),
        streamer: Some(Box::new(Count(count.clone(), limit))),
        ..Request::default()
    };
    written(&model, r#"{"max_new_tokens": 4}"#, request(99)).unwrap();
    assert_eq!(count.swap(0, Ordering::Relaxed), 1000 + 6 + 8);
    let error = written(&model, r#"{"max_new_tokens": 4}"#, request(1)).err().unwrap();
    assert!(matches!(error, Error::Callback(_)), "{error}");
    assert!(count.load(Ordering::Relaxed) < 1000, "it has ended as if all were well");
}

#[test]
fn an_interrupt_ends_it_at_the_next_operation() {
    let model = model();
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let stop = move || counter.fetch_add(1, Ordering::Relaxed) >= 5;
    let request = Request { inputs: inputs(), ..Request::default() };
    let ended = interrupt::during(stop, || written(&model, r#"{"max_new_tokens": 1000}"#, request));
    assert!(matches!(
        ended.err().unwrap(),
        Error::Model(models::Error::Tensor(tensor::Error::Interrupted))
            | Error::Tensor(tensor::Error::Interrupted)
    ));
    assert_eq!(asked.load(Ordering::Relaxed), 6);
}

#[test]
fn a_prompt_is_needed_and_must_fit() {
    let model = model();
    for (config, inputs) in [
        (r#"{"max_new_tokens": 4}"#, Inputs::default()),
        (r#"{"max_length": 3}"#, inputs()),
        (r#"{"prompt_lookup_num_tokens": 2}"#, inputs()),
        (r#"{"stop_strings": "x"}"#, inputs()),
    ] {
        let error = written(&model, config, Request { inputs, ..Request::default() }).err().unwrap();
        assert!(matches!(error, Error::Setting(_)), "{config}: {error}");
    }
}

//! Texts that are written together are those that are written alone.

#![allow(clippy::unwrap_used)] // What goes wrong here fails the test.

use std::collections::BTreeMap;

use trustformers_generation::{
    Generated, GenerationConfig, Job, Request, Result, Turn, Writer, generate, rows, table, write_together,
};
use trustformers_models::{Config, Inputs, LoadOptions, Model, Text};
use trustformers_tensor::{Generator, interrupt};

type Texts = Vec<Vec<i64>>;

fn model() -> Model {
    let config = r#"{"model_type": "llama", "vocab_size": 40, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
                     "num_attention_heads": 4, "num_key_value_heads": 2, "initializer_range": 0.4}"#;
    let options = LoadOptions { class: Some("LlamaForCausalLM".into()), ..LoadOptions::default() };
    Model::from_config(Config::from_json(config).unwrap(), &options, 3).unwrap()
}

/// Prompts with their settings: of several lengths, drawn and likeliest, ending early, and one of beams.
fn jobs() -> Vec<(Texts, String)> {
    let settings = [
        r#"{"max_new_tokens": 9}"#,
        r#"{"max_new_tokens": 4, "do_sample": true, "num_return_sequences": 2}"#,
        r#"{"max_new_tokens": 7, "repetition_penalty": 1.5}"#,
        r#"{"max_new_tokens": 1}"#,
        r#"{"max_new_tokens": 5, "num_beams": 2}"#,
        r#"{"max_new_tokens": 12, "eos_token_id": [1, 2, 3, 4, 5, 6, 7], "pad_token_id": 0}"#,
    ];
    let job = |number: usize| {
        let prompt = (0..1 + (number * 5) % 7).map(|at| 8 + ((number * 3 + at * at) % 31) as i64).collect();
        (vec![prompt; 1 + number % 2], settings[number % settings.len()].to_owned())
    };
    (0..24).map(job).collect()
}

fn request(prompts: &Texts) -> Request<'static> {
    let text = Text { ids: Some(table(prompts).unwrap()), ..Text::default() };
    Request { inputs: Inputs { text, ..Inputs::default() }, ..Request::default() }
}

fn texts(generated: Result<Generated>) -> Texts {
    rows(&generated.unwrap().sequences.unwrap()).unwrap()
}

/// Lets a few begin at every turn.
struct Desk {
    waiting: Vec<(Texts, String)>,
    at_once: usize,
    begun: u64,
    /// The number of a text that is given up after some turns.
    unwanted: Option<u64>,
    turns: usize,
    ended: BTreeMap<u64, Result<Generated>>,
}

impl Desk {
    fn new(waiting: Vec<(Texts, String)>, at_once: usize) -> Desk {
        Desk { waiting, at_once, begun: 0, unwanted: None, turns: 0, ended: BTreeMap::new() }
    }
}

impl<'r> Writer<'r> for Desk {
    fn turn(&mut self, ended: Vec<(u64, Result<Generated>)>) -> Result<Turn<'r>> {
        self.ended.extend(ended);
        self.turns += 1;
        let count = self.at_once.min(self.waiting.len());
        let joins = self.waiting.drain(..count).map(|(prompts, settings)| {
            self.begun += 1;
            let number = self.begun - 1;
            let config = GenerationConfig::from_json(&settings).unwrap();
            Job { number, config, request: request(&prompts), generator: Generator::new(number) }
        });
        let joins = joins.collect();
        let leaves = self.unwanted.filter(|_| self.turns == 5).into_iter().collect();
        Ok(Turn { joins, leaves })
    }
}

#[test]
fn each_is_what_it_is_alone() {
    let model = model();
    let alone: Vec<Texts> = (0..)
        .zip(jobs())
        .map(|(number, (prompts, settings))| {
            let config = GenerationConfig::from_json(&settings).unwrap();
            texts(generate(&model, config, request(&prompts), Generator::new(number)))
        })
        .collect();
    for at_once in [1, 3, 24] {
        let mut desk = Desk::new(jobs(), at_once);
        write_together(&model, &mut desk).unwrap();
        let found: Vec<Texts> = desk.ended.into_values().map(texts).collect();
        assert_eq!(found, alone, "{at_once} at once");
    }
}

#[test]
fn what_is_wrong_with_one_ends_that_one() {
    let model = model();
    let mut given = jobs();
    given[2].1 = r#"{"max_length": 1}"#.into();
    given[5].0 = vec![vec![8, 1000]];
    let mut desk = Desk::new(given, 4);
    write_together(&model, &mut desk).unwrap();
    let failed: Vec<u64> =
        desk.ended.iter().filter(|(_, ended)| ended.is_err()).map(|(&number, _)| number).collect();
    assert_eq!(failed, [2, 5]);
    assert_eq!(desk.ended.len(), 24);
}

#[test]
fn who_leaves_is_heard_of_no_more_and_changes_nothing_for_the_others() {
    let model = model();
    let long = |tokens: usize| (vec![vec![8, 9, 10]], format!(r#"{{"max_new_tokens": {tokens}}}"#));
    let mut desk = Desk::new(vec![long(20), long(20), long(20)], 2);
    desk.unwanted = Some(1);
    write_together(&model, &mut desk).unwrap();
    assert_eq!(desk.ended.keys().copied().collect::<Vec<_>>(), [0, 2]);
    let found: Vec<Texts> = desk.ended.into_values().map(texts).collect();
    assert_eq!(found[0], found[1]);
    assert_eq!(found[0][0].len(), 23);
}

/// Prompts of several lengths, some longer than what is read in a turn, behind padding and without, with their masks.
fn long_jobs() -> Vec<(Texts, Texts)> {
    let job = |number: usize| {
        let length = [700, 3, 129, 128, 257, 40][number % 6];
        let prompt = |row: usize| (0..length).map(|at| 8 + ((number + row + at * at) % 31) as i64).collect();
        let mask = |row: usize| {
            let hidden = if number % 4 == 3 { row * length / 2 } else { 0 };
            (0..length).map(|at| i64::from(at >= hidden)).collect()
        };
        let rows = 1 + number % 2;
        ((0..rows).map(prompt).collect(), (0..rows).map(mask).collect())
    };
    (0..12).map(job).collect()
}

fn long_job(
    number: u64,
    (prompts, mask): &(Texts, Texts),
) -> (GenerationConfig, Request<'static>, Generator) {
    let mut request = request(prompts);
    request.inputs.text.mask = Some(table(mask).unwrap());
    let config = GenerationConfig::from_json(r#"{"max_new_tokens": 6, "do_sample": true}"#).unwrap();
    (config, request, Generator::new(number))
}

/// Asks for everything at once and notes in which turn each has ended.
#[derive(Default)]
struct Watch {
    jobs: Vec<(Texts, Texts)>,
    begun: bool,
    turns: usize,
    ended: BTreeMap<u64, (usize, Result<Generated>)>,
}

impl<'r> Writer<'r> for Watch {
    fn turn(&mut self, ended: Vec<(u64, Result<Generated>)>) -> Result<Turn<'r>> {
        self.turns += 1;
        self.ended.extend(ended.into_iter().map(|(number, text)| (number, (self.turns, text))));
        let jobs = if std::mem::replace(&mut self.begun, true) { &[] } else { self.jobs.as_slice() };
        let joins = (0..).zip(jobs).map(|(number, job)| {
            let (config, request, generator) = long_job(number, job);
            Job { number, config, request, generator }
        });
        Ok(Turn { joins: joins.collect(), leaves: Vec::new() })
    }
}

#[test]
fn long_prompts_are_read_in_pieces_and_give_what_they_give_alone() {
    let model = model();
    let alone: Vec<Texts> = (0..)
        .zip(long_jobs())
        .map(|(number, job)| {
            let (config, request, generator) = long_job(number, &job);
            texts(generate(&model, config, request, generator))
        })
        .collect();
    let mut watch = Watch { jobs: long_jobs(), ..Watch::default() };
    write_together(&model, &mut watch).unwrap();
    let found: Vec<Texts> = watch.ended.into_values().map(|(_, text)| texts(text)).collect();
    assert_eq!(found, alone);
}

#[test]
fn texts_go_on_while_a_long_prompt_is_read() {
    let model = model();
    let whole = |length| (vec![vec![9; length]], vec![vec![1; length]]);
    let mut watch = Watch { jobs: vec![whole(3), whole(1500)], ..Watch::default() };
    write_together(&model, &mut watch).unwrap();
    // Two tokens come in the turn in which a prompt has been read, one in each of the next. A turn reads 128 of the 1500 tokens.
    assert_eq!(watch.ended[&0].0, 6);
    assert_eq!(watch.ended[&1].0, 1 + 1500usize.div_ceil(128) + 5);
}

#[test]
fn an_interrupt_ends_all_of_it() {
    let model = model();
    let mut desk = Desk::new(jobs(), 4);
    let ended = interrupt::during(|| true, || write_together(&model, &mut desk));
    assert!(ended.is_err());
}

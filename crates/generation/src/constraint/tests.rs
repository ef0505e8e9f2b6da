//! Constraints over a vocabulary of single bytes, a few longer tokens and an end.

use std::time::{Duration, Instant};

use super::{Constraint, Grammar, ResponseFormat, Vocabulary};
use crate::config::GenerationConfig;
use crate::{LogitsProcessor, Scores};
use trustformers_tensor::Tensor;

const END: i64 = 256;
const LONGER: [&str; 5] = ["<end>", "<|tool|>", "{\"", "true", "12"];

fn vocabulary() -> Vocabulary {
    let longer = LONGER.iter().map(|piece| piece.as_bytes().to_vec());
    let pieces: Vec<Vec<u8>> = (0..=255u8).map(|byte| vec![byte]).chain(longer).collect();
    Vocabulary::new(&pieces, &[257], &[END]).unwrap()
}

fn format(json: &str) -> ResponseFormat {
    ResponseFormat::from_json(json).unwrap()
}

fn constraint(json: &str, config: &str) -> Constraint {
    let config = GenerationConfig::from_json(config).unwrap();
    Grammar::new(&format(json), &vocabulary()).unwrap().constraint(&config).unwrap()
}

fn regex(regex: &str) -> Constraint {
    constraint(&serde_json::json!({"type": "regex", "regex": regex}).to_string(), "{}")
}

/// The tokens that may follow some sequences.
fn allowed(constraint: &mut Constraint, sequences: &[&[i64]]) -> crate::Result<Vec<Vec<i64>>> {
    let count = 256 + LONGER.len() + 2;
    let mut scores = Scores::new(&Tensor::zeros(&[sequences.len(), count])?)?;
    let sequences: Vec<Vec<i64>> = sequences.iter().map(|row| row.to_vec()).collect();
    constraint.process(&sequences, &mut scores)?;
    let finite =
        |row: &[f32]| (0..row.len()).filter(|&token| row[token] == 0.0).map(|token| token as i64).collect();
    Ok(scores.rows().map(finite).collect())
}

fn bytes(text: &str) -> Vec<i64> {
    text.bytes().map(i64::from).collect()
}

#[test]
fn the_end_comes_exactly_where_the_text_is_complete() {
    let mut one = regex("ab*");
    let after = |one: &mut Constraint, text: &str| {
        allowed(one, &[&[&[7, 7], &bytes(text)[..]].concat()]).unwrap().remove(0)
    };
    assert_eq!(after(&mut one, ""), bytes("a"));
    assert_eq!(after(&mut one, "a"), [bytes("b"), vec![END]].concat());
    assert_eq!(after(&mut one, "ab"), [bytes("b"), vec![END]].concat());
    let mut one = regex("ab");
    assert_eq!(after(&mut one, ""), bytes("a"));
    assert_eq!(after(&mut one, "a"), bytes("b"));
    assert_eq!(after(&mut one, "ab"), [END]);
}

#[test]
fn longer_tokens_special_ones_and_those_beyond_the_tokenizer() {
    let mut one = regex("12|1<end>|x");
    assert_eq!(allowed(&mut one, &[&[]]).unwrap(), [vec![i64::from(b'1'), i64::from(b'x'), 260]]);
    // The name of an end is text as any other where it is spelt.
    assert_eq!(allowed(&mut one, &[&bytes("1")]).unwrap(), [bytes("2<")]);
    let mut any = regex("(?s:.*)");
    let tokens = allowed(&mut any, &[&[]]).unwrap().remove(0);
    assert!(
        tokens.contains(&END) && tokens.contains(&259) && !tokens.contains(&257) && !tokens.contains(&261)
    );
    // A byte that no UTF-8 begins with.
    assert!(!tokens.contains(&0xff) && !tokens.contains(&0x80) && tokens.contains(&0xc3));
    let mut tool = constraint(r#"{"type": "grammar", "grammar": "start: <|tool|> \"a\""}"#, "{}");
    assert_eq!(allowed(&mut tool, &[&[]]).unwrap(), [[257]]);
    assert_eq!(allowed(&mut tool, &[&[257]]).unwrap(), [bytes("a")]);
}

#[test]
fn matchers_follow_sequences_that_change_places_split_and_go_back() {
    let mut beams = constraint(r#"{"type": "regex", "regex": "ab|cd|aef"}"#, r#"{"num_beams": 2}"#);
    let mut next = |rows: &[&str]| {
        let rows: Vec<Vec<i64>> = rows.iter().map(|row| bytes(&format!("p{row}"))).collect();
        allowed(&mut beams, &rows.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap()
    };
    assert_eq!(next(&["", ""]), [bytes("ac"), bytes("ac")]);
    assert_eq!(next(&["a", "c"]), [bytes("be"), bytes("d")]);
    assert_eq!(next(&["cd", "ae"]), [vec![END], bytes("f")]);
    // Both go on with what one was, and one is none any more.
    assert_eq!(next(&["aef", "aex"]), [vec![END], vec![]]);
    assert_eq!(next(&["a", "ab"]), [bytes("be"), vec![END]]);
}

#[test]
fn what_has_ended_is_left_alone() {
    let mut one = regex("ab");
    allowed(&mut one, &[&[1], &[1]]).unwrap();
    let next = allowed(&mut one, &[&[1, 97], &[1, 97]]).unwrap();
    assert_eq!(next, [bytes("b"), bytes("b")]);
    let next = allowed(&mut one, &[&[1, 97, END, 0], &[1, 97, 98, END]]).unwrap();
    assert_eq!([next[0].len(), next[1].len()], [263, 263]);
}

#[test]
fn what_others_choose_against_the_grammar_is_an_error() {
    let mut one = regex("ab");
    allowed(&mut one, &[&[1]]).unwrap();
    let error = allowed(&mut one, &[&[1, 99]]).unwrap_err().to_string();
    assert!(error.contains("does not allow token 99"), "{error}");
    let mut scores = Scores::new(&Tensor::from_slice(&[f32::NEG_INFINITY; 256], &[1, 256]).unwrap()).unwrap();
    let error = regex("a").process(&[vec![]], &mut scores).unwrap_err().to_string();
    assert!(error.contains("min_new_tokens"), "{error}");
}

#[test]
fn every_walk_through_a_schema_parses() {
    let schema = serde_json::json!({"type": "json_schema", "json_schema": {"name": "x", "strict": true, "schema": {
        "type": "object", "additionalProperties": false, "required": ["name", "tags"],
        "properties": {
            "name": {"type": "string", "maxLength": 9},
            "age": {"type": "integer", "minimum": 0, "maximum": 150},
            "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}, "maxItems": 3}
        },
        "$defs": {"tag": {"enum": ["a", "b\"c", "é"]}}
    }}});
    let vocabulary = vocabulary();
    let grammar = Grammar::new(&format(&schema.to_string()), &vocabulary).unwrap();
    let mut state = 1u64;
    for _ in 0..40 {
        let mut constraint = grammar.constraint(&GenerationConfig::default()).unwrap();
        let mut tokens = vec![5, 5];
        while tokens.last() != Some(&END) {
            let next = allowed(&mut constraint, &[&tokens]).unwrap().remove(0);
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            tokens.push(next[(state >> 33) as usize % next.len()]);
            assert!(tokens.len() < 2000);
        }
        let text = |&token: &i64| match u8::try_from(token) {
            Ok(byte) => vec![byte],
            Err(_) => LONGER[token as usize - 256].as_bytes().to_vec(),
        };
        let text: Vec<u8> = tokens[2..tokens.len() - 1].iter().flat_map(text).collect();
        let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert!(value["name"].as_str().unwrap().chars().count() <= 9);
        assert!(value.get("age").is_none_or(|age| age.as_i64().unwrap() <= 150));
        assert!(value["tags"].as_array().unwrap().len() <= 3);
    }
}

#[test]
fn what_is_no_grammar_is_refused_by_its_place() {
    let vocabulary = vocabulary();
    let refused = |json: serde_json::Value| {
        let begun = Instant::now();
        let error =
            Grammar::new(&format(&json.to_string()), &vocabulary).err().map(|error| error.to_string());
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
        error.unwrap_or_else(|| {
            panic!("{} was accepted", json.to_string().chars().take(99).collect::<String>())
        })
    };
    let schema = |schema| serde_json::json!({"type": "json_schema", "json_schema": {"schema": schema}});
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    for (given, parts) in
        [
            (json(r#"{"type": "regex", "regex": "a(b"}"#), ["regex", "unclosed group"]),
            (json(r#"{"type": "regex", "regex": "(?=a)b"}"#), ["regex", "look-ahead"]),
            (json(r#"{"type": "regex", "regex": "[^\\s\\S]"}"#), ["regex", "no token"]),
            (json(r#"{"type": "grammar", "grammar": "start: foo"}"#), ["grammar: at 1(8)", "foo"]),
            (json(r#"{"type": "grammar", "grammar": ""}"#), ["grammar", "no start rule"]),
            (json(r#"{"type": "grammar", "grammar": "start: start"}"#), ["grammar", "no token"]),
            (schema(json(r#"{"properties": {"a": {"type": "strin"}}}"#)), ["#/properties/a:", "strin"]),
            (schema(json(r##"{"properties": {"a": {"$ref": "#/$defs/x"}}}"##)), ["#/properties/a:", "$defs"]),
            (schema(json(r##"{"items": {"$ref": "http://x.y"}}"##)), ["#/items:", "within the schema"]),
            (
                schema(
                    json(
                        r#"{"$defs": {"b": {"not": {}}}, "properties": {"a": {"$ref": "\#/$defs/b"}}}"#
                            .replace("\\#", "#")
                            .as_str(),
                    ),
                ),
                ["#/$defs/b", "not"],
            ),
            (schema(json(r#"{"type": "string", "pattern": "a(b"}"#)), ["at #:", "unclosed group"]),
            (schema(json(r#"[1]"#)), ["at #:", "object or boolean"]),
            (schema(json("false")), ["at #:", "false"]),
            (schema(json(&format!("{{\"const\": \"{}\"}}", "x".repeat(600_000)))), ["at #:", "524288"]),
        ]
    {
        let error = refused(given.clone());
        for part in parts {
            assert!(error.contains(part), "{given}: {error}");
        }
    }
}

#[test]
fn what_explodes_comes_to_an_end() {
    let vocabulary = vocabulary();
    let chain = |rule: fn(usize) -> String| (0..30_000).map(rule).collect::<String>();
    for grammar in [
        chain(|i| format!("a{i}: a{}\n", i + 1)) + "a30000: \"x\"\nstart: a0\n",
        chain(|i| format!("A{i}: A{}\n", i + 1)) + "A30000: \"x\"\nstart: A0\n",
        format!("start: {}\"a\"{}", "(".repeat(200_000), ")".repeat(200_000)),
        format!("start: /{}a{}/", "(".repeat(200_000), ")".repeat(200_000)),
        "start: /((((a{1000}){1000}){1000}){1000})/".into(),
        "start: /(a|b)*a(a|b){5000}/".into(),
    ] {
        let begun = Instant::now();
        let made = Grammar::new(&ResponseFormat::Grammar { grammar: grammar.clone() }, &vocabulary);
        if let Ok(grammar) = made {
            let mut one = grammar.constraint(&GenerationConfig::default()).unwrap();
            let mut tokens = Vec::new();
            for _ in 0..50 {
                let Ok(next) = allowed(&mut one, &[&tokens]) else { break };
                tokens.push(next[0][0]);
            }
        }
        let shown: String = grammar.chars().take(40).collect();
        assert!(begun.elapsed() < Duration::from_secs(30), "{shown}: {:?}", begun.elapsed());
    }
}

#[test]
fn vocabularies_are_kept_with_what_they_are_made_of() {
    let pieces = std::sync::Arc::new(vec![b"a".to_vec(), b"b".to_vec()]);
    let one = Vocabulary::of(&pieces, &[], &[1]).unwrap();
    assert!(std::sync::Arc::ptr_eq(&one, &Vocabulary::of(&pieces, &[], &[1]).unwrap()));
    assert!(!std::sync::Arc::ptr_eq(&one, &Vocabulary::of(&pieces, &[], &[0]).unwrap()));
    assert!(Vocabulary::new(&pieces, &[], &[]).is_err());
    assert!(Vocabulary::new(&pieces, &[], &[-1]).is_err());
    // An end that the tokenizer does not have is one all the same.
    let beyond = Vocabulary::new(&pieces, &[9], &[7]).unwrap();
    let grammar = Grammar::new(&ResponseFormat::Regex { regex: "a".into() }, &beyond).unwrap();
    let mut one = grammar.constraint(&GenerationConfig::default()).unwrap();
    assert_eq!(allowed(&mut one, &[&[]]).unwrap(), [[0]]);
    assert_eq!(allowed(&mut one, &[&[0]]).unwrap(), [[7]]);
}

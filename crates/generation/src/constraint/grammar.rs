//! A grammar, compiled over a vocabulary.

use std::panic::AssertUnwindSafe;
use std::thread;

use llguidance::api::{GrammarWithLexer, TopLevelGrammar};
use llguidance::{Matcher, panic_utils};
use serde_json::{Value, json};

use super::place::find_place;
use super::{Constraint, ResponseFormat, Vocabulary};
use crate::Result;
use crate::config::GenerationConfig;
use crate::error::setting;

/// White space between the parts of JSON: enough for any indentation, and not for a model that has nothing else to say.
const WHITE_SPACE: &str = r"[\x20\x0A\x0D\x09]{1,64}";
/// The longest grammar in bytes.
const LONGEST: usize = 512 << 10;
/// The compiler calls itself for every rule that refers to another: room for as many as the longest grammar may hold.
const STACK: usize = 512 << 20;

/// A grammar over a vocabulary: what may come at its beginning.
pub struct Grammar {
    matcher: Matcher,
    ends: Vec<i64>,
}

impl Grammar {
    /// The grammar of what `format` allows.
    ///
    /// # Errors
    /// `Setting` that names the place: for what is no regular expression, schema or grammar, for what these crates cannot do, what allows
    /// no text at all, and what is too large.
    pub fn new(format: &ResponseFormat, vocabulary: &Vocabulary) -> Result<Grammar> {
        let compiled = match format {
            ResponseFormat::JsonObject => compile(json_grammar(json!({"type": "object"})), vocabulary),
            ResponseFormat::JsonSchema { json_schema } => {
                let schema = &json_schema.schema;
                let compiles = |schema: &Value| compile(json_grammar(schema.clone()), vocabulary);
                compiles(schema).map_err(|reason| {
                    let (place, reason) = find_place(schema, reason, |part| compiles(part).err());
                    format!("json_schema at {place}: {reason}")
                })
            }
            ResponseFormat::Regex { regex } => {
                compile(TopLevelGrammar::from_regex(regex), vocabulary).map_err(|e| format!("regex: {e}"))
            }
            ResponseFormat::Grammar { grammar } => {
                compile(TopLevelGrammar::from_lark(grammar.clone()), vocabulary)
                    .map_err(|e| format!("grammar: {e}"))
            }
        };
        match compiled {
            Ok(matcher) => Ok(Grammar { matcher, ends: vocabulary.ends.clone() }),
            Err(reason) => setting(format!("response_format: {reason}")),
        }
    }

    /// The processor that keeps texts to this grammar, for a generation with these settings.
    ///
    /// # Errors
    /// `Setting` for contrastive search, which chooses among the likeliest tokens whether they may come or not.
    pub fn constraint(&self, config: &GenerationConfig) -> Result<Constraint> {
        if config.penalty_alpha.is_some_and(|alpha| alpha > 0.0) {
            return setting(
                "response_format is not supported with contrastive search: leave out penalty_alpha",
            );
        }
        // Beams, and what is looked up in the prompt, try tokens that are dropped again.
        let explores = config.beams() > 1 || config.prompt_lookup_num_tokens.is_some();
        Ok(Constraint::new(self.matcher.clone(), self.ends.clone(), explores))
    }
}

fn json_grammar(mut schema: Value) -> TopLevelGrammar {
    if let Value::Object(fields) = &mut schema
        && !fields.contains_key("x-guidance")
    {
        fields.insert("x-guidance".into(), json!({"whitespace_pattern": WHITE_SPACE}));
    }
    TopLevelGrammar::from_grammar(GrammarWithLexer::from_json_schema(schema))
}

/// A matcher at the beginning of a text, or what is wrong with the grammar.
fn compile(grammar: TopLevelGrammar, vocabulary: &Vocabulary) -> Result<Matcher, String> {
    let length = |one: &GrammarWithLexer| {
        let schema = one.json_schema.as_ref().map_or(0, |schema| schema.to_string().len());
        one.lark_grammar.as_ref().map_or(schema, String::len)
    };
    let length: usize = grammar.grammars.iter().map(length).sum();
    if length > LONGEST {
        return Err(format!("it is {length} bytes long, and may be {LONGEST}"));
    }
    let work = || {
        guarded(|| {
            let parser = vocabulary.factory.create_parser(grammar);
            let parser = parser.map_err(|error| with_remedy(&format!("{error:#}")))?;
            let mut matcher = Matcher::new(Ok(parser));
            matcher.compute_mask_or_eos().map_err(|error| reason(&error.to_string()))?;
            Ok(matcher)
        })
    };
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("trustformers-grammar".into()).stack_size(STACK);
        match thread.spawn_scoped(scope, work).map(|thread| thread.join()) {
            Ok(Ok(compiled)) => compiled,
            Ok(Err(_)) => Err("it is too complex".into()),
            Err(error) => Err(format!("there is no memory to read it: {error}")),
        }
    })
}

/// Runs what may panic.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    panic_utils::catch_unwind(AssertUnwindSafe(|| Ok(work())))
        .unwrap_or_else(|panic| Err(panic.to_string().lines().next().unwrap_or_default().to_owned()))
}

/// What a matcher says when it stops, in words.
pub(super) fn reason(message: &str) -> String {
    let first = message.lines().next().unwrap_or_default();
    match first {
        "NoExtensionBias" => "no token of this tokenizer goes on with a text that it allows".into(),
        _ => first.to_owned(),
    }
}

/// What the compiler says, with what a user can do about it in place of what a developer can.
fn with_remedy(message: &str) -> String {
    const REMEDIES: [(&str, &str); 2] = [
        (
            "Only absolute $ref's (#/...) are supported without 'referencing' feature; ref",
            "only references within the schema (#/...) can be followed, not",
        ),
        ("Enable 'coerce_one_of' option", "Put \"x-guidance\": {\"coerce_one_of\": true} into the schema"),
    ];
    REMEDIES.iter().fold(message.trim_end().to_owned(), |text, (theirs, ours)| text.replace(theirs, ours))
}

//! Chat templates: how a conversation becomes a text, in Jinja, as transformers renders them.
//!
//! A template comes with a model, from anybody. It sees plain data and has nothing but its own functions; how long it may run and how much
//! it may write is limited.

mod python;

use std::io::{self, Write};
use std::ops::Range;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde};
use minijinja::{AutoEscape, Environment, ErrorKind, Value};
use serde::Serialize;

use crate::{Error, Result};

/// So many steps are enough for a conversation of thousands of messages.
const FUEL: u64 = 50_000_000;
/// No context is as long.
const LONGEST: usize = 64 << 20;
/// What stands around the text of a `{% generation %}` block until it is found again: noncharacters, which no text has.
const MARKS: [char; 2] = ['\u{fdd0}', '\u{fdd1}'];
const MARKED: &str = "__generation";
const NAME: &str = "chat";

/// A chat template that has been read.
#[derive(Debug)]
pub struct ChatTemplate(Environment<'static>);

/// What a template makes of a conversation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rendered {
    /// The text.
    pub text: String,
    /// Which characters of it are in `{% generation %}` blocks: what the assistant said.
    pub generated: Vec<Range<usize>>,
}

impl ChatTemplate {
    /// Reads a template.
    ///
    /// # Errors
    /// [`Error::Chat`] for what is no Jinja.
    pub fn new(source: &str) -> Result<Self> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(refused)?);
        environment.set_fuel(Some(FUEL));
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.set_formatter(|out, _, value| {
            out.write_str(&python::text(value)).map_err(|error| failure(error.to_string()))
        });
        environment.add_filter("tojson", to_json);
        environment.add_filter("string", |value: &Value| python::text(value));
        environment.add_filter(MARKED, marked);
        environment
            .add_function("raise_exception", |message: String| -> Result<Value, _> { Err(failure(message)) });
        environment.add_function("strftime_now", strftime_now);
        environment.add_template_owned(NAME, with_filters(source)).map_err(refused)?;
        Ok(Self(environment))
    }

    /// Renders a conversation: `variables` are `messages`, `tools`, `documents`, `add_generation_prompt`, special tokens by name, and
    /// whatever else the template asks for.
    ///
    /// # Errors
    /// [`Error::Chat`] if the template refuses them, fails, or takes too long.
    pub fn render<S: Serialize>(&self, variables: S) -> Result<Rendered> {
        let mut out = Limited(Vec::new());
        let template = self.0.get_template(NAME).map_err(refused)?;
        template.render_captured_to(Value::from(Serde(variables)), &mut out).map_err(refused)?;
        let text = String::from_utf8(out.0).map_err(|error| Error::Chat(error.to_string()))?;
        Ok(without_marks(&text))
    }
}

fn failure(message: impl Into<String>) -> minijinja::Error {
    minijinja::Error::new(ErrorKind::InvalidOperation, message.into())
}

/// What a template says when it fails; its own words where it raises an exception.
fn refused(error: minijinja::Error) -> Error {
    let line = error.line().map(|line| format!(" (line {line} of the template)")).unwrap_or_default();
    Error::Chat(match error.detail() {
        Some(detail) => format!("{detail}{line}"),
        None => format!("{}{line}", error.kind()),
    })
}

/// Text of bounded length.
struct Limited(Vec<u8>);

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > LONGEST {
            return Err(io::Error::other("it writes more than any model reads"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The `{% generation %}` blocks of transformers as filters, which Jinja has.
fn with_filters(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        let (before, tag) = rest.split_at(start);
        out.push_str(before);
        let Some(end) = tag.find("%}") else {
            rest = tag;
            break;
        };
        let (tag, after) = tag.split_at(end + 2);
        let inner = &tag[2..tag.len() - 2];
        let word = inner.trim_matches(['-', '+']).trim();
        match word {
            "generation" => {
                out.push_str(&format!("{{%{}%}}", inner.replace(word, &format!("filter {MARKED}"))))
            }
            "endgeneration" => out.push_str(&format!("{{%{}%}}", inner.replace(word, "endfilter"))),
            _ => out.push_str(tag),
        }
        rest = after;
    }
    out + rest
}

fn marked(text: &str) -> String {
    let [start, end] = MARKS;
    format!("{start}{text}{end}")
}

/// A text with the places where the marks were.
fn without_marks(text: &str) -> Rendered {
    let mut rendered = Rendered::default();
    let (mut count, mut start) = (0, 0);
    for char in text.chars() {
        if char == MARKS[0] {
            start = count;
        } else if char == MARKS[1] {
            rendered.generated.push(start..count);
        } else {
            rendered.text.push(char);
            count += 1;
        }
    }
    rendered
}

/// Python's `json.dumps`, which does not escape HTML.
fn to_json(value: &Value, options: Kwargs) -> Result<String, minijinja::Error> {
    let indent: Option<Value> = options.get("indent")?;
    let separators: Option<Vec<String>> = options.get("separators")?;
    let format = python::Json {
        ensure_ascii: options.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false),
        indent: indent.filter(|indent| !indent.is_none()).map(|indent| match indent.as_str() {
            Some(text) => text.to_owned(),
            None => " ".repeat(usize::try_from(indent).unwrap_or(0).min(100)),
        }),
        separators: match separators.as_deref() {
            None => None,
            Some([item, key]) => Some([item.clone(), key.clone()]),
            Some(_) => return Err(failure("separators= must be two texts")),
        },
        sort_keys: options.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
    };
    options.assert_all_used()?;
    Ok(format.dumps(value))
}

fn strftime_now(format: &str) -> Result<String, minijinja::Error> {
    jiff::fmt::strtime::format(format, &jiff::Zoned::now()).map_err(|error| failure(error.to_string()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;

    fn rendered(template: &str, variables: Json) -> Result<String> {
        Ok(ChatTemplate::new(template)?.render(variables)?.text)
    }

    #[test]
    fn conversations_become_texts() {
        let template = "{%- for message in messages %}\n    {{- '<' + message['role'] + '>' + message.content | trim }}\n{% endfor %}\n\
                        {% if add_generation_prompt %}\n<assistant>{% endif %}";
        let messages = json!([{"role": "user", "content": " Hi "}, {"role": "assistant", "content": "ä<b>"}]);
        let text = rendered(template, json!({"messages": messages, "add_generation_prompt": true})).unwrap();
        assert_eq!(text, "<user>Hi\n<assistant>ä<b>\n<assistant>");
    }

    #[test]
    fn values_are_written_as_python_writes_them() {
        for (template, expected) in [
            ("{{ [1, 2.0, 'a', true, none] }}", "[1, 2.0, 'a', True, None]"),
            ("{{ {'a': \"it's\"} }}", "{'a': \"it's\"}"),
            ("{{ {'b': [1, {}], 'a': 'ä<'} | tojson }}", "{\"b\": [1, {}], \"a\": \"ä<\"}"),
            (
                "{{ {'b': 1, 'a': 'ä'} | tojson(ensure_ascii=true, sort_keys=true) }}",
                "{\"a\": \"\\u00e4\", \"b\": 1}",
            ),
            ("{{ {'b': [1, 2]} | tojson(indent=2) }}", "{\n  \"b\": [\n    1,\n    2\n  ]\n}"),
            ("{{ [1, 2] | tojson(separators=(',', ':')) }}", "[1,2]"),
            ("{{ missing }}{{ 'a,b'.split(',')[-1].upper() }}", "B"),
            ("{{ 'x' if none is none else 'y' }}{{ (3).__class__ }}", "x"),
            (
                "{% set ns = namespace(a=1) %}{% for i in range(3) %}{% set ns.a = ns.a + i %}{% endfor %}{{ ns.a }}",
                "4",
            ),
            ("{% for i in range(9) %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}", "01"),
            ("{{ messages[::-1] | length }}", "0"),
        ] {
            assert_eq!(rendered(template, json!({"messages": []})).unwrap(), expected, "{template}");
        }
        assert_eq!(rendered("{{ strftime_now('%Y') | length }}", json!({})).unwrap(), "4");
    }

    #[test]
    fn what_the_assistant_said_is_marked() {
        let template = "{% for m in messages %}[{{ m.role }}]{% generation %}{{ m.content }}{%- endgeneration -%}{% endfor %}";
        let messages = json!([{"role": "a", "content": "äb"}, {"role": "b", "content": "c"}]);
        let rendered = ChatTemplate::new(template).unwrap().render(json!({"messages": messages})).unwrap();
        assert_eq!(rendered, Rendered { text: "[a]äb[b]c".into(), generated: vec![3..5, 8..9] });
    }

    #[test]
    fn templates_may_refuse_and_cannot_run_forever() {
        let error = rendered("{{ raise_exception('roles must alternate') }}", json!({})).unwrap_err();
        assert!(error.to_string().contains("roles must alternate (line 1"), "{error}");
        assert!(matches!(ChatTemplate::new("{% if %}"), Err(Error::Chat(_))));
        let endless = "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}{% endfor %}{% endfor %}{% endfor %}";
        assert!(matches!(rendered(endless, json!({})), Err(Error::Chat(_))));
        let long = "{% for a in range(99999) %}{{ text }}{% endfor %}";
        assert!(matches!(rendered(long, json!({"text": "x".repeat(10000)})), Err(Error::Chat(_))));
    }
}

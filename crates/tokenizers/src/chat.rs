//! Chat templates: a conversation becomes a text by a template in Jinja's language, as in transformers' `apply_chat_template`.
//!
//! Templates come from strangers. They see nothing but what they are given, read no files, and have so much fuel for their steps and for
//! the bytes that they make; lists are kept within bounds (`bounded.rs`).
//!
//! Values print as in Python, except that a float from 1e16 on or below 1e-4 that is not written by `tojson` has the exponent of Rust.

use std::sync::Arc;

use minijinja::machinery::{self, Token};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde};
use minijinja::{Environment, ErrorKind, State, Value};
use serde_json::Value as Json;

use crate::bounded::{FILTER, bounded, with_bounds};
use crate::{Error, Result, json, python};

/// What a rendering may use: instructions, and 64 bytes that it makes, cost one. So at most 256 MiB.
const FUEL: u64 = 4 << 20;
/// What messages call a template.
const NAME: &str = "chat template";
/// What stands before a template's own words in an error that it raises.
const RAISED: &str = "\u{1}raised: ";

/// Says the present time in the format of C's `strftime`, for templates that tell it.
pub type Clock = Arc<dyn Fn(&str) -> std::result::Result<String, String> + Send + Sync>;

/// A conversation as a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// The text.
    pub text: String,
    /// Where in it stands what the model has said, as the template marks it with `{% generation %}`: characters from and to.
    pub generated: Vec<(usize, usize)>,
}

/// Renders a template with what it may see, an object: `messages`, `tools`, `add_generation_prompt`, `bos_token` and so on. With `track`
/// it says what is the model's too.
///
/// # Errors
/// [`Error::Chat`] for what is no template, what the template itself raises, and one that does not come to an end.
pub fn render_chat(template: &str, context: &Json, clock: Option<&Clock>, track: bool) -> Result<Rendered> {
    let template = with_marks(template);
    let marks = unused_characters(&template, context);
    let shown = |mark: char| if track { Value::from(mark.to_string()) } else { Value::from("") };
    let rendered = environment(clock.cloned()).and_then(|mut environment| {
        environment.add_global(BEGIN, shown(marks[0]));
        environment.add_global(END, shown(marks[1]));
        let template = with_bounds(&template, NAME, syntax()?)?;
        let template = environment.template_from_named_str(NAME, &template)?;
        template.render(Value::from(Serde(context)))
    });
    rendered.map(|text| unmarked(&text, marks)).map_err(|error| Error::Chat(in_words(&error)))
}

/// What a template writes: its plain text, and the texts in its expressions.
///
/// # Errors
/// [`Error::Chat`] for what is no template.
pub fn chat_template_texts(template: &str) -> Result<Vec<String>> {
    let template = with_marks(template);
    let texts = syntax().and_then(|syntax| {
        let tokens = machinery::tokenize(&template, false, syntax);
        let text = |token| match token {
            Token::TemplateData(text) | Token::Str(text) => Some(text.to_owned()),
            Token::String(text) => Some(text.into()),
            _ => None,
        };
        tokens.filter_map(|token| token.map(|(token, _)| text(token)).transpose()).collect()
    });
    texts.map_err(|error| Error::Chat(in_words(&error)))
}

fn syntax() -> std::result::Result<SyntaxConfig, minijinja::Error> {
    SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()
}

fn environment(clock: Option<Clock>) -> std::result::Result<Environment<'static>, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_syntax(syntax()?);
    environment.set_fuel(Some(FUEL));
    python::add_to(&mut environment);
    environment.add_filter("tojson", tojson);
    environment.add_filter(FILTER, bounded);
    // Two that Jinja does not have, and whose lists would go unmeasured.
    environment.remove_filter("chain");
    environment.remove_filter("zip");
    // In Python a text and a mapping are sequences too.
    environment.add_test("sequence", |value: &Value| value.try_iter().is_ok());
    environment.add_function(
        "raise_exception",
        |message: String| -> std::result::Result<Value, minijinja::Error> {
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, RAISED.to_owned() + &message))
        },
    );
    environment.add_function("strftime_now", move |format: &str| {
        let told = clock.as_ref().map_or_else(|| Err("there is no clock".into()), |clock| clock(format));
        told.map_err(|reason| {
            minijinja::Error::new(ErrorKind::InvalidOperation, format!("strftime_now: {reason}"))
        })
    });
    Ok(environment)
}

/// Python's `json.dumps`: nothing is escaped for HTML.
fn tojson(state: &State, value: &Value, arguments: Kwargs) -> std::result::Result<Value, minijinja::Error> {
    let wrong =
        |reason: String| minijinja::Error::new(ErrorKind::InvalidOperation, format!("tojson: {reason}"));
    let mut style = json::Style {
        ensure_ascii: arguments.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false),
        sort_keys: arguments.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
        ..json::Style::default()
    };
    if let Some(indent) = arguments.get::<Option<Value>>("indent")? {
        style = style.indented(match indent.as_str() {
            Some(indent) => indent.to_owned(),
            None => " ".repeat(usize::try_from(indent)?.min(64)),
        });
    }
    if let Some(separators) = arguments.get::<Option<Value>>("separators")? {
        let [items, keys] =
            [0, 1].map(|place| separators.get_item_by_index(place).map(|sign| sign.to_string()));
        (style.items, style.keys) = (items?, keys?);
    }
    arguments.assert_all_used()?;
    let plain = serde_json::to_value(value).map_err(|error| wrong(error.to_string()))?;
    let text = json::dumps(&plain, &style);
    state.consume_fuel(text.len() as u64 / 64)?;
    Ok(Value::from(text))
}

/// The names that stand for the marks before and behind what the model has said.
const BEGIN: &str = "__generation_begins";
const END: &str = "__generation_ends";

/// The template with `{% generation %}`, which is transformers' own, as marks between tags that Jinja has. They trim white space as the
/// tags that they stand for.
fn with_marks(template: &str) -> String {
    let mut written = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(start) = rest.find("{%") {
        written.push_str(&rest[..start]);
        rest = &rest[start..];
        let Some(end) = rest.find("%}") else { break };
        let inside = &rest[2..end];
        let before = if inside.starts_with(['-', '+']) { &inside[..1] } else { "" };
        let behind =
            if inside.len() > 1 && inside.ends_with(['-', '+']) { &inside[inside.len() - 1..] } else { "" };
        let name = inside[before.len()..inside.len() - behind.len()].trim();
        match name {
            "generation" => {
                written.push_str(&format!("{{%{before} if true %}}{{{{ {BEGIN} }}}}{{% if true {behind}%}}"));
            }
            "endgeneration" => {
                written.push_str(&format!("{{%{before} endif %}}{{{{ {END} }}}}{{% endif {behind}%}}"));
            }
            _ => written.push_str(&rest[..end + 2]),
        }
        rest = &rest[end + 2..];
    }
    written + rest
}

/// Two characters, of those that stand for nothing, that neither the template nor what it sees holds.
fn unused_characters(template: &str, context: &Json) -> [char; 2] {
    let seen = context.to_string();
    let mut unused =
        ('\u{f0000}'..='\u{ffffd}').filter(|&mark| !template.contains(mark) && !seen.contains(mark));
    // There are more of them than any text has.
    [(); 2].map(|()| unused.next().unwrap_or('\u{10fffd}'))
}

/// A text without its marks, and where they were.
fn unmarked(text: &str, [begin, end]: [char; 2]) -> Rendered {
    let mut rendered = Rendered { text: String::with_capacity(text.len()), generated: Vec::new() };
    let (mut count, mut from) = (0, 0);
    for character in text.chars() {
        if character == begin {
            from = count;
        } else if character == end {
            rendered.generated.push((from, count));
        } else {
            rendered.text.push(character);
            count += 1;
        }
    }
    rendered
}

/// What went wrong: the template's own words alone where it raised them.
fn in_words(error: &minijinja::Error) -> String {
    if let Some(raised) = error.detail().and_then(|detail| detail.strip_prefix(RAISED)) {
        return raised.to_owned();
    }
    let line = error.line().map_or_else(String::new, |line| format!(" in line {line}"));
    if error.kind() == ErrorKind::OutOfFuel {
        return format!(
            "the chat template does not come to an end{line}: it takes more steps, or makes more text, than one may"
        );
    }
    let detail = error.detail().map_or_else(String::new, |detail| format!(": {detail}"));
    format!("the chat template cannot be rendered{line}: {}{detail}", error.kind())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use serde_json::json;

    use super::*;

    fn text(template: &str, context: Json) -> String {
        render_chat(template, &context, None, false).unwrap().text
    }

    fn error(template: &str) -> String {
        render_chat(template, &json!({"messages": []}), None, false).unwrap_err().to_string()
    }

    #[test]
    fn values_print_as_in_python() {
        let context = json!({"x": {"a": [1, true, null, "it's", 1.0], "b": "<&>é"}, "n": null, "t": true});
        assert_eq!(
            text("{{ x }} {{ n }} {{ t }}", context.clone()),
            r#"{'a': [1, True, None, "it's", 1.0], 'b': '<&>é'} None True"#
        );
        assert_eq!(
            text("{{ x|tojson }}", context.clone()),
            r#"{"a": [1, true, null, "it's", 1.0], "b": "<&>é"}"#
        );
        assert_eq!(text("{{ x.b|tojson(ensure_ascii=true) }}", context.clone()), r#""<&>\u00e9""#);
        assert_eq!(text("{{ [x.b, 1]|tojson(indent=2) }}", context.clone()), "[\n  \"<&>é\",\n  1\n]");
        assert_eq!(
            text("{{ {'b': 1, 'a': []}|tojson(sort_keys=true, separators=(',', ':')) }}", context),
            r#"{"a":[],"b":1}"#
        );
    }

    #[test]
    fn what_a_template_writes_is_known() {
        let texts =
            chat_template_texts("<a>{% if x == '<b>' %}{{ '<\\x63>' ~ m.d }}{# <e> #}{% endif %}").unwrap();
        assert_eq!(texts, ["<a>", "<b>", "<c>"]);
        assert!(chat_template_texts("{{ 'open").is_err());
    }

    #[test]
    fn what_templates_use_of_python() {
        let context = json!({"s": " a b ", "l": [1, 2, 3], "d": {"k": "v"}});
        assert_eq!(
            text("{{ s.strip() }}|{{ s.split() }}|{{ s.startswith(' a') }}", context.clone()),
            "a b|['a', 'b']|True"
        );
        assert_eq!(text("{{ l[1:] }}{{ l[::-1] }}{{ l[-1] }}", context.clone()), "[2, 3][3, 2, 1]3");
        assert_eq!(
            text(
                "{% for k, v in d.items() %}{{ k }}={{ v }}{% endfor %}{{ d.get('x', 'y') }}",
                context.clone()
            ),
            "k=vy"
        );
        assert_eq!(
            text(
                "{% set ns = namespace(i=0) %}{% for x in l %}{% set ns.i = ns.i + x %}{% if x == 2 %}{% break %}{% endif %}{% endfor %}{{ ns.i }}",
                context.clone()
            ),
            "3"
        );
        assert_eq!(
            text(
                "{{ s is sequence }}{{ s is string }}{{ d is mapping }}{{ s is iterable }}{{ 1 is sequence }}",
                context.clone()
            ),
            "TrueTrueTrueTrueFalse"
        );
        assert_eq!(
            text(
                "{% for x in l %}{% if loop.previtem is defined %},{% endif %}{{ x }}{% endfor %}{{ missing }}",
                context
            ),
            "1,2,3"
        );
    }

    #[test]
    fn blocks_take_their_white_space_with_them() {
        let context = json!({"l": [1, 2]});
        assert_eq!(
            text("{% for x in l %}\n    {% if x %}\n{{ x }}\n    {% endif %}\n{% endfor %}\n", context),
            "1\n2\n"
        );
    }

    #[test]
    fn what_the_model_has_said_is_known() {
        let template = "{%- for m in messages %}\n<é{{ m.role }}>\n    {%- if m.role == 'a' -%}\n  {%- generation -%}  {{ m.text }}!{% endgeneration %}\n\n  {%- else %}{{ m.text }}{% endif %}\n{%- endfor %}";
        let context = json!({"messages": [{"role": "u", "text": "hi"}, {"role": "a", "text": "yes"}, {"role": "a", "text": "no"}]});
        let tracked = render_chat(template, &context, None, true).unwrap();
        assert_eq!(tracked.text, text(template, context));
        let chars: Vec<char> = tracked.text.chars().collect();
        let said: Vec<String> =
            tracked.generated.iter().map(|&(from, to)| chars[from..to].iter().collect()).collect();
        assert_eq!(said, ["yes!", "no!"]);
    }

    #[test]
    fn templates_raise_tell_the_time_and_fail() {
        assert_eq!(error("{{ raise_exception('Only user!') }}"), "Only user!");
        for (template, part) in [
            ("{% if %}", "line 1"),
            ("\n{{ messages.x.y }}", "line 2"),
            ("{% include 'secret' %}", "cannot be rendered"),
            ("{{ strftime_now('%Y') }}", "no clock"),
            ("{{ messages.foo() }}", "line 1"),
            ("{{ open('x') }}", "open"),
            ("{% generation %}", "cannot be rendered"),
        ] {
            assert!(error(template).contains(part), "{template}: {}", error(template));
        }
        let clock: Clock = Arc::new(|format| Ok(format.replace("%d", "26")));
        let told = render_chat("{{ strftime_now('%d Jul') }}", &json!({}), Some(&clock), false).unwrap();
        assert_eq!(told.text, "26 Jul");
    }

    /// A list that becomes `made` a hundred times over.
    fn looped(made: &str, then: &str) -> String {
        format!(
            "{{% set ns = namespace(x=[1]) %}}{{% for i in range(100) %}}{{% set ns.x = {made} %}}{{% endfor %}}{then}"
        )
    }

    #[test]
    fn lists_within_bounds_are_as_written() {
        let context = json!({"l": [1, 2], "d": {"k": [1]}});
        for (template, shown) in [
            (
                "{{ l + [3] + l[:1] }} {{ ['a', 'b'][1] }} {{ {'a': [1]}['a'][0] + 2 * 3 }}",
                "[1, 2, 3, 1] b 7",
            ),
            ("{% for (k, v) in d.items() %}{{ k }}{{ v + v }}{% endfor %}", "k[1, 1]"),
            (
                "{% set ns = namespace(a=[1]) %}{% set b = [ns] %}{% set ns.a = ns.a+[2]|list %}{{ b }}",
                "[{'a': [1, 2]}]",
            ),
            ("{% set a, b = 1, [2] %}{{ a }}{{ b }}{{ 1 in l + [3] and 'x' + 'y' == 'xy' }}", "1[2]True"),
            ("{{ -1 + 2 - 3 }}{{ 'é' + ('ß' ~ l) }}{{ (1, 2) * 2 }}", "-2éß[1, 2](1, 2, 1, 2)"),
            ("{{\n [1] +\n l\n}}{{ (l + l)|length if l + [] else [] }}", "[1, 1, 2]4"),
        ] {
            assert_eq!(text(template, context.clone()), shown, "{template}");
        }
    }

    #[test]
    fn what_explodes_comes_to_an_end() {
        let deep = "(".repeat(100_000) + &")".repeat(100_000);
        for template in [
            "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}".to_owned(),
            "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}".to_owned(),
            "{% macro m(x, n) %}{% if n %}{{ m(x + x, n - 1) }}{% endif %}{% endmacro %}{{ m([1], 60) }}".to_owned(),
            looped("ns.x + ns.x", ""),
            looped("(ns.x,) * 2", "{{ ns.x|tojson }}"),
            looped("[ns.x, ns.x]", "{{ ns.x }}"),
            looped("{'a': ns.x, 'b': ns.x}", "{{ ns.x == ns }}"),
            looped("[ns.x]", ""),
            "{% set ns = namespace(x=1) %}{% set ns.x = [ns] %}{{ ns }}".to_owned(),
            "{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}".to_owned(),
            "{{ ([1] * 90000000)[0] }}".to_owned(),
            "{{ (['a' * 1000000] * 100000)|tojson }}".to_owned(),
            "{{ ['a' * 1000000] * 100000 }}".to_owned(),
            "{{ (['a' * 1000000] * 100000)|join }}".to_owned(),
            "{{ 'b' ~ ['a' * 1000000] * 100000 }}".to_owned(),
            "{{ (['a' * 1000000] * 100000)|string }}".to_owned(),
            "{% set ns = namespace(x='aaaaaaaa') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}".to_owned(),
            "{% set x = 'aaaaaaaa' %}".to_owned() + &"{% set x = x ~ x %}".repeat(60),
            "{{ 'a' * 9999999999 }}".to_owned(),
            format!("{{{{ {deep} }}}}"),
            "{% if true %}".repeat(100_000),
        ] {
            let begun = Instant::now();
            let shown: String = template.chars().take(60).collect();
            assert!(render_chat(&template, &json!({}), None, false).is_err(), "{shown}");
            assert!(begun.elapsed() < Duration::from_secs(20), "{shown}: {:?}", begun.elapsed());
        }
    }
}

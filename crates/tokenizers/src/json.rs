//! JSON as Python's `json.dumps` writes it: templates show it to models, which have read it so.

use std::fmt::Write;

use serde_json::Value;

/// How it is written.
pub(crate) struct Style {
    pub ensure_ascii: bool,
    pub sort_keys: bool,
    /// What each level is further in by, on lines of its own.
    pub indent: Option<String>,
    /// What stands between items, and behind keys.
    pub items: String,
    pub keys: String,
}

impl Default for Style {
    fn default() -> Style {
        Style { ensure_ascii: false, sort_keys: false, indent: None, items: ", ".into(), keys: ": ".into() }
    }
}

impl Style {
    /// On lines of their own, each level further in.
    pub fn indented(self, indent: String) -> Style {
        Style { indent: Some(indent), items: ",".into(), ..self }
    }
}

/// A value as text.
pub(crate) fn dumps(value: &Value, style: &Style) -> String {
    let mut text = String::new();
    write_value(&mut text, value, style, 0);
    text
}

fn write_value(text: &mut String, value: &Value, style: &Style, depth: usize) {
    match value {
        Value::String(string) => write_string(text, string, style.ensure_ascii),
        Value::Array(items) => {
            let write = |text: &mut String, item: &&Value| write_value(text, item, style, depth + 1);
            write_items(text, ['[', ']'], &items.iter().collect::<Vec<_>>(), write, style, depth);
        }
        Value::Object(fields) => {
            let mut fields: Vec<(&String, &Value)> = fields.iter().collect();
            if style.sort_keys {
                fields.sort_by_key(|(key, _)| *key);
            }
            let write = |text: &mut String, (key, field): &(&String, &Value)| {
                write_string(text, key, style.ensure_ascii);
                text.push_str(&style.keys);
                write_value(text, field, style, depth + 1);
            };
            write_items(text, ['{', '}'], &fields, write, style, depth);
        }
        Value::Number(number) if number.is_f64() => text.push_str(&float(number.as_f64().unwrap_or(0.0))),
        other => text.push_str(&other.to_string()),
    }
}

fn write_items<T>(
    text: &mut String,
    [open, close]: [char; 2],
    items: &[T],
    write: impl Fn(&mut String, &T),
    style: &Style,
    depth: usize,
) {
    let new_line = |text: &mut String, depth: usize| {
        if let Some(indent) = style.indent.as_deref().filter(|_| !items.is_empty()) {
            text.push('\n');
            text.push_str(&indent.repeat(depth));
        }
    };
    text.push(open);
    for (place, item) in items.iter().enumerate() {
        if place > 0 {
            text.push_str(&style.items);
        }
        new_line(text, depth + 1);
        write(text, item);
    }
    new_line(text, depth);
    text.push(close);
}

fn write_string(text: &mut String, string: &str, ensure_ascii: bool) {
    text.push('"');
    for character in string.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            '\0'..='\u{1f}' => escape(text, character),
            '\u{7f}'.. if ensure_ascii && character != '\u{7f}' => escape(text, character),
            _ => text.push(character),
        }
    }
    text.push('"');
}

fn escape(text: &mut String, character: char) {
    for unit in character.encode_utf16(&mut [0; 2]) {
        // Writing to a string does not fail.
        let _ = write!(text, "\\u{unit:04x}");
    }
}

/// Python's `repr` of a float: the shortest digits, with an exponent below 1e-4 and from 1e16 on.
fn float(number: f64) -> String {
    let scientific = format!("{number:e}");
    match scientific.split_once('e').map(|(digits, exponent)| (digits, exponent.parse::<i32>())) {
        Some((digits, Ok(exponent))) if number != 0.0 && !(-4..16).contains(&exponent) => {
            format!("{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
        }
        _ => format!("{number:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_pythons() {
        let written = [1.0, -0.5, 1e16, 1.5e-7, 1e-4, 123456789.125, 1e22, 0.0].map(float);
        assert_eq!(written, ["1.0", "-0.5", "1e+16", "1.5e-07", "0.0001", "123456789.125", "1e+22", "0.0"]);
    }

    #[test]
    fn strings_are_escaped_as_python_does() {
        let value = Value::from("\"\\\n\u{1}\u{7f}é😀");
        assert_eq!(dumps(&value, &Style::default()), "\"\\\"\\\\\\n\\u0001\u{7f}é😀\"");
        let style = Style { ensure_ascii: true, ..Style::default() };
        assert_eq!(dumps(&value, &style), "\"\\\"\\\\\\n\\u0001\u{7f}\\u00e9\\ud83d\\ude00\"");
    }
}

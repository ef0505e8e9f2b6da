//! Values as Python writes them, which is what templates are written for.

use minijinja::Value;
use minijinja::value::ValueKind;

/// Python's `str`.
pub fn text(value: &Value) -> String {
    match value.kind() {
        ValueKind::Undefined => String::new(),
        ValueKind::String => value.to_string(),
        _ => repr(value),
    }
}

/// Python's `repr`.
fn repr(value: &Value) -> String {
    match value.kind() {
        ValueKind::None | ValueKind::Undefined => "None".into(),
        ValueKind::Bool => if value.is_true() { "True" } else { "False" }.into(),
        ValueKind::String => quoted(value.as_str().unwrap_or_default()),
        ValueKind::Seq | ValueKind::Iterable => {
            let items: Vec<_> = value.try_iter().into_iter().flatten().map(|item| repr(&item)).collect();
            format!("[{}]", items.join(", "))
        }
        ValueKind::Map => {
            let items: Vec<_> =
                entries(value).iter().map(|(key, item)| format!("{}: {}", repr(key), repr(item))).collect();
            format!("{{{}}}", items.join(", "))
        }
        _ => value.to_string(),
    }
}

/// A text in quotes, of the kind that it does not have itself.
fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::from(quote);
    for char in text.chars() {
        match char {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\\' => out.push_str("\\\\"),
            _ if char == quote => out.extend(['\\', char]),
            _ => out.push(char),
        }
    }
    out.push(quote);
    out
}

fn entries(map: &Value) -> Vec<(Value, Value)> {
    let keys = map.try_iter().into_iter().flatten();
    keys.map(|key| (key.clone(), map.get_item(&key).unwrap_or_default())).collect()
}

/// How Python's `json.dumps` is asked to write.
pub struct Json {
    pub ensure_ascii: bool,
    pub indent: Option<String>,
    /// Between items, and behind keys.
    pub separators: Option<[String; 2]>,
    pub sort_keys: bool,
}

impl Json {
    pub fn dumps(&self, value: &Value) -> String {
        let mut out = String::new();
        self.write(value, 0, &mut out);
        out
    }

    fn write(&self, value: &Value, depth: usize, out: &mut String) {
        match value.kind() {
            ValueKind::None | ValueKind::Undefined => out.push_str("null"),
            ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => out.push_str(&value.to_string()),
            ValueKind::Seq | ValueKind::Iterable => {
                let items: Vec<_> = value.try_iter().into_iter().flatten().collect();
                self.all(['[', ']'], items, depth, out, |item, out| self.write(item, depth + 1, out));
            }
            ValueKind::Map => {
                let mut items = entries(value);
                if self.sort_keys {
                    items.sort_by_key(|(key, _)| key.to_string());
                }
                self.all(['{', '}'], items, depth, out, |(key, item), out| {
                    self.string(&text(key), out);
                    out.push_str(self.separators.as_ref().map_or(": ", |[_, key]| key));
                    self.write(item, depth + 1, out);
                });
            }
            _ => self.string(&value.to_string(), out),
        }
    }

    /// Items between brackets, a line each if there is an indent.
    fn all<T>(
        &self,
        [open, close]: [char; 2],
        items: Vec<T>,
        depth: usize,
        out: &mut String,
        write: impl Fn(&T, &mut String),
    ) {
        let line = |out: &mut String, depth: usize| {
            if let Some(indent) = &self.indent {
                out.push('\n');
                out.push_str(&indent.repeat(depth));
            }
        };
        let between = if self.indent.is_some() { "," } else { ", " };
        out.push(open);
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                out.push_str(self.separators.as_ref().map_or(between, |[item, _]| item));
            }
            line(out, depth + 1);
            write(item, out);
        }
        if !items.is_empty() {
            line(out, depth);
        }
        out.push(close);
    }

    fn string(&self, text: &str, out: &mut String) {
        out.push('"');
        for char in text.chars() {
            match char {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                _ if char < ' ' || (self.ensure_ascii && !char.is_ascii()) => {
                    let units = &mut [0; 2];
                    char.encode_utf16(units).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
                }
                _ => out.push(char),
            }
        }
        out.push('"');
    }
}

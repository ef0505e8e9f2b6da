//! What chat templates use of Python's methods and of Jinja's filters that minijinja has not, or has otherwise.

use minijinja::value::{Kwargs, Rest, Tuple, ValueKind, from_args};
use minijinja::{Environment, Error, ErrorKind, State, Value, filters};
use minijinja_contrib::filters::striptags;
use minijinja_contrib::pycompat::unknown_method_callback;

type Result<T = Value> = std::result::Result<T, Error>;

/// Adds the methods and the filters.
pub fn add_to(environment: &mut Environment) {
    environment.set_unknown_method_callback(method);
    environment.add_filter("center", |state: &mut State, text: &str, width: Option<usize>| {
        padded(state, text, width.unwrap_or(80), " ", Side::Both)
    });
    environment.add_filter("float", |state: &State, value: &Value, default: Option<Value>, given: Kwargs| {
        let default = default.or_else(|| (!given.has("default")).then(|| Value::from(0.0)));
        filters::float(state, value, default, given)
    });
    environment.add_filter(
        "int",
        |state: &State, value: &Value, default: Option<Value>, base: Option<u32>, given: Kwargs| {
            // What is no number is 0.
            let default = default.or_else(|| (!given.has("default")).then(|| Value::from(0)));
            filters::int(state, value, default, base, given)
        },
    );
    environment.add_filter("striptags", striptags);
    environment.add_filter("truncate", truncate);
    environment.add_filter("wordcount", |text: &str| {
        let in_word = |character: char| character.is_alphanumeric() || character == '_';
        text.split(|character| !in_word(character)).filter(|word| !word.is_empty()).count()
    });
}

/// A method that minijinja does not know: of minijinja-contrib, or one of those here.
fn method(state: &mut State, value: &Value, name: &str, arguments: &[Value]) -> Result {
    match (value.kind(), value.as_str()) {
        (_, Some(text)) => match of_text(state, text, name, arguments) {
            Err(error) if error.kind() == ErrorKind::UnknownMethod => {}
            done => return done,
        },
        (ValueKind::Seq, _) if name == "index" => {
            let (wanted,): (Value,) = from_args(arguments)?;
            let place = value.try_iter()?.position(|item| item == wanted);
            return found(place, || format!("{wanted} is not in list"));
        }
        (ValueKind::Seq | ValueKind::Map, _) if name == "copy" => {
            let () = from_args(arguments)?;
            // Nothing in a template changes a list or a mapping, so that a copy is the thing itself.
            return Ok(value.clone());
        }
        _ => {}
    }
    unknown_method_callback(state, value, name, arguments)
}

#[derive(Clone, Copy)]
enum Side {
    Left,
    Right,
    Both,
}

fn of_text(state: &mut State, text: &str, name: &str, arguments: &[Value]) -> Result {
    match name {
        "casefold" | "swapcase" | "title" => {
            let () = from_args(arguments)?;
            Ok(Value::from(match name {
                "casefold" => text.to_lowercase().replace('ß', "ss"),
                "swapcase" => text.chars().map(swapped).collect(),
                _ => titled(text),
            }))
        }
        "center" | "ljust" | "rjust" => {
            let (width, fill): (usize, Option<&str>) = from_args(arguments)?;
            let side = match name {
                "center" => Side::Both,
                "ljust" => Side::Right,
                _ => Side::Left,
            };
            padded(state, text, width, fill.unwrap_or(" "), side).map(Value::from)
        }
        "zfill" => {
            let (width,): (usize,) = from_args(arguments)?;
            let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
            let sign = &text[..text.len() - digits.len()];
            let filled = padded(state, digits, width.saturating_sub(sign.len()), "0", Side::Left)?;
            Ok(Value::from(sign.to_owned() + &filled))
        }
        "index" | "rindex" => {
            let (part,): (&str,) = from_args(arguments)?;
            let place = if name == "index" { text.find(part) } else { text.rfind(part) };
            let place = place.map(|place| text[..place].chars().count());
            found(place, || "substring not found".into())
        }
        "partition" | "rpartition" => {
            let (sign,): (&str,) = from_args(arguments)?;
            let [before, sign, behind] = if name == "partition" {
                text.split_once(sign).map_or([text, "", ""], |(before, behind)| [before, sign, behind])
            } else {
                text.rsplit_once(sign).map_or(["", "", text], |(before, behind)| [before, sign, behind])
            };
            Ok(Value::from(Tuple::from(vec![before.into(), sign.into(), behind.into()])))
        }
        "removeprefix" => {
            let (part,): (&str,) = from_args(arguments)?;
            Ok(Value::from(text.strip_prefix(part).unwrap_or(text)))
        }
        "removesuffix" => {
            let (part,): (&str,) = from_args(arguments)?;
            Ok(Value::from(text.strip_suffix(part).unwrap_or(text)))
        }
        "rsplit" => {
            let (sign, count): (Option<&str>, Option<i64>) = from_args(arguments)?;
            let count = count.and_then(|count| usize::try_from(count).ok()).unwrap_or(usize::MAX);
            let mut parts: Vec<&str> = match sign {
                Some("") => return Err(wrong("empty separator".into())),
                Some(sign) => text.rsplitn(count.saturating_add(1), sign).collect(),
                None => words_from_behind(text, count),
            };
            parts.reverse();
            Ok(parts.into_iter().collect())
        }
        _ => Err(ErrorKind::UnknownMethod.into()),
    }
}

/// Jinja's `truncate`: at the end of a word, unless words may be cut; not at all if it is little longer.
fn truncate(text: &str, arguments: Rest<Value>, given: Kwargs) -> Result<String> {
    let said = |place: usize, name: &str| match arguments.get(place) {
        Some(value) => Ok(Some(value.clone())),
        None => given.get::<Option<Value>>(name),
    };
    let length = said(0, "length")?.map_or(Ok(255), usize::try_from)?;
    let cut_words = said(1, "killwords")?.is_some_and(|cut| cut.is_true());
    let end = said(2, "end")?.map_or_else(|| "...".to_owned(), |end| end.to_string());
    let leeway = said(3, "leeway")?.map_or(Ok(5), usize::try_from)?;
    given.assert_all_used()?;
    if text.chars().count() <= length.saturating_add(leeway) {
        return Ok(text.to_owned());
    }
    let kept = length.checked_sub(end.chars().count());
    let kept =
        kept.ok_or_else(|| wrong(format!("expected length >= {}, got {length}", end.chars().count())))?;
    let mut part: String = text.chars().take(kept).collect();
    if !cut_words && let Some(space) = part.rfind(' ') {
        part.truncate(space);
    }
    Ok(part + &end)
}

fn swapped(character: char) -> String {
    if character.is_uppercase() {
        character.to_lowercase().collect()
    } else {
        character.to_uppercase().collect()
    }
}

/// Python's: a letter behind anything but a letter is a capital.
fn titled(text: &str) -> String {
    let mut behind_letter = false;
    let mut made = String::with_capacity(text.len());
    for character in text.chars() {
        if behind_letter {
            made.extend(character.to_lowercase());
        } else {
            made.extend(character.to_uppercase());
        }
        behind_letter = character.is_alphabetic();
    }
    made
}

/// A text filled up to a width. As in Python an odd place goes to the left if the width is odd.
fn padded(state: &mut State, text: &str, width: usize, fill: &str, side: Side) -> Result<String> {
    let missing = width.saturating_sub(text.chars().count());
    if missing > 0 && fill.chars().count() != 1 {
        return Err(wrong("The fill character must be exactly one character long".into()));
    }
    // Paid for before it is made.
    state.consume_fuel((missing.saturating_mul(fill.len()) / 64) as u64)?;
    let left = match side {
        Side::Left => missing,
        Side::Right => 0,
        Side::Both => missing / 2 + (missing & width & 1),
    };
    Ok(fill.repeat(left) + text + &fill.repeat(missing - left))
}

/// The words of a text from the last one on, and what is left of it after `count` of them.
fn words_from_behind(text: &str, count: usize) -> Vec<&str> {
    let mut rest = text.trim_end();
    let mut words = Vec::new();
    while !rest.is_empty() && words.len() < count {
        let start = rest
            .rfind(char::is_whitespace)
            .map_or(0, |space| space + rest[space..].chars().next().map_or(1, char::len_utf8));
        words.push(&rest[start..]);
        rest = rest[..start].trim_end();
    }
    if !rest.is_empty() {
        words.push(rest);
    }
    words
}

fn found(place: Option<usize>, reason: impl FnOnce() -> String) -> Result {
    place.map(Value::from).ok_or_else(|| wrong(reason()))
}

fn wrong(reason: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, reason)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::render_chat;

    #[test]
    fn methods_and_filters_are_pythons() {
        for (expression, shown) in [
            ("'a/b/c'.rsplit('/', 1)", "['a/b', 'c']"),
            ("' a  b c '.rsplit(none, 1)", "[' a  b', 'c']"),
            ("' a  b c '.rsplit()", "['a', 'b', 'c']"),
            ("'a=b=c'.partition('=')", "('a', '=', 'b=c')"),
            ("'a=b=c'.rpartition('=')", "('a=b', '=', 'c')"),
            ("'ab'.partition('=')", "('ab', '', '')"),
            ("'ab'.rpartition('=')", "('', '', 'ab')"),
            ("'<think>x'.removeprefix('<think>') ~ 'x.py'.removesuffix('.py')", "xx"),
            ("'-7'.zfill(4) ~ '7'.rjust(3) ~ 'é'.ljust(3, '.') ~ 'ab'.center(5, '*')", "-007  7é..**ab*"),
            ("'a'|center(4)", " a  "),
            ("'Straße'.casefold() ~ 'aBc'.swapcase() ~ \"it's a_b\".title()", "strasseAbCIt'S A_B"),
            ("'abcb'.index('b') ~ 'abcb'.rindex('b') ~ [4, 5].index(5)", "131"),
            ("[1].copy() ~ {'a': 1}.copy()", "[1]{'a': 1}"),
            ("'two words, or 5'|wordcount", "4"),
            ("'some words and more'|truncate(10)", "some..."),
            ("'some words and more'|truncate(10, true, '..', 0)", "some wor.."),
            ("'some words'|truncate(7)", "some words"),
            ("'<b>x</b>'|striptags", "x"),
            ("'x'|int ~ 'x'|int(3) ~ '0x1f'|int(0, 16) ~ 'x'|float", "03310.0"),
        ] {
            let template = format!("{{{{ {expression} }}}}");
            let text = render_chat(&template, &json!({}), None, false).unwrap().text;
            assert_eq!(text, shown, "{expression}");
        }
        for (expression, part) in [
            ("'a'.index('b')", "substring not found"),
            ("[1].index(2)", "2 is not in list"),
            ("'a'.rsplit('')", "empty separator"),
            ("'a'.center(4, 'xy')", "fill character"),
            ("'abcdefgh'|truncate(1, leeway=0)", "expected length >= 3"),
            ("'a'.ljust(99999999999)", "does not come to an end"),
            ("'a'.foo()", "no method named foo"),
        ] {
            let error = render_chat(&format!("{{{{ {expression} }}}}"), &json!({}), None, false).unwrap_err();
            assert!(error.to_string().contains(part), "{expression}: {error}");
        }
    }
}

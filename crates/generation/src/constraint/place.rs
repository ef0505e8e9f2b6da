//! Where in a JSON schema an error is: its compiler says what, and for the most part not where.

use serde_json::Value;

/// Keywords that hold schemas by name (definitions first: who refers to one fails for its reason), in a list, and one.
const BY_NAME: &[&str] = &["$defs", "definitions", "properties", "patternProperties", "dependentSchemas"];
const LISTED: &[&str] = &["anyOf", "oneOf", "allOf", "prefixItems"];
const ONE: &[&str] =
    &["items", "additionalProperties", "contains", "propertyNames", "not", "if", "then", "else"];

/// The smallest part of a schema that fails for the reason that the whole does, as a JSON pointer, and its reason. `fails` says why
/// one does.
pub(super) fn find_place(
    schema: &Value,
    reason: String,
    fails: impl Fn(&Value) -> Option<String>,
) -> (String, String) {
    let (mut place, mut reason, mut part) = ("#".to_owned(), reason, schema);
    'deeper: loop {
        for (step, child) in children(part) {
            let why = fails(&with_definitions(child, schema));
            if let Some(why) = why.filter(|why| reason.contains(why.as_str())) {
                (place, reason, part) = (place + &step, why, child);
                continue 'deeper;
            }
        }
        return (place, reason);
    }
}

/// The schemas right within one, and where.
fn children(schema: &Value) -> Vec<(String, &Value)> {
    let mut found = Vec::new();
    for keyword in BY_NAME {
        for (name, child) in schema.get(keyword).and_then(Value::as_object).into_iter().flatten() {
            found.push((format!("/{keyword}/{}", name.replace('~', "~0").replace('/', "~1")), child));
        }
    }
    for keyword in LISTED {
        for (index, child) in schema.get(keyword).and_then(Value::as_array).into_iter().flatten().enumerate()
        {
            found.push((format!("/{keyword}/{index}"), child));
        }
    }
    for keyword in ONE {
        found.extend(schema.get(keyword).map(|child| (format!("/{keyword}"), child)));
    }
    found
}

/// A part that finds what it refers to.
fn with_definitions(part: &Value, whole: &Value) -> Value {
    let mut part = part.clone();
    if let Value::Object(fields) = &mut part {
        for keyword in ["$defs", "definitions"] {
            if let Some(definitions) = whole.get(keyword)
                && !fields.contains_key(keyword)
            {
                fields.insert(keyword.to_owned(), definitions.clone());
            }
        }
    }
    part
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_part_that_fails_is_named() {
        let schema = serde_json::json!({
            "properties": {"a": {"type": "integer"}, "b/c": {"items": {"anyOf": [{"type": "null"}, {"type": "wrong"}]}}}
        });
        let fails = |part: &Value| part.to_string().contains("wrong").then(|| "a wrong type".to_owned());
        let (place, reason) = find_place(&schema, "in it: a wrong type".into(), fails);
        assert_eq!(place, "#/properties/b~1c/items/anyOf/1");
        assert_eq!(reason, "a wrong type");
    }
}

//! Vocabularies and merges in plain files: `vocab.txt`, `vocab.json`, `merges.txt`.

use crate::merges::Vocab;

/// `vocab.txt`: a token on each line, whose number is its id. If a token comes twice, the last one counts.
///
/// # Errors
/// What is wrong with it, in words.
pub fn lines(bytes: &[u8]) -> Result<Vocab, String> {
    let text = text(bytes)?;
    // Only at line feeds: other separators stand in vocabularies as tokens.
    let lines = text.strip_suffix('\n').unwrap_or(text).split('\n');
    Ok(lines.map(|line| line.trim_end().to_owned()).zip(0..).collect())
}

/// `vocab.json`: the ids of tokens.
///
/// # Errors
/// What is wrong with it, in words.
pub fn ids(bytes: &[u8]) -> Result<Vocab, String> {
    serde_json::from_str(text(bytes)?)
        .map_err(|error| format!("it is no object of tokens with their ids ({error})"))
}

/// `merges.txt`: two tokens on each line, below a line with its version. transformers leaves out the last line, which is empty.
///
/// # Errors
/// What is wrong with it, in words.
pub fn merges(bytes: &[u8]) -> Result<Vec<(String, String)>, String> {
    let text = text(bytes)?;
    let merge = |(index, line): (usize, &str)| {
        let mut parts = line.split_whitespace();
        match (parts.next(), parts.next(), parts.next()) {
            (Some(left), Some(right), None) => Ok((left.to_owned(), right.to_owned())),
            _ => Err(format!("line {} is {line:?}, which are no two tokens", index + 1)),
        }
    };
    let lines = text.split('\n').enumerate();
    lines
        .filter(|(index, line)| !(line.trim().is_empty() || *index == 0 && line.starts_with("#version")))
        .map(merge)
        .collect()
}

fn text(bytes: &[u8]) -> Result<&str, String> {
    str::from_utf8(bytes).map_err(|error| format!("it is not UTF-8 text ({error})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_tokens_in_order() {
        let vocab = lines("a\nb \r\n\u{2028}x\na".as_bytes()).unwrap();
        assert_eq!((vocab["a"], vocab["b"], vocab["\u{2028}x"]), (3, 1, 2));
        assert!(lines(&[0xff]).unwrap_err().contains("UTF-8"));
    }

    #[test]
    fn merges_are_pairs() {
        let read = merges(b"#version: 0.2\na b\nab c\n\n").unwrap();
        assert_eq!(read, [("a".to_owned(), "b".to_owned()), ("ab".to_owned(), "c".to_owned())]);
        assert_eq!(merges(b"# #\n").unwrap().len(), 1);
        assert!(merges(b"a b\na b c\n").unwrap_err().contains("line 2"));
    }

    #[test]
    fn ids_are_numbers() {
        assert_eq!(ids(br#"{"a": 3}"#).unwrap()["a"], 3);
        assert!(ids(br#"{"a": -1}"#).is_err());
        assert!(ids(b"[]").is_err());
    }
}

//! Which names are let in: everything here ends as part of a path or of a URL.

use crate::error::{Error, Result};

const MAX_NAME: usize = 96;

/// Checks the id of a repository by the rules of `huggingface_hub`; the error is the rule that it breaks.
pub(crate) fn check_repo_id(id: &str) -> Result<(), &'static str> {
    let parts: Vec<&str> = id.split('/').collect();
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if parts.len() > 2 {
        return Err("a repository has at most one '/' in its name");
    }
    for part in parts {
        if part.is_empty() || part.len() > MAX_NAME {
            return Err("each part of a repository's name has 1 to 96 characters");
        }
        if !part.chars().all(|c| word(c) || c == '-' || c == '.') {
            return Err("a repository's name consists of letters, digits, '-', '_' and '.'");
        }
        if !(part.starts_with(word) && part.ends_with(word)) {
            return Err("no part of a repository's name starts or ends with '-' or '.'");
        }
    }
    if id.contains("--") || id.contains("..") {
        return Err("a repository's name does not contain '--' or '..'");
    }
    if id.ends_with(".git") {
        return Err("a repository's name does not end in '.git'");
    }
    Ok(())
}

/// Checks a path inside a repository, with `/` between its parts. It must be safe on every system, since a cache may be
/// read on another than it was written on.
pub(crate) fn check_path(kind: &'static str, path: &str) -> Result<()> {
    let reason = if path.is_empty() {
        "it is empty"
    } else if path.contains(['\\', '\0']) || path.chars().any(char::is_control) {
        "it contains a backslash or a control character"
    } else if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        "it must be relative, without empty parts, '.' and '..'"
    } else if path.split('/').any(|part| part.as_bytes().get(1) == Some(&b':')) {
        "it looks like a path on a Windows drive"
    } else {
        return Ok(());
    };
    Err(Error::InvalidPath { kind, value: path.to_owned(), reason })
}

/// Whether a header's value may become the name of a single file: the etag and the commit come from the server.
pub(crate) fn is_file_name(value: &str) -> bool {
    let allowed = |c: char| c.is_ascii_graphic() && !r#"/\:*?"<>|"#.contains(c);
    !value.is_empty() && value.len() <= 128 && !value.starts_with('.') && value.chars().all(allowed)
}

/// Whether a revision is a whole commit hash, which never moves.
pub(crate) fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether an etag is the SHA-256 of the file.
pub(crate) fn is_sha256(etag: &str) -> bool {
    etag.len() == 64 && etag.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repo_ids_are_those_of_huggingface_hub() {
        let long = "a".repeat(96);
        for id in ["bert-base-uncased", "Foo-BAR_foo.bar123", "a/b", "1", "_a/b_", "dots.in/na.me", &long] {
            assert_eq!(check_repo_id(id), Ok(()), "{id}");
        }
        let too_long = "a".repeat(97);
        for id in [
            "",
            "/",
            "a/",
            "/a",
            "a/b/c",
            "datasets/a/b",
            "./model",
            "../model",
            ".hidden",
            "a/.b",
            "a-",
            "a/-b",
            "a b",
            "café",
            "a..b",
            "a--b",
            "a/b.git",
            "a\\b",
            "a\n",
            "C:",
            "~",
            &too_long,
        ] {
            assert!(check_repo_id(id).is_err(), "{id:?}");
        }
    }

    #[test]
    fn paths_stay_inside() {
        for path in
            ["config.json", "onnx/model.onnx", "a/b/c.txt", "..a", "a..", "ö.json", "refs/pr/1", "aa:b"]
        {
            assert!(check_path("file name", path).is_ok(), "{path}");
        }
        for path in [
            "",
            "/",
            "/etc/passwd",
            "..",
            "../x",
            "a/../b",
            "a/..",
            "./a",
            "a//b",
            "a/",
            "a\\..\\b",
            "\\\\host\\x",
            "C:/x",
            "C:x",
            "a/C:x",
            "a\0b",
            "a\nb",
        ] {
            assert!(check_path("file name", path).is_err(), "{path:?}");
        }
    }

    #[test]
    fn header_values_become_single_file_names() {
        for value in ["d7edf6bd2a681fb0175f7735299831ee1b22b812", "5f3c-1a2b", "a+b=", "a..b"] {
            assert!(is_file_name(value), "{value}");
        }
        for value in
            ["", ".", "..", "../x", "a/b", "a\\b", ".incomplete", "a:b", "a b", "ä", "a\n", &"a".repeat(129)]
        {
            assert!(!is_file_name(value), "{value:?}");
        }
    }

    #[test]
    fn commits_and_hashes_are_lower_case_hexadecimal_of_full_length() {
        assert!(is_commit("0123456789abcdef0123456789abcdef01234567"));
        assert!(!is_commit("main") && !is_commit(&"a".repeat(39)) && !is_commit(&"A".repeat(40)));
        assert!(is_sha256(&"f".repeat(64)) && !is_sha256(&"f".repeat(40)) && !is_sha256(&"g".repeat(64)));
    }
}

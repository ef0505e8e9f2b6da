//! Bytes written in base64.

/// The bytes of a text, if it is base64 with its padding.
pub(crate) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let digits = text.strip_suffix(b"==").or_else(|| text.strip_suffix(b"=")).unwrap_or(text);
    if !text.len().is_multiple_of(4) || digits.is_empty() {
        return None;
    }
    let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
    for group in digits.chunks(4) {
        let mut bits = 0_u32;
        for &digit in group {
            bits = bits << 6 | digit_of(digit)?;
        }
        bits <<= 6 * (4 - group.len());
        bytes.extend_from_slice(&bits.to_be_bytes()[1..group.len()]);
    }
    Some(bytes)
}

fn digit_of(character: u8) -> Option<u32> {
    Some(u32::from(match character {
        b'A'..=b'Z' => character - b'A',
        b'a'..=b'z' => character - b'a' + 26,
        b'0'..=b'9' => character - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read() {
        let read = |text: &str| decode(text.as_bytes());
        assert_eq!(read("aGVsbG8="), Some(b"hello".to_vec()));
        assert_eq!(read("IQ=="), Some(b"!".to_vec()));
        assert_eq!(read("+/+/"), Some(vec![0xfb, 0xff, 0xbf]));
        for broken in ["", "a", "====", "a===", "IQ=!", "I Q="] {
            assert_eq!(read(broken), None, "{broken}");
        }
    }
}

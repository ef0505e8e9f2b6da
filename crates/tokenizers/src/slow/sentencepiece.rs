//! SentencePiece's `.model` files: those fields of the protocol buffer `ModelProto` that a tokenizer is made from.
//!
//! Source: `sentencepiece_model.proto`. A message is a run of fields, each a key (number and wire type) and a value; a field that is
//! not asked for is stepped over, and a scalar that comes again replaces what came before.

/// What a piece is for: `SentencePiece.Type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    Normal,
    Unknown,
    /// Never found in a text, such as `<s>`.
    Control,
    /// Found whole wherever it stands.
    UserDefined,
    /// Others: bytes and unused ones.
    Other,
}

/// A piece of text with its score.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece {
    pub text: String,
    pub score: f32,
    pub used: Use,
}

/// How pieces are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    Unigram,
    Bpe,
}

/// What a file says.
#[derive(Debug, Clone, PartialEq)]
pub struct SentencePiece {
    pub pieces: Vec<Piece>,
    pub algorithm: Algorithm,
    /// Where in `pieces` the unknown one stands.
    pub unk_id: Option<usize>,
    pub unk_piece: String,
    /// The rules of normalization, compiled; empty if there are none.
    pub charsmap: Vec<u8>,
    pub spaces: Spaces,
}

/// What becomes of spaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spaces {
    /// Whether a text begins with one more.
    pub add_dummy_prefix: bool,
    /// Whether none are left at the ends, and one of several.
    pub remove_extra: bool,
    /// Whether they are written `▁`.
    pub escape: bool,
}

/// Numbers of fields.
mod field {
    pub const PIECES: u64 = 1;
    pub const TRAINER: u64 = 2;
    pub const NORMALIZER: u64 = 3;
    pub const MODEL_TYPE: u64 = 3;
    pub const UNK_ID: u64 = 40;
    pub const UNK_PIECE: u64 = 45;
    pub const CHARSMAP: u64 = 2;
    pub const DUMMY_PREFIX: u64 = 3;
    pub const REMOVE_EXTRA: u64 = 4;
    pub const ESCAPE: u64 = 5;
}

impl SentencePiece {
    /// Reads a file's bytes.
    ///
    /// # Errors
    /// What is wrong with them, in words.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let mut model = Self {
            pieces: Vec::new(),
            algorithm: Algorithm::Unigram,
            unk_id: Some(0),
            unk_piece: "<unk>".to_owned(),
            charsmap: Vec::new(),
            spaces: Spaces { add_dummy_prefix: true, remove_extra: true, escape: true },
        };
        for field in fields(bytes) {
            match field? {
                (field::PIECES, Value::Bytes(piece)) => model.pieces.push(parse_piece(piece)?),
                (field::TRAINER, Value::Bytes(trainer)) => model.parse_trainer(trainer)?,
                (field::NORMALIZER, Value::Bytes(normalizer)) => model.parse_normalizer(normalizer)?,
                _ => {}
            }
        }
        if model.pieces.is_empty() {
            return Err("it has no pieces".to_owned());
        }
        Ok(model)
    }

    fn parse_trainer(&mut self, bytes: &[u8]) -> Result<(), String> {
        for field in fields(bytes) {
            match field? {
                (field::MODEL_TYPE, Value::Number(1)) => self.algorithm = Algorithm::Unigram,
                (field::MODEL_TYPE, Value::Number(2)) => self.algorithm = Algorithm::Bpe,
                (field::MODEL_TYPE, Value::Number(other)) => {
                    return Err(format!("its model_type is {other}, and 1 (unigram) and 2 (BPE) are read"));
                }
                // Negative for none, which is a number of 64 bits here.
                (field::UNK_ID, Value::Number(id)) => {
                    self.unk_id = u32::try_from(id).ok().map(|id| id as usize)
                }
                (field::UNK_PIECE, Value::Bytes(piece)) => self.unk_piece = text(piece)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn parse_normalizer(&mut self, bytes: &[u8]) -> Result<(), String> {
        for field in fields(bytes) {
            match field? {
                (field::CHARSMAP, Value::Bytes(charsmap)) => {
                    check_charsmap(charsmap)?;
                    self.charsmap = charsmap.to_vec();
                }
                (field::DUMMY_PREFIX, Value::Number(flag)) => self.spaces.add_dummy_prefix = flag != 0,
                (field::REMOVE_EXTRA, Value::Number(flag)) => self.spaces.remove_extra = flag != 0,
                (field::ESCAPE, Value::Number(flag)) => self.spaces.escape = flag != 0,
                _ => {}
            }
        }
        Ok(())
    }
}

/// Whether rules of normalization hold the table whose size they begin with: the crate that reads them allocates it unseen.
///
/// # Errors
/// What is wrong with them, in words.
pub fn check_charsmap(charsmap: &[u8]) -> Result<(), String> {
    let mut rest = charsmap;
    let size = take(&mut rest, 4).and_then(|size| size.try_into().ok()).map(u32::from_le_bytes);
    match size {
        None if charsmap.is_empty() => Ok(()),
        Some(size) if size as usize <= rest.len() => Ok(()),
        _ => Err("its rules of normalization are cut short".to_owned()),
    }
}

fn parse_piece(bytes: &[u8]) -> Result<Piece, String> {
    let mut piece = Piece { text: String::new(), score: 0.0, used: Use::Normal };
    for field in fields(bytes) {
        match field? {
            (1, Value::Bytes(content)) => piece.text = text(content)?,
            (2, Value::Float(score)) => piece.score = score,
            (3, Value::Number(kind)) => {
                piece.used = match kind {
                    1 => Use::Normal,
                    2 => Use::Unknown,
                    3 => Use::Control,
                    4 => Use::UserDefined,
                    _ => Use::Other,
                }
            }
            _ => {}
        }
    }
    if !piece.score.is_finite() {
        return Err(format!("the piece {:?} has the score {}", piece.text, piece.score));
    }
    Ok(piece)
}

fn text(bytes: &[u8]) -> Result<String, String> {
    String::from_utf8(bytes.to_vec()).map_err(|error| format!("a piece is not UTF-8 text ({error})"))
}

/// A value as the wire has it.
enum Value<'a> {
    Number(u64),
    Float(f32),
    Bytes(&'a [u8]),
    Double,
}

/// The fields of a message with their numbers.
fn fields(mut rest: &[u8]) -> impl Iterator<Item = Result<(u64, Value<'_>), String>> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let field = next_field(&mut rest);
        if field.is_none() {
            rest = &[];
        }
        Some(field.ok_or_else(|| "it is cut short, or no protocol buffer".to_owned()))
    })
}

fn next_field<'a>(rest: &mut &'a [u8]) -> Option<(u64, Value<'a>)> {
    let key = varint(rest)?;
    let value = match key & 7 {
        0 => Value::Number(varint(rest)?),
        1 => take(rest, 8).map(|_| Value::Double)?,
        2 => {
            let length = usize::try_from(varint(rest)?).ok()?;
            Value::Bytes(take(rest, length)?)
        }
        5 => Value::Float(f32::from_le_bytes(take(rest, 4)?.try_into().ok()?)),
        _ => return None,
    };
    Some((key >> 3, value))
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    Some(taken)
}

/// A number in groups of seven bits, the lowest first, each byte but the last with its highest bit set.
fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, behind) = rest.split_first()?;
        *rest = behind;
        number |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(number: u8, content: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, content.len() as u8], content].concat()
    }

    fn piece(text: &str, score: f32, kind: u8) -> Vec<u8> {
        let content =
            [message(1, text.as_bytes()), vec![2 << 3 | 5], score.to_le_bytes().to_vec(), vec![3 << 3, kind]];
        message(1, &content.concat())
    }

    #[test]
    fn the_fields_that_count_are_read() {
        let file = [
            piece("<unk>", 0.0, 2),
            piece("▁a", -1.5, 1),
            message(2, &[3 << 3, 2, 0xc0, 0x02, 0, 0xc8, 0x01, 7]),
            message(3, &[message(2, b"\0\0\0\0map"), vec![3 << 3, 0]].concat()),
            message(9, b"what nobody asks for"),
        ];
        let model = SentencePiece::parse(&file.concat()).unwrap();
        assert_eq!(model.pieces[1], Piece { text: "▁a".to_owned(), score: -1.5, used: Use::Normal });
        assert_eq!(model.pieces[0].used, Use::Unknown);
        assert_eq!(
            (model.algorithm, model.unk_id, model.spaces.add_dummy_prefix),
            (Algorithm::Bpe, Some(0), false)
        );
        assert_eq!(model.charsmap, b"\0\0\0\0map");
    }

    #[test]
    fn what_is_cut_short_is_an_error() {
        let whole = [piece("<unk>", 0.0, 2), piece("a", -1.0, 1)].concat();
        for end in 1..whole.len() {
            if end != piece("<unk>", 0.0, 2).len() {
                assert!(SentencePiece::parse(&whole[..end]).is_err(), "{end}");
            }
        }
        assert!(SentencePiece::parse(b"").unwrap_err().contains("no pieces"));
    }

    #[test]
    fn lengths_and_scores_that_lie_are_errors() {
        assert!(SentencePiece::parse(&[10, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]).is_err());
        assert!(SentencePiece::parse(&[0xff; 20]).is_err());
        assert!(SentencePiece::parse(&piece("a", f32::NAN, 1)).unwrap_err().contains("NaN"));
        let lying = message(3, &message(2, &[0xff, 0xff, 0xff, 0x7f, 1, 2]));
        assert!(SentencePiece::parse(&lying).unwrap_err().contains("cut short"));
        assert!(SentencePiece::parse(&message(2, &[3 << 3, 4])).unwrap_err().contains("model_type is 4"));
    }
}

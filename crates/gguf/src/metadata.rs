//! What a file says about its model: values by name.

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `true` or `false`.
    Flag(bool),
    /// A whole number of any width.
    Int(i128),
    /// A float32 or float64.
    Float(f64),
    /// UTF-8.
    Text(String),
    /// An array of numbers, or of flags.
    Numbers(Numbers),
    /// An array of texts.
    Texts(Texts),
    /// An array of arrays.
    Lists(Vec<Value>),
}

impl Value {
    /// What it is, for messages.
    pub(crate) fn what(&self) -> &'static str {
        match self {
            Value::Flag(_) => "true or false",
            Value::Int(_) => "a whole number",
            Value::Float(_) => "a number",
            Value::Text(_) => "a text",
            Value::Numbers(_) => "an array of numbers",
            Value::Texts(_) => "an array of texts",
            Value::Lists(_) => "an array of arrays",
        }
    }
}

/// The types that numbers are stored as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scalar {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    U64,
    I64,
    F64,
}

impl Scalar {
    /// The type with a number in `gguf_metadata_value_type`; texts (8) and arrays (9) are none.
    pub(crate) fn from_id(id: u32) -> Option<Scalar> {
        Some(match id {
            0 => Scalar::U8,
            1 => Scalar::I8,
            2 => Scalar::U16,
            3 => Scalar::I16,
            4 => Scalar::U32,
            5 => Scalar::I32,
            6 => Scalar::F32,
            7 => Scalar::Bool,
            10 => Scalar::U64,
            11 => Scalar::I64,
            12 => Scalar::F64,
            _ => return None,
        })
    }

    pub(crate) fn size(self) -> usize {
        match self {
            Scalar::U8 | Scalar::I8 | Scalar::Bool => 1,
            Scalar::U16 | Scalar::I16 => 2,
            Scalar::U32 | Scalar::I32 | Scalar::F32 => 4,
            Scalar::U64 | Scalar::I64 | Scalar::F64 => 8,
        }
    }

    /// The value of as many bytes as it has.
    pub(crate) fn value(self, bytes: &[u8]) -> Value {
        let mut wide = [0; 8];
        wide[..bytes.len()].copy_from_slice(bytes);
        let bits = u64::from_le_bytes(wide);
        match self {
            Scalar::U8 | Scalar::U16 | Scalar::U32 | Scalar::U64 => Value::Int(bits.into()),
            Scalar::I8 => Value::Int((bits as i8).into()),
            Scalar::I16 => Value::Int((bits as i16).into()),
            Scalar::I32 => Value::Int((bits as i32).into()),
            Scalar::I64 => Value::Int((bits as i64).into()),
            Scalar::F32 => Value::Float(f32::from_bits(bits as u32).into()),
            Scalar::F64 => Value::Float(f64::from_bits(bits)),
            Scalar::Bool => Value::Flag(bits != 0),
        }
    }
}

/// An array of numbers, as wide as the file has them.
#[derive(Clone, Debug, PartialEq)]
pub struct Numbers {
    pub(crate) scalar: Scalar,
    pub(crate) bytes: Vec<u8>,
}

impl Numbers {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.bytes.len() / self.scalar.size()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// One after another: [`Value::Int`], [`Value::Float`] or [`Value::Flag`].
    pub fn iter(&self) -> impl Iterator<Item = Value> {
        self.bytes.chunks_exact(self.scalar.size()).map(|bytes| self.scalar.value(bytes))
    }

    /// The bytes of an array of them (`u8` or `i8`).
    pub fn bytes(&self) -> Option<&[u8]> {
        matches!(self.scalar, Scalar::U8 | Scalar::I8).then_some(&self.bytes)
    }
}

/// An array of texts, one behind the other in memory: a vocabulary has hundreds of thousands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Texts {
    pub(crate) text: String,
    pub(crate) ends: Vec<usize>,
}

impl Texts {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The text at `index`.
    pub fn get(&self, index: usize) -> Option<&str> {
        let end = *self.ends.get(index)?;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        self.text.get(start..end)
    }

    /// One after another.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).filter_map(|index| self.get(index))
    }
}

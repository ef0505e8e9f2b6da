//! The ways in which rows of numbers are stored in few bits.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Result};

macro_rules! formats {
    ($($variant:ident, $name:literal, $elements:literal elements in $bytes:literal bytes, $about:literal;)*) => {
        /// How the rows of a [`super::Quantized`] matrix are stored: all but the last as llama.cpp's ggml has them, block after block,
        /// each with a scale of its own.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum BlockFormat { $(#[doc = $about] $variant),* }

        impl BlockFormat {
            /// Every format.
            pub const ALL: &'static [BlockFormat] = &[$(BlockFormat::$variant),*];

            /// What GGUF calls it, such as `Q4_K`; ours is `INT8`.
            pub const fn name(self) -> &'static str {
                match self { $(BlockFormat::$variant => $name),* }
            }

            /// How many elements a block holds.
            pub const fn block_elements(self) -> usize {
                match self { $(BlockFormat::$variant => $elements),* }
            }

            /// How many bytes a block takes.
            pub const fn block_bytes(self) -> usize {
                match self { $(BlockFormat::$variant => $bytes),* }
            }
        }
    };
}

formats! {
    Q4_0, "Q4_0", 32 elements in 18 bytes, "4 bits; a scale for 32 elements.";
    Q4_1, "Q4_1", 32 elements in 20 bytes, "4 bits; a scale and a minimum for 32 elements.";
    Q5_0, "Q5_0", 32 elements in 22 bytes, "5 bits; a scale for 32 elements.";
    Q5_1, "Q5_1", 32 elements in 24 bytes, "5 bits; a scale and a minimum for 32 elements.";
    Q8_0, "Q8_0", 32 elements in 34 bytes, "8 bits; a scale for 32 elements.";
    Q2K, "Q2_K", 256 elements in 84 bytes, "2 bits; a scale and a minimum of 4 bits for 16 elements, of a scale each for 256.";
    Q3K, "Q3_K", 256 elements in 110 bytes, "3 bits; a scale of 6 bits for 16 elements, of a scale for 256.";
    Q4K, "Q4_K", 256 elements in 144 bytes, "4 bits; a scale and a minimum of 6 bits for 32 elements, of a scale each for 256.";
    Q5K, "Q5_K", 256 elements in 176 bytes, "5 bits; a scale and a minimum of 6 bits for 32 elements, of a scale each for 256.";
    Q6K, "Q6_K", 256 elements in 210 bytes, "6 bits; a scale of 8 bits for 16 elements, of a scale for 256.";
    Int8, "INT8", 1 elements in 1 bytes, "8 bits; a float32 scale for each row, in front of it.";
}

impl BlockFormat {
    /// Bytes in front of the first block of a row.
    pub const fn row_header(self) -> usize {
        match self {
            BlockFormat::Int8 => size_of::<f32>(),
            _ => 0,
        }
    }

    /// The bytes of a row of so many elements.
    ///
    /// # Errors
    /// `Argument` when these are not whole blocks, or more than there can be.
    pub fn row_bytes(self, columns: usize) -> Result<usize> {
        if !columns.is_multiple_of(self.block_elements()) {
            let message = format!(
                "rows of {self} are whole blocks of {} elements, got {columns} columns: use a format with smaller blocks",
                self.block_elements()
            );
            return Err(Error::argument("quantized", message));
        }
        let bytes = (columns / self.block_elements()).checked_mul(self.block_bytes());
        bytes.and_then(|bytes| bytes.checked_add(self.row_header())).ok_or_else(|| {
            Error::argument("quantized", format!("a row of {columns} elements is larger than the memory"))
        })
    }
}

impl fmt::Display for BlockFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for BlockFormat {
    type Err = Error;

    /// Reads GGUF's names, such as `Q4_K`, in any case.
    fn from_str(text: &str) -> Result<BlockFormat> {
        let found = BlockFormat::ALL.iter().copied().find(|format| format.name().eq_ignore_ascii_case(text));
        found.ok_or_else(|| {
            let names: Vec<&str> = BlockFormat::ALL.iter().map(|format| format.name()).collect();
            Error::argument(
                "quantized",
                format!("'{text}' is no block format: use one of {}", names.join(", ")),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for &format in BlockFormat::ALL {
            assert_eq!(format.name().parse::<BlockFormat>().unwrap(), format);
            assert_eq!(format.name().to_lowercase().parse::<BlockFormat>().unwrap(), format);
        }
        assert!("Q9_9".parse::<BlockFormat>().unwrap_err().to_string().contains("Q4_K"));
    }

    #[test]
    fn rows_are_whole_blocks() {
        assert_eq!(BlockFormat::Q4_1.row_bytes(576).unwrap(), 18 * 20);
        assert_eq!(BlockFormat::Int8.row_bytes(3).unwrap(), 7);
        assert!(BlockFormat::Q4K.row_bytes(576).is_err());
        assert!(BlockFormat::Q4_1.row_bytes(usize::MAX - 31).is_ok());
        assert!(BlockFormat::Int8.row_bytes(usize::MAX).is_err());
    }
}

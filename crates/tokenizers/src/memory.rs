//! Memory that may not be there, asked for before work that would abort without it.

use std::hint::black_box;

use crate::{Error, Result};

/// Checks that there is memory for a number of tokens at so many bytes each. It is given back at once: this keeps absurd sizes from
/// aborting the process, and promises nothing where several threads ask at once.
///
/// # Errors
/// [`Error::OutOfMemory`] if there is not.
pub fn check_memory(tokens: usize, bytes: usize) -> Result<()> {
    let bytes = tokens.saturating_mul(bytes);
    let mut memory: Vec<u8> = Vec::new();
    let reserved = memory.try_reserve_exact(bytes);
    black_box(&memory); // An allocation that nobody looks at may be optimized away, and then it never fails.
    reserved.map_err(|_| Error::OutOfMemory { bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_machine_has_is_an_error() {
        assert!(check_memory(1000, 8).is_ok());
        assert!(matches!(
            check_memory(1 << 50, 1 << 10),
            Err(Error::OutOfMemory { bytes: 0x1000_0000_0000_0000 })
        ));
        assert!(matches!(check_memory(usize::MAX, 8), Err(Error::OutOfMemory { bytes: usize::MAX })));
    }
}

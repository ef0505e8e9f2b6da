//! Files that are nearly right.

/// Changes files at random, the same way for the same seed.
pub struct Mutator {
    state: u64,
    words: &'static [&'static [u8]],
}

impl Mutator {
    /// `words` are put in now and then.
    pub fn new(seed: u64, words: &'static [&'static [u8]]) -> Mutator {
        Mutator { state: seed, words }
    }

    /// A file made of one of `seeds`, sometimes of two, with a few changes.
    pub fn file(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut file = self.pick(seeds).clone();
        if self.below(8) == 0 {
            let other = self.pick(seeds);
            let (at, from) = (self.below(file.len() + 1), self.below(other.len() + 1));
            file.truncate(at);
            file.extend_from_slice(&other[from..]);
        }
        for _ in 0..=self.below(4) {
            self.change(&mut file);
        }
        file
    }

    fn change(&mut self, file: &mut Vec<u8>) {
        let at = self.below(file.len() + 1);
        let end = (at + 1 + self.below(16)).min(file.len());
        match self.below(9) {
            0 => file.truncate(at),
            1 => drop(file.drain(at..end)),
            2 => drop(file.splice(at..at, file[at..end].to_vec())),
            3 => {
                let word = *self.pick(self.words);
                file.splice(at..at, word.iter().copied());
            }
            4 => {
                let word = *self.pick(self.words);
                let end = (at + word.len()).min(file.len());
                file.splice(at..end, word.iter().copied());
            }
            5 => self.number(file, at),
            6 => {
                // A length, an offset or a count of some width.
                let width = *self.pick(&[1, 2, 4, 8]);
                let value =
                    *self.pick(&[0, 1, 0x7f, 0xff, 0xffff, 0x7fff_ffff, 0xffff_ffff, u64::MAX / 2, u64::MAX]);
                let value = value.wrapping_sub(self.below(3) as u64).to_le_bytes();
                let end = (at + width).min(file.len());
                file[at..end].copy_from_slice(&value[..end - at]);
            }
            7 if at < file.len() => file[at] ^= 1 << self.below(8),
            _ if at < file.len() => file[at] = self.below(256) as u8,
            _ => {}
        }
    }

    /// Puts another number in place of the next one that is written out.
    fn number(&mut self, file: &mut Vec<u8>, at: usize) {
        let Some(start) = file[at..].iter().position(u8::is_ascii_digit).map(|start| at + start) else {
            return;
        };
        let digits = file[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let near = self.below(70).to_string();
        let number = *self.pick(&[
            near.as_str(),
            "0",
            "-1",
            "2147483648",
            "4294967296",
            "9223372036854775807",
            "1e40",
            "0.1",
            "null",
        ]);
        file.splice(start..start + digits, number.bytes());
    }

    fn pick<'a, T>(&mut self, among: &'a [T]) -> &'a T {
        &among[self.below(among.len())]
    }

    /// A number from 0 up to, but not including, `limit`, by splitmix64.
    fn below(&mut self, limit: usize) -> usize {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % limit.max(1) as u64) as usize
    }
}

//! The random numbers that watermarks are made of: PyTorch's generator on the CPU, so that its detectors find them.

/// The Mersenne Twister (Matsumoto and Nishimura 1998), MT19937.
pub(super) struct Twister {
    state: [u32; LENGTH],
    next: usize,
}

const LENGTH: usize = 624;
const SHIFT: usize = 397;

impl Twister {
    pub fn new(seed: u64) -> Twister {
        let mut state = [seed as u32; LENGTH];
        for place in 1..LENGTH {
            let before = state[place - 1];
            state[place] = 1_812_433_253u32.wrapping_mul(before ^ (before >> 30)).wrapping_add(place as u32);
        }
        Twister { state, next: LENGTH }
    }

    fn draw(&mut self) -> u32 {
        if self.next == LENGTH {
            self.next = 0;
            for place in 0..LENGTH {
                let (here, following) = (self.state[place], self.state[(place + 1) % LENGTH]);
                let mixed = (here & 0x8000_0000) | (following & 0x7fff_ffff);
                let odd = if mixed & 1 == 1 { 0x9908_b0df } else { 0 };
                self.state[place] = self.state[(place + SHIFT) % LENGTH] ^ (mixed >> 1) ^ odd;
            }
        }
        let mut y = self.state[self.next];
        self.next += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    /// The numbers below `count` in some order: `torch.randperm`.
    pub fn permutation(&mut self, count: usize) -> Vec<u32> {
        let mut order: Vec<u32> = (0..count as u32).collect();
        for place in 0..count.saturating_sub(1) {
            order.swap(place, place + self.draw() as usize % (count - place));
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authors_first_numbers_come() {
        let mut twister = Twister::new(5489);
        assert_eq!([(); 3].map(|()| twister.draw()), [3_499_211_612, 581_869_302, 3_890_346_734]);
    }
}

//! Random numbers: reproducible from a seed, whatever the number of threads.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::layout::bytes_of;
use crate::{Backend, DType, Error, Result, Tensor, cpu};

/// What random numbers are distributed like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Distribution {
    /// Evenly from 0 (included) to 1 (not).
    Uniform,
    /// Normally, with mean 0 and variance 1.
    Normal,
    /// Integers, evenly from 0 to below this number.
    Below(u64),
}

/// A source of random numbers. Counter-based (Philox 4x32-10; Salmon et al. 2011): number `i` of a stream is a function of seed and `i`,
/// so threads can compute their parts independently.
#[derive(Debug)]
pub struct Generator {
    seed: u64,
    used: AtomicU64,
}

impl Generator {
    /// A generator; equal seeds give equal numbers.
    pub const fn new(seed: u64) -> Generator {
        Generator { seed, used: AtomicU64::new(0) }
    }

    /// The seed and how many blocks of numbers were drawn, to continue from there later.
    pub fn state(&self) -> (u64, u64) {
        (self.seed, self.used.load(Ordering::Relaxed))
    }

    /// A generator that continues where [`Generator::state`] was.
    pub const fn resume((seed, used): (u64, u64)) -> Generator {
        Generator { seed, used: AtomicU64::new(used) }
    }

    /// A number to seed another generator with.
    pub fn seed(&self) -> u64 {
        cpu::random_block(self.seed, self.take(1))[0]
    }

    /// So many blocks of the stream that nobody else gets: the number of the first.
    pub(super) fn take(&self, blocks: u64) -> u64 {
        self.used.fetch_add(blocks, Ordering::Relaxed)
    }

    /// The seed, and the number of the first of so many blocks that nobody else gets.
    pub(super) fn stream(&self, blocks: u64) -> (u64, u64) {
        (self.seed, self.take(blocks))
    }

    fn draw(&self, distribution: Distribution, shape: &[usize], dtype: DType) -> Result<Tensor> {
        let count = (bytes_of(shape, dtype.size())? / dtype.size()) as u64;
        let from = self.take(count.div_ceil(2));
        cpu::Cpu.random(distribution, (self.seed, from), shape, dtype)
    }

    /// Numbers evenly from 0 (included) to 1 (not): torch's `rand`.
    ///
    /// # Errors
    /// `DType` for integers; `OutOfMemory` when there is no such memory.
    pub fn uniform(&self, shape: &[usize], dtype: DType) -> Result<Tensor> {
        expect_float("rand", dtype)?;
        self.draw(Distribution::Uniform, shape, dtype)
    }

    /// Normally distributed numbers with mean 0 and variance 1: torch's `randn`.
    ///
    /// # Errors
    /// As for [`Generator::uniform`].
    pub fn normal(&self, shape: &[usize], dtype: DType) -> Result<Tensor> {
        expect_float("randn", dtype)?;
        self.draw(Distribution::Normal, shape, dtype)
    }

    /// Integers evenly from `low` to below `high`, int64: torch's `randint`.
    ///
    /// # Errors
    /// `Argument` when there are none.
    pub fn integers(&self, low: i64, high: i64, shape: &[usize]) -> Result<Tensor> {
        if high <= low {
            return Err(Error::argument(
                "randint",
                format!("there are no integers from {low} to below {high}"),
            ));
        }
        self.draw(Distribution::Below(high.wrapping_sub(low) as u64), shape, DType::I64)?.add(low)
    }

    /// The integers below `count` in random order, int64: torch's `randperm`.
    ///
    /// # Errors
    /// `Argument` or `OutOfMemory` when there is no such memory.
    pub fn permutation(&self, count: usize) -> Result<Tensor> {
        // Sorted by random keys of 53 bits: equal ones, which would favour the earlier, are too rare to see.
        self.uniform(&[count], DType::F64)?.argsort(0, false)
    }
}

fn expect_float(op: &'static str, dtype: DType) -> Result<()> {
    if dtype.is_float() {
        return Ok(());
    }
    Err(Error::DType { op, rule: "random fractions must be floating-point numbers", dtype })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(x: &Tensor) -> (f64, f64) {
        let number = |x: Result<Tensor>| x.unwrap().item().unwrap().to_f64();
        (number(x.mean(&[], false)), number(x.var(&[], 0.0, false)))
    }

    #[test]
    fn moments_are_those_of_the_distribution() {
        let generator = Generator::new(1);
        let (mean, var) = moments(&generator.uniform(&[100_001], DType::F32).unwrap());
        assert!((mean - 0.5).abs() < 0.005 && (var - 1.0 / 12.0).abs() < 0.002, "{mean} {var}");
        let (mean, var) = moments(&generator.normal(&[100_001], DType::F64).unwrap());
        assert!(mean.abs() < 0.015 && (var - 1.0).abs() < 0.02, "{mean} {var}");
        let dice = generator.integers(1, 7, &[60_000]).unwrap();
        assert_eq!(
            (dice.amin(&[], false).unwrap().item().unwrap(), dice.amax(&[], false).unwrap().item().unwrap()),
            (1i64.into(), 6i64.into())
        );
        let (mean, _) = moments(&dice.to_dtype(DType::F64).unwrap());
        assert!((mean - 3.5).abs() < 0.05, "{mean}");
        assert!(generator.integers(1, 1, &[1]).is_err());
    }

    #[test]
    fn equal_seeds_give_equal_numbers() {
        let (a, b) = (Generator::new(7), Generator::new(7));
        let first = a.uniform(&[5], DType::F32).unwrap();
        assert_eq!(
            first.as_slice::<f32>().unwrap(),
            b.uniform(&[5], DType::F32).unwrap().as_slice::<f32>().unwrap()
        );
        let next = a.uniform(&[5], DType::F32).unwrap();
        assert_ne!(first.as_slice::<f32>().unwrap(), next.as_slice::<f32>().unwrap());
        let resumed = Generator::resume(b.state()).uniform(&[5], DType::F32).unwrap();
        assert_eq!(next.as_slice::<f32>().unwrap(), resumed.as_slice::<f32>().unwrap());
        let mut order = a.permutation(50).unwrap().as_slice::<i64>().unwrap().to_vec();
        assert_ne!(order, (0..50).collect::<Vec<_>>());
        order.sort_unstable();
        assert_eq!(order, (0..50).collect::<Vec<_>>());
    }
}

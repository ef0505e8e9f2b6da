//! What processors do to a distribution that can be done where tokens are drawn from it.

use trustformers_tensor::ops::Sampling;

/// What can be done where tokens are drawn, in the order in which it is done there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    /// Divides scores.
    Temperature(f32),
    /// Keeps so many of the likeliest.
    TopK(usize),
    /// Keeps the likeliest, with this share of the probability.
    TopP(f32),
    /// Keeps what is at least this share as likely as the likeliest.
    MinP(f32),
}

impl Shape {
    fn place(&self) -> usize {
        match self {
            Shape::Temperature(_) => 0,
            Shape::TopK(_) => 1,
            Shape::TopP(_) => 2,
            Shape::MinP(_) => 3,
        }
    }
}

/// All shapes together, if each is one and they stand in the order in which they are applied.
pub(super) fn sampling(shapes: impl Iterator<Item = Option<Shape>>) -> Option<Sampling> {
    let shapes: Vec<Shape> = shapes.collect::<Option<_>>()?;
    let mut sampling = Sampling::default();
    for shape in &shapes {
        match *shape {
            Shape::Temperature(temperature) => sampling.temperature = temperature,
            Shape::TopK(top_k) => sampling.top_k = top_k,
            Shape::TopP(top_p) => sampling.top_p = top_p,
            Shape::MinP(min_p) => sampling.min_p = min_p,
        }
    }
    shapes.is_sorted_by(|a, b| a.place() < b.place()).then_some(sampling)
}

//! Relative position bias: a trained number per head and bucket of distances, added to the attention scores (Raffel et al. 2020).

use trustformers_tensor::{DType, Tensor, ops};

use crate::Result;
use crate::checkpoint::{Init, Scope};
use crate::spec::Path;

/// The buckets.
#[derive(Clone, Debug)]
pub struct RelativeSpec {
    /// The table (buckets, heads).
    pub path: Path,
    /// The number of heads.
    pub heads: usize,
    /// The number of buckets.
    pub buckets: usize,
    /// The distance from which on all are one bucket.
    pub max_distance: usize,
    /// Whether keys behind the query have buckets of their own.
    pub bidirectional: bool,
}

/// The trained table.
pub struct Relative {
    spec: RelativeSpec,
    table: Tensor,
}

impl Relative {
    /// Loads the table.
    pub fn load(scope: &Scope, spec: &RelativeSpec) -> Result<Relative> {
        let table = scope.at(spec.path).tensor("weight", &[spec.buckets, spec.heads], Init::Embedding)?;
        Ok(Relative { spec: spec.clone(), table })
    }

    /// The bias between queries and keys at the given positions: (heads, queries, keys).
    pub fn bias(&self, queries: &[i64], keys: &[i64]) -> Result<Tensor> {
        let buckets: Vec<i64> = queries
            .iter()
            .flat_map(|query| keys.iter().map(move |key| self.spec.bucket(key - query)))
            .collect();
        let numbers = ops::embedding(&[ops::Lookup::new(&self.table, &buckets)], DType::F32)?;
        Ok(numbers.view(&[queries.len(), keys.len(), self.spec.heads])?.permute(&[2, 0, 1])?)
    }
}

impl RelativeSpec {
    /// The bucket of a key `distance` behind the query: transformers' `_relative_position_bucket`.
    fn bucket(&self, distance: i64) -> i64 {
        let mut buckets = self.buckets as i64;
        let mut base = 0;
        let distance = if self.bidirectional {
            buckets /= 2;
            base = if distance > 0 { buckets } else { 0 };
            distance.abs()
        } else {
            -distance.min(0)
        };
        let exact = buckets / 2;
        if distance < exact {
            return base + distance;
        }
        let reach = (self.max_distance as f32 / exact as f32).ln();
        let further = (distance as f32 / exact as f32).ln() / reach * (buckets - exact) as f32;
        base + (exact + further as i64).min(buckets - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_distances_have_buckets_of_their_own_and_far_ones_share() {
        let spec = RelativeSpec { path: "", heads: 1, buckets: 32, max_distance: 128, bidirectional: true };
        // From transformers' T5Attention._relative_position_bucket.
        let expected =
            [(0, 0), (1, 17), (-1, 1), (7, 23), (8, 24), (-11, 8), (12, 25), (-64, 14), (127, 31), (500, 31)];
        for (distance, bucket) in expected {
            assert_eq!(spec.bucket(distance), bucket, "{distance}");
        }
        let causal = RelativeSpec { bidirectional: false, ..spec };
        for (distance, bucket) in [(5, 0), (0, 0), (-15, 15), (-16, 16), (-1000, 31)] {
            assert_eq!(causal.bucket(distance), bucket, "{distance}");
        }
    }
}

//! Disentangled attention (He et al. 2021): content and distance have vectors of their own, and a score is the sum of content with
//! content, content with distance, and distance with content. The latter two are a bias that each layer computes.

use trustformers_tensor::{Activation, DType, Ragged, Tensor};

use crate::Result;
use crate::attention::Heads;
use crate::checkpoint::{Init, Scope};
use crate::dropout::Dropout;
use crate::layers::{Linear, Norm};
use crate::places::{Places, places};
use crate::site::Site;
use crate::spec::{LinearSpec, NormSpec, Path};
use crate::stack::Pass;

/// The vectors of distances, which all layers share.
#[derive(Clone, Debug)]
pub struct DisentangledSpec {
    /// The table (2 * span, width).
    pub path: Path,
    /// How many buckets there are to either side.
    pub span: usize,
    /// From half of the span on, distances share buckets, the more the further, up to this distance. Without it each has its own.
    pub longest: Option<usize>,
    /// A norm over the vectors.
    pub norm: Option<NormSpec>,
    /// How much of the vectors each layer drops, in training.
    pub dropout: f32,
}

/// What a layer computes with the vectors of distances.
#[derive(Clone, Copy, Debug)]
pub struct DistanceHeads {
    /// Queries of the content meet keys of the distances (c2p).
    pub keys: Option<DistanceProjection>,
    /// Keys of the content meet queries of the distances (p2c).
    pub queries: Option<DistanceProjection>,
}

/// Where the queries or keys of distances come from.
#[derive(Clone, Copy, Debug)]
pub enum DistanceProjection {
    /// The matrices of the content.
    Shared,
    /// Matrices of their own.
    Own(LinearSpec),
}

/// The vectors of distances with their weights.
pub struct Disentangled {
    spec: DisentangledSpec,
    table: Tensor,
    norm: Option<Norm>,
}

/// The distances of one pass.
#[derive(Clone)]
pub struct Distances {
    /// The vectors of the buckets that occur (buckets, width).
    vectors: Tensor,
    /// For every distance from `1 - reach` to `reach` the row of its vector.
    rows: Vec<usize>,
    /// All distances are less.
    reach: usize,
    places: Vec<Places>,
    dropout: f32,
}

impl Distances {
    /// The same for layers elsewhere.
    pub fn brought(&self, site: Site) -> Result<Distances> {
        Ok(Distances { vectors: site.bring(&self.vectors)?, ..self.clone() })
    }
}

impl Disentangled {
    /// Loads the table of a stack that is `width` wide.
    pub fn load(scope: &Scope, spec: &DisentangledSpec, width: usize) -> Result<Disentangled> {
        Ok(Disentangled {
            table: scope.at(spec.path).tensor("weight", &[2 * spec.span, width], Init::Embedding)?,
            norm: spec.norm.map(|norm| Norm::load(scope, norm, width)).transpose()?,
            spec: spec.clone(),
        })
    }

    /// The distances between the positions of a pass.
    pub fn distances(&self, pass: &Pass, ragged: &Ragged) -> Result<Distances> {
        let places = places(pass, ragged);
        let length = |places: &Places| {
            let all = || places.queries.iter().chain(&places.keys);
            all().max().map_or(1, |last| last - all().min().unwrap_or(last) + 1)
        };
        let reach = places.iter().map(length).max().unwrap_or(1);
        // Buckets never fall with the distance, so those that occur stand side by side.
        let buckets: Vec<usize> = (1 - reach..=reach).map(|distance| self.spec.bucket(distance)).collect();
        let (first, last) = (buckets[0], buckets[buckets.len() - 1]);
        let mut vectors = self.table.narrow(0, first, last + 1)?.to_dtype(DType::F32)?;
        if let Some(norm) = &self.norm {
            vectors = norm.forward(&vectors, None)?;
        }
        let rows = buckets.iter().map(|bucket| bucket - first).collect();
        Ok(Distances { vectors, rows, reach: reach as usize, places, dropout: self.spec.dropout })
    }
}

impl DisentangledSpec {
    /// The table's row for a query `distance` behind its key: transformers' `make_log_bucket_position`.
    fn bucket(&self, distance: i64) -> usize {
        let (span, middle) = (self.span as i64, self.span as i64 / 2);
        let bucket = match self.longest {
            Some(longest) if distance.abs() > middle => {
                let ratio = |far: f32| (far / middle as f32).ln();
                let share = ratio(distance.abs() as f32) / ratio((longest - 1) as f32);
                let further = (share * (middle - 1) as f32).ceil() as i64;
                (middle + further) * distance.signum()
            }
            _ => distance,
        };
        (bucket + span).clamp(0, 2 * span - 1) as usize
    }
}

/// A layer's projections of distances.
pub struct DistanceBias {
    spec: DistanceHeads,
    keys: Option<Linear>,
    queries: Option<Linear>,
}

impl DistanceBias {
    /// Loads the projections of a layer that is `width` wide to all its heads.
    pub fn load(scope: &Scope, spec: DistanceHeads, width: usize, heads: usize) -> Result<DistanceBias> {
        let own = |projection: Option<DistanceProjection>| match projection {
            Some(DistanceProjection::Own(linear)) => Linear::load(scope, linear, heads, width).map(Some),
            _ => Ok(None),
        };
        Ok(DistanceBias { keys: own(spec.keys)?, queries: own(spec.queries)?, spec })
    }

    /// The matrices, for those who prepare them.
    pub fn linears(&self) -> impl Iterator<Item = &Linear> {
        self.keys.iter().chain(&self.queries)
    }

    /// The bias of every sequence (heads, rows, keys). `project` makes queries and keys of vectors as it does of the content, `scale`
    /// is what scores are multiplied with.
    pub fn of(
        &self,
        content: &Heads,
        distances: &Distances,
        ragged: &Ragged,
        scale: f32,
        dropout: &Dropout,
        project: impl FnOnce(&Tensor) -> Result<Heads>,
    ) -> Result<Option<Vec<Tensor>>> {
        let vectors = &dropout.apply(distances.vectors.clone(), distances.dropout)?;
        let shares = |one: Option<DistanceProjection>| matches!(one, Some(DistanceProjection::Shared));
        let shared = match shares(self.spec.keys) || shares(self.spec.queries) {
            true => Some(project(vectors)?),
            false => None,
        };
        let shape = [vectors.shape()[0], content.query.shape()[1], content.query.shape()[2]];
        let made = |own: &Option<Linear>, shared: Option<Tensor>| -> Result<Option<Tensor>> {
            let made = match own {
                Some(own) => Some(own.forward(vectors, Activation::Identity, dropout)?.view(&shape)?),
                None => shared,
            };
            Ok(made.map(|made| made.mul(f64::from(scale))).transpose()?)
        };
        let (shared_query, shared_key) = match shared {
            Some(Heads { query, key, .. }) => (Some(query), Some(key)),
            None => (None, None),
        };
        let keys = made(&self.keys, shared_key.filter(|_| shares(self.spec.keys)))?;
        let queries = made(&self.queries, shared_query.filter(|_| shares(self.spec.queries)))?;
        // Columns in the order in which a row meets them: a query's keys come nearer from behind, a key's queries from before.
        let turned: Vec<usize> = distances.rows[..2 * distances.reach - 1].iter().rev().copied().collect();
        let turned = [&turned[..], &turned[turned.len() - 1..]].concat();
        let keys = keys.map(|keys| keys.gather_rows(&turned)?.permute(&[1, 2, 0])).transpose()?;
        let queries =
            queries.map(|queries| queries.gather_rows(&distances.rows)?.permute(&[1, 2, 0])).transpose()?;
        let mut biases = Vec::new();
        for (s, places) in ragged.sequences().iter().zip(&distances.places) {
            let part = |x: &Tensor, start, rows| x.narrow(0, start, start + rows)?.transpose(0, 1);
            let by_query = match &keys {
                Some(keys) => {
                    let content = part(&content.query, s.start, s.rows)?;
                    Some(distances.met(&content, keys, &places.queries, &places.keys)?)
                }
                None => None,
            };
            let by_key = match &queries {
                Some(queries) => {
                    let content = part(&content.key, s.key_start, s.keys)?;
                    Some(distances.met(&content, queries, &places.keys, &places.queries)?.mt()?)
                }
                None => None,
            };
            biases.push(match (by_query, by_key) {
                (Some(one), Some(other)) => one.add(&other)?,
                (Some(one), None) | (None, Some(one)) => one,
                (None, None) => return Ok(None),
            });
        }
        Ok(Some(biases))
    }
}

impl Distances {
    /// For content (heads, rows, head_dim) at the positions `from`: what each makes of the vector that belongs to its distance to each
    /// of the positions `to`: (heads, rows, to). `vectors` are (heads, head_dim, 2 * reach), column `to - from + reach - 1`.
    fn met(&self, content: &Tensor, vectors: &Tensor, from: &[i64], to: &[i64]) -> Result<Tensor> {
        let (heads, rows) = (content.shape()[0], from.len());
        let follow = |places: &[i64]| places.windows(2).all(|pair| pair[1] == pair[0] + 1);
        if rows > 0 && from == to && follow(from) {
            // Each row begins one column before the row above: seen as rows one element shorter, the columns stand in line.
            let near = vectors.narrow(2, self.reach - rows, self.reach + rows)?;
            let products = content.matmul(&near)?.reshape(&[heads, rows * 2 * rows])?;
            let line = products.narrow(1, rows - 1, rows - 1 + rows * (2 * rows - 1))?;
            return Ok(line.view(&[heads, rows, 2 * rows - 1])?.narrow(2, 0, rows)?);
        }
        let column = |from: &i64, to: &i64| to - from + self.reach as i64 - 1;
        let columns: Vec<i64> =
            from.iter().flat_map(|from| to.iter().map(move |to| column(from, to))).collect();
        let columns = Tensor::from_slice(&columns, &[1, rows, to.len()])?.expand(&[heads, rows, to.len()])?;
        Ok(content.matmul(vectors)?.gather(2, &columns)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn far_distances_share_buckets() {
        let spec = DisentangledSpec { path: "", span: 8, longest: Some(32), norm: None, dropout: 0.0 };
        // From transformers' make_log_bucket_position(distance, 8, 32), clamped.
        let expected =
            [(0, 0), (3, 3), (-4, -4), (5, 5), (8, 6), (-9, -6), (20, 7), (-31, -7), (40, 8), (100, 9)];
        for (distance, bucket) in expected {
            assert_eq!(spec.bucket(distance), (bucket + 8i64).clamp(0, 15) as usize, "{distance}");
        }
        let plain = DisentangledSpec { longest: None, ..spec };
        assert_eq!([-100, -8, 0, 7, 100].map(|distance| plain.bucket(distance)), [0, 0, 8, 15, 15]);
    }

    #[test]
    fn a_text_in_one_piece_meets_the_distances_that_one_in_pieces_does() {
        let numbers = |shape: &[usize]| {
            let values: Vec<f32> = (0..shape.iter().product()).map(|i| (i * 7 % 11) as f32 - 5.0).collect();
            Tensor::from_slice(&values, shape).unwrap()
        };
        let distances =
            Distances { vectors: numbers(&[1, 1]), rows: vec![], reach: 5, places: vec![], dropout: 0.0 };
        let (content, vectors) = (numbers(&[2, 3, 4]), numbers(&[2, 4, 10]));
        let whole = distances.met(&content, &vectors, &[1, 2, 3], &[1, 2, 3]).unwrap();
        for (row, from) in [1i64, 2, 3].into_iter().enumerate() {
            // Asked one by one it is gathered.
            let one = content.narrow(1, row, row + 1).unwrap();
            let one = distances.met(&one, &vectors, &[from], &[1, 2, 3]).unwrap();
            let same = whole.narrow(1, row, row + 1).unwrap().contiguous().unwrap();
            assert_eq!(one.as_slice::<f32>().unwrap(), same.as_slice::<f32>().unwrap());
        }
    }
}

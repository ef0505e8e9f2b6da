//! What stands for a whole text where one answer is wanted.

use trustformers_tensor::{DType, Tensor};

use crate::heads::Finished;
use crate::{Error, Result};

/// What stands for a whole text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pool {
    /// The model's pooler.
    Pooler,
    /// The first position.
    First,
    /// The first position that the mask shows, or the very first where it shows none.
    FirstShown,
    /// The last position that is not this padding token.
    Last(Option<i64>),
    /// The last position of this end token, of which all texts must have equally many.
    End(i64),
    /// The mean of the visible positions.
    Mean,
    /// The last position, padding or not.
    VeryLast,
    /// The mean of all positions, padding included.
    MeanOfAll,
}

impl Pool {
    /// Whether it looks at a position of texts of `length` positions even where the mask hides it.
    pub fn asks(self, position: usize, length: usize) -> bool {
        match self {
            Pool::First | Pool::FirstShown => position == 0,
            Pool::VeryLast => position + 1 == length,
            Pool::MeanOfAll => true,
            _ => false,
        }
    }
}

impl Finished<'_> {
    /// What the model's pooler gives.
    pub(crate) fn pooled(&self) -> Result<&Tensor> {
        self.pooled.ok_or_else(|| Error::Input("this model was loaded without its pooler".into()))
    }

    /// What stands for each text: (batch, width).
    pub(crate) fn pool(&self, pool: Pool) -> Result<Tensor> {
        let packing = self.packing;
        let [batch, length] = packing.shape();
        let places = match pool {
            Pool::Pooler => return Ok(self.pooled()?.clone()),
            Pool::First => return Ok(self.hidden.gather_rows(&packing.rows_at(0))?),
            Pool::VeryLast => return Ok(self.hidden.gather_rows(&packing.rows_at(length - 1))?),
            Pool::FirstShown => {
                let first: Vec<usize> = packing.ragged().sequences().iter().map(|s| s.start).collect();
                return Ok(self.hidden.gather_rows(&first)?);
            }
            Pool::Mean => return packing.mean(self.hidden, |s| s.keys),
            Pool::MeanOfAll => return packing.mean(self.hidden, |s| s.rows),
            Pool::Last(None) if batch > 1 => {
                return Err(Error::Input(
                    "Cannot handle batch sizes > 1 if no padding token is defined.".into(),
                ));
            }
            Pool::Last(padding) => self.last(batch, length, |id| Some(id) != padding)?,
            Pool::End(end) => {
                let ids = self.ids_or_refuse()?;
                let mut counts =
                    ids.chunks_exact(length).map(|row| row.iter().filter(|&&id| id == end).count());
                let first = counts.next().unwrap_or(0);
                if first == 0 || counts.any(|count| count != first) {
                    return Err(Error::Input(
                        "All examples must have the same number of <eos> tokens.".into(),
                    ));
                }
                self.last(batch, length, |id| id == end)?
            }
        };
        let all = packing.unpack(self.hidden)?.view(&[batch * length, self.hidden.shape()[1]])?;
        Ok(all.gather_rows(&places)?)
    }

    /// The last place in each text whose token is `wanted`; where none is, the very last.
    fn last(&self, batch: usize, length: usize, wanted: impl Fn(i64) -> bool) -> Result<Vec<usize>> {
        let Some(_) = self.ids else {
            return Ok((0..batch).map(|index| index * length + length - 1).collect());
        };
        let ids = self.ids_or_refuse()?;
        let last = |row: &[i64]| row.iter().rposition(|&id| wanted(id)).unwrap_or(length - 1);
        Ok(ids.chunks_exact(length).enumerate().map(|(index, row)| index * length + last(row)).collect())
    }

    fn ids_or_refuse(&self) -> Result<Vec<i64>> {
        let refuse = || Error::Input("this head needs input_ids, not inputs_embeds".into());
        let ids = self.ids.ok_or_else(refuse)?.to_host()?.to_dtype(DType::I64)?.contiguous()?;
        Ok(ids.as_slice::<i64>()?.to_vec())
    }
}

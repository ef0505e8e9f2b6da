//! Looking up rows by number.

use super::same_place;
use crate::autograd::record;
use crate::{DType, Device, Error, Result, Tensor};

/// Which row of a table each position takes.
#[derive(Clone, Copy, Debug)]
pub enum Ids<'a> {
    /// Numbers that the processor has.
    Here(&'a [i64]),
    /// Numbers where the table is, (positions) of int64 without gaps, such as tokens that were drawn there. The processor does not wait for those
    /// of a GPU and cannot check them: zeros stand for a row that is not there.
    There(&'a Tensor),
}

impl<'a> Ids<'a> {
    /// How many positions there are.
    pub fn len(self) -> usize {
        match self {
            Ids::Here(ids) => ids.len(),
            Ids::There(ids) => ids.numel(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The numbers, if the processor has them.
    pub fn here(self) -> Option<&'a [i64]> {
        match self {
            Ids::Here(ids) => Some(ids),
            Ids::There(ids) if ids.device() == Device::Cpu => ids.as_slice().ok(),
            Ids::There(_) => None,
        }
    }

    fn to_tensor(self) -> Result<Tensor> {
        match self {
            Ids::Here(ids) => Tensor::from_slice(ids, &[ids.len()]),
            Ids::There(ids) => Ok(ids.clone()),
        }
    }
}

/// A table whose rows are looked up.
#[derive(Clone, Copy, Debug)]
pub struct Lookup<'a> {
    /// The rows: (rows, width) of any float dtype.
    pub table: &'a Tensor,
    /// A row for every position.
    pub ids: Ids<'a>,
    /// The row that gets no gradient: `padding_idx` of torch's `nn.Embedding`.
    pub padding: Option<usize>,
}

impl<'a> Lookup<'a> {
    /// All of whose rows get their gradients.
    pub fn new(table: &'a Tensor, ids: &'a [i64]) -> Lookup<'a> {
        Lookup { table, ids: Ids::Here(ids), padding: None }
    }
}

/// For every position the sum, over the lookups, of the table row that its id names: (positions, width) of `dtype`, which is float64 for
/// tables of that alone. With one lookup it is torch's `F.embedding`; a transformer adds up word, position and segment rows in one pass.
///
/// Every lookup has one id per position.
///
/// # Errors
/// `Index` for an id outside its table; `Shapes` or `Argument` when tables or ids do not fit one another.
pub fn embedding(lookups: &[Lookup], dtype: DType) -> Result<Tensor> {
    let &[Lookup { table: first, ids: first_ids, .. }, ..] = lookups else {
        return Err(Error::argument("embedding", "there must be at least one table"));
    };
    same_place("embedding", lookups.iter().map(|lookup| lookup.table))?;
    for &Lookup { table, ids, .. } in lookups {
        if table.ndim() != 2 || table.shape()[1..] != first.shape()[1..] {
            let rule = "tables must be matrices of the same width";
            return Err(Error::Shapes {
                op: "embedding",
                rule,
                left: first.shape().into(),
                right: table.shape().into(),
            });
        }
        if !table.dtype().is_float() {
            let rule = "tables must hold floating-point numbers";
            return Err(Error::DType { op: "embedding", rule, dtype: table.dtype() });
        }
        if ids.len() != first_ids.len() {
            let message =
                format!("each table needs one id per position, got {} and {}", first_ids.len(), ids.len());
            return Err(Error::argument("embedding", message));
        }
        if let Ids::There(ids) = ids {
            same_place("embedding", [ids, table])?;
            if ids.dtype() != DType::I64 || ids.ndim() != 1 || !ids.is_contiguous() {
                let message = "ids in a tensor must be int64 in one dimension without gaps";
                return Err(Error::argument("embedding", message));
            }
        }
        let rows = table.shape()[0];
        let outside = |&&id: &&i64| usize::try_from(id).map_or(true, |id| id >= rows);
        if let Some(&index) = ids.here().and_then(|ids| ids.iter().find(outside)) {
            return Err(Error::Index { op: "embedding", what: "the table", index, size: rows });
        }
    }
    let sources: Vec<&Tensor> = lookups.iter().map(|lookup| lookup.table).collect();
    let ids: Vec<Tensor> = lookups.iter().map(|lookup| lookup.ids.to_tensor()).collect::<Result<_>>()?;
    let tables: Vec<Tensor> =
        sources.iter().map(|table| table.detach().contiguous()).collect::<Result<_>>()?;
    let out = if dtype == DType::F64 && tables.iter().all(|table| table.dtype() == dtype) {
        let mut rows = tables.iter().zip(&ids).map(|(table, ids)| table.index_select(0, ids));
        let first = rows.next().unwrap_or_else(|| Tensor::zeros(&[]))?;
        rows.try_fold(first, |sum, rows| sum.add(&rows?))?
    } else {
        let rows: Vec<(&Tensor, Ids)> =
            tables.iter().zip(lookups).map(|(table, lookup)| (table, lookup.ids)).collect();
        let taken = if first.backend().takes(dtype) { dtype } else { DType::F32 };
        first.backend().embedding(&rows, taken)?.to_dtype(dtype)?
    };
    let sizes: Vec<_> = lookups.iter().map(|lookup| (lookup.table.shape()[0], lookup.padding)).collect();
    let saved: Vec<&Tensor> = ids.iter().collect();
    Ok(record("embedding", out, &sources, &saved, move |b| {
        // A row's gradient is the sum of those of all positions that looked it up.
        let width = b.grad().shape()[1];
        let into_table = |(index, &(rows, padding)): (usize, &(usize, Option<usize>))| {
            b.when(index, || {
                let places = b.saved[index].mul(width as i64)?.to_device(b.grad().device())?;
                // A row may be looked up often: 16 bits would soon not notice what is added.
                let grad = match b.grad().dtype() {
                    DType::F64 => b.grad().clone(),
                    _ => b.grad().to_dtype(DType::F32)?,
                };
                let zeros = Tensor::zeros_on(&[rows, width], grad.dtype(), grad.device())?;
                let grad = zeros.put_at(&places, width, &grad, true)?;
                if let Some(padding) = padding.filter(|&padding| padding < rows) {
                    grad.select(0, padding)?.fill_(0.0)?;
                }
                Ok(grad)
            })
        };
        sizes.iter().enumerate().map(into_table).collect()
    }))
}

impl Tensor {
    /// The rows (slices along the first axis) that `rows` names, of floats: (rows.len(), ..).
    ///
    /// # Errors
    /// `Index` for a row that is not there.
    pub fn gather_rows(&self, rows: &[usize]) -> Result<Tensor> {
        let Some((&count, inner)) = self.shape().split_first() else {
            return Err(Error::argument("gather_rows", "the tensor must have at least one dimension"));
        };
        let ids: Vec<i64> = rows.iter().map(|&row| row as i64).collect();
        let table = self.contiguous()?.view(&[count, inner.iter().product()])?;
        let mut shape = vec![rows.len()];
        shape.extend_from_slice(inner);
        embedding(&[Lookup::new(&table, &ids)], self.dtype())?.view(&shape)
    }
}

#[cfg(test)]
mod tests {
    use half::bf16;

    use super::*;
    use crate::testing::{check_gradient, draw, same_gradients};

    #[test]
    fn rows_add_up() {
        let words = Tensor::from_slice(&[0f32, 1., 2., 3., 4., 5.], &[3, 2]).unwrap();
        let half = [bf16::from_f32(10.0), bf16::from_f32(20.0)];
        let types = Tensor::from_slice(&half, &[1, 2]).unwrap();
        let sum = embedding(&[Lookup::new(&words, &[2, 0, 1]), Lookup::new(&types, &[0, 0, 0])], DType::F32)
            .unwrap();
        assert_eq!(sum.as_slice::<f32>().unwrap(), [14., 25., 10., 21., 12., 23.]);
        let there = Tensor::from_slice(&[2i64, 0], &[2]).unwrap();
        let lookup = Lookup { ids: Ids::There(&there), ..Lookup::new(&words, &[]) };
        assert_eq!(embedding(&[lookup], DType::F32).unwrap().as_slice::<f32>().unwrap(), [4., 5., 0., 1.]);
        assert_eq!(words.gather_rows(&[1, 1]).unwrap().as_slice::<f32>().unwrap(), [2., 3., 2., 3.]);
    }

    #[test]
    fn an_id_outside_the_table_is_named() {
        let table = Tensor::zeros(&[3, 2]).unwrap();
        for id in [-1, 3, i64::MAX, i64::MIN] {
            let error = embedding(&[Lookup::new(&table, &[id])], DType::F32).unwrap_err();
            assert!(error.to_string().contains(&id.to_string()), "{error}");
            let there = Tensor::from_slice(&[id], &[1]).unwrap();
            let lookup = Lookup { ids: Ids::There(&there), ..Lookup::new(&table, &[]) };
            assert_eq!(embedding(&[lookup], DType::F32).unwrap_err().to_string(), error.to_string());
        }
    }

    #[test]
    fn padding_gets_no_gradient() {
        let table = draw(&[3, 2], (-1.0, 1.0), 1);
        for dtype in [DType::F32, DType::F64] {
            let table = table.to_dtype(dtype).unwrap();
            table.set_requires_grad(true).unwrap();
            let lookup = Lookup { padding: Some(2), ..Lookup::new(&table, &[2, 0, 2]) };
            let rows = embedding(&[lookup, Lookup::new(&table, &[1, 2, 1])], dtype).unwrap();
            rows.sum_all().unwrap().backward(None).unwrap();
            let grad = table.grad().unwrap().to_dtype(DType::F32).unwrap();
            assert_eq!(grad.as_slice::<f32>().unwrap(), [1., 1., 2., 2., 1., 1.]);
        }
    }

    #[test]
    fn gradients() {
        let ids: (&[i64], &[i64]) = (&[2, 0, 2], &[1, 1, 1]);
        let both =
            |x: &[Tensor]| embedding(&[Lookup::new(&x[0], ids.0), Lookup::new(&x[1], ids.1)], x[0].dtype());
        check_gradient("embedding", &[&[3, 2], &[2, 2]], (-1.0, 1.0), 1, both);
        let inputs = [
            draw(&[3, 2], (-1.0, 1.0), 1).to_dtype(DType::F32).unwrap(),
            draw(&[2, 2], (-1.0, 1.0), 2).to_dtype(DType::BF16).unwrap(),
        ];
        let select = |x: &Tensor, ids: &[i64]| x.index_select(0, &Tensor::from_slice(ids, &[3])?);
        same_gradients("embedding", &inputs, 2e-2, both, |x| {
            select(&x[0], ids.0)?.add(&select(&x[1], ids.1)?)
        });
        check_gradient("gather_rows", &[&[3, 2, 2]], (-1.0, 1.0), 2, |x| x[0].gather_rows(&[2, 2, 0]));
    }
}

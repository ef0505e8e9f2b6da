//! Keys and values kept for later rows: what a cache holds.

use super::table::Table;
use crate::ops::rope::turns_in_place;
use crate::ops::{Angles, activation_dtype, rope_both_, same_place};
use crate::{BlockFormat, DType, Device, Error, Quantized, Result, Tensor};

/// Which rows are stored where: for each, the row of what is stored and that of the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    pairs: Vec<[usize; 2]>,
    table: Table,
}

impl Places {
    /// The pairs.
    pub fn pairs(&self) -> &[[usize; 2]] {
        &self.pairs
    }

    /// Forgets all pairs.
    pub fn clear(&mut self) {
        self.pairs.clear();
        self.table = Table::default();
    }

    /// What kernels of a GPU read, int64 on `device`: one pair after another. The same tensor whenever it is asked for there, which a graph
    /// reads at every launch.
    ///
    /// # Errors
    /// As for [`Tensor::to_device`].
    pub fn on(&self, device: Device) -> Result<Tensor> {
        self.table.on(device, || self.pairs.iter().flatten().map(|&place| place as i64).collect())
    }
}

impl Extend<[usize; 2]> for Places {
    fn extend<I: IntoIterator<Item = [usize; 2]>>(&mut self, pairs: I) {
        self.pairs.extend(pairs);
        self.table = Table::default();
    }
}

impl FromIterator<[usize; 2]> for Places {
    fn from_iter<I: IntoIterator<Item = [usize; 2]>>(pairs: I) -> Places {
        Places { pairs: pairs.into_iter().collect(), table: Table::default() }
    }
}

/// How keys and values are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreForm {
    /// As they were computed.
    F32,
    /// As float16; what is greater than its greatest number is kept as that.
    F16,
    /// As integers of 8 bits, each head of a row with a float32 scale of its own: [`BlockFormat::Int8`].
    Int8,
}

impl StoreForm {
    /// A store of zeros for `rows` rows of heads of `dim` elements: (rows, heads, dim) floats, or (rows, heads, bytes of a head) uint8.
    ///
    /// # Errors
    /// `OutOfMemory`, `OutOfDeviceMemory`.
    pub fn zeros(self, rows: usize, heads: usize, dim: usize, device: Device) -> Result<Tensor> {
        let (dim, dtype) = match self {
            StoreForm::F32 => (dim, DType::F32),
            StoreForm::F16 => (dim, DType::F16),
            StoreForm::Int8 => (BlockFormat::Int8.row_bytes(dim)?, DType::U8),
        };
        // All of it is read for every token: on large pages, addresses are not looked up again and again.
        let zeros = Tensor::lasting(&[rows, heads, dim], dtype, device)?;
        zeros.backend().zero(&zeros)?;
        Ok(zeros)
    }
}

/// The elements of a head in a store (rows, heads, ..).
pub fn stored_dim(store: &Tensor) -> Option<usize> {
    match store.dtype() {
        DType::U8 => store.shape()[2].checked_sub(BlockFormat::Int8.row_header()),
        _ => Some(store.shape()[2]),
    }
}

/// Rows of a store as float32: (rows, heads, dim).
///
/// # Errors
/// `Index` for a row that is not there, `Argument` for a tensor that is no store.
pub fn stored_rows(store: &Tensor, rows: &[usize]) -> Result<Tensor> {
    let places: Vec<i64> = rows.iter().map(|&row| row as i64).collect();
    floats(&store.index_select(0, &Tensor::from_slice(&places, &[places.len()])?)?)
}

/// A store as float32.
pub(super) fn floats(store: &Tensor) -> Result<Tensor> {
    let (&[rows, heads, _], Some(dim)) = (store.shape(), stored_dim(store)) else {
        let message = format!("a store is (rows, heads, dim), got {} {:?}", store.dtype(), store.shape());
        return Err(Error::argument("stored_rows", message));
    };
    if store.dtype() != DType::U8 {
        return store.to_dtype(DType::F32);
    }
    let numbers = Quantized::new(BlockFormat::Int8, store.clone(), [rows * heads, dim])?;
    numbers.dequantize()?.view(&[rows, heads, dim])
}

/// Writes rows of keys and of values (rows, heads, dim) to rows of stores of [`StoreForm::zeros`], one form for both: for each of `places`, the row
/// of the first number to that of the second. Each is a store and what goes there.
///
/// # Errors
/// `Shapes` when the heads differ, `Index` for a row that is not there, `DType` for other than floats, and those of every change in place.
pub fn store_rows(keys: [&Tensor; 2], values: [&Tensor; 2], places: &Places) -> Result<()> {
    check(keys, values, places)?;
    keep(keys, values, places)
}

/// [`store_rows`] of what was checked.
fn keep(keys: [&Tensor; 2], values: [&Tensor; 2], places: &Places) -> Result<()> {
    let ([store, x], [other, y]) = (keys, values);
    let plain = |x: &Tensor, dtype| {
        let x = x.detach().to_dtype(dtype)?;
        if x.layout().strides()[2] == 1 { Ok(x) } else { x.contiguous() }
    };
    let dtype = activation_dtype(x);
    let (x, y) = (plain(x, dtype)?, plain(y, dtype)?);
    [store, other].into_iter().for_each(|store| store.storage().bump_version());
    store.backend().store_rows([[store, &x], [other, &y]], places)
}

/// [`rope_both_`] of queries (rows, heads, dim) and of the keys, and then [`store_rows`]: as one where the device does that.
///
/// # Errors
/// As for both.
pub fn turn_and_store(
    query: &Tensor,
    angles: Angles,
    keys: [&Tensor; 2],
    values: [&Tensor; 2],
    places: &Places,
) -> Result<()> {
    check(keys, values, places)?;
    let ([store, key], [other, value]) = (keys, values);
    same_place("turn_and_store", [query, key])?;
    let are_turned = turns_in_place(query, angles)? && turns_in_place(key, angles)?;
    // As the kernels read them; and a row is turned once.
    let is_plain = [query, value].iter().all(|x| x.dtype() == key.dtype())
        && value.layout().strides()[2] == 1
        && key.shape()[0] == places.pairs.len()
        && places.pairs.iter().enumerate().all(|(row, place)| place[0] == row);
    if are_turned && is_plain {
        [query, key, store, other].into_iter().for_each(|changed| changed.storage().bump_version());
        if store.backend().turn_and_store(query, angles, [keys, values], places)? {
            return Ok(());
        }
    }
    rope_both_(query, key, angles)?;
    keep(keys, values, places)
}

fn check(keys: [&Tensor; 2], values: [&Tensor; 2], places: &Places) -> Result<()> {
    let op = "store_rows";
    let ([store, x], [other, y]) = (keys, values);
    same_place(op, [store, x, other, y])?;
    let differ = |rule, left: &Tensor, right: &Tensor| Error::Shapes {
        op,
        rule,
        left: left.shape().into(),
        right: right.shape().into(),
    };
    if store.dtype() != other.dtype() || x.ndim() != 3 || y.ndim() != 3 || x.shape()[..2] != y.shape()[..2] {
        return Err(differ("keys and values must have the same rows and heads, and be kept alike", x, y));
    }
    for [store, x] in [keys, values] {
        x.expect_float(op)?;
        store.check_in_place(op, &[])?;
        let fits = store.ndim() == 3
            && x.shape()[1] == store.shape()[1]
            && stored_dim(store) == Some(x.shape()[2])
            && store.is_contiguous();
        if !fits {
            return Err(differ("rows and a contiguous store must have the same heads", x, store));
        }
    }
    if !matches!(store.dtype(), DType::F32 | DType::F16 | DType::U8) {
        let rule = "a store is of float32, float16, or uint8 for 8 bits and scales";
        return Err(Error::DType { op, rule, dtype: store.dtype() });
    }
    let rooms = store.shape()[0].min(other.shape()[0]);
    for (which, what, size) in [(0, "the rows", x.shape()[0]), (1, "the store", rooms)] {
        if let Some(place) = places.pairs.iter().find(|place| place[which] >= size) {
            return Err(Error::Index { op, what, index: place[which] as i64, size });
        }
    }
    Ok(())
}

//! GGUF files as checkpoints: their blocks are used as they are, mapped, under transformers' names.

mod config;
mod names;
mod rows;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use trustformers_gguf::{File, TensorInfo, part_names};
use trustformers_hub::Repo;
use trustformers_tensor::{BlockFormat, DType, Quantized, Tensor};

use self::rows::{Change, Row};
use super::Checkpoint;
use super::mapping::Mapping;
use crate::parameter::separated;
use crate::{Config, Order, Parameter, Result};

/// Tensors that the configuration has taken in.
const FACTORS: [&str; 3] = ["rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"];

/// The GGUF file `name` of a repository. If it is the first of several, the others are brought beside it.
///
/// # Errors
/// What the hub says of one that is not there.
pub fn gguf_file(repo: &Repo, name: &str) -> Result<PathBuf> {
    for other in part_names(name).iter().filter(|part| *part != name) {
        repo.require(other)?;
    }
    Ok(repo.require(name)?)
}

impl Config {
    /// Reads the configuration that a GGUF file carries, or the first of several.
    ///
    /// # Errors
    /// `Gguf` for a file that is damaged, or of an architecture that is not supported.
    pub fn from_gguf(path: &Path) -> Result<Config> {
        config::read(&File::open_all(path)?)
    }
}

impl Checkpoint {
    /// Opens the tensors of a GGUF file, or of several of which this is the first. They are mapped: blocks stay as they are, and so do numbers but for small ones, from which what
    /// llama.cpp's converter did to them is taken back. The queries and keys of Llama's descendants stay in llama.cpp's order of rows if
    /// all of them are blocks; else they are copied into transformers' order.
    ///
    /// # Errors
    /// `Gguf` for a file that is damaged, of an architecture that is not supported, or with tensors of a type that is not.
    pub fn from_gguf(path: &Path) -> Result<Checkpoint> {
        let file = File::open_all(path)?;
        let (row, config) = (Row::of(&file)?, config::read(&file)?);
        let mappings = file.paths().iter().map(|path| Mapping::open(path)).collect::<Result<Vec<_>>>()?;
        let mut tensors = BTreeMap::new();
        let mut stay_interleaved = true;
        for info in file.tensors().iter().filter(|info| !FACTORS.contains(&info.name.as_str())) {
            let read = |info: &TensorInfo| stored(&file, &mappings[info.part], info);
            let Some((name, change)) = row.name(&info.name) else {
                tensors.insert(info.name.clone(), read(info)?);
                continue;
            };
            let does_not_fit = |what: String| {
                let (name, shape) = (&info.name, &info.shape);
                file.unsupported(format!("the tensor {name} of shape {shape:?} does not fit {what}"))
            };
            if change == Some(Change::Stacked) {
                let matrices = stacked(info).ok_or_else(|| does_not_fit("experts, a matrix each".into()))?;
                for (index, matrix) in matrices.enumerate() {
                    tensors.insert(name.replace('*', &index.to_string()), read(&matrix)?);
                }
                continue;
            }
            let parameter = read(info)?;
            let changed = match change {
                None | Some(Change::Stacked) => parameter,
                Some(Change::PlusOne) => parameter.tensor()?.to_dtype(DType::F32)?.sub(1.0)?.into(),
                Some(Change::Transposed) => match parameter {
                    Parameter::Dense(tensor) if tensor.ndim() == 2 => tensor.mt()?.into(),
                    Parameter::Dense(tensor) => tensor.into(),
                    Parameter::Quantized(matrix, _) => Parameter::Quantized(matrix, Order::Transposed),
                },
                Some(Change::Ungrouped(heads, keys)) => {
                    let (heads, keys) = (config.count(heads)?, config.count(keys)?);
                    let rows = grouped_rows(info.shape[0], heads, keys)
                        .ok_or_else(|| does_not_fit(format!("{heads} heads with {keys} keys")))?;
                    // With one key for all they are in order already.
                    if keys == 1 { parameter } else { parameter.select_rows(&rows)? }
                }
                Some(Change::Interleaved(field)) => {
                    let heads = config.count(field)?;
                    if !info.shape[0].is_multiple_of(2 * heads) {
                        return Err(does_not_fit(format!("{heads} heads")).into());
                    }
                    match parameter {
                        Parameter::Dense(tensor) => {
                            stay_interleaved = false;
                            separated(&tensor, heads)?.into()
                        }
                        Parameter::Quantized(matrix, _) => {
                            Parameter::Quantized(matrix, Order::Interleaved(heads))
                        }
                    }
                }
            };
            tensors.insert(name, changed);
        }
        if !stay_interleaved {
            tensors
                .values_mut()
                .try_for_each(|parameter| parameter.in_order().map(|new| *parameter = new))?;
        }
        Ok(Checkpoint { place: path.display().to_string(), tensors })
    }
}

/// The matrices that lie one behind the other in a tensor; `None` if it has another number of dimensions.
fn stacked(info: &TensorInfo) -> Option<impl Iterator<Item = TensorInfo>> {
    let &[count, rows, columns] = info.shape.as_slice() else { return None };
    let size = info.bytes.len() / count;
    let matrix = move |index: usize| {
        let start = info.bytes.start + index * size;
        TensorInfo { shape: vec![rows, columns], bytes: start..start + size, ..info.clone() }
    };
    Some((0..count).map(matrix))
}

/// Which of `rows` rows, all queries before all keys before all values, come one after another where each of the `keys` keys stands behind
/// its queries and before its value; `None` if they are not that many.
fn grouped_rows(rows: usize, heads: usize, keys: usize) -> Option<Vec<i64>> {
    let all = heads + 2 * keys;
    if keys == 0 || !heads.is_multiple_of(keys) || !rows.is_multiple_of(all) {
        return None;
    }
    let (group, width) = (heads / keys, rows / all);
    let order =
        (0..keys).flat_map(|key| (key * group..(key + 1) * group).chain([heads + key, heads + keys + key]));
    Some(order.flat_map(|head| head * width..(head + 1) * width).map(|row| row as i64).collect())
}

/// A tensor of the file as it lies there.
fn stored(file: &File, mapping: &Mapping, info: &TensorInfo) -> Result<Parameter> {
    let TensorInfo { name, shape, kind, bytes, .. } = info;
    let lost = || file.unsupported(format!("{name} is not there any more: the file was changed meanwhile"));
    let run = |dtype: DType, shape: &[usize]| -> Result<Tensor> {
        let run = mapping.run(bytes.clone(), dtype)?.ok_or_else(lost)?;
        Ok(run.contiguous(shape)?.ok_or_else(lost)?)
    };
    let dtype = match kind.name {
        "F16" => Some(DType::F16),
        "BF16" => Some(DType::BF16),
        "F32" => Some(DType::F32),
        "F64" => Some(DType::F64),
        _ => None,
    };
    if let Some(dtype) = dtype {
        return Ok(run(dtype, shape)?.into());
    }
    let format: BlockFormat = kind.name.parse().map_err(|_| {
        let known: Vec<_> = BlockFormat::ALL.iter().map(|format| format.name()).collect();
        let known = known.join(", ");
        file.unsupported(format!(
            "the tensor {name} is stored as {}, which is not read yet. What is: F32, F16, BF16, F64, {known}",
            kind.name
        ))
    })?;
    let columns = shape.last().copied().unwrap_or(1);
    let rows = shape.iter().product::<usize>() / columns.max(1);
    let matrix = Quantized::new(format, run(DType::U8, &[bytes.len()])?, [rows, columns])?;
    match shape.len() {
        2 => Ok(Parameter::Quantized(matrix, Order::Same)),
        _ => Ok(matrix.dequantize()?.view(shape)?.into()),
    }
}

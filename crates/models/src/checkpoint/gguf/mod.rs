//! GGUF files as checkpoints: their blocks are used as they are, mapped, under transformers' names.

mod config;
mod rows;

use std::collections::BTreeMap;
use std::path::Path;

use trustformers_gguf::{File, TensorInfo};
use trustformers_tensor::{BlockFormat, DType, Quantized, Tensor};

use self::rows::{Change, Row};
use super::Checkpoint;
use super::mapping::Mapping;
use crate::parameter::separated;
use crate::{Config, Order, Parameter, Result};

/// Tensors that the configuration has taken in.
const FACTORS: [&str; 3] = ["rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"];

impl Config {
    /// Reads the configuration that a GGUF file carries.
    ///
    /// # Errors
    /// `Gguf` for a file that is damaged, or of an architecture that is not supported.
    pub fn from_gguf(path: &Path) -> Result<Config> {
        config::read(&File::open(path)?)
    }
}

impl Checkpoint {
    /// Opens the tensors of a GGUF file. They are mapped: blocks stay as they are, and so do numbers but for small ones, from which what
    /// llama.cpp's converter did to them is taken back. The queries and keys of Llama's descendants stay in llama.cpp's order of rows if
    /// all of them are blocks; else they are copied into transformers' order.
    ///
    /// # Errors
    /// `Gguf` for a file that is damaged, of an architecture that is not supported, or with tensors of a type that is not.
    pub fn from_gguf(path: &Path) -> Result<Checkpoint> {
        let file = File::open(path)?;
        let (row, config) = (Row::of(&file)?, config::read(&file)?);
        let mapping = Mapping::open(path)?;
        let mut tensors = BTreeMap::new();
        let mut stay_interleaved = true;
        for info in file.tensors().iter().filter(|info| !FACTORS.contains(&info.name.as_str())) {
            let parameter = stored(&file, &mapping, info)?;
            let Some((name, change)) = row.name(&info.name) else {
                tensors.insert(info.name.clone(), parameter);
                continue;
            };
            let changed = match change {
                None => parameter,
                Some(Change::PlusOne) => parameter.tensor()?.to_dtype(DType::F32)?.sub(1.0)?.into(),
                Some(Change::Transposed) => match parameter {
                    Parameter::Dense(tensor) if tensor.ndim() == 2 => tensor.mt()?.into(),
                    Parameter::Dense(tensor) => tensor.into(),
                    Parameter::Quantized(matrix, _) => Parameter::Quantized(matrix, Order::Transposed),
                },
                Some(Change::Interleaved(field)) => {
                    let heads = config.count(field)?;
                    if !info.shape[0].is_multiple_of(2 * heads) {
                        let (name, shape) = (&info.name, &info.shape);
                        let reason =
                            format!("the tensor {name} of shape {shape:?} does not fit {heads} heads");
                        return Err(file.unsupported(reason).into());
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

/// A tensor of the file as it lies there.
fn stored(file: &File, mapping: &Mapping, info: &TensorInfo) -> Result<Parameter> {
    let TensorInfo { name, shape, kind, bytes } = info;
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

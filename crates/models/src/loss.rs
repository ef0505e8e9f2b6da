//! The losses of heads, as transformers computes them.

use trustformers_tensor::ops::Reduction;
use trustformers_tensor::{DType, Tensor};

use crate::{Config, Error, Packing, Result};

/// A label that counts for nothing.
pub(crate) const IGNORED: i64 = -100;

/// The mean cross entropy of `logits` (rows, classes) against one label per row; or the sum, divided by so many `items`.
pub(crate) fn cross_entropy(logits: &Tensor, labels: &[i64], items: Option<f64>) -> Result<Tensor> {
    let labels = Tensor::from_slice(labels, &[labels.len()])?.to_device(logits.device())?;
    match items {
        None => Ok(logits.cross_entropy(&labels, IGNORED, Reduction::Mean, 0.0)?),
        Some(items) => Ok(logits.cross_entropy(&labels, IGNORED, Reduction::Sum, 0.0)?.div(items)?),
    }
}

/// What is least where tokens are spread evenly over experts (Fedus et al. 2021): the number of experts times the sum, over experts, of
/// the share of tokens that take it and its mean probability. `routed` has the scores of each layer for the packed rows.
pub(crate) fn balance(routed: &[Tensor], packing: &Packing, chosen: usize) -> Result<Tensor> {
    let visible: Vec<usize> =
        packing.ragged().sequences().iter().flat_map(|s| s.start..s.start + s.keys).collect();
    let scores = routed.iter().map(|scores| scores.gather_rows(&visible)).collect::<Result<Vec<_>, _>>()?;
    let probabilities = Tensor::cat(&scores.iter().collect::<Vec<_>>(), 0)?.softmax(-1)?;
    let [tokens, experts] = [probabilities.shape()[0], probabilities.shape()[1]];
    let (_, numbers) = probabilities.detach().topk(chosen, -1, true)?;
    let mut shares = vec![0f32; experts];
    for &number in numbers.to_host()?.contiguous()?.as_slice::<i64>()? {
        shares[number as usize] += 1.0 / tokens as f32;
    }
    let shares = Tensor::from_slice(&shares, &[experts])?.to_device(probabilities.device())?;
    Ok(probabilities.mean(&[0], false)?.mul(&shares)?.sum(&[], false)?.mul(experts as f64)?)
}

/// The same against labels that a caller gave for whole texts: (rows) integers.
pub(crate) fn labels(logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
    if labels.numel() != logits.shape()[0] || !labels.dtype().is_int() {
        return Err(Error::Input(format!(
            "labels must be {} integers, one for each text, got {} {:?}",
            logits.shape()[0],
            labels.dtype(),
            labels.shape()
        )));
    }
    let labels = labels.to_device(logits.device())?.to_dtype(DType::I64)?.reshape(&[logits.shape()[0]])?;
    Ok(logits.cross_entropy(&labels, IGNORED, Reduction::Mean, 0.0)?)
}

/// The mean cross entropy of `logits` (batch, length) over positions; positions outside of the text count for nothing.
pub(crate) fn position(logits: &Tensor, positions: &Tensor) -> Result<Tensor> {
    let (batch, length) = (logits.shape()[0], logits.shape()[1] as i64);
    if positions.numel() != batch || !positions.dtype().is_int() {
        return Err(Error::Input(format!(
            "start_positions and end_positions must be {batch} integers, got {} {:?}",
            positions.dtype(),
            positions.shape()
        )));
    }
    let positions = positions.to_device(logits.device())?.to_dtype(DType::I64)?.reshape(&[batch])?;
    let positions = positions.clamp(Some(0i64.into()), Some(length.into()))?;
    Ok(logits.cross_entropy(&positions.to_dtype(DType::I64)?, length, Reduction::Mean, 0.0)?)
}

/// The mean binary cross entropy of `logits` against float32 `targets` of the same shape: max(x, 0) - x y + log(1 + exp(-|x|)).
pub(crate) fn binary(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let targets = &targets.to_device(logits.device())?;
    let plain = logits.relu()?.sub(&logits.mul(targets)?)?;
    let rest = logits.abs()?.neg()?.exp()?.log1p()?;
    Ok(plain.add(&rest)?.mean(&[], false)?)
}

/// How the labels of whole texts are read where no `problem_type` says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LabelReading {
    /// One label is a regression, integers are classes, floats say of each label whether it holds.
    #[default]
    Usual,
    /// Floats are a distribution over the labels, and negative classes count for nothing (DeBERTa).
    Distribution,
}

/// What the labels of whole texts are: transformers' `problem_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProblemType {
    /// Read off the labels.
    Infer,
    Regression,
    SingleLabel,
    MultiLabel,
    /// Classes, of which negative ones count for nothing.
    Classes,
    /// Shares of each label.
    Distribution,
}

impl ProblemType {
    pub(crate) fn read(config: &Config) -> Result<ProblemType> {
        match config.values().get("problem_type").and_then(|value| value.as_str()) {
            None => Ok(ProblemType::Infer),
            Some(given) => {
                let all = [ProblemType::Regression, ProblemType::SingleLabel, ProblemType::MultiLabel];
                all.into_iter().find(|problem| problem.name() == Some(given)).ok_or_else(|| {
                    Error::Config(format!(
                        "`problem_type` must be regression, single_label_classification or multi_label_classification, got {given}"
                    ))
                })
            }
        }
    }

    /// transformers' name for it, where it has one.
    pub(crate) fn name(self) -> Option<&'static str> {
        match self {
            ProblemType::Regression => Some("regression"),
            ProblemType::SingleLabel => Some("single_label_classification"),
            ProblemType::MultiLabel => Some("multi_label_classification"),
            ProblemType::Infer | ProblemType::Classes | ProblemType::Distribution => None,
        }
    }

    /// What it is for a model of so many labels that is given `labels`.
    pub(crate) fn of(self, count: usize, labels: &Tensor, reading: LabelReading) -> ProblemType {
        let is_classes = labels.ndim() < 2 || labels.shape().last() == Some(&1);
        match (self, reading) {
            (ProblemType::Infer, _) if count == 1 => ProblemType::Regression,
            (ProblemType::Infer, LabelReading::Distribution) if is_classes => ProblemType::Classes,
            (ProblemType::Infer, LabelReading::Distribution) => ProblemType::Distribution,
            (ProblemType::Infer, _) if labels.dtype().is_int() => ProblemType::SingleLabel,
            (ProblemType::Infer, _) => ProblemType::MultiLabel,
            (given, _) => given,
        }
    }

    /// The loss of `logits` (batch, labels).
    pub(crate) fn loss(self, logits: &Tensor, labels: &Tensor, reading: LabelReading) -> Result<Tensor> {
        let fitting = |shape: &[usize]| -> Result<Tensor> {
            if labels.numel() != shape.iter().product::<usize>() {
                return Err(Error::Input(format!(
                    "labels must have the shape {shape:?}, got {:?}",
                    labels.shape()
                )));
            }
            Ok(labels.to_device(logits.device())?.to_dtype(DType::F32)?.reshape(shape)?)
        };
        match self.of(logits.shape()[1], labels, reading) {
            ProblemType::Classes => classes(logits, labels),
            ProblemType::Regression => {
                let difference = logits.sub(&fitting(logits.shape())?)?;
                Ok(difference.mul(&difference)?.mean(&[], false)?)
            }
            ProblemType::Distribution => {
                let weighed = logits.log_softmax(-1)?.mul(&fitting(logits.shape())?)?;
                Ok(weighed.sum(&[-1], false)?.mean(&[], false)?.neg()?)
            }
            ProblemType::MultiLabel => binary(logits, &fitting(logits.shape())?),
            _ => self::labels(logits, labels),
        }
    }
}

/// The loss against classes of which negative ones count for nothing; 0 where no other is left.
fn classes(logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
    let labels = labels.to_host()?.to_dtype(DType::I64)?.contiguous()?;
    let ignored = |&label: &i64| if label < 0 { IGNORED } else { label };
    let counted: Vec<i64> = labels.as_slice::<i64>()?.iter().map(ignored).collect();
    if counted.iter().all(|&label| label == IGNORED) {
        return Ok(logits.sum(&[], false)?.mul(0.0)?);
    }
    self::labels(logits, &Tensor::from_slice(&counted, &[counted.len()])?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loss(labels: &Tensor, reading: LabelReading) -> f32 {
        let logits = Tensor::from_slice(&[0f32, 0.0, 1.0, 0.0], &[2, 2]).unwrap();
        let loss = ProblemType::Infer.loss(&logits, labels, reading).unwrap();
        loss.item().unwrap().to_f64() as f32
    }

    #[test]
    fn labels_are_read_by_dtype_or_as_a_distribution() {
        let halves = Tensor::from_slice(&[0.5f32; 4], &[2, 2]).unwrap();
        let [plain, sharp] = [2f32.ln(), (1.0 + 1f32.exp()).ln()];
        // Of each label by itself, and of shares.
        let alone = (3.0 * plain + (sharp - 0.5)) / 4.0;
        assert!((loss(&halves, LabelReading::Usual) - alone).abs() < 1e-6);
        assert!((loss(&halves, LabelReading::Distribution) - (plain + sharp - 0.5) / 2.0).abs() < 1e-6);
        let classes = Tensor::from_slice(&[1i64, -1], &[2]).unwrap();
        assert!((loss(&classes, LabelReading::Distribution) - plain).abs() < 1e-6);
        let nothing = Tensor::from_slice(&[-1i64, -1], &[2]).unwrap();
        assert_eq!(loss(&nothing, LabelReading::Distribution), 0.0);
    }
}

//! AdamW whose running means are kept in 8 bits (Dettmers et al. 2022).

use trustformers_tensor::ops::Kept;
use trustformers_tensor::{DType, Tensor};

use crate::Result;
use crate::optimizer::{Memory, State};

/// Parameters with fewer elements keep their means as they are: there is nothing to gain.
const SMALL: usize = 4096;

/// What is remembered of a parameter: the running means of gradients and of squared gradients.
pub(crate) fn memory(parameter: &Tensor, state: &mut State) -> Result<Vec<Memory>> {
    if parameter.numel() < SMALL {
        return ["exp_avg", "exp_avg_sq"].map(|name| state.whole(name, parameter)).into_iter().collect();
    }
    let (count, device) = (parameter.numel(), parameter.device());
    let mut coded = |[codes, scales]: [&str; 2], signed| -> Result<_> {
        Ok(Memory::Coded {
            codes: state.tensor(codes, || Tensor::zeros_on(&[count], DType::U8, device))?,
            scales: state
                .tensor(scales, || Tensor::zeros_on(&[count.div_ceil(Kept::BLOCK)], DType::F32, device))?,
            signed,
        })
    };
    Ok(vec![coded(["state1", "absmax1"], true)?, coded(["state2", "absmax2"], false)?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Adam, Group, Method, Optimizer};

    #[test]
    fn it_keeps_close_to_adamw() {
        let adam = Adam { lr: 0.01, ..Adam::default() };
        let values: Vec<f32> = (0..8192).map(|i| (i as f32 * 0.7).sin()).collect();
        let runs = [Method::AdamW8bit(adam), Method::AdamW(adam)].map(|method| {
            let parameter = Tensor::from_slice(&values, &[64, 128]).unwrap();
            parameter.set_requires_grad(true).unwrap();
            let group = Group { method, parameters: vec![parameter.clone()] };
            let mut optimizer = Optimizer::new(vec![group]).unwrap();
            for at in 1..=20u64 {
                let grad: Vec<f32> = (0..8192).map(|i| ((i as u64 * at) as f32 * 0.3).cos()).collect();
                parameter.set_grad(Some(Tensor::from_slice(&grad, &[64, 128]).unwrap())).unwrap();
                optimizer.step().unwrap();
            }
            (parameter.detach(), optimizer)
        });
        let [(coarse, optimizer), (fine, _)] = &runs;
        assert_eq!(optimizer.states()[0][0].tensors["state1"].dtype(), DType::U8);
        let mean = |x: Tensor| x.abs().unwrap().mean(&[], false).unwrap().item().unwrap().to_f64();
        let off = mean(coarse.sub(fine).unwrap());
        let moved = mean(fine.sub(&Tensor::from_slice(&values, &[64, 128]).unwrap()).unwrap());
        assert!(off < 0.1 * moved, "{off} of {moved}");
    }
}

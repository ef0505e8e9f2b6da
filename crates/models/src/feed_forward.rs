//! The feed-forward network of a layer.

use trustformers_tensor::ops::Then;
use trustformers_tensor::{Activation, DType, Tensor, Workspace};

use crate::Result;
use crate::checkpoint::Scope;
use crate::dropout::Dropout;
use crate::layers::{Entry, Linear, adding};
use crate::spec::{ExpertsSpec, FeedForwardKind, FeedForwardSpec, linear};

/// A feed-forward network with its weights.
pub struct FeedForward {
    activation: Activation,
    dropout: f32,
    network: Network,
}

enum Network {
    Plain {
        up: Linear,
        down: Linear,
    },
    /// Gate and up are one product: the gate's columns first.
    Gated {
        gate_up: Linear,
        down: Linear,
    },
    Experts {
        router: Linear,
        experts: Vec<FeedForward>,
        chosen: usize,
    },
}

impl FeedForward {
    /// Loads the network of a layer that is `hidden` wide.
    pub fn load(scope: &Scope, spec: &FeedForwardSpec, hidden: usize) -> Result<FeedForward> {
        let width = spec.width;
        let network = match &spec.kind {
            FeedForwardKind::Plain { up, down } => Network::Plain {
                up: Linear::load(scope, *up, width, hidden)?,
                down: Linear::load(scope, *down, hidden, width)?,
            },
            FeedForwardKind::Gated { gate, up, down } => Network::Gated {
                gate_up: Linear::load_fused(scope, &[(*gate, width), (*up, width)], hidden)?,
                down: Linear::load(scope, *down, hidden, width)?,
            },
            FeedForwardKind::GatedFused { gate_up, down } => Network::Gated {
                gate_up: Linear::load(scope, *gate_up, 2 * width, hidden)?,
                down: Linear::load(scope, *down, hidden, width)?,
            },
            FeedForwardKind::Experts(experts) => Network::load_experts(scope, experts, spec, hidden)?,
        };
        Ok(FeedForward { activation: spec.activation, dropout: spec.dropout, network })
    }

    /// The matrices, for those who prepare them.
    pub fn linears(&self) -> Vec<&Linear> {
        match &self.network {
            Network::Plain { up, down } => vec![up, down],
            Network::Gated { gate_up, down } => vec![gate_up, down],
            Network::Experts { router, experts, .. } => {
                experts.iter().flat_map(FeedForward::linears).chain([router]).collect()
            }
        }
    }

    /// Whether there are experts.
    pub fn routes(&self) -> bool {
        matches!(self.network, Network::Experts { .. })
    }

    /// (rows, hidden) to (rows, hidden), with `residual` added. Where there are experts, the scores that they get, (rows, experts), go to
    /// `routed`.
    pub fn forward(
        &self,
        entry: Entry,
        residual: Option<&Tensor>,
        routed: Option<&mut Vec<Tensor>>,
        dropout: &Dropout,
        workspace: &mut Workspace,
    ) -> Result<Tensor> {
        let (up, then, down) = match &self.network {
            Network::Plain { up, down } => (up, Then::Activate(self.activation), down),
            Network::Gated { gate_up, down } => (gate_up, Then::Gate(self.activation), down),
            Network::Experts { router, experts, chosen } => {
                let x = entry.normed()?;
                let scores = router.leave(&x, Activation::Identity, dropout)?;
                let out = mixture(&x, &scores, experts, *chosen, dropout)?;
                if let Some(routed) = routed {
                    routed.push(scores);
                }
                return residual.map_or(Ok(out.clone()), |residual| Ok(out.add(residual)?));
            }
        };
        let inner = dropout.apply(up.step(entry, then, workspace)?, self.dropout)?;
        let out = down.step(Entry::of(&inner, dropout), adding(residual), workspace)?;
        workspace.give(inner);
        Ok(out)
    }
}

impl Network {
    fn load_experts(
        scope: &Scope,
        experts: &ExpertsSpec,
        spec: &FeedForwardSpec,
        hidden: usize,
    ) -> Result<Network> {
        let [gate, up, down] = experts.matrices.map(|path| linear(path, false));
        let expert = FeedForwardSpec { kind: FeedForwardKind::Gated { gate, up, down }, ..spec.clone() };
        let load =
            |index| FeedForward::load(&scope.at(experts.experts).at(&format!("{index}")), &expert, hidden);
        Ok(Network::Experts {
            router: Linear::load(scope, linear(experts.router, false), experts.count, hidden)?,
            experts: (0..experts.count)
                .take_while(|_| !scope.is_hopeless())
                .map(load)
                .collect::<Result<_>>()?,
            chosen: experts.chosen,
        })
    }
}

/// Each row through its best experts, weighed by the softmax over those (Jiang et al. 2024), in the dtype of `x`.
fn mixture(
    x: &Tensor,
    scores: &Tensor,
    experts: &[FeedForward],
    chosen: usize,
    dropout: &Dropout,
) -> Result<Tensor> {
    let (rows, hidden) = (x.shape()[0], x.shape()[1]);
    let (weights, numbers) = scores.softmax(-1)?.topk(chosen, -1, true)?;
    let weights = weights.div(&weights.sum(&[-1], true)?)?;
    let numbers = numbers.contiguous()?.to_host()?;
    let numbers = numbers.as_slice::<i64>()?;
    let (mut sum, mut workspace) =
        (Tensor::zeros_on(&[rows, hidden], DType::F32, x.device())?, Workspace::default());
    for (index, expert) in experts.iter().enumerate() {
        let places: Vec<usize> = (0..numbers.len()).filter(|&at| numbers[at] == index as i64).collect();
        if places.is_empty() {
            continue;
        }
        let mine: Vec<usize> = places.iter().map(|place| place / chosen).collect();
        let share = weights.reshape(&[rows * chosen, 1])?.gather_rows(&places)?;
        let mine_in = x.gather_rows(&mine)?;
        let entry = Entry::of(&mine_in, dropout);
        let out = expert.forward(entry, None, None, dropout, &mut workspace)?.mul(&share)?;
        sum = sum.add(&out.scatter_rows(&mine, rows)?)?;
    }
    Ok(sum.to_dtype(x.dtype())?)
}

//! Steps of decoding on a GPU: the layers are recorded once as a graph and launched as one from then on, because a step of one row is over
//! before its launches are.

use std::mem;
use std::sync::Arc;

use trustformers_tensor::{Device, Tensor, cuda, profile};

use crate::block::{Rotary, Shared, Step};
use crate::cache::Cache;
use crate::dropout::Dropout;
use crate::places::Windows;
use crate::stack::{Pass, Stack};
use crate::{Error, Result};

/// What a cache knows of the steps over it.
#[derive(Default)]
pub(crate) enum Recorder {
    /// No step that could be recorded yet.
    #[default]
    Nothing,
    /// A step of this kind, which has made all that is made at a first step. The next one is recorded.
    Seen(Kind),
    /// The graph for all steps of this kind.
    Ready(Box<Recorded>),
    /// The layers do what cannot be recorded.
    Refused,
}

/// What all steps of a graph have in common.
#[derive(Clone, PartialEq)]
pub(crate) struct Kind {
    /// Which stack it is, and how often its weights have changed.
    stack: [u64; 2],
    /// The rows of the step, each of a sequence of its own.
    rows: usize,
    /// Slots and their capacity: while these stay, keys and values stay where they are.
    room: [usize; 2],
    /// The power of two that no sequence has more keys than. It decides how the attention is split.
    reach: usize,
}

/// A graph, what it reads and where its result is.
pub(crate) struct Recorded {
    kind: Kind,
    graph: cuda::Graph,
    hidden: Tensor,
    rotaries: Vec<Rotary>,
    /// [`trustformers_tensor::Ragged::numbers`]
    sequences: Tensor,
    /// [`trustformers_tensor::ops::Places::numbers`]
    places: Tensor,
    out: Tensor,
}

impl Kind {
    /// The kind of a step that can be recorded.
    pub(crate) fn of(stack: &Stack, pass: &Pass, shared: &Shared, hidden: &Tensor) -> Option<Kind> {
        let Pass { cache: Some(cache), .. } = pass else { return None };
        let is_bare = matches!(shared.windows, Windows::Open | Windows::Packed)
            && shared.bias.is_none()
            && shared.distances.is_none()
            && shared.encoded.is_none()
            && cache.source.is_none();
        let is_asked = pass.output_hidden_states || pass.output_attentions || pass.output_router_logits;
        let is_trained = hidden.requires_grad() || pass.dropout.seeded();
        let sequences = shared.ragged.sequences();
        let is_step = sequences.iter().all(|s| s.rows == 1 && s.keys > 1);
        let is_possible = matches!(hidden.device(), Device::Cuda(_)) && is_bare && is_step && stack.records();
        (is_possible && !is_asked && !is_trained && !profile::is_on()).then(|| Kind {
            stack: [stack.number(), pass.version],
            rows: sequences.len(),
            room: cache.room(),
            reach: sequences.iter().map(|s| s.keys).max().unwrap_or(0).next_power_of_two(),
        })
    }
}

/// What comes out of the layers, if there is a graph for the step or one can be made now.
pub(crate) fn forward(
    stack: &Stack,
    kind: Kind,
    hidden: &Tensor,
    shared: &Arc<Shared>,
    cache: &mut Cache,
) -> Result<Option<Tensor>> {
    let recorded = match mem::take(&mut cache.recorder) {
        Recorder::Ready(recorded) if recorded.kind == kind => {
            recorded.read(hidden, shared, cache)?;
            recorded
        }
        Recorder::Seen(seen) if seen == kind => match Recorded::new(stack, kind, hidden, shared, cache) {
            Ok(recorded) => Box::new(recorded),
            // What was recorded was not done: the caller does it.
            Err(Error::Tensor(trustformers_tensor::Error::Device(_))) => {
                cache.recorder = Recorder::Refused;
                return Ok(None);
            }
            Err(error) => return Err(error),
        },
        Recorder::Refused => {
            cache.recorder = Recorder::Refused;
            return Ok(None);
        }
        _ => {
            cache.recorder = Recorder::Seen(kind);
            return Ok(None);
        }
    };
    recorded.graph.launch()?;
    // The next launch writes there again.
    let out = recorded.out.copy()?;
    cache.recorder = Recorder::Ready(recorded);
    Ok(Some(out))
}

impl Recorded {
    fn new(
        stack: &Stack,
        kind: Kind,
        hidden: &Tensor,
        shared: &Arc<Shared>,
        cache: &mut Cache,
    ) -> Result<Recorded> {
        let Device::Cuda(index) = hidden.device() else {
            return Err(trustformers_tensor::Error::Device("only a GPU records".into()).into());
        };
        let table = |numbers: Vec<i64>| -> Result<Tensor> {
            Ok(Tensor::from_slice(&numbers, &[numbers.len()])?.to_device(hidden.device())?)
        };
        let (sequences, places) = (table(shared.ragged.numbers())?, table(cache.places().numbers())?);
        let rotary = |rotary: &Rotary| -> Result<Rotary> {
            Ok(Rotary { cos: rotary.cos.copy()?, sin: rotary.sin.copy()?, interleaved: rotary.interleaved })
        };
        let rotaries = || shared.rotaries.iter().map(rotary).collect::<Result<Vec<_>>>();
        let (hidden, read) = (hidden.copy()?, rotaries()?);
        let fixed = Arc::new(Shared {
            packing: shared.packing.clone(),
            ragged: shared.ragged.read_from(sequences.clone()),
            causal: shared.causal,
            bias: None,
            windows: Windows::Packed,
            distances: None,
            rotaries: read.iter().map(Rotary::clone).collect(),
            encoded: None,
        });
        cache.read_places_from(places.clone());
        let (graph, out) = cuda::Graph::record(cuda::gpu(index)?, || {
            let mut step = Step {
                shared: &fixed,
                cache: Some(cache),
                source: None,
                attentions: None,
                cross_attentions: None,
                routed: None,
                readers: None,
                dropout: Dropout::default(),
                // Results of other steps are nothing that a graph may write to.
                workspace: Default::default(),
            };
            stack.through(hidden.clone(), &mut step).map_err(inner)
        })?;
        Ok(Recorded { kind, graph, hidden, rotaries: read, sequences, places, out })
    }

    /// Gives the graph what it reads at its next launch.
    fn read(&self, hidden: &Tensor, shared: &Shared, cache: &Cache) -> Result<()> {
        let write = |to: &Tensor, numbers: Vec<i64>| -> Result<()> {
            Ok(to.copy_(&Tensor::from_slice(&numbers, &[numbers.len()])?)?)
        };
        self.hidden.copy_(hidden)?;
        for (to, from) in self.rotaries.iter().zip(&shared.rotaries) {
            to.cos.copy_(&from.cos)?;
            to.sin.copy_(&from.sin)?;
        }
        write(&self.sequences, shared.ragged.numbers())?;
        write(&self.places, cache.places().numbers())
    }
}

/// The tensors' own error, as what records knows no other.
fn inner(error: Error) -> trustformers_tensor::Error {
    match error {
        Error::Tensor(error) => error,
        other => trustformers_tensor::Error::Device(other.to_string()),
    }
}

//! Passes on a GPU: layers are recorded once as a graph and launched as one from then on, because few rows are through them before their
//! launches are. Steps of decoding are, and encoders of few rows.

use std::mem;
use std::sync::Arc;

use trustformers_tensor::{Device, Ragged, Tensor, cuda, profile};

use crate::block::{Rotary, Shared, Step};
use crate::cache::Cache;
use crate::dropout::Dropout;
use crate::places::Windows;
use crate::stack::{Pass, Stack};
use crate::{Error, Result};

/// More rows keep a GPU busy for longer than it takes to launch what they need.
const MOST_ROWS: usize = 4096;
/// Rows of an encoder are filled up to a multiple of this, so that texts of about a length share a graph.
const BUCKET: usize = 64;

/// What is known of passes of a kind.
#[derive(Default)]
pub(crate) enum Recorder {
    /// No pass that could be recorded yet.
    #[default]
    Nothing,
    /// A pass of this kind, which has made all that is made at a first pass. The next one is recorded.
    Seen(Kind),
    /// The graph for all passes of this kind.
    Ready(Box<Recorded>),
    /// The layers do what cannot be recorded.
    Refused,
}

/// What all passes of a graph have in common.
#[derive(Clone, PartialEq)]
pub(crate) struct Kind {
    /// Which stack it is, and how often its weights have changed.
    stack: [u64; 2],
    /// The rows of the graph, and the sequences.
    rows: usize,
    sequences: usize,
    /// The powers of two that no sequence has more rows, and more keys, than. They decide how the attention is split.
    reach: [usize; 2],
    /// Of a step: slots and their capacity. While these stay, keys and values stay where they are.
    room: Option<[usize; 2]>,
}

/// A graph, what it reads and where its result is.
pub(crate) struct Recorded {
    kind: Kind,
    graph: cuda::Graph,
    hidden: Tensor,
    rotaries: Vec<Rotary>,
    /// [`Ragged::on`]
    sequences: Tensor,
    /// Of a step: [`trustformers_tensor::ops::Places::on`]
    places: Option<Tensor>,
    out: Tensor,
}

impl Kind {
    /// The kind of a pass that can be recorded.
    pub(crate) fn of(stack: &Stack, pass: &Pass, shared: &Shared, hidden: &Tensor) -> Option<Kind> {
        let is_bare = matches!(shared.windows, Windows::Open | Windows::Packed)
            && shared.bias.is_none()
            && shared.distances.is_none()
            && shared.encoded.is_none()
            && pass.cache.as_ref().is_none_or(|cache| cache.source.is_none());
        let is_asked = pass.output_hidden_states || pass.output_attentions || pass.output_router_logits;
        let is_trained = hidden.requires_grad() || pass.dropout.seeded();
        let is_possible = matches!(hidden.device(), Device::Cuda(_)) && is_bare && stack.records();
        if !is_possible || is_asked || is_trained || profile::is_on() {
            return None;
        }
        let version = pass.version?;
        let sequences = shared.ragged.sequences();
        let (rows, room) = match &pass.cache {
            Some(cache) => {
                let is_step = sequences.iter().all(|s| s.rows == 1 && s.keys > 1);
                is_step.then_some((sequences.len(), Some(cache.room())))?
            }
            None => {
                let rows = hidden.shape()[0].next_multiple_of(BUCKET);
                (rows <= MOST_ROWS).then_some((rows, None))?
            }
        };
        let most = |each: fn(&trustformers_tensor::ops::Sequence) -> usize| {
            sequences.iter().map(each).max().unwrap_or(0).next_power_of_two()
        };
        let reach = [most(|s| s.rows).max(if room.is_none() { BUCKET } else { 1 }), most(|s| s.keys)];
        Some(Kind { stack: [stack.number(), version], rows, sequences: sequences.len(), reach, room })
    }
}

/// What comes out of the layers, if there is a graph for the pass or one can be made now. `recorder` is that of the cache, or the stack's for
/// passes of this kind.
pub(crate) fn forward(
    stack: &Stack,
    recorder: &mut Recorder,
    kind: Kind,
    hidden: &Tensor,
    shared: &Arc<Shared>,
    cache: Option<&mut Cache>,
) -> Result<Option<Tensor>> {
    let rows = hidden.shape()[0];
    let recorded = match mem::take(recorder) {
        Recorder::Ready(recorded) if recorded.kind == kind => {
            recorded.read(hidden, shared, cache.as_deref())?;
            recorded
        }
        Recorder::Seen(seen) if seen == kind => match Recorded::new(stack, kind, hidden, shared, cache) {
            Ok(recorded) => Box::new(recorded),
            // What was recorded was not done: the caller does it, also where there is no room for a graph beside what lies idle.
            Err(Error::Tensor(
                trustformers_tensor::Error::Device(_) | trustformers_tensor::Error::OutOfDeviceMemory { .. },
            )) => {
                *recorder = Recorder::Refused;
                return Ok(None);
            }
            Err(error) => return Err(error),
        },
        Recorder::Refused => {
            *recorder = Recorder::Refused;
            return Ok(None);
        }
        _ => {
            *recorder = Recorder::Seen(kind);
            return Ok(None);
        }
    };
    recorded.graph.launch()?;
    // The next launch writes there again.
    let out = recorded.out.narrow(0, 0, rows)?.copy()?;
    *recorder = Recorder::Ready(recorded);
    Ok(Some(out))
}

impl Recorded {
    fn new(
        stack: &Stack,
        kind: Kind,
        hidden: &Tensor,
        shared: &Arc<Shared>,
        cache: Option<&mut Cache>,
    ) -> Result<Recorded> {
        let Device::Cuda(index) = hidden.device() else {
            return Err(trustformers_tensor::Error::Device("only a GPU records".into()).into());
        };
        let ragged = kind.filled(&shared.ragged);
        let sequences = ragged.on(hidden.device())?;
        let places = cache.as_deref().map(|cache| cache.places().on(hidden.device())).transpose()?;
        let room = |x: &Tensor| -> Result<Tensor> {
            let filled = Tensor::zeros_on(&[kind.rows, x.shape()[1]], x.dtype(), hidden.device())?;
            filled.narrow(0, 0, x.shape()[0])?.copy_(x)?;
            Ok(filled)
        };
        let rotary = |rotary: &Rotary| -> Result<Rotary> {
            Ok(Rotary { cos: room(&rotary.cos)?, sin: room(&rotary.sin)?, interleaved: rotary.interleaved })
        };
        let rotaries = shared.rotaries.iter().map(rotary).collect::<Result<Vec<_>>>()?;
        let hidden = room(hidden)?;
        let fixed = Arc::new(Shared {
            packing: shared.packing.clone(),
            ragged,
            causal: shared.causal,
            bias: None,
            windows: Windows::Packed,
            distances: None,
            rotaries: rotaries.clone(),
            encoded: None,
        });
        let (graph, out) = cuda::Graph::record(cuda::gpu(index)?, || {
            let mut step = Step {
                shared: &fixed,
                cache,
                source: None,
                attentions: None,
                cross_attentions: None,
                routed: None,
                readers: None,
                dropout: Dropout::default(),
                // Results of other passes are nothing that a graph may write to.
                workspace: Default::default(),
            };
            stack.through(hidden.clone(), &mut step).map_err(inner)
        })?;
        Ok(Recorded { kind, graph, hidden, rotaries, sequences, places, out })
    }

    /// Gives the graph what it reads at its next launch.
    fn read(&self, hidden: &Tensor, shared: &Shared, cache: Option<&Cache>) -> Result<()> {
        let rows = hidden.shape()[0];
        self.hidden.narrow(0, 0, rows)?.copy_(hidden)?;
        for (to, from) in self.rotaries.iter().zip(&shared.rotaries) {
            to.cos.narrow(0, 0, rows)?.copy_(&from.cos)?;
            to.sin.narrow(0, 0, rows)?.copy_(&from.sin)?;
        }
        // The host's own numbers go straight to where the graph reads them.
        self.sequences.copy_(&self.kind.filled(&shared.ragged).on(Device::Cpu)?)?;
        if let (Some(places), Some(cache)) = (&self.places, cache) {
            places.copy_(&cache.places().on(Device::Cpu)?)?;
        }
        Ok(())
    }
}

impl Kind {
    /// The sequences of a pass with, behind them, one of the rows that fill it up, which see nothing. A step has none.
    fn filled(&self, ragged: &Ragged) -> Ragged {
        let mut filled = ragged.clone();
        if self.room.is_none() {
            filled.push_at(self.rows - ragged.total(), 0, 0);
        }
        filled
    }
}

/// The tensors' own error, as what records knows no other.
fn inner(error: Error) -> trustformers_tensor::Error {
    match error {
        Error::Tensor(error) => error,
        other => trustformers_tensor::Error::Device(other.to_string()),
    }
}

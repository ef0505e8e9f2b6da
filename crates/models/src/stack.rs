//! Embeddings, layers and a norm: what an encoder is one of, a decoder another, and an encoder-decoder two.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use trustformers_tensor::ops::StoreForm;
use trustformers_tensor::{Activation, DType, Device, Ragged, Tensor, interrupt};

use crate::alibi::slopes;
use crate::block::{Layer, Readers, Rotary, Shared, Step, brought, sums};
use crate::cache::{Cache, Source};
use crate::checkpoint::Scope;
use crate::convolution::Convolution;
use crate::disentangled::Disentangled;
use crate::dropout::Dropout;
use crate::embeddings::{Embeddings, Past};
use crate::inputs::Text;
use crate::layers::{Linear, Norm};
use crate::places::{Places, Windows, places};
use crate::recomputed;
use crate::recorded::{self, Kind, Recorder};
use crate::relative::Relative;
use crate::rotary::{Angles, RotarySpec};
use crate::site::Site;
use crate::spec::{BiasSpec, StackSpec};
use crate::{Packing, Parameter, Result};

/// A stack of layers with its weights.
pub struct Stack {
    spec: StackSpec,
    embeddings: Embeddings,
    convolution: Option<Convolution>,
    layers: Vec<Arc<Layer>>,
    final_norm: Option<Norm>,
    project_out: Option<Linear>,
    bias: Option<Bias>,
    /// What no other stack has.
    number: u64,
    /// The graphs of passes without a cache, the last used first.
    recorders: Mutex<Vec<(Kind, Recorder)>>,
    /// What is known of each of its rotary embeddings.
    angles: Mutex<Vec<Angles>>,
}

/// So many graphs are kept, each with the memory that it writes to.
const MOST_GRAPHS: usize = 8;

/// What is added to the scores of every layer.
enum Bias {
    /// A slope for every head: (heads, 1, 1); and what their products with positions are multiplied with.
    Alibi(Tensor, f32),
    Relative(Relative),
    Disentangled(Box<Disentangled>),
}

/// What a pass over a stack is given.
pub struct Pass<'a> {
    /// The text, with a batch dimension.
    pub text: &'a Text,
    /// Its visible positions.
    pub packing: &'a Arc<Packing>,
    /// The keys and values so far.
    pub cache: Option<&'a mut Cache>,
    /// The packed hidden states of an encoder (rows, width), and where they come from.
    pub encoded: Option<(&'a Tensor, &'a Packing)>,
    pub output_hidden_states: bool,
    pub output_attentions: bool,
    pub output_router_logits: bool,
    /// The packed rows, one of each sequence in order, if of what comes out no others are read: they may then be zero.
    pub readers: Option<Vec<usize>>,
    /// What is dropped.
    pub dropout: &'a Dropout,
    /// Whether layers keep their input alone, and are computed again for their gradients.
    pub recomputes: bool,
    /// How often the weights have changed, if the pass may be recorded.
    pub version: Option<u64>,
}

/// What a pass gives.
pub struct Passed {
    /// (rows, width)
    pub hidden: Tensor,
    /// (batch, length, width) each.
    pub hidden_states: Option<Vec<Tensor>>,
    /// (batch, heads, length, keys) each.
    pub attentions: Option<Vec<Tensor>>,
    /// (batch, heads, length, source) each.
    pub cross_attentions: Option<Vec<Tensor>>,
    /// The scores of experts, (rows, experts) each.
    pub routed: Option<Vec<Tensor>>,
}

/// No text so far.
struct Nothing;

impl Past for Nothing {
    fn length(&self) -> usize {
        0
    }

    fn visible(&self, _: usize) -> usize {
        0
    }
}

/// The number of the next stack.
static NEXT: AtomicU64 = AtomicU64::new(0);

impl Stack {
    /// Loads a stack; two stacks may share their `words`.
    ///
    /// # Errors
    /// `Config` when sizes do not fit one another. Tensors that are missing or mis-shaped are gathered in the scope's report.
    pub fn load(scope: &Scope, mut spec: StackSpec, words: Option<&Parameter>) -> Result<Stack> {
        let hidden = spec.hidden_size;
        if scope.is_interleaved() {
            spec.rotaries.iter_mut().for_each(|rotary| rotary.interleaved = true);
        }
        let embeddings = Embeddings::load(scope, &spec.embeddings, hidden, words)?;
        let mut shared: HashMap<String, Arc<Layer>> = HashMap::new();
        let mut layers = Vec::new();
        for (index, layer) in spec.layers.iter().enumerate().take_while(|_| !scope.is_hopeless()) {
            let path = layer.path.clone().unwrap_or_else(|| format!("{}.{index}", spec.layers_path));
            let loaded = match shared.get(&path) {
                Some(layer) => layer.clone(),
                None => Arc::new(Layer::load(&scope.at(&path), layer, hidden, spec.outgrows_f16)?),
            };
            shared.insert(path, loaded.clone());
            layers.push(loaded);
        }
        let bias = match &spec.bias {
            Some(BiasSpec::Alibi { heads, scale, dtype }) => {
                Some(Bias::Alibi(slopes(*heads)?.to_dtype(*dtype)?, *scale))
            }
            Some(BiasSpec::Relative(relative)) => Some(Bias::Relative(Relative::load(scope, relative)?)),
            Some(BiasSpec::Disentangled(spec)) => {
                Some(Bias::Disentangled(Box::new(Disentangled::load(scope, spec, hidden)?)))
            }
            None => None,
        };
        let convolution = spec.embeddings.convolution;
        Ok(Stack {
            convolution: convolution.map(|spec| Convolution::load(scope, spec, hidden)).transpose()?,
            final_norm: spec.final_norm.map(|norm| Norm::load(scope, norm, hidden)).transpose()?,
            project_out: spec
                .project_out
                .map(|project| Linear::load(scope, project, spec.embeddings.width, hidden))
                .transpose()?,
            embeddings,
            layers,
            bias,
            spec,
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            recorders: Mutex::default(),
            angles: Mutex::default(),
        })
    }

    /// Which of all stacks it is.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Whether a step through its layers could be recorded: none asks the processor for anything.
    pub(crate) fn records(&self) -> bool {
        self.convolution.is_none() && !self.layers.iter().any(|layer| layer.routes())
    }

    /// The linear layers of its layers.
    pub(crate) fn linears(&self) -> Vec<&Linear> {
        self.layers.iter().flat_map(|layer| layer.linears()).collect()
    }

    /// The table of word embeddings.
    pub fn word_embeddings(&self) -> &Parameter {
        self.embeddings.word()
    }

    /// The row of the word embeddings that gets no gradient.
    pub fn padding(&self) -> Option<usize> {
        self.embeddings.padding()
    }

    /// The width of embeddings that a caller gives.
    pub fn embedding_width(&self) -> usize {
        self.spec.embeddings.width
    }

    /// The width of what comes out.
    pub fn output_width(&self) -> usize {
        if self.project_out.is_some() { self.spec.embeddings.width } else { self.spec.hidden_size }
    }

    /// See [`RotarySpec::turning_point`].
    pub fn turning_point(&self) -> Option<usize> {
        self.spec.rotaries.iter().find_map(RotarySpec::turning_point)
    }

    /// Whether a position sees only those before it and itself.
    pub fn is_causal(&self) -> bool {
        self.spec.causal
    }

    /// Whether it can look at an encoder's hidden states.
    pub fn crosses(&self) -> bool {
        self.spec.layers.iter().any(|layer| layer.cross_attention.is_some())
    }

    /// Runs the stack.
    pub fn forward(&self, mut pass: Pass) -> Result<Passed> {
        let packing = pass.packing;
        if let Some(cache) = &mut pass.cache {
            cache.prepare(packing, self.form())?;
        }
        let past: &dyn Past = match &pass.cache {
            Some(cache) => &**cache,
            None => &Nothing,
        };
        let past_length = past.length();
        let mut hidden = self.embeddings.forward(pass.text, packing, past, pass.dropout)?;
        let ragged = match &pass.cache {
            Some(cache) => cache.ragged(packing),
            None => self.texts(&pass)?,
        };
        // Layers may be spread over devices; what they share is made for the first of them.
        let site = self.layers.first().map_or(Site::of([&hidden]), |layer| layer.site());
        let device = site.device;
        hidden = site.bring(&hidden)?;
        let bias = self.bias(&pass, &ragged, past_length, device)?;
        let windows = self.windows(&pass, &ragged, bias.as_deref(), device)?;
        let workspace = pass.cache.as_mut().map(|cache| std::mem::take(&mut cache.workspace));
        let shared = Arc::new(Shared {
            packing: packing.clone(),
            causal: self.spec.causal && !self.gives_way(&pass),
            bias,
            windows,
            distances: match &self.bias {
                Some(Bias::Disentangled(vectors)) => Some(vectors.distances(&pass, &ragged)?.brought(site)?),
                _ => None,
            },
            rotaries: self.rotaries(&pass, past_length)?,
            encoded: pass.encoded.map(|(hidden, _)| site.bring(hidden)).transpose()?,
            ragged,
        });
        let mut elsewhere: HashMap<Site, Arc<Shared>> = HashMap::new();
        for other in self.layers.iter().map(|layer| layer.site()).filter(|&other| other != site) {
            if let Entry::Vacant(place) = elsewhere.entry(other) {
                place.insert(Arc::new(shared.brought(other)?));
            }
        }
        let is_together = elsewhere.is_empty()
            && self.project_out.as_ref().is_none_or(|project| project.device() == device);
        if is_together
            && let Some(kind) = Kind::of(self, &pass, &shared, &hidden)
            && let Some(out) = self.recorded(kind, &hidden, &shared, pass.cache.as_deref_mut())?
        {
            if let Some(cache) = pass.cache {
                cache.advance(packing);
                cache.workspace = workspace.unwrap_or_default();
            }
            return Ok(Passed {
                hidden: out,
                hidden_states: None,
                attentions: None,
                cross_attentions: None,
                routed: None,
            });
        }
        // Angles came from the host, from where a graph takes them.
        let shared = if device == Device::Cpu { shared } else { Arc::new(shared.brought(site)?) };
        let mut step = Step {
            shared: &shared,
            workspace: workspace.unwrap_or_default(),
            source: match (&pass.cache, pass.encoded) {
                (Some(Cache { source: Some(source), .. }), _) => Some(source.clone()),
                (_, Some((_, from))) => Some(Source::of(from)),
                _ => None,
            },
            cache: pass.cache,
            attentions: pass.output_attentions.then(Vec::new),
            cross_attentions: pass.output_attentions.then(Vec::new),
            routed: pass.output_router_logits.then(Vec::new),
            readers: None,
            dropout: Dropout::default(),
        };
        let mut hidden_states = pass.output_hidden_states.then(Vec::new);
        let can_narrow = hidden_states.is_none()
            && shared.ragged.sequences().len() == packing.shape()[0]
            && self.convolution.is_none()
            && !pass.dropout.drops(self.spec.layer_drop)
            && self.layers.last().is_some_and(|last| last.can_narrow(&step));
        let readers = pass.readers.filter(|_| can_narrow);
        for (index, layer) in self.layers.iter().enumerate() {
            interrupt::check()?;
            if index + 1 == self.layers.len() {
                step.readers = readers.clone().map(|rows| Arc::new(Readers::new(rows, &shared.ragged)));
            }
            if let Some(states) = &mut hidden_states {
                states.push(packing.outward(&hidden)?);
            }
            let convolved = match &self.convolution {
                Some(convolution) if index == 0 => {
                    Some(convolution.forward(&hidden, packing, pass.dropout)?)
                }
                _ => None,
            };
            if step.cache.is_none() && pass.dropout.leaves_out(self.spec.layer_drop) {
                continue;
            }
            let seed = pass.dropout.seed();
            let place = layer.site();
            step.shared = elsewhere.get(&place).unwrap_or(&shared);
            hidden = place.bring(&hidden)?;
            hidden = if pass.recomputes && step.cache.is_none() {
                recomputed::forward(layer, hidden, index, seed, &mut step)?
            } else {
                step.dropout = Dropout::new(seed);
                layer.forward(hidden, index, &mut step)?
            };
            if let (Some(convolution), Some(convolved)) = (&self.convolution, convolved) {
                hidden = convolution.join(&convolved, &hidden)?;
            }
        }
        let Step { cache, attentions, cross_attentions, routed, source, workspace, .. } = step;
        if let Some(cache) = cache {
            cache.advance(packing);
            cache.source = source;
            cache.workspace = workspace;
        }
        let together = |all: Vec<Tensor>| {
            all.iter().map(|scores| Ok(scores.to_device(hidden.device())?)).collect::<Result<Vec<_>>>()
        };
        let routed = routed.map(together).transpose()?;
        hidden = self.leave(hidden, pass.dropout)?;
        if let Some(rows) = readers {
            hidden = hidden.scatter_rows(&rows, shared.ragged.total())?;
        }
        if let Some(states) = &mut hidden_states {
            states.push(packing.outward(&hidden)?);
        }
        let cross_attentions = cross_attentions.filter(|all| !all.is_empty());
        Ok(Passed { hidden, hidden_states, attentions, cross_attentions, routed })
    }

    /// What comes out of the layers and what stands behind them, by a graph if there is one.
    fn recorded(
        &self,
        kind: Kind,
        hidden: &Tensor,
        shared: &Arc<Shared>,
        cache: Option<&mut Cache>,
    ) -> Result<Option<Tensor>> {
        if let Some(cache) = cache {
            let mut recorder = std::mem::take(&mut cache.recorder);
            let out = recorded::forward(self, &mut recorder, kind, hidden, shared, Some(cache));
            cache.recorder = recorder;
            return out;
        }
        // Held until all is on the stream: a graph has one place for what it reads. A panic leaves whole recorders.
        let mut all = self.recorders.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.iter().position(|(other, _)| *other == kind);
        let mut one = known.map_or_else(|| (kind.clone(), Recorder::default()), |place| all.remove(place));
        let out = recorded::forward(self, &mut one.1, kind, hidden, shared, None);
        all.truncate(MOST_GRAPHS - 1);
        all.insert(0, one);
        out
    }

    /// What stands behind the layers.
    fn leave(&self, mut hidden: Tensor, dropout: &Dropout) -> Result<Tensor> {
        if let Some(norm) = &self.final_norm {
            hidden = norm.forward(&hidden, None)?;
        }
        hidden = dropout.apply(hidden, self.spec.dropout)?;
        match &self.project_out {
            Some(project) => project.forward(&hidden, Activation::Identity, dropout),
            None => Ok(hidden),
        }
    }

    /// A step through the layers and what stands behind them, of which nothing but the result is asked.
    pub(crate) fn through(&self, mut hidden: Tensor, step: &mut Step) -> Result<Tensor> {
        for (index, layer) in self.layers.iter().enumerate() {
            hidden = layer.forward(hidden, index, step)?;
        }
        self.leave(hidden, &step.dropout)
    }

    /// How keys and values are kept: to the digit where the weights are, and else as float16, whose rounding is far below that of weights
    /// of 16 bits or fewer.
    fn form(&self) -> StoreForm {
        let Some(layer) = self.layers.first() else { return StoreForm::F32 };
        let mut parts = layer.linears().into_iter().flat_map(Linear::parts);
        let is_wide = parts.all(|part| matches!(part.dtype(), DType::F32 | DType::F64));
        if is_wide { StoreForm::F32 } else { StoreForm::F16 }
    }

    /// What of a pass without a cache looks at one another: the sequences, or where the caller's positions begin anew within one and no mask says
    /// otherwise, the texts that it consists of, as transformers' `find_packed_sequence_indices` has it.
    fn texts(&self, pass: &Pass) -> Result<Ragged> {
        let whole = pass.packing.ragged();
        let (given, what) = (&pass.text.position_ids, "the positions");
        if !self.spec.parts_texts || pass.text.mask.is_some() {
            return Ok(whole.clone());
        }
        let Some(positions) = pass.text.packed_ids("position_ids", given, pass.packing, what, 1 << 31)?
        else {
            return Ok(whole.clone());
        };
        let mut texts = Ragged::default();
        for s in whole.sequences() {
            let own = &positions[s.start..s.start + s.rows];
            own.chunk_by(|one, next| next - one == 1).for_each(|text| texts.push(text.len(), text.len()));
        }
        Ok(texts)
    }

    /// Cosines and sines of each of the stack's rotary embeddings for the packed rows, on the host.
    fn rotaries(&self, pass: &Pass, past: usize) -> Result<Vec<Rotary>> {
        if self.spec.rotaries.is_empty() {
            return Ok(Vec::new());
        }
        let packing = pass.packing;
        let given = pass.text.packed_ids(
            "position_ids",
            &pass.text.position_ids,
            packing,
            "the positions",
            1 << 31,
        )?;
        let (positions, length) = match given {
            Some(given) => {
                let length = given.iter().max().map_or(0, |&last| last as usize + 1);
                (given, length)
            }
            None => {
                let positions = packing.positions().into_iter().map(|position| position + past as i64);
                (positions.collect(), past + packing.shape()[1])
            }
        };
        // A panic leaves whole rows.
        let mut known = self.angles.lock().unwrap_or_else(PoisonError::into_inner);
        known.resize_with(self.spec.rotaries.len(), Angles::default);
        let rotary = |(spec, known): (&RotarySpec, &mut Angles)| {
            let (cos, sin) = spec.tables(&positions, length, known)?;
            Ok(Rotary { cos, sin, interleaved: spec.interleaved })
        };
        self.spec.rotaries.iter().zip(known.iter_mut()).map(rotary).collect()
    }

    /// What is added to the scores of each sequence: the stack's own bias and the caller's mask if that is a matrix.
    fn bias(&self, pass: &Pass, ragged: &Ragged, past: usize, device: Device) -> Result<Option<Vec<Tensor>>> {
        let packing = pass.packing;
        let [batch, length] = packing.shape();
        let sequences = ragged.sequences();
        let own = match &self.bias {
            // What each layer adds it computes itself.
            None | Some(Bias::Disentangled(_)) => None,
            Some(Bias::Alibi(slopes, scale)) => {
                let longest = sequences.iter().map(|s| s.keys).max().unwrap_or(0) as i64;
                let keys = Tensor::arange(0i64.into(), longest.into(), 1i64.into(), slopes.dtype())?;
                let all =
                    slopes.mul(&keys)?.to_dtype(DType::F32)?.mul(f64::from(*scale))?.to_device(device)?;
                Some(sequences.iter().map(|s| Ok(all.narrow(2, 0, s.keys)?)).collect::<Result<Vec<_>>>()?)
            }
            Some(Bias::Relative(relative)) => Some(self.relative(relative, pass, ragged, device)?),
        };
        let given = pass.text.matrices(batch, length, past + length)?;
        let given = given.map(|all| brought(&all, device)).transpose()?;
        match (own, given) {
            (Some(own), Some(given)) => sums(&own, &given).map(Some),
            (own, given) => Ok(own.or(given)),
        }
    }

    /// The relative bias of each sequence. Sequences whose visible positions are alike share theirs.
    fn relative(
        &self,
        relative: &Relative,
        pass: &Pass,
        ragged: &Ragged,
        device: Device,
    ) -> Result<Vec<Tensor>> {
        let mut known: HashMap<Places, Tensor> = HashMap::new();
        let mut biases = Vec::new();
        for places in places(pass, ragged) {
            let bias = match known.get(&places) {
                Some(bias) => bias.clone(),
                None => {
                    let bias = relative.bias(&places.queries, &places.keys)?.to_device(device)?;
                    known.insert(places, bias.clone());
                    bias
                }
            };
            biases.push(bias);
        }
        Ok(biases)
    }

    /// Whether the caller's mask says everything about who sees whom.
    fn gives_way(&self, pass: &Pass) -> bool {
        pass.text.has_matrix() && !self.spec.layers.iter().any(|layer| layer.attention.part.insists)
    }

    /// How the layers' windows are kept in this pass; `bias` is what is added to the scores anyway.
    fn windows(
        &self,
        pass: &Pass,
        ragged: &Ragged,
        bias: Option<&[Tensor]>,
        device: Device,
    ) -> Result<Windows> {
        if self.gives_way(pass) {
            return Ok(Windows::Open);
        }
        let all = pass.cache.as_ref().map_or(0, |cache| cache.length()) + pass.packing.shape()[1];
        let sizes = self.spec.layers.iter().filter_map(|layer| layer.attention.part.window);
        let sizes: BTreeSet<usize> = sizes.filter(|&window| window < all).collect();
        if sizes.is_empty() {
            return Ok(Windows::Packed);
        }
        let places = places(pass, ragged);
        if places.iter().all(Places::is_unbroken) {
            return Ok(Windows::Packed);
        }
        let causal = self.spec.causal;
        let biases = sizes.into_iter().map(|window| {
            let one = |(index, places): (usize, &Places)| {
                let hidden = places.window(window, causal)?.to_device(device)?;
                Ok(bias.map_or(Ok(hidden.clone()), |bias| bias[index].add(&hidden))?)
            };
            Ok((window, places.iter().enumerate().map(one).collect::<Result<_>>()?))
        });
        Ok(Windows::Added(biases.collect::<Result<_>>()?))
    }
}

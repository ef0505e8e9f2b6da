//! Embeddings, layers and a norm: what an encoder is one of, a decoder another, and an encoder-decoder two.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};

use trustformers_hub::Interrupt;
use trustformers_tensor::ops::StoreForm;
use trustformers_tensor::{Activation, DType, Ragged, Tensor, Weight, Workspace, ops};

use crate::attention::{Heads, Look, MultiHead};
use crate::cache::{Cache, Source};
use crate::checkpoint::Scope;
use crate::convolution::Convolution;
use crate::disentangled::{Disentangled, Distances};
use crate::embeddings::{Embeddings, Past};
use crate::feed_forward::FeedForward;
use crate::inputs::Text;
use crate::layers::{Entry, Linear, Norm};
use crate::packing::room;
use crate::places::{Places, Windows, places};
use crate::relative::Relative;
use crate::rotary::RotarySpec;
use crate::spec::{BiasSpec, LayerSpec, StackSpec, Sublayer};
use crate::{Error, Packing, Parameter, Result};

/// A stack of layers with its weights.
pub struct Stack {
    spec: StackSpec,
    embeddings: Embeddings,
    convolution: Option<Convolution>,
    layers: Vec<Arc<Layer>>,
    final_norm: Option<Norm>,
    project_out: Option<Linear>,
    bias: Option<Bias>,
    /// Done by the first forward pass: a model that only gives its parameters never packs them.
    packed: OnceLock<()>,
}

/// What is added to the scores of every layer.
enum Bias {
    /// A slope for every head: (heads, 1, 1); and what their products with positions are multiplied with.
    Alibi(Tensor, f32),
    Relative(Relative),
    Disentangled(Disentangled),
}

/// What a pass over a stack is given.
pub struct Pass<'a> {
    /// The text, with a batch dimension.
    pub text: &'a Text,
    /// Its visible positions.
    pub packing: &'a Packing,
    /// The keys and values so far.
    pub cache: Option<&'a mut Cache>,
    /// The packed hidden states of an encoder (rows, width), and where they come from.
    pub encoded: Option<(&'a Tensor, &'a Packing)>,
    pub output_hidden_states: bool,
    pub output_attentions: bool,
    pub output_router_logits: bool,
    /// The packed rows, one of each sequence in order, if of what comes out no others are read: they may then be zero.
    pub readers: Option<Vec<usize>>,
    pub interrupt: &'a Interrupt,
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
                None => Arc::new(Layer::load(&scope.at(&path), layer, hidden)?),
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
                Some(Bias::Disentangled(Disentangled::load(scope, spec, hidden)?))
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
            packed: OnceLock::new(),
            spec,
        })
    }

    /// The table of word embeddings.
    pub fn word_embeddings(&self) -> &Parameter {
        self.embeddings.word()
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
        // A few rows need no packed weights: making them would have what is mapped in memory twice.
        if pass.packing.rows() > Weight::FEW_ROWS && self.packed.get().is_none() {
            let linears = self.layers.iter().flat_map(|layer| layer.linears());
            let weights = linears.map(Linear::weight).collect::<Result<Vec<_>>>()?;
            // One that is being trained changes before it is used again.
            Weight::pack_all(
                weights.iter().filter(|weight| !weight.requires_grad()).map(|weight| &**weight),
            )?;
            self.packed.get_or_init(|| ());
        }
        let packing = pass.packing;
        if let Some(cache) = &mut pass.cache {
            cache.prepare(packing, self.form()?)?;
        }
        let past: &dyn Past = match &pass.cache {
            Some(cache) => &**cache,
            None => &Nothing,
        };
        let past_length = past.length();
        let mut hidden = self.embeddings.forward(pass.text, packing, past)?;
        let ragged = match &pass.cache {
            Some(cache) => cache.ragged(packing),
            None => packing.ragged().clone(),
        };
        let bias = self.bias(&pass, &ragged, past_length)?;
        let windows = self.windows(&pass, &ragged, bias.as_deref())?;
        let workspace = pass.cache.as_mut().map(|cache| std::mem::take(&mut cache.workspace));
        let mut step = Step {
            packing,
            workspace: workspace.unwrap_or_default(),
            ragged: &ragged,
            causal: self.spec.causal && !self.gives_way(&pass),
            bias: bias.as_deref(),
            windows,
            distances: match &self.bias {
                Some(Bias::Disentangled(vectors)) => Some(vectors.distances(&pass, &ragged)?),
                _ => None,
            },
            rotaries: self.rotaries(&pass, past_length)?,
            source: match (&pass.cache, pass.encoded) {
                (Some(Cache { source: Some(source), .. }), _) => Some(source.clone()),
                (_, Some((_, from))) => Some(Source::of(from)),
                _ => None,
            },
            encoded: pass.encoded.map(|(hidden, _)| hidden),
            cache: pass.cache,
            attentions: pass.output_attentions.then(Vec::new),
            cross_attentions: pass.output_attentions.then(Vec::new),
            routed: pass.output_router_logits.then(Vec::new),
            readers: None,
        };
        let mut hidden_states = pass.output_hidden_states.then(Vec::new);
        let readers = pass.readers.filter(|_| hidden_states.is_none() && self.can_narrow(&step));
        for (index, layer) in self.layers.iter().enumerate() {
            pass.interrupt.check()?;
            if index + 1 == self.layers.len() {
                step.readers = readers.clone().map(|rows| Readers::new(rows, &ragged));
            }
            if let Some(states) = &mut hidden_states {
                states.push(packing.unpack(&hidden)?);
            }
            let convolved = match &self.convolution {
                Some(convolution) if index == 0 => Some(convolution.forward(&hidden, packing)?),
                _ => None,
            };
            hidden = layer.forward(hidden, index, &mut step)?;
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
        if let Some(norm) = &self.final_norm {
            hidden = norm.forward(&hidden, None)?;
        }
        if let Some(project) = &self.project_out {
            hidden = project.forward(&hidden, Activation::Identity)?;
        }
        if let Some(rows) = readers {
            hidden = hidden.scatter_rows(&rows, ragged.total())?;
        }
        if let Some(states) = &mut hidden_states {
            states.push(packing.unpack(&hidden)?);
        }
        let cross_attentions = cross_attentions.filter(|all| !all.is_empty());
        Ok(Passed { hidden, hidden_states, attentions, cross_attentions, routed })
    }

    /// Whether the last layer can work for a few rows alone, whose place among the keys is then not known: all keys must be alike to them.
    fn can_narrow(&self, step: &Step) -> bool {
        let last =
            self.layers.last().map(|layer| (layer.parallel, &layer.cross_attention, &layer.attention.part));
        let is_plain = last.is_some_and(|(parallel, cross, part)| {
            let look = step.windows.of(part.window(), step.bias);
            !parallel && cross.is_none() && matches!(look, (None, None))
        });
        let is_asked = step.attentions.is_some() || step.routed.is_some();
        is_plain
            && !step.causal
            && !is_asked
            && step.cache.is_none()
            && step.distances.is_none()
            && self.convolution.is_none()
    }

    /// How keys and values are kept: to the digit where the weights are, and else as float16, whose rounding is far below that of weights
    /// of 16 bits or fewer.
    fn form(&self) -> Result<StoreForm> {
        let Some(layer) = self.layers.first() else { return Ok(StoreForm::F32) };
        for linear in layer.linears() {
            let weight = linear.weight()?;
            let mut parts = weight.parts().iter().map(|part| part.dense().map(Tensor::dtype));
            if parts.any(|dtype| !matches!(dtype, Some(DType::F32 | DType::F64))) {
                return Ok(StoreForm::F16);
            }
        }
        Ok(StoreForm::F32)
    }

    /// Cosines and sines of each of the stack's rotary embeddings for the packed rows.
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
        let rotary = |spec: &RotarySpec| {
            let (cos, sin) = spec.tables(&positions, length)?;
            Ok(Rotary { cos, sin, interleaved: spec.interleaved })
        };
        self.spec.rotaries.iter().map(rotary).collect()
    }

    /// What is added to the scores of each sequence: the stack's own bias and the caller's mask if that is a matrix.
    fn bias(&self, pass: &Pass, ragged: &Ragged, past: usize) -> Result<Option<Vec<Tensor>>> {
        let packing = pass.packing;
        let [batch, length] = packing.shape();
        let sequences = ragged.sequences();
        let own = match &self.bias {
            // What each layer adds it computes itself.
            None | Some(Bias::Disentangled(_)) => None,
            Some(Bias::Alibi(slopes, scale)) => {
                let longest = sequences.iter().map(|s| s.keys).max().unwrap_or(0) as i64;
                let keys = Tensor::arange(0i64.into(), longest.into(), 1i64.into(), slopes.dtype())?;
                let all = slopes.mul(&keys)?.to_dtype(DType::F32)?.mul(f64::from(*scale))?;
                Some(sequences.iter().map(|s| Ok(all.narrow(2, 0, s.keys)?)).collect::<Result<Vec<_>>>()?)
            }
            Some(Bias::Relative(relative)) => Some(self.relative(relative, pass, ragged)?),
        };
        let given = pass.text.matrices(batch, length, past + length)?;
        match (own, given) {
            (Some(own), Some(given)) => sums(&own, &given).map(Some),
            (own, given) => Ok(own.or(given)),
        }
    }

    /// The relative bias of each sequence. Sequences whose visible positions are alike share theirs.
    fn relative(&self, relative: &Relative, pass: &Pass, ragged: &Ragged) -> Result<Vec<Tensor>> {
        let mut known: HashMap<Places, Tensor> = HashMap::new();
        let mut biases = Vec::new();
        for places in places(pass, ragged) {
            let bias = match known.get(&places) {
                Some(bias) => bias.clone(),
                None => {
                    let bias = relative.bias(&places.queries, &places.keys)?;
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
    fn windows(&self, pass: &Pass, ragged: &Ragged, bias: Option<&[Tensor]>) -> Result<Windows> {
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
                let hidden = places.window(window, causal)?;
                Ok(bias.map_or(Ok(hidden.clone()), |bias| bias[index].add(&hidden))?)
            };
            Ok((window, places.iter().enumerate().map(one).collect::<Result<_>>()?))
        });
        Ok(Windows::Added(biases.collect::<Result<_>>()?))
    }
}

/// Two biases of every sequence as one.
fn sums(some: &[Tensor], others: &[Tensor]) -> Result<Vec<Tensor>> {
    some.iter().zip(others).map(|(one, other)| Ok(one.add(other)?)).collect()
}

/// The slopes of ALiBi (heads, 1, 1): transformers' `build_alibi_tensor`.
fn slopes(heads: usize) -> Result<Tensor> {
    let power = if heads.is_power_of_two() { heads } else { heads.next_power_of_two() / 2 };
    let base = 2f64.powf(-8.0 / power as f64);
    let extra = 2f64.powf(-4.0 / power as f64);
    let slope = |head: usize| match head < power {
        true => base.powi(head as i32 + 1),
        // The heads beyond a power of two take every other slope of twice as many.
        false => extra.powi(2 * (head - power) as i32 + 1),
    };
    let mut slopes = room(&[heads])?;
    slopes.extend((0..heads).map(|head| slope(head) as f32));
    Ok(Tensor::from_slice(&slopes, &[heads, 1, 1])?)
}

/// What the layers of one pass share.
struct Step<'a> {
    packing: &'a Packing,
    ragged: &'a Ragged,
    causal: bool,
    bias: Option<&'a [Tensor]>,
    windows: Windows,
    distances: Option<Distances>,
    rotaries: Vec<Rotary>,
    cache: Option<&'a mut Cache>,
    source: Option<Source>,
    encoded: Option<&'a Tensor>,
    attentions: Option<Vec<Tensor>>,
    cross_attentions: Option<Vec<Tensor>>,
    routed: Option<Vec<Tensor>>,
    /// For whom the next layer works, if not for all rows.
    readers: Option<Readers>,
    workspace: Workspace,
}

/// A row of each sequence, and the same sequences with it as their only row that asks.
struct Readers {
    rows: Vec<usize>,
    ragged: Ragged,
}

impl Readers {
    fn new(rows: Vec<usize>, all: &Ragged) -> Readers {
        let mut ragged = Ragged::default();
        all.sequences().iter().for_each(|s| ragged.push_at(1, s.key_start, s.keys));
        Readers { rows, ragged }
    }
}

/// The angles of one rotary embedding at the packed rows.
struct Rotary {
    cos: Tensor,
    sin: Tensor,
    interleaved: bool,
}

impl Rotary {
    /// Turns `x`, which nobody else needs as it is.
    fn turn(&self, x: &mut Tensor) -> Result<()> {
        let Rotary { cos, sin, interleaved } = self;
        if x.requires_grad() {
            *x = ops::rope(x, cos, sin, *interleaved)?;
            return Ok(());
        }
        Ok(ops::rope_(x, cos, sin, *interleaved)?)
    }
}

/// The text so far looks at itself.
fn self_attention(
    part: &MultiHead,
    entry: Entry,
    residual: Option<&Tensor>,
    index: usize,
    readers: Option<&Readers>,
    step: &mut Step,
) -> Result<Tensor> {
    let mut heads = part.project(entry, &mut step.workspace)?;
    if let Some(rotary) = part.rotary().and_then(|number| step.rotaries.get(number)) {
        rotary.turn(&mut heads.query)?;
        rotary.turn(&mut heads.key)?;
    }
    if let Some(cache) = &mut step.cache {
        (heads.key, heads.value) = cache.append(index, heads.key, heads.value)?;
    }
    if let Some(readers) = readers {
        heads.query = heads.query.gather_rows(&readers.rows)?;
    }
    let (window, bias) = step.windows.of(part.window(), step.bias);
    let own = match &step.distances {
        Some(distances) => part.distance_bias(&heads, distances, step.ragged)?,
        None => None,
    };
    let own = match (own, bias) {
        (Some(own), Some(bias)) => Some(sums(&own, bias)?),
        (own, _) => own,
    };
    let look = Look {
        ragged: readers.map_or(step.ragged, |readers| &readers.ragged),
        causal: step.causal,
        window,
        bias: own.as_deref().or(bias),
        probabilities: step.attentions.is_some(),
    };
    let (out, probabilities) = part.attend(&heads, &look, residual, &mut step.workspace)?;
    if let (Some(all), Some(probabilities)) = (&mut step.attentions, probabilities) {
        let packing = step.packing;
        let before = |sequence| step.cache.as_ref().map_or(&[][..], |cache| cache.shown(sequence));
        let columns = step.cache.as_ref().map_or(0, |cache| cache.length()) + packing.shape()[1];
        let shown = |sequence| [before(sequence), &packing.shown(sequence)].concat();
        all.push(packing.unpack_attentions(&probabilities, part.heads(), columns, shown)?);
    }
    Ok(out)
}

/// The text looks at the encoder's hidden states.
fn cross_attention(
    part: &MultiHead,
    entry: Entry,
    residual: Option<&Tensor>,
    index: usize,
    step: &mut Step,
) -> Result<Tensor> {
    let nothing = || Error::Input("You have to specify the encoder's inputs or encoder_outputs".into());
    let source = step.source.as_mut().ok_or_else(nothing)?;
    let (batch, sources) = (step.packing.shape()[0], source.sequences.len());
    if sources != batch {
        return Err(Error::Input(format!(
            "the encoder's hidden states hold {sources} sequences, the inputs {batch}"
        )));
    }
    if source.layers.len() <= index {
        source.layers.push(part.project_keys(step.encoded.ok_or_else(nothing)?)?);
    }
    let [key, value] = source.layers[index].clone();
    let heads = Heads { query: part.project_queries(entry)?, key, value };
    let packing = step.packing;
    let look = Look {
        ragged: &source.ragged(packing),
        causal: false,
        window: None,
        bias: None,
        probabilities: step.cross_attentions.is_some(),
    };
    let (out, probabilities) = part.attend(&heads, &look, residual, &mut step.workspace)?;
    if let (Some(all), Some(probabilities)) = (&mut step.cross_attentions, probabilities) {
        let shown = |sequence: usize| source.sequences[sequence].shown.to_vec();
        all.push(packing.unpack_attentions(&probabilities, part.heads(), source.length(), shown)?);
    }
    Ok(out)
}

/// One layer with its weights.
struct Layer {
    attention: Wrapped<MultiHead>,
    cross_attention: Option<Wrapped<MultiHead>>,
    feed_forward: Wrapped<FeedForward>,
    parallel: bool,
}

/// A part of a layer with the norms around it.
struct Wrapped<T> {
    before: Option<Norm>,
    part: T,
    after: Option<Norm>,
    added: Option<Norm>,
    adds_to_normed: bool,
}

impl<T> Wrapped<T> {
    fn load<S>(scope: &Scope, spec: &Sublayer<S>, width: usize, part: T) -> Result<Wrapped<T>> {
        let norm = |norm: &Option<_>| norm.map(|norm| Norm::load(scope, norm, width)).transpose();
        Ok(Wrapped {
            before: norm(&spec.before)?,
            part,
            after: norm(&spec.after)?,
            added: norm(&spec.added)?,
            adds_to_normed: spec.adds_to_normed,
        })
    }

    /// `added(x + after(part(before(x))))`, of all rows or of some. The part is given what goes in, and what it may add to its result at
    /// once.
    fn around<'a>(
        &self,
        x: Tensor,
        readers: Option<&Readers>,
        step: &mut Step<'a>,
        part: impl FnOnce(&T, Entry, Option<&Tensor>, &mut Step<'a>) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let normed = self.adds_to_normed.then(|| self.enter(&x).normed()).transpose()?;
        let entry = normed.as_ref().map_or(self.enter(&x), Entry::of);
        let residual = normed.as_ref().unwrap_or(&x);
        let read = readers.map(|readers| residual.gather_rows(&readers.rows)).transpose()?;
        let residual = read.as_ref().unwrap_or(residual);
        let at_once = self.after.is_none() && self.added.is_none();
        let out = part(&self.part, entry, at_once.then_some(residual), step)?;
        let out = match &self.added {
            _ if at_once => out,
            Some(norm) => norm.forward(&self.leave(out)?, Some(residual))?,
            None => self.leave(out)?.add(residual)?,
        };
        step.workspace.give(x);
        Ok(out)
    }

    fn enter<'a>(&'a self, x: &'a Tensor) -> Entry<'a> {
        Entry { x, norm: self.before.as_ref() }
    }

    fn leave(&self, out: Tensor) -> Result<Tensor> {
        self.after.as_ref().map_or(Ok(out.clone()), |norm| norm.forward(&out, None))
    }
}

impl Layer {
    fn load(scope: &Scope, spec: &LayerSpec, width: usize) -> Result<Layer> {
        let attention = MultiHead::load(scope, &spec.attention.part, width, false)?;
        let cross = |cross: &Sublayer<_>| -> Result<_> {
            Wrapped::load(scope, cross, width, MultiHead::load(scope, &cross.part, width, true)?)
        };
        let feed_forward = FeedForward::load(scope, &spec.feed_forward.part, width)?;
        Ok(Layer {
            attention: Wrapped::load(scope, &spec.attention, width, attention)?,
            cross_attention: spec.cross_attention.as_ref().map(cross).transpose()?,
            feed_forward: Wrapped::load(scope, &spec.feed_forward, width, feed_forward)?,
            parallel: spec.parallel,
        })
    }

    fn linears(&self) -> Vec<&Linear> {
        let mut linears = self.attention.part.linears();
        linears.extend(self.cross_attention.iter().flat_map(|cross| cross.part.linears()));
        linears.extend(self.feed_forward.part.linears());
        linears
    }

    fn forward(&self, hidden: Tensor, index: usize, step: &mut Step) -> Result<Tensor> {
        if self.parallel {
            let out = self.side_by_side(&hidden, index, step)?;
            step.workspace.give(hidden);
            return Ok(out);
        }
        let readers = step.readers.take();
        let readers = readers.as_ref();
        let mut hidden = self.attention.around(hidden, readers, step, |part, entry, residual, step| {
            self_attention(part, entry, residual, index, readers, step)
        })?;
        // A decoder alone runs without a source too: BERT's.
        if let (Some(cross), true) = (&self.cross_attention, step.source.is_some()) {
            hidden = cross.around(hidden, None, step, |part, entry, residual, step| {
                cross_attention(part, entry, residual, index, step)
            })?;
        }
        self.feed_forward.around(hidden, None, step, |part, entry, residual, step| {
            part.forward(entry, residual, step.routed.as_mut(), &mut step.workspace)
        })
    }

    /// Attention and feed-forward network of the same hidden states.
    fn side_by_side(&self, hidden: &Tensor, index: usize, step: &mut Step) -> Result<Tensor> {
        let (attention, feed_forward) = (&self.attention, &self.feed_forward);
        let own = feed_forward.before.is_some();
        // What both read is normalised once.
        let normed = (!own).then(|| attention.enter(hidden).normed()).transpose()?;
        let entry = normed.as_ref().map_or(attention.enter(hidden), Entry::of);
        let residual = attention.after.is_none().then_some(hidden);
        let mut attended =
            attention.leave(self_attention(&attention.part, entry, residual, index, None, step)?)?;
        if residual.is_none() {
            attended = attended.add(hidden)?;
        }
        let entry = normed.as_ref().map_or(feed_forward.enter(hidden), Entry::of);
        let residual = feed_forward.after.is_none().then_some(&attended);
        let fed = feed_forward.part.forward(entry, residual, step.routed.as_mut(), &mut step.workspace)?;
        if residual.is_none() {
            return Ok(feed_forward.leave(fed)?.add(&attended)?);
        }
        step.workspace.give(attended);
        Ok(fed)
    }
}

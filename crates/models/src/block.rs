//! One layer of a stack: attention and a feed-forward network, with the norms around them, and what the layers of a pass share.

use std::sync::Arc;

use trustformers_tensor::ops::Angles;
use trustformers_tensor::profile::Module;
use trustformers_tensor::{DType, Device, Ragged, Tensor, Workspace, ops};

use crate::attention::{Heads, Look, MultiHead};
use crate::cache::{Cache, Source};
use crate::checkpoint::Scope;
use crate::disentangled::Distances;
use crate::dropout::Dropout;
use crate::feed_forward::FeedForward;
use crate::layers::{Entry, Linear, Norm};
use crate::places::Windows;
use crate::site::Site;
use crate::spec::{LayerSpec, Sublayer};
use crate::{Error, Packing, Result};

/// What the layers of one pass read, and none changes.
pub struct Shared {
    pub packing: Arc<Packing>,
    pub ragged: Ragged,
    pub causal: bool,
    pub bias: Option<Vec<Tensor>>,
    pub windows: Windows,
    pub distances: Option<Distances>,
    pub rotaries: Vec<Rotary>,
    pub encoded: Option<Tensor>,
}

impl Shared {
    /// The same for layers elsewhere.
    pub fn brought(&self, site: Site) -> Result<Shared> {
        let device = site.device;
        Ok(Shared {
            packing: self.packing.clone(),
            ragged: self.ragged.clone(),
            causal: self.causal,
            bias: self.bias.as_ref().map(|all| brought(all, device)).transpose()?,
            windows: self.windows.to_device(device)?,
            distances: self.distances.as_ref().map(|all| all.brought(site)).transpose()?,
            rotaries: self.rotaries.iter().map(|one| one.to_device(device)).collect::<Result<_>>()?,
            encoded: self.encoded.as_ref().map(|encoded| site.bring(encoded)).transpose()?,
        })
    }
}

/// One pass on its way through the layers.
pub struct Step<'a> {
    pub shared: &'a Arc<Shared>,
    pub cache: Option<&'a mut Cache>,
    pub source: Option<Source>,
    pub attentions: Option<Vec<Tensor>>,
    pub cross_attentions: Option<Vec<Tensor>>,
    pub routed: Option<Vec<Tensor>>,
    /// For whom the next layer works, if not for all rows.
    pub readers: Option<Arc<Readers>>,
    /// What the next layer drops.
    pub dropout: Dropout,
    pub workspace: Workspace,
}

/// A row of each sequence, and the same sequences with it as their only row that asks.
pub struct Readers {
    rows: Vec<usize>,
    ragged: Ragged,
}

impl Readers {
    pub fn new(rows: Vec<usize>, all: &Ragged) -> Readers {
        let mut ragged = Ragged::default();
        all.sequences().iter().for_each(|s| ragged.push_at(1, s.key_start, s.keys));
        Readers { rows, ragged }
    }
}

/// The angles of one rotary embedding at the packed rows.
#[derive(Clone)]
pub struct Rotary {
    pub cos: Tensor,
    pub sin: Tensor,
    pub interleaved: bool,
}

impl Rotary {
    /// The same for layers of another device.
    pub fn to_device(&self, device: Device) -> Result<Rotary> {
        let [cos, sin] = [&self.cos, &self.sin].map(|table| table.to_device(device));
        Ok(Rotary { cos: cos?, sin: sin?, interleaved: self.interleaved })
    }

    /// For operations.
    pub fn angles(&self) -> Angles<'_> {
        Angles { cos: &self.cos, sin: &self.sin, interleaved: self.interleaved }
    }

    /// Turns queries and keys, which nobody else needs as they are.
    fn turn(&self, heads: &mut Heads) -> Result<()> {
        if !heads.query.requires_grad() && !heads.key.requires_grad() {
            return Ok(ops::rope_both_(&heads.query, &heads.key, self.angles())?);
        }
        for x in [&mut heads.query, &mut heads.key] {
            *x = ops::rope(x, self.angles())?;
        }
        Ok(())
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
    let _measured = part.module().enter();
    let shared = step.shared;
    let mut heads = part.project(entry, &mut step.workspace)?;
    let rotary = part.rotary().and_then(|number| shared.rotaries.get(number));
    match (&mut step.cache, rotary) {
        (Some(cache), rotary) => cache.append(index, &mut heads, rotary)?,
        (None, Some(rotary)) => rotary.turn(&mut heads)?,
        (None, None) => {}
    }
    if let Some(readers) = readers {
        heads.query = heads.query.gather_rows(&readers.rows)?;
    }
    let (window, bias) = shared.windows.of(part.window(), shared.bias.as_deref());
    let own = match &shared.distances {
        Some(distances) => part.distance_bias(&heads, distances, &shared.ragged, &step.dropout)?,
        None => None,
    };
    let own = match (own, bias) {
        (Some(own), Some(bias)) => Some(sums(&own, bias)?),
        (own, _) => own,
    };
    let look = Look {
        ragged: readers.map_or(&shared.ragged, |readers| &readers.ragged),
        causal: shared.causal,
        window,
        bias: own.as_deref().or(bias),
        dropout: &step.dropout,
        probabilities: step.attentions.is_some(),
    };
    let (out, probabilities) = part.attend(&heads, &look, residual, &mut step.workspace)?;
    if let (Some(all), Some(probabilities)) = (&mut step.attentions, probabilities) {
        let packing = &shared.packing;
        let before = |sequence| step.cache.as_ref().map_or(&[][..], |cache| cache.shown(sequence));
        let columns = step.cache.as_ref().map_or(0, |cache| cache.length()) + packing.shape()[1];
        let shown = |sequence| [before(sequence), &packing.shown(sequence)].concat();
        all.push(packing.unpack_attentions(look.ragged, &probabilities, part.heads(), columns, shown)?);
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
    let _measured = part.module().enter();
    let nothing = || Error::Input("You have to specify the encoder's inputs or encoder_outputs".into());
    let source = step.source.as_mut().ok_or_else(nothing)?;
    let packing = &step.shared.packing;
    let (batch, sources) = (packing.shape()[0], source.sequences.len());
    if sources != batch {
        return Err(Error::Input(format!(
            "the encoder's hidden states hold {sources} sequences, the inputs {batch}"
        )));
    }
    let [key, value] = match source.layers.get(index) {
        Some(known) => known.clone(),
        None => {
            let made = part.project_keys(step.shared.encoded.as_ref().ok_or_else(nothing)?, &step.dropout)?;
            // The steps that follow ask again.
            if step.cache.is_some() {
                source.layers.push(made.clone());
            }
            made
        }
    };
    let heads = Heads { query: part.project_queries(entry)?, key, value };
    let look = Look {
        ragged: &source.ragged(packing),
        causal: false,
        window: None,
        bias: None,
        dropout: &step.dropout,
        probabilities: step.cross_attentions.is_some(),
    };
    let (out, probabilities) = part.attend(&heads, &look, residual, &mut step.workspace)?;
    if let (Some(all), Some(probabilities)) = (&mut step.cross_attentions, probabilities) {
        let shown = |sequence: usize| source.sequences[sequence].shown.to_vec();
        all.push(packing.unpack_attentions(
            look.ragged,
            &probabilities,
            part.heads(),
            source.length(),
            shown,
        )?);
    }
    Ok(out)
}

/// One layer with its weights.
pub struct Layer {
    module: Module,
    attention: Wrapped<MultiHead>,
    cross_attention: Option<Wrapped<MultiHead>>,
    feed_forward: Wrapped<FeedForward>,
    parallel: bool,
    dropout: f32,
    site: Site,
}

/// A part of a layer with the norms around it.
struct Wrapped<T> {
    before: Option<Norm>,
    part: T,
    after: Option<Norm>,
    added: Option<Norm>,
    adds_to_normed: bool,
    dropout: f32,
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
            dropout: spec.dropout,
        })
    }

    /// `added(x + after(dropout(part(before(x)))))`, of all rows or of some. The part is given what goes in, and what it may add to its result at
    /// once.
    fn around<'a>(
        &self,
        x: Tensor,
        readers: Option<&Readers>,
        step: &mut Step<'a>,
        part: impl FnOnce(&T, Entry, Option<&Tensor>, &mut Step<'a>) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let dropout = &step.dropout.clone();
        let entry = self.enter(&x, dropout);
        let normed = self.adds_to_normed.then(|| entry.normed()).transpose()?;
        let entry = normed.as_ref().map_or(entry, |x| Entry::of(x, dropout));
        let residual = normed.as_ref().unwrap_or(&x);
        let read = readers.map(|readers| residual.gather_rows(&readers.rows)).transpose()?;
        let residual = read.as_ref().unwrap_or(residual);
        let at_once = self.after.is_none() && self.added.is_none() && !step.dropout.drops(self.dropout);
        let out = part(&self.part, entry, at_once.then_some(residual), step)?;
        let out = match &self.added {
            _ if at_once => out,
            Some(norm) => norm.forward(&self.leave(out, &step.dropout)?, Some(residual))?,
            None => self.leave(out, &step.dropout)?.add(residual)?,
        };
        step.workspace.give(x);
        Ok(out)
    }

    fn enter<'a>(&'a self, x: &'a Tensor, dropout: &'a Dropout) -> Entry<'a> {
        Entry { x, norm: self.before.as_ref(), dropout }
    }

    fn leave(&self, out: Tensor, dropout: &Dropout) -> Result<Tensor> {
        let out = dropout.apply(out, self.dropout)?;
        self.after.as_ref().map_or(Ok(out.clone()), |norm| norm.forward(&out, None))
    }
}

impl Layer {
    /// Loads a layer, `width` wide. What `outgrows_f16` is wider beside weights of that.
    pub fn load(scope: &Scope, spec: &LayerSpec, width: usize, outgrows_f16: bool) -> Result<Layer> {
        let attention = MultiHead::load(scope, &spec.attention.part, width, false)?;
        let cross = |cross: &Sublayer<_>| -> Result<_> {
            Wrapped::load(scope, cross, width, MultiHead::load(scope, &cross.part, width, true)?)
        };
        let feed_forward = FeedForward::load(scope, &spec.feed_forward.part, width)?;
        let mut layer = Layer {
            module: scope.module(),
            attention: Wrapped::load(scope, &spec.attention, width, attention)?,
            cross_attention: spec.cross_attention.as_ref().map(cross).transpose()?,
            feed_forward: Wrapped::load(scope, &spec.feed_forward, width, feed_forward)?,
            parallel: spec.parallel,
            dropout: spec.dropout,
            site: Site::default(),
        };
        layer.site = Site::of(layer.linears().into_iter().flat_map(Linear::parts));
        if outgrows_f16 && layer.site.dtype == DType::F16 {
            layer.site.dtype = DType::F32;
        }
        Ok(layer)
    }

    /// The matrices, for those who prepare them.
    pub fn linears(&self) -> Vec<&Linear> {
        let mut linears = self.attention.part.linears();
        linears.extend(self.cross_attention.iter().flat_map(|cross| cross.part.linears()));
        linears.extend(self.feed_forward.part.linears());
        linears
    }

    /// Where its weights lie, and so where it works.
    pub fn site(&self) -> Site {
        self.site
    }

    /// Whether it can work for a few rows alone, whose place among the keys is then not known: all keys must be alike to them.
    pub fn can_narrow(&self, step: &Step) -> bool {
        let shared = step.shared;
        let look = shared.windows.of(self.attention.part.window(), shared.bias.as_deref());
        let is_plain = !self.parallel && self.cross_attention.is_none() && matches!(look, (None, None));
        let is_asked = step.attentions.is_some() || step.routed.is_some();
        is_plain && !shared.causal && !is_asked && step.cache.is_none() && shared.distances.is_none()
    }

    /// Runs the layer, the one of number `index`: (rows, width) to the same, or to the rows of `step.readers` alone.
    pub fn forward(&self, hidden: Tensor, index: usize, step: &mut Step) -> Result<Tensor> {
        let _measured = self.module.enter();
        if self.parallel {
            let out = self.side_by_side(&hidden, index, step)?;
            step.workspace.give(hidden);
            return Ok(out);
        }
        let readers = step.readers.take();
        let readers = readers.as_deref();
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
            part.forward(entry, residual, step.routed.as_mut(), &step.dropout, &mut step.workspace)
        })
    }

    /// Whether it looks at an encoder's hidden states.
    pub fn crosses(&self) -> bool {
        self.cross_attention.is_some()
    }

    /// Whether it gives scores to experts.
    pub fn routes(&self) -> bool {
        self.feed_forward.part.routes()
    }

    /// Attention and feed-forward network of the same hidden states.
    fn side_by_side(&self, hidden: &Tensor, index: usize, step: &mut Step) -> Result<Tensor> {
        let (attention, feed_forward) = (&self.attention, &self.feed_forward);
        let own = feed_forward.before.is_some();
        // What both read is normalised once.
        let dropout = &step.dropout.clone();
        let entry = attention.enter(hidden, dropout);
        let normed = (!own).then(|| entry.normed()).transpose()?;
        let entry = normed.as_ref().map_or(entry, |x| Entry::of(x, dropout));
        // What is dropped is so before it is added.
        let together = step.dropout.drops(self.dropout);
        let alone = |part: &Wrapped<MultiHead>| part.after.is_some() || step.dropout.drops(part.dropout);
        let residual = (!together && !alone(attention)).then_some(hidden);
        let attended = self_attention(&attention.part, entry, residual, index, None, step)?;
        let mut attended = match residual {
            Some(_) => attended,
            None => attention.leave(attended, &step.dropout)?,
        };
        if residual.is_none() && !together {
            attended = attended.add(hidden)?;
        }
        let entry = feed_forward.enter(hidden, dropout);
        let entry = normed.as_ref().map_or(entry, |x| Entry::of(x, dropout));
        let alone = feed_forward.after.is_some() || step.dropout.drops(feed_forward.dropout);
        let residual = (!alone).then_some(&attended);
        let routed = step.routed.as_mut();
        let mut fed =
            feed_forward.part.forward(entry, residual, routed, &step.dropout, &mut step.workspace)?;
        if alone {
            fed = feed_forward.leave(fed, &step.dropout)?.add(&attended)?;
        }
        if together {
            return Ok(step.dropout.apply(fed, self.dropout)?.add(hidden)?);
        }
        step.workspace.give(attended);
        Ok(fed)
    }
}

/// The biases of every sequence on a device.
pub fn brought(biases: &[Tensor], device: Device) -> Result<Vec<Tensor>> {
    biases.iter().map(|bias| Ok(bias.to_device(device)?)).collect()
}

/// Two biases of every sequence as one.
pub fn sums(some: &[Tensor], others: &[Tensor]) -> Result<Vec<Tensor>> {
    some.iter().zip(others).map(|(one, other)| Ok(one.add(other)?)).collect()
}

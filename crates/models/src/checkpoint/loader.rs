//! Fitting a checkpoint to a model: every tensor is asked for by name and shape, and what does not fit is listed together.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;

use trustformers_tensor::profile::Module;
use trustformers_tensor::{DType, Generator, Layout, Tensor, interrupt};

use super::Checkpoint;
use super::quantization::Quantization;
use super::resize::Resize;
use crate::architecture::Architecture;
use crate::{Error, LoadOptions, LowRank, Order, Parameter, Result};

/// So many missing parameters tell enough.
const ENOUGH: usize = 1000;
/// So many elements of two tensors are compared at once, and need not stay in memory after that.
const COMPARED_AT_ONCE: usize = 1 << 20;

/// How a parameter that no checkpoint gives is drawn.
#[derive(Clone, Copy, Debug)]
pub enum Init {
    /// Normally, with the configuration's `initializer_range`.
    Normal,
    /// Likewise: a table of embeddings.
    Embedding,
    /// All zeros: a constant, which is saved with the parameters and not trained.
    Buffer,
    /// All zeros: biases.
    Zeros,
    /// All ones: the scale of norms.
    Ones,
}

impl Init {
    /// A float32 tensor of `shape`; what is drawn normally has the mean 0 and the standard deviation `std`.
    pub(super) fn draw(self, shape: &[usize], std: f64, generator: &Generator) -> Result<Tensor> {
        Ok(match self {
            Init::Normal | Init::Embedding => {
                let drawn = generator.normal(shape, DType::F32)?;
                drawn.mul_(std)?;
                drawn
            }
            Init::Zeros | Init::Buffer => Tensor::zeros(shape)?,
            Init::Ones => Tensor::ones(shape, DType::F32)?,
        })
    }
}

/// A tensor whose shape in the checkpoint is not the model's, or that does not hold floats there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The parameter.
    pub name: String,
    /// Its dtype in the checkpoint.
    pub dtype: DType,
    /// Its shape in the checkpoint.
    pub checkpoint: Vec<usize>,
    /// Its shape in the model.
    pub model: Vec<usize>,
}

/// What did not fit between a checkpoint and a model: transformers' `loading_info`.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Where the checkpoint is.
    pub place: String,
    /// Parameters that the checkpoint lacks.
    pub missing: Vec<String>,
    /// Of those, the ones that were drawn anew, because checkpoints may lack them.
    pub drawn: Vec<String>,
    /// Tensors that the model has no use for.
    pub unexpected: Vec<String>,
    /// Tensors of the wrong shape.
    pub mismatched: Vec<Mismatch>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "The weights in {} do not fit the model's configuration.", self.place)?;
        let missing = self.missing.iter().filter(|name| !self.drawn.contains(name));
        list(f, missing.map(|name| format!("missing: {name}")))?;
        list(f, self.mismatched.iter().map(Mismatch::to_string))?;
        list(f, self.unexpected.iter().map(|name| format!("unexpected: {name}")))?;
        write!(f, "\nCheck that config.json and the weights belong together")?;
        if !self.mismatched.is_empty() {
            write!(f, "; ignore_mismatched_sizes=True draws the tensors of the wrong shape anew")?;
        }
        Ok(())
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mismatch { name, dtype, checkpoint, model } = self;
        let what = if dtype.is_float() { "wrong shape" } else { "not floats" };
        write!(f, "{what}: {name} is {dtype} {checkpoint:?} in the checkpoint, {model:?} in the model")
    }
}

/// Writes a line each, as many as a person reads.
fn list(f: &mut fmt::Formatter<'_>, lines: impl Iterator<Item = String>) -> fmt::Result {
    const SHOWN: usize = 40;
    let mut more = 0;
    for (index, line) in lines.enumerate() {
        match index {
            0..SHOWN => write!(f, "\n  {line}")?,
            _ => more += 1,
        }
    }
    if more > 0 { write!(f, "\n  and {more} more") } else { Ok(()) }
}

/// Checkpoints converted from TensorFlow call a norm's scale and shift by the paper's letters.
const LEGACY: [(&str, &str); 2] =
    [("LayerNorm.gamma", "LayerNorm.weight"), ("LayerNorm.beta", "LayerNorm.bias")];

/// Old checkpoints hold the numbers of the positions, 0, 1, 2, ….
const POSITIONS: [&str; 1] = ["position_ids"];

/// Hands out the parameters of a model, from a checkpoint or freshly drawn, and keeps account.
pub struct Loader(RefCell<State>);

struct State {
    /// What the checkpoint has left, by our names; `None` when all parameters are drawn.
    checkpoint: Option<BTreeMap<String, Parameter>>,
    ignored: Vec<&'static str>,
    ignore_mismatched_sizes: bool,
    dtype: Option<DType>,
    generator: Generator,
    std: f64,
    resize: Option<Resize>,
    /// The padding row of a model that is made anew, or that it has none.
    padding: Option<Option<usize>>,
    quantization: Option<Quantization>,
    /// What adapters add to linear layers, by the names that users see.
    low_ranks: BTreeMap<String, Vec<LowRank>>,
    loaded: Loaded,
}

/// What a loader has handed out.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The parameters by transformers' names, in the order in which they were asked for.
    pub parameters: Vec<(String, Parameter)>,
    /// Further names under which parameters are known.
    pub tied: Vec<(String, Parameter)>,
    /// Which of the parameters are tables of embeddings.
    pub embeddings: Vec<String>,
    /// Which of the parameters are constants.
    pub buffers: Vec<String>,
    /// The account of what did not fit.
    pub report: Report,
}

impl Loader {
    /// From a checkpoint, whose names become ours by the architecture's table.
    pub fn from_checkpoint(
        checkpoint: Checkpoint,
        architecture: &Architecture,
        options: &LoadOptions,
    ) -> Loader {
        let Checkpoint { place, tensors } = checkpoint;
        // A class may hold the model under another name than its siblings do.
        let prefixes: Vec<_> = architecture.classes.iter().map(|class| class.base).collect();
        let rename = |name: String| {
            let name = match prefixes.iter().find_map(|prefix| name.strip_prefix(prefix)?.strip_prefix('.')) {
                Some(name) => name.to_owned(),
                None => name.strip_prefix(architecture.prefix).map(str::to_owned).unwrap_or(name),
            };
            LEGACY.iter().chain(architecture.renames).fold(name, |name, (old, new)| name.replace(old, new))
        };
        let tensors = tensors.into_iter().map(|(name, tensor)| (rename(name), tensor)).collect();
        let report = Report { place, ..Report::default() };
        Loader(RefCell::new(State {
            checkpoint: Some(tensors),
            ignored: architecture.ignored.to_vec(),
            ignore_mismatched_sizes: options.ignore_mismatched_sizes,
            dtype: options.dtype,
            generator: Generator::new(0),
            std: 0.02,
            resize: None,
            padding: None,
            quantization: options.quantization,
            low_ranks: BTreeMap::new(),
            loaded: Loaded { report, ..Loaded::default() },
        }))
    }

    /// Every parameter freshly drawn.
    pub fn random(seed: u64) -> Loader {
        Loader(RefCell::new(State {
            checkpoint: None,
            ignored: Vec::new(),
            ignore_mismatched_sizes: false,
            dtype: None,
            generator: Generator::new(seed),
            std: 0.02,
            resize: None,
            padding: None,
            quantization: None,
            low_ranks: BTreeMap::new(),
            loaded: Loaded::default(),
        }))
    }

    /// The same loader; what the checkpoint has for another number of tokens is resized.
    pub fn resizing(self, resize: Resize, seed: u64) -> Loader {
        let state = self.0.into_inner();
        Loader(RefCell::new(State { resize: Some(resize), generator: Generator::new(seed), ..state }))
    }

    /// The same loader; word embeddings go on having this padding row, or none, whatever the configuration has become.
    pub fn padded(self, padding: Option<usize>) -> Loader {
        Loader(RefCell::new(State { padding: Some(padding), ..self.0.into_inner() }))
    }

    /// The same loader; what is drawn normally has this standard deviation.
    pub fn deviating(self, std: f32) -> Loader {
        Loader(RefCell::new(State { std: f64::from(std), ..self.0.into_inner() }))
    }

    /// The same loader; it passes over tensors with these parts in their names.
    pub fn ignoring(self, parts: &[&'static str]) -> Loader {
        let mut state = self.0.into_inner();
        state.ignored.extend(parts);
        Loader(RefCell::new(state))
    }

    /// The same loader; linear layers of these names are added to.
    pub fn adding(self, low_ranks: BTreeMap<String, Vec<LowRank>>) -> Loader {
        Loader(RefCell::new(State { low_ranks, ..self.0.into_inner() }))
    }

    /// The model's own scope.
    pub fn root(&self) -> Scope<'_> {
        self.base("")
    }

    /// The scope of the model that stands at `base` within it.
    pub fn base(&self, base: &'static str) -> Scope<'_> {
        Scope { loader: self, path: String::new(), base, drawn_if_missing: false, quantizes: false }
    }

    /// The parameters in the order in which they were asked for, and the account.
    ///
    /// # Errors
    /// `Mismatch`, with everything that does not fit, unless it was drawn anew by permission; `Input` for something to be added to a layer
    /// that there is not.
    pub fn finish(self) -> Result<Loaded> {
        let state = self.0.into_inner();
        if let Some(name) = state.low_ranks.keys().next() {
            return Err(Error::Input(format!(
                "an adapter is for {name}, which is no linear layer of this model"
            )));
        }
        let refused = state.is_refused();
        let State { checkpoint, ignored, mut loaded, .. } = state;
        let report = &mut loaded.report;
        report.unexpected = checkpoint.into_iter().flatten().map(|(name, _)| name).collect();
        report.unexpected.retain(|name| !POSITIONS.iter().chain(&ignored).any(|part| name.contains(part)));
        if refused { Err(Error::Mismatch(Box::new(loaded.report))) } else { Ok(loaded) }
    }

    /// Hands out a parameter; `keeps` says in which form.
    fn parameter(
        &self,
        path: String,
        name: String,
        shape: &[usize],
        init: Init,
        scope: &Scope,
        keeps: Keeps,
    ) -> Result<Parameter> {
        interrupt::check()?;
        let state = &mut *self.0.borrow_mut();
        let mut found = state.checkpoint.as_mut().map(|tensors| tensors.remove(&path));
        if let (Some(Some(Parameter::Dense(tensor))), Some(resize)) = (&mut found, state.resize)
            && let Some(resized) = resize.apply(tensor, shape, init, state.std, &state.generator)?
        {
            *tensor = resized;
        }
        let parameter = match found {
            Some(Some(parameter)) if parameter.shape() == shape && parameter.dtype().is_float() => parameter,
            // Whatever is wrong is noted, a stand-in goes on, and `finish` refuses.
            Some(found) => {
                match found {
                    Some(parameter) => state.loaded.report.mismatched.push(Mismatch {
                        name: name.clone(),
                        dtype: parameter.dtype(),
                        checkpoint: parameter.shape(),
                        model: shape.to_vec(),
                    }),
                    None => {
                        state.loaded.report.missing.push(name.clone());
                        if scope.drawn_if_missing {
                            state.loaded.report.drawn.push(name.clone());
                        }
                    }
                }
                if state.is_refused() { stand_in(shape)? } else { state.draw(shape, init)? }.into()
            }
            None => state.draw(shape, init)?.into(),
        };
        let parameter = state.converted(parameter, keeps)?;
        match init {
            Init::Embedding => state.loaded.embeddings.push(name.clone()),
            Init::Buffer => state.loaded.buffers.push(name.clone()),
            _ => {}
        }
        state.loaded.parameters.push((name, parameter.clone()));
        Ok(parameter)
    }
}

/// The form that a parameter may keep.
#[derive(Clone, Copy)]
enum Keeps {
    /// Numbers only.
    Numbers,
    /// Blocks too.
    Blocks,
    /// Blocks too, and numbers become blocks if the caller has asked for it; a matrix of transformers' `Conv1D` is transposed for that.
    Quantizes { transposed: bool },
}

impl State {
    /// Whether `finish` will refuse the checkpoint, so that no memory need be spent on it any more.
    fn is_refused(&self) -> bool {
        let Report { missing, drawn, mismatched, .. } = &self.loaded.report;
        missing.len() > drawn.len() || !(mismatched.is_empty() || self.ignore_mismatched_sizes)
    }

    /// In the form that was asked for.
    fn converted(&self, parameter: Parameter, keeps: Keeps) -> Result<Parameter> {
        if self.is_refused() {
            return Ok(parameter);
        }
        let parameter = match (parameter, self.dtype, keeps) {
            (parameter, Some(dtype), _) => parameter.tensor()?.to_dtype(dtype)?.into(),
            (parameter @ Parameter::Quantized(..), None, Keeps::Numbers) => parameter.tensor()?.into(),
            (parameter, None, _) => parameter,
        };
        match (parameter, self.quantization, keeps) {
            (Parameter::Dense(matrix), Some(quantization), Keeps::Quantizes { transposed }) => {
                quantization.apply(matrix, transposed)
            }
            (parameter, ..) => Ok(parameter),
        }
    }

    fn draw(&self, shape: &[usize], init: Init) -> Result<Tensor> {
        init.draw(shape, self.std, &self.generator)
    }
}

/// Whether two parameters of one shape hold the same numbers. In `.bin` files tied ones are often the same memory.
fn is_equal(a: &Parameter, b: &Parameter) -> Result<bool> {
    let is_quantized = (a.dense().is_none(), b.dense().is_none());
    let (x, y) = (a.memory(), b.memory());
    if is_quantized.0 != is_quantized.1 || x.shape() != y.shape() {
        return Ok(false);
    }
    if x.dtype() == y.dtype() && x.is_contiguous() && y.is_contiguous() && x.as_ptr() == y.as_ptr() {
        return Ok(true);
    }
    let (count, width) =
        (x.shape().first().copied().unwrap_or(1), x.shape().iter().skip(1).product::<usize>());
    let at_once = (COMPARED_AT_ONCE / width.max(1)).max(1);
    for start in (0..count).step_by(at_once) {
        let part = |tensor: &Tensor| tensor.narrow(0, start, count.min(start + at_once));
        let (one, other) = (part(x)?, part(y)?);
        if !one.eq(&other)?.all()? {
            return Ok(false);
        }
        one.evict();
        other.evict();
    }
    Ok(true)
}

/// A tensor of any shape that takes no memory: one zero seen everywhere.
fn stand_in(shape: &[usize]) -> Result<Tensor> {
    let zero = Tensor::zeros(&[1])?;
    let layout = Layout::strided(shape, &vec![0; shape.len()], 0);
    Ok(Tensor::from_storage(zero.storage().clone(), layout, zero.dtype())?)
}

/// A place in the tree of parameters, such as `encoder.layer.3.attention`.
pub struct Scope<'a> {
    loader: &'a Loader,
    path: String,
    /// Where the model stands in a model with a head; that comes before the names that users see.
    base: &'static str,
    drawn_if_missing: bool,
    quantizes: bool,
}

impl<'a> Scope<'a> {
    /// The scope `name` below this one.
    pub fn at(&self, name: &str) -> Scope<'a> {
        Scope { path: self.join(name), ..*self }
    }

    /// The module whose parameters these are, under the name that users see.
    pub fn module(&self) -> Module {
        Module::new(self.shown(&self.path).trim_end_matches('.'))
    }

    /// The same scope, whose parameters a checkpoint may lack.
    pub fn drawn_if_missing(self) -> Scope<'a> {
        Scope { drawn_if_missing: true, ..self }
    }

    /// The same scope, whose linear layers become blocks if the caller has asked for it.
    pub fn quantized(self) -> Scope<'a> {
        Scope { quantizes: true, ..self }
    }

    /// The parameter `name` of this scope, which must have the given shape.
    pub fn tensor(&self, name: &str, shape: &[usize], init: Init) -> Result<Tensor> {
        self.parameter(name, shape, init, Keeps::Numbers)?.tensor()
    }

    /// The same of a table whose rows are looked up, which may stay in blocks.
    pub fn table(&self, name: &str, shape: &[usize]) -> Result<Parameter> {
        self.parameter(name, shape, Init::Embedding, Keeps::Blocks)
    }

    /// The same of a linear layer's matrix, (out, in) or, if it is `transposed`, (in, out). It may stay in blocks, or become them.
    pub fn matrix(&self, name: &str, shape: &[usize], transposed: bool) -> Result<Parameter> {
        let keeps = if self.quantizes { Keeps::Quantizes { transposed } } else { Keeps::Blocks };
        self.parameter(name, shape, Init::Normal, keeps)
    }

    fn parameter(&self, name: &str, shape: &[usize], init: Init, keeps: Keeps) -> Result<Parameter> {
        let path = self.join(name);
        let shown = self.shown(&path);
        self.loader.parameter(path, shown, shape, init, self, keeps)
    }

    /// The parameter `name` of this scope, which is another one. A checkpoint may hold it twice.
    pub fn tied(&self, name: &str, other: &Parameter) -> Result<Parameter> {
        let path = self.join(name);
        let shown = self.shown(&path);
        let state = &mut *self.loader.0.borrow_mut();
        let own = state.checkpoint.as_mut().and_then(|tensors| tensors.remove(&path));
        // As transformers does: a checkpoint that holds two different tensors knows better than its configuration.
        let own = own.filter(|own| own.shape() == other.shape() && own.dtype().is_float());
        match own {
            Some(own) if !state.is_refused() && !is_equal(&own, other)? => {
                let own = state.converted(own, Keeps::Blocks)?;
                state.loaded.parameters.push((shown, own.clone()));
                Ok(own)
            }
            _ => {
                let Loaded { parameters, report, .. } = &mut state.loaded;
                let owner = parameters.iter().find(|(_, parameter)| parameter.is(other));
                if owner.is_some_and(|(name, _)| report.drawn.contains(name)) {
                    // What shares a drawn tensor is missing as well.
                    report.missing.push(shown.clone());
                    report.drawn.push(shown.clone());
                }
                state.loaded.tied.push((shown, other.clone()));
                Ok(other.clone())
            }
        }
    }

    /// Which of the `rows` of word embeddings is the padding: the configuration's `token`, unless a model is made anew. As with torch's
    /// modules that is settled when a model is loaded; a shorter table may lose it.
    pub fn padding(&self, token: Option<i64>, rows: usize) -> Option<usize> {
        let settled = self.loader.0.borrow().padding;
        let row = |token: i64| usize::try_from(if token < 0 { token + rows as i64 } else { token }).ok();
        settled.unwrap_or_else(|| token.and_then(row)).filter(|&row| row < rows)
    }

    /// What is added to the linear layer of this scope.
    pub fn low_ranks(&self) -> Vec<LowRank> {
        self.loader.0.borrow_mut().low_ranks.remove(&self.shown(&self.path)).unwrap_or_default()
    }

    /// Whether the checkpoint has the rows of heads in an order in which rotary embeddings turn neighbours.
    pub fn is_interleaved(&self) -> bool {
        let is = |parameter: &Parameter| matches!(parameter, Parameter::Quantized(_, Order::Interleaved(_)));
        let state = &*self.loader.0.borrow();
        state.dtype.is_none() && state.checkpoint.iter().flatten().any(|(_, parameter)| is(parameter))
    }

    /// The parameter `name` of this scope if the checkpoint has it and it fits.
    pub fn optional(&self, name: &str, shape: &[usize], init: Init) -> Result<Option<Tensor>> {
        let path = self.join(name);
        let is_there = {
            let state = &*self.loader.0.borrow();
            let found = state.checkpoint.as_ref().and_then(|tensors| tensors.get(&path));
            let resizes = |found: &[usize]| state.resize.is_some_and(|one| one.axis(found, shape).is_some());
            found.is_some_and(|found| found.shape() == shape || resizes(&found.shape()))
        };
        is_there.then(|| self.tensor(name, shape, init)).transpose()
    }

    /// Takes the first of `others` that the checkpoint has for the parameter `name` where it lacks that: parameters that are tied
    /// may be stored under any of their names.
    pub fn stored_as(&self, name: &str, others: &[&str]) {
        let path = self.join(name);
        if let Some(tensors) = &mut self.loader.0.borrow_mut().checkpoint
            && !tensors.contains_key(&path)
            && let Some(found) = others.iter().find_map(|other| tensors.remove(*other))
        {
            tensors.insert(path, found);
        }
    }

    /// `make()`, unless the checkpoint will be refused: then a stand-in of the same shape, which costs no memory however absurd it is.
    pub fn derived(&self, shape: &[usize], make: impl FnOnce() -> Result<Tensor>) -> Result<Tensor> {
        if self.loader.0.borrow().is_refused() { stand_in(shape) } else { make() }
    }

    /// The name that users see.
    fn shown(&self, path: &str) -> String {
        if self.base.is_empty() { path.into() } else { format!("{}.{path}", self.base) }
    }

    /// Whether so much is missing that looking further would only lengthen the list.
    pub fn is_hopeless(&self) -> bool {
        self.loader.0.borrow().loaded.report.missing.len() >= ENOUGH
    }

    fn join(&self, name: &str) -> String {
        match (self.path.as_str(), name) {
            ("", only) | (only, "") => only.into(),
            (path, name) => format!("{path}.{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture;

    fn checkpoint(tensors: &[(&str, &[usize])]) -> Loader {
        let tensors = tensors
            .iter()
            .map(|(name, shape)| (name.to_string(), Tensor::zeros(shape).unwrap().into()))
            .collect();
        let checkpoint = Checkpoint { place: "here".into(), tensors };
        Loader::from_checkpoint(checkpoint, architecture::find("bert").unwrap(), &LoadOptions::default())
    }

    #[test]
    fn everything_that_does_not_fit_is_listed_together() {
        let loader =
            checkpoint(&[("bert.a.weight", &[2, 3]), ("c", &[1]), ("embeddings.position_ids", &[1, 4])]);
        let scope = loader.root();
        scope.at("a").tensor("weight", &[3, 2], Init::Normal).unwrap();
        scope.at("b").tensor("bias", &[3], Init::Zeros).unwrap();
        scope.at("pooler").drawn_if_missing().tensor("weight", &[3], Init::Ones).unwrap();
        let message = loader.finish().unwrap_err().to_string();
        for part in ["a.weight", "[2, 3]", "[3, 2]", "missing: b.bias", "unexpected: c", "here"] {
            assert!(message.contains(part), "{part} is not in {message}");
        }
        assert!(!message.contains("pooler") && !message.contains("position_ids"), "{message}");
    }

    #[test]
    fn what_may_be_missing_is_drawn_and_said() {
        let loader = checkpoint(&[("x.LayerNorm.gamma", &[3])]);
        loader.root().at("x.LayerNorm").tensor("weight", &[3], Init::Ones).unwrap();
        loader.root().at("pooler").drawn_if_missing().tensor("weight", &[3], Init::Ones).unwrap();
        let Loaded { parameters, report, .. } = loader.finish().unwrap();
        assert_eq!(parameters.len(), 2);
        assert_eq!(report.drawn, ["pooler.weight"]);
        assert_eq!(report.missing, ["pooler.weight"]);
    }
}

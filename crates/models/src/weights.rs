//! What can be done to the weights of a model that is loaded.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use trustformers_tensor::autograd::no_grad;
use trustformers_tensor::{DType, Device, Tensor, ops};

use crate::checkpoint::{Checkpoint, Loaded, Loader, Resize, save_checkpoint};
use crate::heads::Head;
use crate::{Config, Error, LoadOptions, LowRank, Model, Order, Parameter, Result};

/// What to do about blocks that are in the way.
const EXPAND: &str = "expand the model first, with to(dtype=\"float32\")";

/// What a state dict and a model do not have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Incompatible {
    /// Parameters that the state dict lacks.
    pub missing: Vec<String>,
    /// Tensors that the model has no use for.
    pub unexpected: Vec<String>,
}

impl Model {
    /// Every parameter under all of its names.
    pub fn state_dict(&self) -> impl Iterator<Item = &(String, Parameter)> {
        self.named_parameters().iter().chain(self.tied_parameters())
    }

    /// Copies tensors into the parameters of the same names, converted to their dtype. A parameter that has several names needs to be
    /// there under one.
    ///
    /// # Errors
    /// `StateDict` for shapes that do not fit, for parameters in blocks, and, if it is `strict`, for names that are missing or
    /// unexpected. Nothing is copied then.
    pub fn load_state_dict(&self, tensors: &BTreeMap<String, Tensor>, strict: bool) -> Result<Incompatible> {
        let mut unexpected: Vec<String> = tensors.keys().cloned().collect();
        let (mut missing, mut problems, mut copies) = (Vec::new(), Vec::new(), Vec::new());
        let given = |name: &str| tensors.get(name);
        for (name, parameter) in self.state_dict() {
            let Some(tensor) = given(name) else {
                let is_it = |(other, tensor): &&(String, Parameter)| other != name && tensor.is(parameter);
                if !self.state_dict().filter(is_it).any(|(other, _)| given(other).is_some()) {
                    missing.push(name.clone());
                }
                continue;
            };
            unexpected.retain(|other| other != name);
            match parameter.dense() {
                None => problems.push(format!("{name} is quantized, and so cannot be copied into: {EXPAND}")),
                Some(parameter) if tensor.shape() == parameter.shape() => copies.push((parameter, tensor)),
                Some(parameter) => problems.push(format!(
                    "size mismatch for {name}: copying a param with shape {:?} from checkpoint, the shape in current model is {:?}.",
                    tensor.shape(),
                    parameter.shape()
                )),
            }
        }
        if strict {
            let listed = |names: &[String]| format!("{}. ", names.join(", "));
            if !missing.is_empty() {
                problems.insert(0, format!("Missing key(s) in state_dict: {}", listed(&missing)));
            }
            if !unexpected.is_empty() {
                problems.insert(0, format!("Unexpected key(s) in state_dict: {}", listed(&unexpected)));
            }
        }
        if !problems.is_empty() {
            return Err(Error::StateDict { class: self.class().name, problems: problems.join("\n\t") });
        }
        no_grad(|| copies.iter().try_for_each(|(parameter, tensor)| parameter.detach().copy_(*tensor)))?;
        Ok(Incompatible { missing, unexpected })
    }

    /// A model of the same class with some weights replaced, for a configuration that they fit. Weights are shared, not copied.
    ///
    /// # Errors
    /// `Mismatch` when the weights do not fit the configuration, `Config` when it has impossible values.
    pub fn with_tensors(&self, replaced: BTreeMap<String, Tensor>, config: Config) -> Result<Model> {
        self.adapted(replaced, BTreeMap::new(), config)
    }

    /// [`Model::with_tensors`] with something `added` to linear layers, by their names.
    ///
    /// # Errors
    /// As [`Model::with_tensors`]; `Input` for what is added to no linear layer, or does not fit one.
    pub fn adapted(
        &self,
        replaced: BTreeMap<String, Tensor>,
        added: BTreeMap<String, Vec<LowRank>>,
        config: Config,
    ) -> Result<Model> {
        let mut tensors: BTreeMap<String, Parameter> = self.named_parameters().iter().cloned().collect();
        let is_interleaved =
            |parameter: &Parameter| matches!(parameter, Parameter::Quantized(_, Order::Interleaved(_)));
        if replaced.keys().any(|name| tensors.get(name).is_some_and(is_interleaved)) {
            // What replaces one of them is in transformers' order, and so must be the others.
            tensors
                .values_mut()
                .try_for_each(|parameter| parameter.in_order().map(|new| *parameter = new))?;
        }
        // A further name goes with what it names, and is there for a configuration that unties the two.
        let stays = |parameter: &Parameter| {
            !self.name_of(parameter.memory()).is_some_and(|owner| replaced.contains_key(owner))
        };
        tensors.extend(self.tied_parameters().iter().filter(|(_, parameter)| stays(parameter)).cloned());
        tensors.extend(replaced.into_iter().map(|(name, tensor)| (name, tensor.into())));
        self.rebuilt(config, tensors, |loader| loader.adding(added))
    }

    /// A model of the same class and the same weights for another configuration. Weights are shared, not copied.
    ///
    /// # Errors
    /// As [`Model::with_tensors`].
    pub fn with_config(&self, config: Config) -> Result<Model> {
        self.with_tensors(BTreeMap::new(), config)
    }

    /// The same model with its weights converted to a dtype. Blocks are expanded.
    pub fn to_dtype(&self, dtype: DType) -> Result<Model> {
        self.mapped(|_, parameter| match parameter.dtype().is_float() {
            true => Ok(parameter.tensor()?.to_dtype(dtype)?.into()),
            false => Ok(parameter.clone()),
        })
    }

    /// The same model with its weights on a device, blocks as they are. Those that are there already are shared.
    ///
    /// # Errors
    /// `Tensor` with what the device says, `OutOfDeviceMemory` for instance.
    pub fn to_device(&self, device: Device) -> Result<Model> {
        self.placed(|_| device)
    }

    /// The same model with each weight on the device that is said for its name. Layers work where their weights are, and what goes from
    /// one to the next is brought there.
    ///
    /// # Errors
    /// As for [`Model::to_device`].
    pub fn placed(&self, device: impl Fn(&str) -> Device) -> Result<Model> {
        self.mapped(|name, parameter| parameter.to_device(device(name)))
    }

    /// The same model with weights of its own.
    pub fn copy(&self) -> Result<Model> {
        self.mapped(|_, parameter| parameter.copy())
    }

    /// The model without its head, which shares its weights.
    pub fn base(&self) -> Result<Model> {
        let prefix = self.class().base;
        let inner = |name: &str| -> Option<String> {
            match prefix.is_empty() {
                true => Some(name.to_owned()),
                false => name.strip_prefix(prefix)?.strip_prefix('.').map(str::to_owned),
            }
        };
        let tensors = |all: &[(String, Parameter)]| {
            all.iter().filter_map(|(name, tensor)| Some((inner(name)?, tensor.clone()))).collect()
        };
        let names = |all: &[String]| all.iter().filter_map(|name| inner(name)).collect();
        let loaded = Loaded {
            parameters: tensors(&self.loaded.parameters),
            tied: tensors(&self.loaded.tied),
            embeddings: names(&self.loaded.embeddings),
            buffers: names(&self.loaded.buffers),
            report: Default::default(),
        };
        Ok(Model {
            config: self.config.clone(),
            class: &self.config.architecture()?.classes[0],
            network: self.network.clone(),
            head: Arc::new(Head::Bare),
            has_pooler: self.network.has_pooler(),
            loaded,
        })
    }

    /// The name of the table of word embeddings (tokens, width).
    pub fn input_embeddings(&self) -> Result<&str> {
        let words = self.network.last_stack().word_embeddings();
        self.name_of(words.memory()).ok_or_else(|| Error::Input("this model has no word embeddings".into()))
    }

    /// The name of the matrix (tokens, width) of a language model's head, and of its bias if it has one.
    pub fn output_embeddings(&self) -> Option<(&str, Option<&str>)> {
        let (matrix, bias) = self.head.output_embeddings()?;
        // What is another module's too has its name in the head as a further one.
        let name = |memory: &Tensor| {
            let tied = self.loaded.tied.iter().rev().find(|(_, parameter)| parameter.memory().is(memory));
            tied.map(|(name, _)| name.as_str()).or_else(|| self.name_of(memory))
        };
        Some((name(matrix)?, bias.and_then(name)))
    }

    /// A model with another number of tokens: rows are cut off, or added as `mean` says; see [`Resize`].
    ///
    /// # Errors
    /// `Config` for no tokens at all, `Input` for a table in blocks.
    pub fn resize_token_embeddings(&self, tokens: usize, mean: bool, seed: u64) -> Result<Model> {
        let mut config = self.config().clone();
        config.set("vocab_size", Value::from(tokens));
        let words = self.network.last_stack().word_embeddings();
        if words.dense().is_none() {
            return Err(Error::Input(format!(
                "the word embeddings are quantized, and so have no other size: {EXPAND}"
            )));
        }
        let from = words.shape()[0];
        let resize = Resize { from, to: tokens, mean };
        let tensors = self.state_dict().cloned().collect();
        self.rebuilt(config, tensors, |loader| loader.resizing(resize, seed))
    }

    /// Writes weights and configuration into a folder, as transformers' `save_pretrained` does; see [`save_checkpoint`]. What is kept in
    /// blocks is written as the numbers that they stand for.
    ///
    /// # Errors
    /// `Save` when a file cannot be written, `Input` for a variant that is no part of a name.
    pub fn save(&self, folder: &Path, max_shard_size: u64, variant: Option<&str>) -> Result<()> {
        self.save_weights(folder, max_shard_size, variant)?;
        let mut config = self.config().clone();
        config.set("architectures", vec![self.class().name].into());
        config.set("dtype", self.dtype().name().into());
        config.save(folder)
    }

    /// Writes the weights alone; see [`Model::save`].
    ///
    /// # Errors
    /// As [`Model::save`].
    pub fn save_weights(&self, folder: &Path, max_shard_size: u64, variant: Option<&str>) -> Result<()> {
        let parameters = self.named_parameters().to_vec();
        let count = parameters.iter().map(|(_, parameter)| parameter.numel()).sum();
        save_checkpoint(folder, parameters, count, max_shard_size, variant).map(drop)
    }

    /// The same model with every parameter changed by `change`; what asked for a gradient asks again.
    fn mapped(&self, change: impl Fn(&str, &Parameter) -> Result<Parameter>) -> Result<Model> {
        let changed = |(name, parameter): &(String, Parameter)| -> Result<(String, Parameter)> {
            let Some(tensor) = parameter.dense() else { return Ok((name.clone(), change(name, parameter)?)) };
            let changed = no_grad(|| change(name, &tensor.detach().into()))?;
            changed.memory().set_requires_grad_as(tensor)?;
            Ok((name.clone(), changed))
        };
        let together = self.together();
        let mut tensors = Vec::with_capacity(self.named_parameters().len());
        for (place, parameter) in self.named_parameters().iter().enumerate() {
            tensors.push(changed(parameter)?);
            if let Some(places) = together.get(&place) {
                self.join(places, &mut tensors)?;
            }
        }
        self.rebuilt(self.config().clone(), tensors.into_iter().collect(), |loader| loader)
    }

    /// The places of parameters that are multiplied with together, by the last of them.
    fn together(&self) -> HashMap<usize, Vec<usize>> {
        let place = |part: &Tensor| self.named_parameters().iter().position(|(_, one)| one.memory().is(part));
        let several = self.network.products().filter(|parts| parts.len() > 1);
        let places = several.filter_map(|parts| parts.iter().map(place).collect::<Option<Vec<_>>>());
        places.filter_map(|places| Some((*places.iter().max()?, places))).collect()
    }

    /// Puts parameters that are multiplied with together, query, key and value for instance, side by side where they have just come to a GPU:
    /// one product of all takes a launch, and fills the GPU better than each alone. What was there already stays, as it may be another model's
    /// too.
    fn join(&self, places: &[usize], tensors: &mut [(String, Parameter)]) -> Result<()> {
        let dense = |all: &[(String, Parameter)]| -> Option<Vec<Tensor>> {
            places.iter().map(|&place| all[place].1.dense().cloned()).collect()
        };
        let (Some(old), Some(new)) = (dense(self.named_parameters()), dense(tensors)) else { return Ok(()) };
        let kind = |matrix: &Tensor| (matrix.dtype(), matrix.device(), matrix.shape().get(1).copied());
        let are_alike = new.iter().all(|matrix| kind(matrix) == kind(&new[0]));
        let are_new = new.iter().zip(&old).all(|(new, old)| !new.shares_storage(old));
        if are_alike && are_new && matches!(new[0].device(), Device::Cuda(_)) {
            let neighbours = ops::neighbours(&new.iter().collect::<Vec<_>>())?;
            for ((&place, neighbour), old) in places.iter().zip(neighbours).zip(&old) {
                neighbour.set_requires_grad_as(old)?;
                tensors[place].1 = neighbour.into();
            }
        }
        Ok(())
    }

    fn rebuilt(
        &self,
        config: Config,
        tensors: BTreeMap<String, Parameter>,
        prepare: impl FnOnce(Loader) -> Loader,
    ) -> Result<Model> {
        let options = LoadOptions {
            class: Some(self.class().name.into()),
            pooler: self.has_pooler,
            ..LoadOptions::default()
        };
        let report = self.report().clone();
        let checkpoint =
            Checkpoint { place: report.place.clone(), tensors }.without_prefix(self.class().base);
        let loader = Loader::from_checkpoint(checkpoint, config.architecture()?, &options);
        let loader = prepare(loader).padded(self.network.last_stack().padding());
        let mut model = Model::load(config, loader, &options)?;
        model.loaded.report = report;
        Ok(model)
    }

    /// The name of the parameter that lies in `memory`.
    fn name_of(&self, memory: &Tensor) -> Option<&str> {
        self.state_dict().find(|(_, parameter)| parameter.memory().is(memory)).map(|(name, _)| name.as_str())
    }
}

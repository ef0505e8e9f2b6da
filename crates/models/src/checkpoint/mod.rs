//! Checkpoints: files of named tensors, and the strict fitting of them to a model.

mod bin;
mod files;
mod gguf;
mod loader;
mod mapping;
mod quantization;
mod resize;
mod safetensors;
mod save;
mod shards;

use std::collections::BTreeMap;
use std::path::Path;

use trustformers_hub::Repo;
use trustformers_tensor::Tensor;

use self::files::{Files, Index};
use crate::{Error, Parameter, Result};

pub use bin::load_bin;
pub use gguf::gguf_file;
pub use loader::{Init, Loaded, Loader, Mismatch, Report, Scope};
pub use quantization::Quantization;
pub use resize::Resize;
pub use safetensors::MappedFile;
pub(crate) use save::replace;
pub use save::save_file;
pub use shards::{parse_size, save_checkpoint};

/// All tensors of a model's files by their names there, mapped.
pub struct Checkpoint {
    /// Where the files are, for messages.
    pub place: String,
    /// Name to tensor, as the files have it.
    pub tensors: BTreeMap<String, Parameter>,
}

impl Checkpoint {
    /// Opens the weights of a folder or repository: `model.safetensors`, the shards that its index names, `pytorch_model.bin`, or the
    /// shards of that. `variant` `fp16` is for `model.fp16.safetensors`; `use_safetensors` asks for safetensors or for `.bin` only.
    ///
    /// # Errors
    /// `NoWeights` when there are none, `Weights` or `Bin` for a file that is damaged or refused, `Json` or `Shards` for an index that
    /// is broken or promises what is not there, or what the hub says.
    pub fn from_repo(
        repo: &Repo,
        variant: Option<&str>,
        use_safetensors: Option<bool>,
    ) -> Result<Checkpoint> {
        let files = Files::find(repo, variant, use_safetensors)?;
        let mut tensors = BTreeMap::new();
        for file in &files.paths {
            for (name, tensor) in load(file)? {
                if tensors.insert(name.clone(), tensor.into()).is_some() {
                    let path = files.index.map_or_else(|| file.clone(), |index| index.path);
                    let reason = format!("{name} is in two of the shards that it names");
                    return Err(Error::Shards { path, reason });
                }
            }
        }
        if let Some(Index { path, shards }) = files.index
            && let Some((name, shard)) = shards.into_iter().find(|(name, _)| !tensors.contains_key(name))
        {
            let reason = format!("it says that {shard} holds {name}, and it does not");
            return Err(Error::Shards { path, reason });
        }
        Ok(Checkpoint { place: repo.name().into(), tensors })
    }

    /// Whether there are floats of several dtypes.
    pub(crate) fn is_mixed(&self) -> bool {
        let dense = self.tensors.values().filter_map(Parameter::dense);
        let mut dtypes = dense.map(Tensor::dtype).filter(|dtype| dtype.is_float());
        dtypes.next().is_some_and(|first| dtypes.any(|dtype| dtype != first))
    }

    /// The same tensors, whose names no longer begin with `prefix` and a dot.
    pub fn without_prefix(self, prefix: &str) -> Checkpoint {
        let rename = |name: String| {
            let inner = name.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('.'));
            inner.map(str::to_owned).unwrap_or(name)
        };
        let tensors = self.tensors.into_iter().map(|(name, tensor)| (rename(name), tensor)).collect();
        Checkpoint { place: self.place, tensors }
    }
}

/// The tensors of a file, whose name says the format.
fn load(path: &Path) -> Result<Vec<(String, Tensor)>> {
    match path.extension() {
        Some(extension) if extension == "safetensors" => MappedFile::open(path)?.tensors(),
        _ => load_bin(path),
    }
}

//! Checkpoints: files of named tensors, and the strict fitting of them to a model.

mod loader;
mod mapped;
mod random;
mod save;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use trustformers_hub::Repo;
use trustformers_tensor::Tensor;

use crate::{Error, Result};

pub use loader::{Init, Loader, Mismatch, Report, Scope};
pub use mapped::MappedFile;
pub use save::save_file;

/// All tensors of a model's files by their names there, mapped.
pub struct Checkpoint {
    /// Where the files are, for messages.
    pub place: String,
    /// Name to tensor, in the files' dtypes.
    pub tensors: BTreeMap<String, Tensor>,
}

impl Checkpoint {
    /// Opens the safetensors of a folder or repository: `model.safetensors`, or the shards that its index names.
    ///
    /// # Errors
    /// `NoWeights` when neither is there, `Weights` for a damaged file, `Json` for a broken index, or what the hub says.
    pub fn from_repo(repo: &Repo, variant: Option<&str>) -> Result<Checkpoint> {
        let infix = variant.map(|variant| format!(".{variant}")).unwrap_or_default();
        let single = format!("model{infix}.safetensors");
        let index = format!("model.safetensors.index{infix}.json");
        let mut tensors = BTreeMap::new();
        let mut promised = BTreeMap::new();
        let files = if let Some(path) = repo.file(&single)? {
            vec![path]
        } else if let Some(index) = repo.file(&index)? {
            promised = shards(&index)?;
            let shards: BTreeSet<&String> = promised.values().collect();
            shards.into_iter().map(|shard| Ok(repo.require(shard)?)).collect::<Result<_>>()?
        } else {
            let remedy = match repo.file("pytorch_model.bin")? {
                Some(_) => {
                    "There is a pytorch_model.bin, which is not read: convert it with transformers' \
                     `model.save_pretrained(folder, safe_serialization=True)`"
                }
                None => "Give a folder or repository that holds the model's weights as safetensors",
            };
            let looked_for = format!("{single} or {index}");
            return Err(Error::NoWeights { looked_for, place: repo.name().into(), remedy });
        };
        for path in files {
            let file = MappedFile::open(&path)?;
            for (name, tensor) in file.tensors()? {
                if tensors.insert(name.clone(), tensor).is_some() {
                    return Err(Error::Weights {
                        path,
                        reason: format!("the tensor {name} is in two shards"),
                    });
                }
            }
        }
        if let Some((name, shard)) = promised.into_iter().find(|(name, _)| !tensors.contains_key(name)) {
            let reason = format!("the index says that it holds {name}, and it does not");
            return Err(Error::Weights { path: repo.require(&shard)?, reason });
        }
        Ok(Checkpoint { place: repo.name().into(), tensors })
    }
}

/// An index: for each tensor the file that holds it, a plain name beside the index.
fn shards(index: &PathBuf) -> Result<BTreeMap<String, String>> {
    let broken = |reason: String| Error::Json { path: index.clone(), reason };
    let text = fs::read(index).map_err(|source| Error::Io { path: index.clone(), source })?;
    let index: Value = serde_json::from_slice(&text).map_err(|error| broken(error.to_string()))?;
    let map = index.get("weight_map").and_then(Value::as_object);
    let map = map.ok_or_else(|| broken("it must hold an object `weight_map`".into()))?;
    map.iter()
        .map(|(tensor, file)| match file.as_str() {
            Some(file) if !file.is_empty() && !file.contains(['/', '\\']) && file != ".." => {
                Ok((tensor.clone(), file.to_owned()))
            }
            _ => Err(broken(format!(
                "the shard of {tensor} must be the name of a file beside the index, got {file}"
            ))),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_may_only_name_its_neighbours() {
        let folder = tempfile::tempdir().unwrap();
        let index = folder.path().join("model.safetensors.index.json");
        for (map, good) in [
            (r#"{"weight_map": {"a": "x.safetensors", "b": "y.safetensors", "c": "x.safetensors"}}"#, true),
            (r#"{"weight_map": {"a": "../x.safetensors"}}"#, false),
            (r#"{"weight_map": {"a": "/etc/passwd"}}"#, false),
            (r#"{"weight_map": {"a": ".."}}"#, false),
            (r#"{"weight_map": {"a": 1}}"#, false),
            (r#"{"weight_map": []}"#, false),
            (r"{", false),
        ] {
            fs::write(&index, map).unwrap();
            let found = shards(&index);
            assert_eq!(found.is_ok(), good, "{map}");
            if good {
                assert_eq!(found.unwrap()["b"], "y.safetensors");
            }
        }
    }
}

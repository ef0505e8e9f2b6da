//! Which files a checkpoint is made of.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;
use trustformers_hub::Repo;

use crate::{Error, Result};

/// An index of a million tensors is smaller.
const LARGEST_INDEX: u64 = 100_000_000;

/// The files of a checkpoint, and what an index promises of them.
pub(super) struct Files {
    pub paths: Vec<PathBuf>,
    pub index: Option<Index>,
}

/// `model.safetensors.index.json`: for each tensor the file that holds it.
pub(super) struct Index {
    pub path: PathBuf,
    pub shards: BTreeMap<String, String>,
}

impl Files {
    /// Finds them as transformers does: safetensors before `.bin`, one file before shards. `use_safetensors` asks for one of the formats.
    pub fn find(repo: &Repo, variant: Option<&str>, use_safetensors: Option<bool>) -> Result<Files> {
        let infix = variant.map(|variant| format!(".{variant}")).unwrap_or_default();
        let formats = [(true, "model", "safetensors"), (false, "pytorch_model", "bin")];
        let mut looked_for = Vec::new();
        for (safe, stem, extension) in formats {
            if use_safetensors == Some(!safe) {
                continue;
            }
            let single = format!("{stem}{infix}.{extension}");
            let index = format!("{stem}.{extension}.index{infix}.json");
            if let Some(path) = repo.file(&single)? {
                return Ok(Files { paths: vec![path], index: None });
            }
            if let Some(path) = repo.file(&index)? {
                let index = Index::read(path)?;
                return Ok(Files { paths: index.files(repo)?, index: Some(index) });
            }
            looked_for.extend([single, index]);
        }
        let other = |name: String| Ok::<_, Error>(repo.file(&name)?.is_some());
        let remedy = if variant.is_some()
            && (other("model.safetensors".into())? || other("pytorch_model.bin".into())?)
        {
            "There are weights without the variant: give variant=None to load them"
        } else if use_safetensors == Some(true) && other(format!("pytorch_model{infix}.bin"))? {
            "There is a pytorch_model.bin: do not set use_safetensors=True to load it"
        } else if use_safetensors == Some(false) && other(format!("model{infix}.safetensors"))? {
            "There is a model.safetensors: do not set use_safetensors=False to load it"
        } else {
            "Give a folder or repository that holds the model's weights"
        };
        Err(Error::NoWeights { looked_for: looked_for.join(", "), place: repo.name().into(), remedy })
    }
}

impl Index {
    fn read(path: PathBuf) -> Result<Index> {
        let shards = shards(&path)?;
        Ok(Index { path, shards })
    }

    /// Every shard once.
    fn files(&self, repo: &Repo) -> Result<Vec<PathBuf>> {
        let names: BTreeSet<&String> = self.shards.values().collect();
        names
            .into_iter()
            .map(|name| {
                repo.file(name)?.ok_or_else(|| Error::Shards {
                    path: self.path.clone(),
                    reason: format!("it names the shard {name}, which is not there: fetch it"),
                })
            })
            .collect()
    }
}

/// For each tensor the file that holds it, a plain name beside the index.
fn shards(path: &Path) -> Result<BTreeMap<String, String>> {
    let broken = |reason: String| Error::Json { path: path.into(), reason };
    let io = |source| Error::Io { path: path.into(), source };
    let mut text = Vec::new();
    File::open(path).map_err(io)?.take(LARGEST_INDEX).read_to_end(&mut text).map_err(io)?;
    if text.len() as u64 == LARGEST_INDEX {
        return Err(broken(format!("an index has less than {LARGEST_INDEX} bytes")));
    }
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
    use std::fs;

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

    #[test]
    fn files_are_preferred_as_transformers_prefers_them() {
        let folder = tempfile::tempdir().unwrap();
        let found = |use_safetensors, variant| {
            let repo = Repo::open(folder.path(), Default::default()).unwrap();
            let files = Files::find(&repo, variant, use_safetensors)?;
            Ok::<_, Error>(files.paths[0].file_name().unwrap().to_str().unwrap().to_owned())
        };
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        assert!(found(None, None).unwrap_err().to_string().contains("pytorch_model.bin.index.json"));
        write("b-00001-of-00001.bin", "");
        write("pytorch_model.bin.index.json", r#"{"weight_map": {"a": "b-00001-of-00001.bin"}}"#);
        assert_eq!(found(None, None).unwrap(), "b-00001-of-00001.bin");
        write("pytorch_model.bin", "");
        assert_eq!(found(None, None).unwrap(), "pytorch_model.bin");
        assert!(found(Some(true), None).unwrap_err().to_string().contains("use_safetensors=True"));
        write("s-00001-of-00001.safetensors", "");
        write("model.safetensors.index.json", r#"{"weight_map": {"a": "s-00001-of-00001.safetensors"}}"#);
        assert_eq!(found(None, None).unwrap(), "s-00001-of-00001.safetensors");
        write("model.safetensors", "");
        assert_eq!(found(None, None).unwrap(), "model.safetensors");
        assert_eq!(found(Some(false), None).unwrap(), "pytorch_model.bin");
        assert!(found(None, Some("fp16")).unwrap_err().to_string().contains("variant=None"));
        write("pytorch_model.fp16.bin", "");
        assert_eq!(found(None, Some("fp16")).unwrap(), "pytorch_model.fp16.bin");
    }

    #[test]
    fn a_missing_shard_is_named_with_its_index() {
        let folder = tempfile::tempdir().unwrap();
        let index = folder.path().join("model.safetensors.index.json");
        fs::write(&index, r#"{"weight_map": {"a": "gone.safetensors"}}"#).unwrap();
        let repo = Repo::open(folder.path(), Default::default()).unwrap();
        let message = Files::find(&repo, None, None).err().unwrap().to_string();
        assert!(message.contains("gone.safetensors") && message.contains("index.json"), "{message}");
    }
}

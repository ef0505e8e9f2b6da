//! Saving a model's weights as transformers does: one file, or shards with an index.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;

use super::save::{replace, save_file};
use crate::{Error, Parameter, Result};
use serde_json::json;

/// Writes `tensors` under the names given to `model.safetensors` in `folder`, which is made if need be; or, if they take more than
/// `max_shard_size` bytes, to `model-00001-of-0000N.safetensors` and an index. `variant` `fp16` makes it `model.fp16.safetensors`.
/// `parameters` is the model's number of parameters, which the index tells. Returns the names of the files.
///
/// Each file takes its place when it is complete. Files of an earlier save that these replace are removed at the end: its shards,
/// its index, and a single file beside new shards, which would be loaded before them.
///
/// # Errors
/// `Save` when a file cannot be written, `Input` for a variant that is no part of a name.
pub fn save_checkpoint(
    folder: &Path,
    tensors: Vec<(String, Parameter)>,
    parameters: usize,
    max_shard_size: u64,
    variant: Option<&str>,
) -> Result<Vec<String>> {
    let failed = |error: std::io::Error| Error::Save { path: folder.into(), reason: error.to_string() };
    if let Some(variant) = variant.filter(|variant| variant.contains(['/', '\\'])) {
        return Err(Error::Input(format!("variant={variant:?} is to be a part of a file's name")));
    }
    let infix = variant.map(|variant| format!(".{variant}")).unwrap_or_default();
    let stem = format!("model{infix}");
    let index = format!("model.safetensors.index{infix}.json");
    fs::create_dir_all(folder).map_err(failed)?;

    let shards = split(tensors, max_shard_size);
    let count = shards.len();
    let mut written = Vec::new();
    let mut total_size = 0;
    let mut weight_map = BTreeMap::new();
    for (number, shard) in (1..).zip(shards) {
        let name = match count {
            1 => format!("{stem}.safetensors"),
            _ => format!("{stem}-{number:05}-of-{count:05}.safetensors"),
        };
        total_size += shard.iter().map(|(_, tensor)| size(tensor)).sum::<u64>();
        weight_map.extend(shard.iter().map(|(tensor, _)| (tensor.clone(), name.clone())));
        save_file(&folder.join(&name), shard, Some([("format".into(), "pt".into())].into()))?;
        written.push(name);
    }
    if count > 1 {
        let content = json!({
            "metadata": {"total_parameters": parameters, "total_size": total_size},
            "weight_map": weight_map,
        });
        replace(&folder.join(&index), |file| writeln!(file, "{content:#}"))?;
        written.push(index.clone());
    }

    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let earlier = name == index || name.strip_prefix(&stem).is_some_and(is_weights);
        if earlier && !written.iter().any(|new| new == name) {
            fs::remove_file(entry.path()).map_err(failed)?;
        }
    }
    Ok(written)
}

/// Tensors in their order, as many to a shard as fit. One that is too large has a shard to itself, and those before and after it go on
/// filling theirs.
fn split(tensors: Vec<(String, Parameter)>, limit: u64) -> Vec<Vec<(String, Parameter)>> {
    let mut shards = Vec::new();
    let (mut shard, mut filled) = (Vec::new(), 0);
    for (name, tensor) in tensors {
        let size = size(&tensor);
        if size > limit {
            shards.push(vec![(name, tensor)]);
            continue;
        }
        if filled + size > limit {
            shards.push(std::mem::take(&mut shard));
            filled = 0;
        }
        filled += size;
        shard.push((name, tensor));
    }
    if !shard.is_empty() || shards.is_empty() {
        shards.push(shard);
    }
    shards
}

fn size(tensor: &Parameter) -> u64 {
    (tensor.numel() * tensor.dtype().size()) as u64
}

/// Whether a name ends, behind its stem, as that of a file of weights does: `.safetensors` or `-00001-of-00002.safetensors`.
fn is_weights(rest: &str) -> bool {
    let Some(rest) = rest.strip_suffix(".safetensors") else { return false };
    let number = |text: &str| text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    let shard = rest.strip_prefix('-').and_then(|rest| rest.split_once("-of-"));
    rest.is_empty() || shard.is_some_and(|(one, all)| number(one) && number(all))
}

/// Reads a size such as `5GB`: 5 times 10^9 bytes; `5GiB` is 5 times 2^30.
///
/// # Errors
/// `Input` for what is no size.
pub fn parse_size(text: &str) -> Result<u64> {
    let wrong = || {
        Error::Input(format!(
            "{text:?} is no size: give a number with a unit (KB, MB, GB, TB, KiB, MiB, GiB, TiB), such as \"5GB\""
        ))
    };
    let trimmed = text.trim();
    let digits = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
    let (number, unit) = trimmed.split_at(digits);
    let unit: f64 = match unit.trim().to_ascii_uppercase().as_str() {
        "KB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        "TB" => 1e12,
        "KIB" => 1024.0,
        "MIB" => 1_048_576.0,
        "GIB" => 1_073_741_824.0,
        "TIB" => 1_099_511_627_776.0,
        _ => return Err(wrong()),
    };
    Ok((number.parse::<f64>().map_err(|_| wrong())? * unit) as u64)
}

#[cfg(test)]
mod tests {
    use trustformers_hub::Repo;
    use trustformers_tensor::Tensor;

    use super::*;
    use crate::Checkpoint;

    /// Tensors of so many kilobytes, named a, b, c and so on.
    fn tensors(sizes: &[usize]) -> Vec<(String, Parameter)> {
        ('a'..)
            .zip(sizes)
            .map(|(name, size)| (name.to_string(), Tensor::zeros(&[size * 250]).unwrap().into()))
            .collect()
    }

    fn files(folder: &Path) -> Vec<String> {
        let names = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn shards_are_filled_as_transformers_fills_them() {
        let names = |sizes: &[usize]| {
            let shards = split(tensors(sizes), 10_000);
            let of = |shard: &Vec<(String, Parameter)>| shard.iter().map(|(name, _)| name.as_str()).collect();
            shards.iter().map(of).collect::<Vec<String>>()
        };
        assert_eq!(names(&[6, 6, 2, 6, 2, 2]), ["a", "bc", "def"]);
        assert_eq!(names(&[4, 11, 4, 10]), ["b", "ac", "d"]);
        assert_eq!(names(&[11, 12]), ["a", "b"]);
        assert_eq!(names(&[0, 10]), ["ab"]);
        assert_eq!(names(&[]), [""]);
    }

    #[test]
    fn what_is_saved_is_found_whatever_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let save = |sizes: &[usize], variant| {
            let count = sizes.iter().sum::<usize>() * 250;
            save_checkpoint(path, tensors(sizes), count, 10_000, variant).unwrap()
        };
        let found = |variant| {
            let repo = Repo::open(path, Default::default()).unwrap();
            Checkpoint::from_repo(&repo, variant, None).unwrap().tensors.len()
        };
        fs::write(path.join("model-of-mine.safetensors"), "").unwrap();
        assert_eq!(save(&[6, 2], None), ["model.safetensors"]);
        assert_eq!(found(None), 2);
        let shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
        assert_eq!(save(&[6, 6, 2], None)[..2], shards);
        assert_eq!(found(None), 3);
        save(&[6, 6], Some("fp16"));
        assert_eq!(found(Some("fp16")), 2);
        assert_eq!(
            files(path),
            [
                "model-00001-of-00002.safetensors",
                "model-00002-of-00002.safetensors",
                "model-of-mine.safetensors",
                "model.fp16-00001-of-00002.safetensors",
                "model.fp16-00002-of-00002.safetensors",
                "model.safetensors.index.fp16.json",
                "model.safetensors.index.json",
            ]
        );
        save(&[1], None);
        save(&[1], Some("fp16"));
        assert_eq!(files(path), ["model-of-mine.safetensors", "model.fp16.safetensors", "model.safetensors"]);
    }

    #[test]
    fn the_index_is_transformers() {
        let folder = tempfile::tempdir().unwrap();
        save_checkpoint(folder.path(), tensors(&[6, 6]), 3000, 10_000, None).unwrap();
        let index = fs::read_to_string(folder.path().join("model.safetensors.index.json")).unwrap();
        assert_eq!(
            index,
            r#"{
  "metadata": {
    "total_parameters": 3000,
    "total_size": 12000
  },
  "weight_map": {
    "a": "model-00001-of-00002.safetensors",
    "b": "model-00002-of-00002.safetensors"
  }
}
"#
        );
    }

    #[test]
    fn a_variant_cannot_lead_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        assert!(save_checkpoint(folder.path(), vec![], 0, 1, Some("/../../x")).is_err());
    }

    #[test]
    fn sizes() {
        for (text, size) in [
            ("5GB", 5_000_000_000),
            ("200MB", 200_000_000),
            ("1GiB", 1 << 30),
            (" 1.5 kb", 1500),
            ("2tb", 2_000_000_000_000),
        ] {
            assert_eq!(parse_size(text).unwrap(), size, "{text}");
        }
        for text in ["", "5", "GB", "5 apples", "-1GB", "1.2.3GB"] {
            assert!(parse_size(text).unwrap_err().to_string().contains("5GB"), "{text}");
        }
    }
}

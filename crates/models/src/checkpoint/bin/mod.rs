//! `pytorch_model.bin`: what torch.save writes, read without running what it says.

mod legacy;
mod pickle;
mod zip;

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::Path;

use trustformers_tensor::{DType, Tensor};

use self::pickle::{Object, Pickle, Storage, Value};
use self::zip::Archive;
use super::mapping::{Mapping, Run};
use crate::{Error, Result};

/// The tensors of a state dict that `torch.save` has written, by name. The file is mapped as a safetensors file is; views that share
/// a storage share it here. Entries that are no tensors are left out, as no parameter can be made of them.
///
/// # Errors
/// `Io` when it cannot be read; `LfsPointer` when it only says where the file is; `Bin` when it is damaged, when it is no state dict, or
/// when its pickle asks for anything but tensors and plain containers, which is named.
pub fn load_bin(path: &Path) -> Result<Vec<(String, Tensor)>> {
    let mapping = Mapping::open(path)?;
    let refused = |reason: String| Error::Bin { path: path.into(), reason };
    let file = mapping.bytes();
    let entry;
    let (pickle, places) = match file {
        [b'P', b'K', ..] => {
            let archive = Archive::open(file).map_err(refused)?;
            entry = state_dict(file, &archive).map_err(refused)?;
            let pickle = pickle::read(entry).map_err(refused)?;
            let places = pickle
                .storages()
                .filter_map(|&Storage { key, .. }| Some((key, archive.entry(&format!("data/{key}"))?)))
                .collect();
            (pickle, places)
        }
        [0x80, ..] => legacy::read(file).map_err(refused)?,
        _ if file.get(257..262) == Some(b"ustar") => {
            return Err(refused(
                "it is a tar archive, as PyTorch before 0.1.10 wrote them: load it with an old PyTorch and save it again".into(),
            ));
        }
        _ => {
            return Err(refused(
                "it is neither a zip archive nor a pickle, as torch.save writes them".into(),
            ));
        }
    };
    tensors(&mapping, &pickle, &places)
}

/// The bytes of the archive's pickle, if it is one of torch.save.
fn state_dict<'a>(file: &'a [u8], archive: &Archive) -> Result<&'a [u8], String> {
    let entry = |name| archive.entry(name).map(|place| &file[place]);
    if entry("constants.pkl").is_some() {
        return Err(
            "it is a TorchScript archive, which is a program: save the state_dict() of the model instead"
                .into(),
        );
    }
    match entry("byteorder") {
        None | Some(b"little") => {}
        Some(_) => return Err("it was written on a big-endian machine: save it again on another one".into()),
    }
    entry("data.pkl").ok_or_else(|| "it is a zip archive without the data.pkl that torch.save writes".into())
}

/// The tensors that the pickle describes, over the storages at these places.
fn tensors(
    mapping: &Mapping,
    pickle: &Pickle,
    places: &HashMap<&str, Range<usize>>,
) -> Result<Vec<(String, Tensor)>> {
    let refused = |reason: String| Error::Bin { path: mapping.path.clone(), reason };
    let Some(Object::Dict(pairs)) = pickle.object(pickle.value) else {
        return Err(refused("it holds no dictionary of tensors: save the state_dict() of the model".into()));
    };
    let mut runs: HashMap<(&str, DType), Run> = HashMap::new();
    let mut names = HashSet::new();
    let mut tensors = Vec::new();
    for &(name, value) in pairs {
        let Some(Object::Tensor(view)) = pickle.object(value) else { continue };
        let Value::Text(name) = name else {
            return Err(refused(format!("it holds a tensor whose name is no text but {name:?}")));
        };
        let (key, dtype) = (view.storage.key, view.dtype);
        let outside =
            || refused(format!("it is damaged: {name} lies outside its storage {key}, fetch it again"));
        let run = match runs.get(&(key, dtype)) {
            Some(run) => run.clone(),
            None => {
                let place = places.get(key).ok_or_else(outside)?.clone();
                let run = mapping.run(place, dtype)?.ok_or_else(outside)?;
                runs.insert((key, dtype), run.clone());
                run
            }
        };
        let tensor = run.view(view.offset, &view.shape, &view.strides)?.ok_or_else(outside)?;
        if !names.insert(name) {
            return Err(refused(format!("it holds two tensors named {name}")));
        }
        tensors.push((name.to_owned(), tensor));
    }
    // A training checkpoint: transformers finds none of the model's parameters in it either, and draws them all.
    if tensors.is_empty()
        && let Some((key, _)) = pairs.iter().find(|(_, value)| holds_tensors(pickle, *value))
    {
        return Err(refused(format!("its tensors lie under the key {key:?}: save that part alone")));
    }
    Ok(tensors)
}

fn holds_tensors(pickle: &Pickle, value: Value) -> bool {
    let tensor = |value| matches!(pickle.object(value), Some(Object::Tensor(_)));
    matches!(pickle.object(value), Some(Object::Dict(pairs)) if pairs.iter().any(|(_, value)| tensor(*value)))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;
    use crate::MappedFile;

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/torch").join(name)
    }

    fn loaded(name: &str) -> HashMap<String, Tensor> {
        load_bin(&fixture(name)).unwrap().into_iter().collect()
    }

    fn message(path: &Path) -> String {
        let message = load_bin(path).expect_err("the file was read").to_string();
        assert!(message.contains(&path.display().to_string()), "{message}");
        message
    }

    /// The error for a file with this content.
    fn message_for(content: &[u8]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pytorch_model.bin");
        fs::write(&path, content).unwrap();
        message(&path)
    }

    /// The fixture with each `old` replaced by a `new` of the same length.
    fn changed(old: &[u8], new: &[u8]) -> Vec<u8> {
        let mut file = fs::read(fixture("plain.bin")).unwrap();
        let mut found = 0;
        for at in 0..file.len() - old.len() {
            if file[at..].starts_with(old) {
                file[at..at + new.len()].copy_from_slice(new);
                found += 1;
            }
        }
        assert!(found > 0, "{old:?} is not in the file");
        file
    }

    #[test]
    fn tensors_are_those_that_torch_saved() {
        for (bin, expected) in [
            ("plain.bin", "plain"),
            ("plain.legacy.bin", "plain"),
            ("protocol4.bin", "plain"),
            ("parameters.bin", "parameters"),
            ("parameters.legacy.bin", "parameters"),
            ("dtypes.bin", "dtypes"),
            ("dtypes.legacy.bin", "dtypes"),
            ("views.bin", "views"),
            ("views.legacy.bin", "views"),
        ] {
            let found = loaded(bin);
            let expected =
                MappedFile::open(&fixture(&format!("{expected}.safetensors"))).unwrap().tensors().unwrap();
            assert_eq!(found.len(), expected.len(), "{bin}");
            for (name, expected) in expected {
                let found = &found[&name];
                assert_eq!(
                    (found.dtype(), found.shape()),
                    (expected.dtype(), expected.shape()),
                    "{bin}: {name}"
                );
                assert_eq!(found.to_bytes().unwrap(), expected.to_bytes().unwrap(), "{bin}: {name}");
            }
        }
    }

    #[test]
    fn views_share_the_file() {
        let tensors = loaded("views.bin");
        assert!(
            tensors["base"].shares_storage(&tensors["tied"]),
            "both are views of one storage of the file"
        );
        assert_eq!(tensors["base"].as_ptr(), tensors["tied"].as_ptr());
        assert_eq!(tensors["transposed"].layout().strides(), [1, 6]);
        assert_eq!(tensors["expanded"].layout().strides(), [0, 1]);
    }

    #[test]
    fn code_is_named_and_not_run() {
        for content in [
            fs::read(fixture("evil.bin")).unwrap(),
            changed(b"ccollections\nOrderedDict", b"cposix\nsystem\nNNNNNNNNNN"),
        ] {
            let message = message_for(&content);
            assert!(message.contains("`posix.system`"), "{message}");
        }
        assert!(!Path::new("ran").exists());
    }

    #[test]
    fn what_is_no_state_dict_is_said() {
        assert!(message(&fixture("training.bin")).contains("\"state_dict\""));
        assert!(message_for(b"\x80\x02K\x01.").contains("not of torch.save"));
        assert!(message_for(b"").contains("neither"));
        assert!(
            message_for(b"version https://git-lfs.github.com/spec/v1\noid sha256:00")
                .contains("git lfs pull")
        );
        assert!(message_for(&changed(b"data.pkl", b"code.pkl")).contains("data.pkl"));
        assert!(message_for(&changed(b"little", b"bigbig")).contains("big-endian"));
    }

    #[test]
    fn archives_that_lie_are_refused() {
        // The weight and the bias of the first layer are data/0 and data/1.
        assert!(message_for(&changed(b"plain/data/1", b"plain/data/0")).contains("two entries"));
        assert!(message_for(&changed(b"PK\x05\x06", b"PK\x05\x05")).contains("cut short"));
        assert!(message_for(&changed(b"PK\x01\x02", b"PK\x01\x03")).contains("damaged"));
        for name in ["plain.bin", "plain.legacy.bin"] {
            let whole = fs::read(fixture(name)).unwrap();
            for length in (0..whole.len()).rev().step_by(11) {
                message_for(&whole[..length]);
            }
        }
    }

    #[test]
    fn no_view_leaves_its_storage() {
        // The weight is a (2, 3) of strides (3, 1) from offset 0.
        let weight = b"QK\x00K\x02K\x03\x86";
        for view in [b"QK\x01K\x02K\x03\x86", b"QK\x00K\x03K\x03\x86", b"QK\x00K\x02K\x04\x86"] {
            let message = message_for(&changed(weight, view));
            assert!(message.contains("0.weight lies outside its storage"), "{message}");
        }
    }
}

//! Models in several files, as llama.cpp's `gguf-split` writes them: `name-00001-of-00003.gguf` and so on. The first says everything about
//! the model, and each holds some of its tensors.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;

use crate::{Error, File, Result};

/// The names of all files of the model that a file of this name is of, in order; the name alone if it is not one part of several.
pub fn part_names(name: &str) -> Vec<String> {
    match numbered(name) {
        Some((model, count)) => (1..=count).map(|number| part_name(model, number, count)).collect(),
        None => vec![name.to_owned()],
    }
}

fn part_name(model: &str, number: usize, count: usize) -> String {
    format!("{model}-{number:05}-of-{count:05}.gguf")
}

/// The name of the model in that of a part, and how many parts there are.
fn numbered(name: &str) -> Option<(&str, usize)> {
    let (rest, count) = name.strip_suffix(".gguf")?.rsplit_once("-of-")?;
    let (model, number) = rest.rsplit_once('-')?;
    let number_of = |text: &str| text.parse().ok().filter(|&number: &usize| text.len() == 5 && number > 0);
    number_of(number).and(number_of(count)).map(|count| (model, count))
}

impl File {
    /// Reads the header of the file at `path`, and those of the files beside it that hold the other tensors of its model, if it is the
    /// first of several.
    ///
    /// # Errors
    /// Those of [`File::open`], for each of the files; `Unsupported` if this is not the first; `Field` or `Damaged` if one is a part of
    /// another model, or tensors come twice or are missing.
    pub fn open_all(path: &Path) -> Result<File> {
        let mut file = File::open(path)?;
        let count = file.size("split.count")?.unwrap_or(1);
        if count <= 1 {
            return Ok(file);
        }
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        let names = part_names(name);
        if names.len() != count || names[0] != name {
            let model = numbered(name).map_or("NAME", |(model, _)| model);
            let first = part_name(model, 1, count);
            return Err(file
                .unsupported(format!("it is one part of {count}: open the first, which is called {first}")));
        }
        let mut known: BTreeSet<String> = file.tensors.iter().map(|tensor| tensor.name.clone()).collect();
        for (number, name) in names.iter().enumerate().skip(1) {
            let path = path.with_file_name(name);
            let mut part = File::open(&path)?;
            for (key, wanted) in [("split.no", number), ("split.count", count)] {
                if part.size(key)? != Some(wanted) {
                    return Err(part.wrong(key, format!("must be {wanted} in this part of the model")));
                }
            }
            for mut tensor in part.tensors.drain(..) {
                if !known.insert(tensor.name.clone()) {
                    let reason = format!("another part of the model has the tensor {} too", tensor.name);
                    return Err(Error::Damaged { path, reason });
                }
                tensor.part = number;
                file.tensors.push(tensor);
            }
            file.paths.push(path);
        }
        match file.size("split.tensors.count")? {
            Some(all) if all != file.tensors.len() => {
                let reason = format!("is {all}, and the parts hold {} tensors", file.tensors.len());
                Err(file.wrong("split.tensors.count", reason))
            }
            _ => Ok(file),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::testing::Builder;

    fn part(number: u32, count: u32, tensor: &str) -> Builder {
        Builder::default()
            .u32("split.no", number)
            .u32("split.count", count)
            .u32("split.tensors.count", 3)
            .tensor(tensor, &[4], 0, 0)
            .data(32)
    }

    /// The error about a model in three parts, or the names of its tensors with their parts.
    fn opened(parts: [Builder; 3], name: &str) -> std::result::Result<Vec<(String, usize)>, String> {
        let folder = tempfile::tempdir().unwrap();
        for (number, part) in parts.into_iter().enumerate() {
            fs::write(folder.path().join(part_name("m", number + 1, 3)), part.bytes()).unwrap();
        }
        let file = File::open_all(&folder.path().join(name)).map_err(|error| error.to_string())?;
        assert_eq!(file.paths().len(), 3);
        Ok(file.tensors().iter().map(|tensor| (tensor.name.clone(), tensor.part)).collect())
    }

    #[test]
    fn parts_are_one_model() {
        let found = opened([part(0, 3, "a"), part(1, 3, "b"), part(2, 3, "c")], "m-00001-of-00003.gguf");
        assert_eq!(found.unwrap(), [("a".into(), 0), ("b".into(), 1), ("c".into(), 2)]);
    }

    #[test]
    fn what_does_not_belong_together_is_named() {
        let first = "m-00001-of-00003.gguf";
        for (parts, name, words) in [
            ([part(0, 3, "a"), part(1, 3, "b"), part(2, 3, "c")], "m-00002-of-00003.gguf", first),
            ([part(0, 4, "a"), part(1, 3, "b"), part(2, 3, "c")], first, "m-00001-of-00004.gguf"),
            ([part(0, 3, "a"), part(2, 3, "b"), part(2, 3, "c")], first, "`split.no` must be 1"),
            ([part(0, 3, "a"), part(1, 2, "b"), part(2, 3, "c")], first, "`split.count` must be 3"),
            ([part(0, 3, "a"), part(1, 3, "b"), part(2, 3, "b")], first, "the tensor b too"),
            (
                [part(0, 3, "a"), part(1, 3, "b"), part(2, 3, "c").tensor("d", &[4], 0, 32).data(32)],
                first,
                "is 3",
            ),
        ] {
            let error = opened(parts, name).unwrap_err();
            assert!(error.contains(words), "{words}: {error}");
        }
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(first), part(0, 3, "a").bytes()).unwrap();
        let error = File::open_all(&folder.path().join(first)).unwrap_err().to_string();
        assert!(error.contains("m-00002-of-00003.gguf"), "{error}");
    }

    #[test]
    fn names_of_parts() {
        assert_eq!(
            part_names("a-b-00002-of-00002.gguf"),
            ["a-b-00001-of-00002.gguf", "a-b-00002-of-00002.gguf"]
        );
        for name in [
            "model.gguf",
            "a-1-of-2.gguf",
            "a-00001-of-00002.bin",
            "00001-of-00002.gguf",
            "a-0000x-of-00002.gguf",
        ] {
            assert_eq!(part_names(name), [name]);
        }
    }
}

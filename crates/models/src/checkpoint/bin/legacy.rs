//! The layout that torch.save had before version 1.6: pickles one after another (a magic number, a version, the machine, the state dict, the
//! keys of its storages), then the storages, each behind its length.

use std::collections::HashMap;
use std::ops::Range;

use super::pickle::{self, Object, Pickle, Value};

const MAGIC: &[u8] = &[0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/// Why it is refused, to follow the file's name.
type Result<T> = std::result::Result<T, String>;

/// The state dict, and where each storage lies in the file.
pub fn read(file: &[u8]) -> Result<(Pickle<'_>, HashMap<&str, Range<usize>>)> {
    let magic = pickle::read(file)?;
    if magic.value != Value::Long(MAGIC) {
        return Err("it is a pickle, but not of torch.save".into());
    }
    let version = pickle::read(magic.rest)?;
    if version.value != Value::Int(1001) {
        return Err(format!("it has the version {:?} of torch.save's format, not 1001", version.value));
    }
    let machine = pickle::read(version.rest)?;
    if let Some(Object::Dict(pairs)) = machine.object(machine.value)
        && pairs.contains(&(Value::Text("little_endian"), Value::Bool(false)))
    {
        return Err("it was written on a big-endian machine: save it again on another one".into());
    }
    let state = pickle::read(machine.rest)?;
    let keys = pickle::read(state.rest)?;
    let Some(Object::List(order)) = keys.object(keys.value) else {
        return Err("it is damaged: the keys of its storages are missing".into());
    };

    let wanted: HashMap<&str, _> = state.storages().map(|storage| (storage.key, storage)).collect();
    let mut places = HashMap::new();
    let mut at = file.len() - keys.rest.len();
    for key in order {
        let &Value::Text(key) = key else {
            return Err("it is damaged: the key of a storage is no text".into());
        };
        let damaged =
            || format!("it is damaged or cut short: the storage {key} lies outside the file, fetch it again");
        let storage = wanted.get(key).ok_or_else(damaged)?;
        let numel = file.get(at..).and_then(|bytes| bytes.first_chunk()).ok_or_else(damaged)?;
        let numel = usize::try_from(u64::from_le_bytes(*numel)).map_err(|_| damaged())?;
        let size = numel.checked_mul(storage.dtype.map_or(1, |dtype| dtype.size())).ok_or_else(damaged)?;
        let start = at + 8;
        at = start.checked_add(size).filter(|&end| end <= file.len()).ok_or_else(damaged)?;
        if places.insert(key, start..at).is_some() {
            return Err(format!("it is damaged: it has the storage {key} twice"));
        }
    }
    Ok((state, places))
}

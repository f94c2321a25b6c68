//! PyTorch's format before version 1.6: four pickles (a magic number, a version, the saving machine, the object), the
//! list of storages, and then each storage: the number of its elements in eight bytes, and the elements.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;

use super::pickle::{Pickle, Storage, Value, load};
use super::state::tensors;
use crate::contents::Contents;

/// The first pickle, the integer 0x1950a86a20f9469cfc6c in little-endian order.
const MAGIC: &[u8] = &[0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
/// The second pickle.
const VERSION: i64 = 1001;

/// Returns the tensors of a file.
///
/// # Errors
/// A message, if the file is truncated or malformed, or contains more than tensors and containers.
pub(super) fn read(bytes: &[u8]) -> Result<Contents, String> {
    let mut rest = bytes;
    let magic = next(&mut rest)?;
    if !matches!(magic.values.get(magic.root), Value::Long(MAGIC)) {
        return Err(
            "it is a pickle, expected one of torch.save; load it in Python and save it with torch.save".to_owned()
        );
    }
    let version = next(&mut rest)?;
    match version.values.get(version.root) {
        Value::Int(VERSION) => {}
        Value::Int(found) => return Err(format!("it has version {found} of the format, expected {VERSION}")),
        other => return Err(format!("the version of its format is {}, expected {VERSION}", other.kind())),
    }
    let machine = next(&mut rest)?;
    match machine.values.entry(machine.root, "little_endian").map(|id| machine.values.get(id)) {
        Some(Value::Bool(true)) => {}
        Some(Value::Bool(false)) => return Err("its numbers are big-endian, expected little-endian".to_owned()),
        _ => return Err("it lacks `little_endian`, the order of its bytes".to_owned()),
    }
    let pickle = next(&mut rest)?;
    let keys = next(&mut rest)?;
    let storages = storages(&pickle, &keys, rest, bytes.len() - rest.len())?;
    tensors(&pickle, |storage| place(&storages, storage))
}

/// Reads a pickle and removes it from `rest`.
fn next<'a>(rest: &mut &'a [u8]) -> Result<Pickle<'a>, String> {
    let pickle = load(rest)?;
    *rest = &rest[pickle.length..];
    Ok(pickle)
}

/// Returns the place of each storage, by its key. `rest` begins at position `start` of the file.
fn storages<'a>(
    pickle: &Pickle<'a>,
    keys: &Pickle<'a>,
    mut rest: &[u8],
    start: usize,
) -> Result<HashMap<&'a str, Range<usize>>, String> {
    let Value::List(order) = keys.values.get(keys.root) else {
        return Err("it lacks the list of its storages".to_owned());
    };
    let declared = declared(pickle)?;
    let (mut places, mut at) = (HashMap::new(), start);
    for id in order {
        let key = keys.values.str(*id, "the key of a storage")?;
        let storage = declared
            .get(key)
            .ok_or_else(|| format!("storage {} is listed, but nothing refers to it", key.escape_debug()))?;
        let (count, elements) = rest.split_first_chunk().ok_or_else(|| format!("storage {key} is truncated"))?;
        let (found, expected) = (u64::from_le_bytes(*count), storage.numel);
        if found != expected as u64 {
            return Err(format!("storage {key} has {found} elements, expected {expected}"));
        }
        let length = storage.bytes().filter(|length| *length <= elements.len());
        let length = length.ok_or_else(|| format!("storage {key} is truncated"))?;
        at += count.len();
        if places.insert(key, at..at + length).is_some() {
            return Err(format!("storage {key} is there twice"));
        }
        at += length;
        rest = &elements[length..];
    }
    Ok(places)
}

/// The number and the size of the elements of a storage, as the object declares them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Declared {
    numel: usize,
    width: usize,
}

impl Declared {
    fn of(storage: &Storage<'_>) -> Self {
        Self { numel: storage.numel, width: storage.dtype.map_or(1, |dtype| dtype.bitsize() / 8) }
    }

    fn bytes(self) -> Option<usize> {
        self.numel.checked_mul(self.width)
    }
}

/// Returns the storages of an object by key. All mentions of a storage must agree.
fn declared<'a>(pickle: &Pickle<'a>) -> Result<HashMap<&'a str, Declared>, String> {
    let mut all = HashMap::new();
    for value in pickle.values.iter() {
        let Value::Storage(storage) = value else { continue };
        match all.entry(storage.key) {
            Entry::Vacant(free) => drop(free.insert(Declared::of(storage))),
            Entry::Occupied(taken) if *taken.get() == Declared::of(storage) => {}
            Entry::Occupied(_) => return Err(format!("storage {} has two sizes", storage.key.escape_debug())),
        }
    }
    Ok(all)
}

/// Returns the bytes of a storage, or of the part of it that is meant.
fn place(places: &HashMap<&str, Range<usize>>, storage: &Storage<'_>) -> Result<Range<usize>, String> {
    let key = storage.key;
    let range = places.get(key).ok_or_else(|| format!("storage {} is missing", key.escape_debug()))?;
    let Some(part) = storage.part else { return Ok(range.clone()) };
    let width = Declared::of(storage).width;
    let end = part.start.checked_add(part.numel).filter(|end| *end <= storage.numel);
    let end = end.ok_or_else(|| format!("a part of storage {key} is outside it"))?;
    Ok(range.start + part.start * width..range.start + end * width)
}

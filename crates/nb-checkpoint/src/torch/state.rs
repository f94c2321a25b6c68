//! The state dict in a pickle: its tensors by name, with their places.

use std::collections::BTreeMap;
use std::ops::Range;

use super::pickle::{Id, Pickle, Storage, Tensor, Value, Values};
use crate::contents::{Contents, Entry, Place};
use crate::view::{Axis, Region, region};

/// The keys under which programs for training save a state dict beside other things.
const NESTED: [&str; 3] = ["state_dict", "model_state_dict", "model"];
/// The largest number of tensors of a state dict, and of dimensions of a tensor, which is PyTorch's.
const MAX_TENSORS: usize = 1 << 17;
const MAX_DIMENSIONS: usize = 64;
/// The number of ignored entries that a remark names.
const MAX_SHOWN: usize = 5;

/// Returns the tensors of a state dict, sorted by name. `place` returns the bytes of a storage in the file.
///
/// # Errors
/// A message, if the pickle is not a dict, if a name is there twice, or if a tensor is outside its storage.
pub(super) fn tensors(
    pickle: &Pickle<'_>,
    place: impl Fn(&Storage<'_>) -> Result<Range<usize>, String>,
) -> Result<Contents, String> {
    let values = &pickle.values;
    let (dict, mut remarks, mut ignored) = match nested(values, pickle.root) {
        Some(Nested { key, dict, beside }) => (dict, vec![format!("the state dict is under the key `{key}`")], beside),
        None => (pickle.root, Vec::new(), Vec::new()),
    };
    let Value::Dict(pairs) = values.get(dict) else {
        return Err(format!("it contains {}, expected a dict of tensors", values.get(dict).kind()));
    };
    let mut entries = BTreeMap::new();
    for (key, value) in pairs {
        let (Value::Str(name), Value::Tensor(tensor)) = (values.get(*key), values.get(*value)) else {
            ignored.push(*key);
            continue;
        };
        if entries.len() >= MAX_TENSORS {
            return Err(format!("it has more than {MAX_TENSORS} tensors"));
        }
        let named = |message: String| format!("tensor {} {message}", name.escape_debug());
        let entry = entry(values, name, tensor, &place).map_err(named)?;
        if entries.insert(*name, entry).is_some() {
            return Err(named("is there twice".to_owned()));
        }
    }
    if entries.is_empty() {
        return Err("it contains a dict without tensors, expected a state dict".to_owned());
    }
    remarks.extend(remark(values, &ignored));
    Ok(Contents { entries: entries.into_values().collect(), remarks })
}

/// A state dict under a key of another dict.
struct Nested {
    key: &'static str,
    dict: Id,
    /// The other keys.
    beside: Vec<Id>,
}

/// Returns the state dict that lies under a key of another dict.
fn nested(values: &Values<'_>, root: Id) -> Option<Nested> {
    let Value::Dict(pairs) = values.get(root) else { return None };
    let has_tensors = |id: Id| match values.get(id) {
        Value::Dict(pairs) => pairs.iter().any(|(_, value)| matches!(values.get(*value), Value::Tensor(_))),
        _ => false,
    };
    let found = |key: &'static str| values.entry(root, key).filter(|id| has_tensors(*id)).map(|id| (key, id));
    let (key, dict) = NESTED.into_iter().find_map(found)?;
    let beside = pairs.iter().map(|(key, _)| *key);
    let beside = beside.filter(|id| !matches!(values.get(*id), Value::Str(text) if *text == key)).collect();
    Some(Nested { key, dict, beside })
}

fn remark(values: &Values<'_>, ignored: &[Id]) -> Option<String> {
    let name = |id: &Id| match values.get(*id) {
        Value::Str(name) => name.escape_debug().to_string(),
        other => other.kind().to_owned(),
    };
    let shown = ignored.iter().take(MAX_SHOWN).map(name).collect::<Vec<_>>().join(", ");
    let more = if ignored.len() > MAX_SHOWN { ", …" } else { "" };
    (!ignored.is_empty())
        .then(|| format!("ignoring what is not in the state dict or not a tensor ({}): {shown}{more}", ignored.len()))
}

fn entry(
    values: &Values<'_>,
    name: &str,
    tensor: &Tensor<'_>,
    place: impl Fn(&Storage<'_>) -> Result<Range<usize>, String>,
) -> Result<Entry, String> {
    let (sizes, strides) = (values.tuple(tensor.size, "size")?, values.tuple(tensor.strides, "strides")?);
    if sizes.len() != strides.len() || sizes.len() > MAX_DIMENSIONS {
        let (sizes, strides) = (sizes.len(), strides.len());
        return Err(format!("has {sizes} dimensions and {strides} strides, expected as many of both, up to 64"));
    }
    let axis = |(size, stride): (&Id, &Id)| {
        let size = values.count(*size, "a dimension").map_err(|error| format!("is unusable: {error}"))?;
        let stride = values.count(*stride, "a stride").map_err(|error| format!("is unusable: {error}"))?;
        Ok::<_, String>(Axis { size, stride })
    };
    let axes = sizes.iter().zip(strides).map(axis).collect::<Result<Vec<_>, _>>()?;
    let storage = place(&tensor.storage).map_err(|error| format!("is unusable: {error}"))?;
    let place = match region(storage, tensor.dtype.bitsize() / 8, tensor.start, &axes)? {
        Region::Contiguous(range) => Place::Bytes(range),
        Region::Strided(view) => Place::View(view),
    };
    let shape = axes.iter().map(|axis| axis.size).collect();
    Ok(Entry { name: name.to_owned(), dtype: tensor.dtype, shape, place })
}

//! The results of the calls in a state dict, computed without running them.

use safetensors::Dtype;

use super::global::{Global, Rebuild};
use super::value::{Id, Part, Storage, Tensor, Value, Values};

/// The result of a call.
#[derive(Debug)]
pub(super) enum Outcome<'a> {
    New(Value<'a>),
    /// One of the arguments.
    Same(Id),
}

/// Returns the result of a call.
///
/// # Errors
/// A message, if the function is not one of a state dict or has other arguments.
pub(super) fn call<'a>(values: &Values<'a>, function: Id, args: Id) -> Result<Outcome<'a>, String> {
    let Value::Global(global) = values.get(function) else {
        return Err(format!("the pickle calls {}, expected a class or function", values.get(function).kind()));
    };
    let args = values.tuple(args, "the list of arguments of a call")?;
    match global.0 {
        Global::FromType => match args {
            [function, _class, args, _attributes] => rebuilt(values, *function, *args),
            _ => Err(arguments("_rebuild_from_type_v2", args)),
        },
        global => plain_call(values, global, args),
    }
}

/// Returns the result of the call inside `_rebuild_from_type_v2`, which is not another one of these.
fn rebuilt<'a>(values: &Values<'a>, function: Id, args: Id) -> Result<Outcome<'a>, String> {
    match values.get(function) {
        Value::Global(global) if matches!(global.0, Global::Rebuild(_) | Global::Parameter) => {
            plain_call(values, global.0, values.tuple(args, "the list of arguments of _rebuild_from_type_v2")?)
        }
        other => Err(format!("_rebuild_from_type_v2 gets {}, expected a function that makes a tensor", other.kind())),
    }
}

fn plain_call<'a>(values: &Values<'a>, global: Global, args: &[Id]) -> Result<Outcome<'a>, String> {
    match (global, args) {
        (Global::OrderedDict, []) => Ok(Outcome::New(Value::Dict(Vec::new()))),
        // Python 2 passes the entries as a list of lists.
        (Global::OrderedDict, [pairs]) => Ok(Outcome::New(Value::Dict(pairs_of(values, *pairs)?))),
        (Global::Plain(kind), _) => Ok(Outcome::New(Value::Other(kind))),
        (Global::Size, [size]) => values.tuple(*size, "the argument of torch.Size").map(|_| Outcome::Same(*size)),
        (Global::Rebuild(form), args) => tensor(values, form, args).map(|tensor| {
            let tensor = Box::new(tensor);
            Outcome::New(Value::Tensor(tensor))
        }),
        (Global::Parameter, [data, ..]) => match values.get(*data) {
            Value::Tensor(_) => Ok(Outcome::Same(*data)),
            other => Err(format!("_rebuild_parameter gets {}, expected a tensor", other.kind())),
        },
        (Global::FromType, _) => Err("_rebuild_from_type_v2 is nested".to_owned()),
        (global, args) => Err(arguments(&format!("{global:?}"), args)),
    }
}

fn arguments(name: &str, args: &[Id]) -> String {
    format!("{name} is called with {} arguments, expected another number", args.len())
}

fn pairs_of(values: &Values<'_>, list: Id) -> Result<Vec<(Id, Id)>, String> {
    let Value::List(items) = values.get(list) else {
        return Err(format!("OrderedDict gets {}, expected a list", values.get(list).kind()));
    };
    let pair = |item: &Id| match values.get(*item) {
        Value::List(pair) | Value::Tuple(pair) if pair.len() == 2 => Ok((pair[0], pair[1])),
        other => Err(format!("OrderedDict gets a list with {}, expected pairs", other.kind())),
    };
    items.iter().map(pair).collect()
}

/// Returns the tensor that one of the `_rebuild_tensor` functions makes.
fn tensor<'a>(values: &Values<'a>, form: Rebuild, args: &[Id]) -> Result<Tensor<'a>, String> {
    let ([storage, start, size, strides], options) = args
        .split_first_chunk()
        .ok_or_else(|| format!("_rebuild_tensor is called with {} arguments, expected 4 or more", args.len()))?;
    let Value::Storage(storage) = values.get(*storage) else {
        return Err(format!("_rebuild_tensor gets {}, expected a storage", values.get(*storage).kind()));
    };
    let (dtype, metadata) = match (form, options) {
        (Rebuild::Plain, []) | (Rebuild::Metadata, [_, _]) => (storage.dtype, None),
        (Rebuild::Metadata, [_, _, metadata]) => (storage.dtype, Some(*metadata)),
        (Rebuild::DtypeAndMetadata, [_, _, dtype, rest @ ..]) if rest.len() < 2 => {
            (Some(element_type(values, *dtype)?), rest.first().copied())
        }
        _ => return Err(arguments("_rebuild_tensor", args)),
    };
    // The metadata says that the numbers are conjugated or negated when they are read.
    match metadata.map(|id| values.get(id)) {
        None | Some(Value::None) => {}
        Some(Value::Dict(pairs)) if pairs.is_empty() => {}
        Some(_) => return Err("a tensor is a conjugated or negated view, expected plain numbers".to_owned()),
    }
    let dtype = dtype.ok_or("a tensor has an untyped storage and no type")?;
    let start = values.count(*start, "the offset of a tensor in its storage")?;
    values.tuple(*size, "the size of a tensor")?;
    values.tuple(*strides, "the strides of a tensor")?;
    Ok(Tensor { storage: (**storage).clone(), dtype, start, size: *size, strides: *strides })
}

fn element_type(values: &Values<'_>, id: Id) -> Result<Dtype, String> {
    match values.get(id) {
        Value::Global(global) if let Global::Dtype(dtype) = global.0 => Ok(dtype),
        other => Err(format!("the type of a tensor is {}, expected one such as torch.float32", other.kind())),
    }
}

/// Returns the storage that a persistent id names: `("storage", class, key, location, numel)`, in old files with the
/// part of the storage that is meant.
///
/// # Errors
/// A message, if it is anything else.
pub(super) fn storage<'a>(values: &Values<'a>, id: Id) -> Result<Storage<'a>, String> {
    let (kind, fields) = match values.tuple(id, "a persistent id")? {
        [kind, fields @ ..] => (values.str(*kind, "the kind of a persistent id")?, fields),
        [] => return Err("a persistent id is empty".to_owned()),
    };
    if kind == "module" {
        return Err("it saves the code of a module, expected only tensors and containers".to_owned());
    }
    let (class, key, numel, part) = match fields {
        [class, key, _location, numel] if kind == "storage" => (class, key, numel, None),
        [class, key, _location, numel, part] if kind == "storage" => (class, key, numel, Some(*part)),
        _ => return Err(format!("a persistent id is `{kind}` with {} fields, expected a storage", fields.len())),
    };
    let dtype = match values.get(*class) {
        Value::Global(global) if let Global::Storage(dtype) = global.0 => dtype,
        other => return Err(format!("the class of a storage is {}, expected one of torch's", other.kind())),
    };
    let part = match part {
        Some(part) if !matches!(values.get(part), Value::None) => Some(part_of(values, part)?),
        _ => None,
    };
    let key = values.str(*key, "the key of a storage")?;
    Ok(Storage { key, dtype, numel: values.count(*numel, "the number of elements of a storage")?, part })
}

fn part_of(values: &Values<'_>, id: Id) -> Result<Part, String> {
    let [_key, start, numel] = values.tuple(id, "the part of a storage")? else {
        return Err("the part of a storage has another number of fields, expected 3".to_owned());
    };
    let start = values.count(*start, "the start of a part of a storage")?;
    Ok(Part { start, numel: values.count(*numel, "the number of elements of a part of a storage")? })
}

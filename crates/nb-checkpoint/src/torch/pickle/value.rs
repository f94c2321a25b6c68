//! The values of a pickle. They refer to each other by number, so that sharing costs nothing and no depth of nesting
//! needs recursion.

use safetensors::Dtype;

use super::global::Global;

/// The number of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::torch) struct Id(pub(super) u32);

/// A value of a pickle.
#[derive(Debug)]
pub(in crate::torch) enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// An integer of more than 64 bits, in little-endian two's complement.
    Long(&'a [u8]),
    Str(&'a str),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Storage(Box<Storage<'a>>),
    Tensor(Box<Tensor<'a>>),
    Global(GlobalValue),
    /// A value that no tensor depends on, by the name of its kind.
    Other(&'static str),
}

/// A class or function. The pickle's other files need not know which.
#[derive(Debug, Clone, Copy)]
pub(in crate::torch) struct GlobalValue(pub(super) Global);

/// The numbers that tensors share, outside the pickle.
#[derive(Debug, Clone)]
pub(in crate::torch) struct Storage<'a> {
    /// Its name in the file.
    pub(in crate::torch) key: &'a str,
    /// The type of its elements; `None` for bytes.
    pub(in crate::torch) dtype: Option<Dtype>,
    /// The number of its elements.
    pub(in crate::torch) numel: usize,
    /// The part of the storage that is meant, in elements, which old files give.
    pub(in crate::torch) part: Option<Part>,
}

/// A part of a storage, in elements.
#[derive(Debug, Clone, Copy)]
pub(in crate::torch) struct Part {
    pub(in crate::torch) start: usize,
    pub(in crate::torch) numel: usize,
}

/// A tensor: a view of a storage.
#[derive(Debug)]
pub(in crate::torch) struct Tensor<'a> {
    pub(in crate::torch) storage: Storage<'a>,
    pub(in crate::torch) dtype: Dtype,
    /// The index of its first element in the storage.
    pub(in crate::torch) start: usize,
    /// The tuple of its dimensions.
    pub(in crate::torch) size: Id,
    /// The tuple of its strides, in elements.
    pub(in crate::torch) strides: Id,
}

/// The values of a pickle, by number.
#[derive(Debug)]
pub(in crate::torch) struct Values<'a>(pub(super) Vec<Value<'a>>);

impl<'a> Values<'a> {
    /// Returns the value with this number.
    pub(in crate::torch) fn get(&self, id: Id) -> &Value<'a> {
        &self.0[id.0 as usize] // numbers are only given to values that exist
    }

    /// Returns all values.
    pub(in crate::torch) fn iter(&self) -> impl Iterator<Item = &Value<'a>> {
        self.0.iter()
    }

    /// Returns the entries of a tuple.
    ///
    /// # Errors
    /// A message that names `what`, if the value is not a tuple.
    pub(in crate::torch) fn tuple(&self, id: Id, what: &str) -> Result<&[Id], String> {
        match self.get(id) {
            Value::Tuple(items) => Ok(items),
            other => Err(format!("{what} is {}, expected a tuple", other.kind())),
        }
    }

    /// Returns a size, an index or a count.
    ///
    /// # Errors
    /// A message that names `what`, if the value is not an integer of at least 0 or does not fit into memory.
    pub(in crate::torch) fn count(&self, id: Id, what: &str) -> Result<usize, String> {
        match self.get(id) {
            Value::Int(number) => {
                usize::try_from(*number).map_err(|_| format!("{what} is {number}, expected 0 or more"))
            }
            other => Err(format!("{what} is {}, expected an integer", other.kind())),
        }
    }

    /// Returns a string.
    ///
    /// # Errors
    /// A message that names `what`, if the value is not a string.
    pub(in crate::torch) fn str(&self, id: Id, what: &str) -> Result<&'a str, String> {
        match self.get(id) {
            Value::Str(text) => Ok(text),
            other => Err(format!("{what} is {}, expected a string", other.kind())),
        }
    }

    /// Returns the value of a key in a dict; `None` if the value is no dict or has no such key.
    pub(in crate::torch) fn entry(&self, dict: Id, key: &str) -> Option<Id> {
        let Value::Dict(pairs) = self.get(dict) else { return None };
        let is_key = |id: Id| matches!(self.get(id), Value::Str(found) if *found == key);
        pairs.iter().rev().find(|(found, _)| is_key(*found)).map(|(_, value)| *value)
    }
}

impl Value<'_> {
    /// Returns the kind of the value, for messages.
    pub(in crate::torch) fn kind(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool(_) => "a bool",
            Self::Int(_) => "an integer",
            Self::Long(_) => "an integer of more than 64 bits",
            Self::Str(_) => "a string",
            Self::Tuple(_) => "a tuple",
            Self::List(_) => "a list",
            Self::Dict(_) => "a dict",
            Self::Storage(_) => "a storage",
            Self::Tensor(_) => "a tensor",
            Self::Global(_) => "a class or function",
            Self::Other(kind) => kind,
        }
    }
}

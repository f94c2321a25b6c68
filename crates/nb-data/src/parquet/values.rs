//! The values of a column in a batch, row by row.

use std::borrow::Cow;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, BinaryViewArray, RecordBatch};
use arrow_schema::DataType;

use super::columns::Found;
use crate::read::{Reason, Value};

/// Returns true for types that [`Values`] can read.
pub(crate) fn is_readable(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(entry) => is_single(entry.data_type()),
        other => is_single(other),
    }
}

/// Returns true for types that [`Values`] can read, other than lists.
pub(crate) fn is_single(data_type: &DataType) -> bool {
    match data_type {
        other if is_text(other) => true,
        DataType::Boolean | DataType::Null => true,
        DataType::Float32 | DataType::Float64 => true,
        other => other.is_integer(),
    }
}

/// Returns true for texts, which some writers store as bytes without saying that they are texts.
pub(crate) fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8View | DataType::BinaryView)
}

/// Returns the bytes of texts.
///
/// The `parquet` crate checks that they are UTF-8 only if the file says so in one of several ways, and makes the same array
/// without the check if it says so in another. So nothing but these bytes may be taken from an array of texts.
pub(crate) fn bytes(array: &ArrayRef) -> Option<BinaryViewArray> {
    let texts = || Some(array.as_string_view_opt()?.clone().to_binary_view());
    array.as_binary_view_opt().cloned().or_else(texts)
}

/// Returns the numbers of an array of integers of any width; `None` for another array.
pub(crate) fn integers(array: &ArrayRef) -> Option<Vec<i128>> {
    match array.data_type() {
        DataType::Int8 => numbers::<Int8Type>(array),
        DataType::Int16 => numbers::<Int16Type>(array),
        DataType::Int32 => numbers::<Int32Type>(array),
        DataType::Int64 => numbers::<Int64Type>(array),
        DataType::UInt8 => numbers::<UInt8Type>(array),
        DataType::UInt16 => numbers::<UInt16Type>(array),
        DataType::UInt32 => numbers::<UInt32Type>(array),
        DataType::UInt64 => numbers::<UInt64Type>(array),
        _ => None,
    }
}

fn numbers<T: ArrowPrimitiveType<Native: Into<i128>>>(array: &ArrayRef) -> Option<Vec<i128>> {
    Some(array.as_primitive_opt::<T>()?.values().iter().map(|&number| number.into()).collect())
}

/// Returns the array of a column in a batch, and the structs around it, whose rows may be null.
pub(crate) fn array(batch: &RecordBatch, column: &Found) -> Option<(ArrayRef, Vec<ArrayRef>)> {
    let (first, rest) = column.names.split_first()?;
    let mut array = batch.column_by_name(first)?.clone();
    let mut around = Vec::new();
    for name in rest {
        let inner = array.as_struct_opt()?.column_by_name(name)?.clone();
        around.push(std::mem::replace(&mut array, inner));
    }
    Some((array, around))
}

/// The values of a column in a batch.
pub(crate) struct Values<'a> {
    kind: Kind<'a>,
    array: &'a ArrayRef,
    /// The structs around the column.
    around: &'a [ArrayRef],
    /// The names of labels that are stored as numbers.
    names: Option<&'a [String]>,
}

enum Kind<'a> {
    Text(BinaryViewArray),
    Whole(Vec<i128>),
    Real(Vec<f64>),
    Bool(&'a arrow_array::BooleanArray),
    List { offsets: &'a [i32], entries: Box<Values<'a>> },
    Missing,
}

impl<'a> Values<'a> {
    /// Returns the values of an array of a type that [`is_readable`].
    pub(crate) fn new(array: &'a ArrayRef, around: &'a [ArrayRef], names: Option<&'a [String]>) -> Self {
        let kind = match array.data_type() {
            DataType::Utf8View | DataType::BinaryView => bytes(array).map(Kind::Text),
            DataType::Boolean => array.as_boolean_opt().map(Kind::Bool),
            DataType::List(_) => array.as_list_opt::<i32>().map(|list| Kind::List {
                offsets: list.offsets(),
                entries: Box::new(Values::new(list.values(), &[], names)),
            }),
            DataType::Float32 => reals::<Float32Type>(array),
            DataType::Float64 => reals::<Float64Type>(array),
            _ => integers(array).map(Kind::Whole),
        };
        Self { kind: kind.unwrap_or(Kind::Missing), array, around, names }
    }

    /// Returns the value of a row, or the reason why the row cannot be used.
    pub(crate) fn get(&self, row: usize) -> Result<Value<'_>, Reason> {
        if self.array.is_null(row) || self.around.iter().any(|array| array.is_null(row)) {
            return Ok(Value::Missing);
        }
        Ok(match &self.kind {
            Kind::Text(texts) => {
                Value::Text(Cow::Borrowed(str::from_utf8(texts.value(row)).map_err(|_| Reason::InvalidUtf8)?))
            }
            Kind::Whole(numbers) => self.whole(numbers[row]),
            Kind::Real(numbers) => Value::Real(numbers[row]),
            Kind::Bool(flags) => Value::Bool(flags.value(row)),
            Kind::List { offsets, entries } => {
                let range = offsets[row] as usize..offsets[row + 1] as usize;
                if range.len() > Value::MOST_LABELS {
                    return Ok(Value::Other);
                }
                Value::List(range.map(|entry| entries.get(entry)).collect::<Result<_, _>>()?)
            }
            Kind::Missing => Value::Missing,
        })
    }

    fn whole(&self, number: i128) -> Value<'_> {
        match self.names {
            None => Value::Whole(number),
            Some(names) => match usize::try_from(number).ok().and_then(|place| names.get(place)) {
                Some(name) => Value::Text(Cow::Borrowed(name)),
                None if number == -1 => Value::Missing, // as `datasets` writes a row without a label
                None => Value::Other,
            },
        }
    }
}

fn reals<'a, T: ArrowPrimitiveType<Native: Into<f64>>>(array: &ArrayRef) -> Option<Kind<'a>> {
    Some(Kind::Real(array.as_primitive_opt::<T>()?.values().iter().map(|&number| number.into()).collect()))
}

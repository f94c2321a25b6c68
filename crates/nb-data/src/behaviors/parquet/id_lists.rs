//! Lists of ids in a batch of rows: list columns of numbers or texts, or texts with spaces between the ids.

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BinaryViewArray};
use arrow_schema::DataType;

use super::super::parse::tokens;
use crate::IdIndex;
use crate::parquet::{bytes, integers, is_text};

/// Rows decoded at a time.
pub(super) const ROWS: usize = 4096;

/// The ids of a batch.
pub(super) enum Ids {
    Numbers(Vec<i128>),
    Texts(BinaryViewArray),
    /// A column of nulls only.
    Missing,
}

/// An id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Id<'a> {
    Number(i128),
    Text(&'a str),
}

impl Id<'_> {
    /// Returns the id in the form in which equal ids are equal: the text `5` and the number 5 are the same id.
    pub(super) fn canonical(self) -> Self {
        let Self::Text(text) = self else { return self };
        let text = text.trim();
        let digits = text.strip_prefix('-').unwrap_or(text);
        // `05`, `-0` and `+5` are the texts of no number.
        let is_number = match digits.as_bytes() {
            [b'0'] => digits == text,
            [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
            _ => false,
        };
        match text.parse() {
            Ok(number) if is_number => Self::Number(number),
            _ => Self::Text(text),
        }
    }

    pub(super) fn row(self, news: &IdIndex) -> Option<u32> {
        match self {
            Self::Number(number) => news.row_of_number(number),
            Self::Text(text) => news.row(text.as_bytes()),
        }
    }
}

/// Returns true for types that [`Ids`] can read.
pub(super) fn is_id(data_type: &DataType) -> bool {
    *data_type == DataType::Null || is_text(data_type) || data_type.is_integer()
}

impl Ids {
    pub(super) fn new(array: &ArrayRef) -> Self {
        let ids = match array.data_type() {
            other if is_text(other) => bytes(array).map(Self::Texts),
            _ => integers(array).map(Self::Numbers),
        };
        ids.unwrap_or(Self::Missing)
    }

    /// Returns an id; `None` for a text that is not UTF-8.
    pub(super) fn get(&self, at: usize) -> Option<Id<'_>> {
        match self {
            Self::Numbers(numbers) => Some(Id::Number(numbers[at])),
            Self::Texts(texts) => str::from_utf8(texts.value(at)).ok().map(Id::Text),
            Self::Missing => None,
        }
    }
}

/// A list of ids per row.
pub(super) struct IdLists<'a> {
    array: &'a ArrayRef,
    around: &'a [ArrayRef],
    kind: Kind<'a>,
}

enum Kind<'a> {
    List {
        offsets: &'a [i32],
        ids: Ids,
        entries: &'a ArrayRef,
    },
    /// Texts with spaces between the ids.
    Words(BinaryViewArray),
    Missing,
}

/// Returns true for types that [`IdLists`] can read.
pub(super) fn is_id_list(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(entry) => is_id(entry.data_type()),
        other => *other == DataType::Null || is_text(other),
    }
}

impl<'a> IdLists<'a> {
    pub(super) fn new(array: &'a ArrayRef, around: &'a [ArrayRef]) -> Self {
        let kind = match array.data_type() {
            other if is_text(other) => bytes(array).map(Kind::Words),
            _ => array.as_list_opt::<i32>().map(|list| Kind::List {
                offsets: list.offsets(),
                ids: Ids::new(list.values()),
                entries: list.values(),
            }),
        };
        Self { array, around, kind: kind.unwrap_or(Kind::Missing) }
    }

    /// Replaces `found` with the ids of a row; false if the row has no list. Entries that are null are skipped.
    pub(super) fn read<'b>(&'b self, row: usize, found: &mut Vec<Id<'b>>) -> bool {
        found.clear();
        if self.array.is_null(row) || self.around.iter().any(|array| array.is_null(row)) {
            return false;
        }
        match &self.kind {
            Kind::List { offsets, ids, entries } => {
                let range = offsets[row] as usize..offsets[row + 1] as usize;
                found.extend(range.filter(|&at| entries.is_valid(at)).filter_map(|at| ids.get(at)));
            }
            Kind::Words(texts) => {
                let words = tokens(texts.value(row));
                found.extend(words.filter_map(|word| str::from_utf8(word).ok()).map(Id::Text));
            }
            Kind::Missing => return false,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_and_its_digits_are_the_same_id() {
        let highest = u64::MAX.to_string();
        for (text, number) in [("5", 5), (" 5 ", 5), ("0", 0), ("-12", -12), (&highest, u64::MAX.into())] {
            assert!(Id::Text(text).canonical() == Id::Number(number), "{text:?}");
        }
        let long = "9".repeat(60);
        for text in ["05", "-0", "+5", "5.0", "N5", "", "-", "5-1", "\u{0665}", &long] {
            assert!(Id::Text(text).canonical() == Id::Text(text), "{text:?}");
        }
    }
}

//! Maps ids to rows. A corpus has tens of thousands to millions of ids such as `N55528` or `8112`: these are looked up
//! in a table by their number, without hashing. All other ids are looked up in a hash map.

use rustc_hash::FxHashMap;

/// The row that counts when an id is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeated {
    /// The first, as in the common readers of MIND (`recommenders` skips a known id).
    First,
    /// The last, as in BEIR's `GenericDataLoader` (2.2), which fills a dictionary.
    Last,
}

/// A map from ids to rows.
///
/// ```
/// use nb_data::IdIndex;
/// let ids = IdIndex::new([Some("N55528"), None, Some("N7"), Some("N55528")]);
/// assert_eq!((ids.row(b"N55528"), ids.row(b"N7"), ids.row(b"N8")), (Some(0), Some(2), None));
/// assert_eq!((ids.len(), ids.rows(), ids.repeated()), (2, 4, 1));
/// ```
#[derive(Clone, Debug, Default)]
pub struct IdIndex {
    /// The prefix of the ids in the table.
    prefix: Prefix,
    /// The row of each number, or [`NO_ROW`].
    numbered: Vec<u32>,
    /// Ids of another form, or with a number that is too large.
    others: FxHashMap<Box<[u8]>, u32>,
    len: usize,
    repeated: usize,
    rows: usize,
}

/// The part of an id before its number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Prefix {
    /// No id with a number has been seen yet.
    #[default]
    Unknown,
    /// No prefix.
    Empty,
    /// A byte other than a digit.
    Byte(u8),
}

const NO_ROW: u32 = u32::MAX;

/// Numbers below this are in the table for any number of ids; a larger number must be below `SPARSE` times the number
/// of rows. So the table takes at most 4 MiB or 32 bytes per id.
const SMALL: usize = 1 << 20;
const SPARSE: usize = 8;

/// Longest number in the table: ten digits may not fit into 32 bits.
const MOST_DIGITS: usize = 9;

impl IdIndex {
    /// Indexes a list of ids: the i-th is the id of row i, and `None` means that the row has no id. A repeated id keeps
    /// its first row and is counted.
    ///
    /// # Panics
    /// If there are more than 2^32 - 1 rows.
    #[must_use]
    pub fn new<'a>(ids: impl IntoIterator<Item = Option<&'a str>>) -> Self {
        Self::with(Repeated::First, ids)
    }

    /// Like [`IdIndex::new`], with the row of a repeated id chosen by `repeated`.
    ///
    /// ```
    /// use nb_data::{IdIndex, Repeated};
    /// let ids = IdIndex::with(Repeated::Last, [Some("d1"), Some("d2"), Some("d1")]);
    /// assert_eq!((ids.row(b"d1"), ids.row(b"d2"), ids.repeated()), (Some(2), Some(1), 1));
    /// ```
    ///
    /// # Panics
    /// If there are more than 2^32 - 1 rows.
    #[must_use]
    pub fn with<'a>(repeated: Repeated, ids: impl IntoIterator<Item = Option<&'a str>>) -> Self {
        let mut index = Self::default();
        for id in ids {
            let row = u32::try_from(index.rows).ok().filter(|&row| row != NO_ROW);
            let row = row.unwrap_or_else(|| panic!("more than {NO_ROW} rows with ids"));
            index.rows += 1;
            if let Some(id) = id {
                index.insert(id.as_bytes(), row, repeated);
            }
        }
        index
    }

    fn insert(&mut self, id: &[u8], row: u32, repeated: Repeated) {
        if self.row(id).is_some() {
            self.repeated += 1;
            if repeated == Repeated::Last {
                self.replace(id, row);
            }
            return;
        }
        self.len += 1;
        if self.prefix == Prefix::Unknown {
            self.prefix = match id {
                [b'0'..=b'9', ..] => Prefix::Empty,
                [byte, b'0'..=b'9', ..] => Prefix::Byte(*byte),
                _ => Prefix::Unknown,
            };
        }
        match self.number(id).filter(|&number| number < SMALL.max(SPARSE * self.rows)) {
            Some(number) => {
                if number >= self.numbered.len() {
                    self.numbered.resize(number + 1, NO_ROW);
                }
                self.numbered[number] = row;
            }
            None => {
                self.others.insert(id.into(), row);
            }
        }
    }

    /// Gives a known id another row.
    fn replace(&mut self, id: &[u8], row: u32) {
        match self.number(id).and_then(|number| self.numbered.get_mut(number)).filter(|row| **row != NO_ROW) {
            Some(place) => *place = row,
            // A known id that is not in the table is in the map.
            None => drop(self.others.insert(id.into(), row)),
        }
    }

    /// Returns the row of an id.
    #[must_use]
    #[inline]
    pub fn row(&self, id: &[u8]) -> Option<u32> {
        let numbered = self.number(id).and_then(|number| self.numbered.get(number)).filter(|&&row| row != NO_ROW);
        match numbered {
            Some(&row) => Some(row),
            None if self.others.is_empty() => None,
            None => self.others.get(id).copied(),
        }
    }

    /// Returns the row of an id that consists of the digits of a number.
    #[cfg(feature = "parquet")]
    #[inline]
    pub(crate) fn row_of_number(&self, number: i128) -> Option<u32> {
        if self.prefix == Prefix::Empty
            && let Some(&row) = usize::try_from(number).ok().and_then(|number| self.numbered.get(number))
            && row != NO_ROW
        {
            return Some(row);
        }
        if self.others.is_empty() { None } else { self.row(number.to_string().as_bytes()) }
    }

    /// Returns the number of an id that consists of the prefix and a number without leading zeros, so that no two ids
    /// have the same number.
    #[inline]
    fn number(&self, id: &[u8]) -> Option<usize> {
        let digits = match (self.prefix, id) {
            (Prefix::Byte(prefix), [first, digits @ ..]) if *first == prefix => digits,
            (Prefix::Empty, digits) => digits,
            _ => return None,
        };
        if digits.len() > MOST_DIGITS || (digits.len() > 1 && digits[0] == b'0') || digits.is_empty() {
            return None;
        }
        let mut number = 0;
        for &byte in digits {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                return None;
            }
            number = 10 * number + usize::from(digit);
        }
        Some(number)
    }

    /// Returns the number of different ids.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns true if there is no id.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the number of rows, with an id or without.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Returns the number of rows whose id maps to another row.
    #[must_use]
    pub fn repeated(&self) -> usize {
        self.repeated
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    #[test]
    fn similar_ids_are_distinguished() {
        let ids = ["N1", "N01", "1", "N", "", "n1", "N1-0", "N4294967297", "N999999999", "N1048576", "N1048575", "É1"];
        let index = IdIndex::new(ids.map(Some));
        for (row, id) in ids.iter().enumerate() {
            assert_eq!(index.row(id.as_bytes()), Some(row as u32), "{id}");
        }
        for id in ["N0", "N001", "N1 ", "N10", "N4294967296", "É", "\0"] {
            assert_eq!(index.row(id.as_bytes()), None, "{id}");
        }
        assert_eq!(index.numbered.len(), SMALL);
        assert_eq!((index.len(), index.repeated(), index.rows()), (ids.len(), 0, ids.len()));
    }

    #[test]
    fn the_number_of_ids_limits_the_size_of_the_table() {
        let ids: Vec<String> = (0..300_000_u32).map(|i| (i * 9).to_string()).collect();
        let index = IdIndex::new(ids.iter().map(|id| Some(id.as_str())));
        assert!(index.numbered.len() <= SPARSE * ids.len() && !index.others.is_empty());
        assert!((0..ids.len()).all(|row| index.row(ids[row].as_bytes()) == Some(row as u32)));
    }

    #[test]
    fn an_index_without_ids_finds_nothing() {
        let index = IdIndex::new([None, None]);
        assert_eq!((index.row(b""), index.row(b"N1"), index.is_empty(), index.rows()), (None, None, true, 2));
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_plain_map(ids in prop::collection::vec(prop::option::of("[NM]?[0-9]{0,3}x?"), 0..60)) {
            for repeated in [Repeated::First, Repeated::Last] {
                let index = IdIndex::with(repeated, ids.iter().map(Option::as_deref));
                let mut plain = HashMap::new();
                for (row, id) in ids.iter().enumerate() {
                    if let Some(id) = id {
                        let held = plain.entry(id.as_str()).or_insert(row as u32);
                        if repeated == Repeated::Last {
                            *held = row as u32;
                        }
                    }
                }
                for id in ids.iter().flatten().map(String::as_str).chain(["N1", "M01", "x", "7", ""]) {
                    prop_assert_eq!(index.row(id.as_bytes()), plain.get(id).copied());
                }
                prop_assert_eq!(index.len(), plain.len());
                prop_assert_eq!(index.repeated(), ids.iter().flatten().count() - plain.len());
            }
        }
    }
}

//! The documents of a corpus as searches see them: which rows may be found, and the order of equal scores.

use std::cmp::Reverse;

use nb_data::{IdIndex, Repeated};

/// The documents of a corpus, ordered as trec_eval orders those with equal scores: by id, descending, byte by byte.
///
/// Rows of an id that another row holds ([`Repeated`]) are no documents. Rows without an id are, and come last.
///
/// ```
/// use nb_data::Repeated;
/// use nb_train::task::Documents;
/// let documents = Documents::new(Repeated::Last, &[Some("d2"), Some("d10"), Some("d2")]);
/// assert_eq!((documents.place(0), documents.place(1), documents.place(2)), (None, Some(1), Some(0)));
/// assert_eq!((documents.row(0), documents.index().row(b"d2")), (2, Some(2)));
/// ```
#[derive(Debug, Clone)]
pub struct Documents {
    index: IdIndex,
    /// By row: its place in the order, [`NONE`] for a row that is no document.
    places: Vec<u32>,
    /// By place: the row.
    rows: Vec<u32>,
}

const NONE: u32 = u32::MAX;

impl Documents {
    /// From the ids of all rows.
    ///
    /// # Panics
    /// If there are more than 2^32 - 1 rows.
    pub fn new(repeated: Repeated, ids: &[Option<&str>]) -> Self {
        let index = IdIndex::with(repeated, ids.iter().copied());
        let id = |row: u32| ids[row as usize].unwrap_or_default();
        let holds = |row: &u32| ids[*row as usize].is_none_or(|id| index.row(id.as_bytes()) == Some(*row));
        let mut rows: Vec<u32> = (0..ids.len() as u32).filter(holds).collect();
        // The row decides only among those without an id.
        rows.sort_unstable_by_key(|&row| (Reverse(id(row)), row));
        let mut places = vec![NONE; ids.len()];
        for (place, &row) in (0..).zip(&rows) {
            places[row as usize] = place;
        }
        Self { index, places, rows }
    }

    /// The rows of ids.
    pub fn index(&self) -> &IdIndex {
        &self.index
    }

    /// The place of a row in the order; none for a row that is no document.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn place(&self, row: u32) -> Option<u32> {
        Some(self.places[row as usize]).filter(|&place| place != NONE)
    }

    /// The row at a place.
    ///
    /// # Panics
    /// If there is no such place.
    pub fn row(&self, place: u32) -> u32 {
        self.rows[place as usize]
    }
}

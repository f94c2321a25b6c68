//! The searchable documents of a corpus, and the order of documents with equal scores.

use std::cmp::Reverse;

use nb_data::{IdIndex, Repeated};

/// The searchable documents of a corpus, in the order in which trec_eval ranks equal scores: by id, descending, byte by
/// byte.
///
/// A row whose id belongs to another row ([`Repeated`]) is not searchable. Rows without an id are searchable and rank last.
///
/// ```
/// use nb_data::Repeated;
/// use nb_rank::CorpusIndex;
/// let index = CorpusIndex::new(Repeated::Last, &[Some("d2"), Some("d10"), Some("d2")]);
/// assert_eq!((index.tie_rank(0), index.tie_rank(1), index.tie_rank(2)), (None, Some(1), Some(0)));
/// assert_eq!((index.row(0), index.ids().row(b"d2")), (2, Some(2)));
/// ```
#[derive(Debug, Clone)]
pub struct CorpusIndex {
    ids: IdIndex,
    /// By row: its rank among equal scores, [`NONE`] for a row that is not searchable.
    tie_ranks: Vec<u32>,
    /// By rank: the row.
    rows: Vec<u32>,
}

const NONE: u32 = u32::MAX;

impl CorpusIndex {
    /// Builds the index from the ids of all rows.
    ///
    /// # Panics
    /// If there are more than 2^32 - 1 rows.
    pub fn new(repeated: Repeated, ids: &[Option<&str>]) -> Self {
        let index = IdIndex::with(repeated, ids.iter().copied());
        let id = |row: u32| ids[row as usize].unwrap_or_default();
        let is_searchable = |row: &u32| ids[*row as usize].is_none_or(|id| index.row(id.as_bytes()) == Some(*row));
        let mut rows: Vec<u32> = (0..ids.len() as u32).filter(is_searchable).collect();
        // The row number matters only among rows without an id.
        rows.sort_unstable_by_key(|&row| (Reverse(id(row)), row));
        let mut tie_ranks = vec![NONE; ids.len()];
        for (rank, &row) in (0..).zip(&rows) {
            tie_ranks[row as usize] = rank;
        }
        Self { ids: index, tie_ranks, rows }
    }

    /// Returns the map from ids to rows.
    pub fn ids(&self) -> &IdIndex {
        &self.ids
    }

    /// Returns the rank of a row among rows with equal scores, or none for a row that is not searchable.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn tie_rank(&self, row: u32) -> Option<u32> {
        Some(self.tie_ranks[row as usize]).filter(|&rank| rank != NONE)
    }

    /// Returns the row with this rank.
    ///
    /// # Panics
    /// If there is no such rank.
    pub fn row(&self, tie_rank: u32) -> u32 {
        self.rows[tie_rank as usize]
    }
}

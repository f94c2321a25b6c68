//! Seeded shuffling of rows, cutting into batches, and packing of tokens.
//!
//! A batch contains the tokens of its sequences one after the other, without padding, and the length of each sequence. A
//! row is one sequence, or several if its article was cut into windows.

use crate::random::{Stream, mix};

/// The smallest limit on the tokens of a sequence: `[CLS]`, one token and `[SEP]`.
pub const MIN_TOKENS: usize = 3;

/// The tokens of one article: `[CLS] first [SEP]` or `[CLS] first [SEP] second [SEP]`, or windows of this form, one after the
/// other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Token ids, special tokens included.
    pub ids: Vec<u32>,
    /// Position of the first token of the second text, where segment 1 begins; the number of tokens if there is only
    /// one text. Counted from the beginning of each window.
    pub second_starts: usize,
    /// Number of tokens of each window but the last, which may have fewer; 0 if the article is one sequence.
    pub window: usize,
}

/// A sequence of an article.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window<'a> {
    /// Token ids, special tokens included.
    pub ids: &'a [u32],
    /// Position of the first token of the second text; at least the number of tokens if there is only one text.
    pub second_starts: usize,
}

impl Tokens {
    /// Returns the windows of the article; one with all of its tokens if it is not cut.
    pub fn windows(&self) -> impl Iterator<Item = Window<'_>> + Clone {
        let size = if self.window == 0 { self.ids.len().max(1) } else { self.window };
        self.ids.chunks(size).map(|ids| Window { ids, second_starts: self.second_starts })
    }
}

/// A batch of R rows with B sequences and Σ lengths tokens, packed. B is R unless rows have windows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenBatch {
    /// \[R\] row in the store, or in the slice that was packed.
    pub rows: Vec<u32>,
    /// \[Σ lengths\] token ids, one sequence after the other.
    pub ids: Vec<i64>,
    /// \[Σ lengths\] 0 for tokens of the first text and the special tokens around it, 1 for the second and its `[SEP]`.
    pub segments: Vec<i64>,
    /// \[B\] number of tokens of each sequence.
    pub lengths: Vec<i64>,
    /// \[R\] number of sequences of each row; empty if every row is one sequence.
    pub windows: Vec<i64>,
}

impl TokenBatch {
    /// Packs the given rows of `tokens`, in the order of `rows`.
    ///
    /// ```
    /// use nb_data::{TokenBatch, Tokens};
    /// let tokens = [
    ///     Tokens { ids: vec![2, 7, 3], second_starts: 3, window: 0 },
    ///     Tokens { ids: vec![2, 8, 3, 9, 3], second_starts: 3, window: 0 },
    /// ];
    /// let batch = TokenBatch::pack(&tokens, &[1, 0]);
    /// assert_eq!(batch.ids, [2, 8, 3, 9, 3, 2, 7, 3]);
    /// assert_eq!(batch.segments, [0, 0, 0, 1, 1, 0, 0, 0]);
    /// assert_eq!(batch.lengths, [5, 3]);
    /// ```
    ///
    /// # Panics
    /// If a row is not in `tokens`.
    #[must_use]
    pub fn pack(tokens: &[Tokens], rows: &[u32]) -> Self {
        let mut batch = Self::with_capacity(rows.len(), rows.iter().map(|&row| tokens[row as usize].ids.len()).sum());
        for &row in rows {
            let Tokens { ids, second_starts, window } = &tokens[row as usize];
            batch.push(row, ids.iter().map(|&id| i64::from(id)), *second_starts, *window);
        }
        batch
    }

    /// Appends the sequences of another batch. `rows` then contains the rows of both batches, each relative to its source.
    pub fn append(&mut self, mut other: Self) {
        if !self.windows.is_empty() || !other.windows.is_empty() {
            self.windows.resize(self.rows.len(), 1);
            other.windows.resize(other.rows.len(), 1);
            self.windows.append(&mut other.windows);
        }
        self.rows.append(&mut other.rows);
        self.ids.append(&mut other.ids);
        self.segments.append(&mut other.segments);
        self.lengths.append(&mut other.lengths);
    }

    pub(crate) fn with_capacity(rows: usize, tokens: usize) -> Self {
        Self {
            rows: Vec::with_capacity(rows),
            ids: Vec::with_capacity(tokens),
            segments: Vec::with_capacity(tokens),
            lengths: Vec::with_capacity(rows),
            windows: Vec::new(),
        }
    }

    /// Appends a row, whose tokens are cut into windows if `window`, their length, is not 0.
    pub(crate) fn push(&mut self, row: u32, ids: impl Iterator<Item = i64>, second_starts: usize, window: usize) {
        let (start, before) = (self.ids.len(), self.lengths.len());
        self.ids.extend(ids);
        let tokens = self.ids.len() - start;
        if window == 0 || tokens <= window {
            self.push_sequence(tokens, second_starts);
        } else {
            for from in (0..tokens).step_by(window) {
                self.push_sequence(window.min(tokens - from), second_starts);
            }
            self.windows.resize(self.rows.len(), 1);
        }
        if !self.windows.is_empty() || self.lengths.len() - before > 1 {
            self.windows.push((self.lengths.len() - before) as i64);
        }
        self.rows.push(row);
    }

    fn push_sequence(&mut self, tokens: usize, second_starts: usize) {
        let start = self.segments.len();
        self.segments.resize(start + second_starts.min(tokens), 0);
        self.segments.resize(start + tokens, 1);
        self.lengths.push(tokens as i64);
    }

    /// Returns the rows as batches of one row each.
    pub fn each_row(&self) -> impl Iterator<Item = Self> + '_ {
        let (mut sequence, mut token) = (0, 0);
        self.rows.iter().enumerate().map(move |(i, &row)| {
            let sequences = self.windows.get(i).map_or(1, |&windows| windows as usize);
            let lengths = self.lengths[sequence..sequence + sequences].to_vec();
            let tokens = token..token + lengths.iter().sum::<i64>() as usize;
            (sequence, token) = (sequence + sequences, tokens.end);
            Self {
                rows: vec![row],
                ids: self.ids[tokens.clone()].to_vec(),
                segments: self.segments[tokens].to_vec(),
                lengths,
                windows: if sequences > 1 { vec![sequences as i64] } else { Vec::new() },
            }
        })
    }
}

/// The size of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchSize {
    /// This many sequences; 0 counts as 1.
    Sequences(usize),
    /// At most this many tokens, but at least one sequence: a longer one is a batch by itself.
    Tokens(usize),
}

/// Returns rows 0 to `n - 1` in the order of an epoch. Each row occurs once, and all orders are equally likely. The
/// same `n`, seed and epoch always give the same order.
///
/// ```
/// let mut rows = nb_data::batch::order(5, 0, 1);
/// rows.sort();
/// assert_eq!(rows, [0, 1, 2, 3, 4]);
/// ```
///
/// # Panics
/// If `n` exceeds 2^32.
#[must_use]
pub fn order(n: usize, seed: u64, epoch: u64) -> Vec<u32> {
    let mut rows = all_rows(n);
    Stream::new(mix(&[seed, epoch, ORDER])).shuffle(&mut rows);
    rows
}

/// Separates the randomness of the order from other uses of the same seed.
const ORDER: u64 = 0x6F_72_64_65_72; // "order"

/// Returns rows 0 to `n - 1`.
pub(crate) fn all_rows(n: usize) -> Vec<u32> {
    let last = u32::try_from(n.saturating_sub(1)).unwrap_or_else(|_| panic!("{n} rows found, expected at most 2^32"));
    (0..=last).take(n).collect()
}

/// Cuts `order` into batches from front to back, with as many rows per batch as `size` allows. Every row is in one
/// batch; the last batch may be smaller.
///
/// Within a batch, rows are sorted by descending length, and rows of equal length keep their order. Attention can then
/// run in groups of nearly equal length.
///
/// ```
/// use nb_data::{BatchSize, batch::cut};
/// let lengths = [4, 9, 5, 30];
/// let batches = cut(&[0, 1, 2, 3], |row| lengths[row as usize], BatchSize::Tokens(16));
/// assert_eq!(batches, [vec![1, 0], vec![2], vec![3]]);
/// ```
#[must_use]
pub fn cut(order: &[u32], length: impl Fn(u32) -> usize, size: BatchSize) -> Vec<Vec<u32>> {
    let mut batches: Vec<Vec<u32>> = Vec::new();
    let mut tokens = 0;
    for &row in order {
        let more = length(row);
        let fits = batches.last().is_some_and(|batch| match size {
            BatchSize::Sequences(most) => batch.len() < most,
            BatchSize::Tokens(most) => tokens + more <= most,
        });
        if fits && let Some(batch) = batches.last_mut() {
            batch.push(row);
            tokens += more;
        } else {
            batches.push(vec![row]);
            tokens = more;
        }
    }
    for batch in &mut batches {
        batch.sort_by_key(|&row| std::cmp::Reverse(length(row)));
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_order_is_pinned() {
        assert_eq!(order(8, 0, 0), [1, 7, 0, 3, 6, 5, 4, 2]);
        assert_eq!(order(8, 0, 1), [0, 3, 7, 1, 6, 2, 5, 4]);
        assert_eq!(order(8, 1, 0), [3, 0, 2, 4, 6, 7, 5, 1]);
        assert_eq!(order(0, 0, 0), [0; 0]);
        assert_eq!(order(1, 0, 0), [0]);
    }

    #[test]
    fn ties_keep_their_order_and_zero_counts_as_one() {
        let lengths = [3, 5, 3, 5];
        let length = |row| lengths[row as usize];
        assert_eq!(cut(&[2, 0, 3, 1], length, BatchSize::Sequences(4)), [vec![3, 1, 2, 0]]);
        assert_eq!(cut(&[2, 0], length, BatchSize::Sequences(0)), [vec![2], vec![0]]);
        assert_eq!(cut(&[2, 0], length, BatchSize::Tokens(0)), [vec![2], vec![0]]);
        assert!(cut(&[], length, BatchSize::Tokens(5)).is_empty());
    }

    fn size() -> impl Strategy<Value = BatchSize> {
        prop_oneof![(0_usize..9).prop_map(BatchSize::Sequences), (0_usize..90).prop_map(BatchSize::Tokens)]
    }

    proptest! {
        #[test]
        fn a_cut_keeps_every_row_and_fills_each_batch(
            lengths in prop::collection::vec(0_usize..40, 0..60), seed in any::<u64>(), size in size(),
        ) {
            let length = |row: u32| lengths[row as usize];
            let order = order(lengths.len(), seed, 0);
            let batches = cut(&order, length, size);
            let mut from = 0;
            for (i, batch) in batches.iter().enumerate() {
                let piece = &order[from..from + batch.len()];
                from += batch.len();
                let mut sorted = piece.to_vec();
                sorted.sort_by_key(|&row| (std::cmp::Reverse(length(row)), piece.iter().position(|&other| other == row)));
                prop_assert_eq!(batch, &sorted);
                let sum: usize = batch.iter().map(|&row| length(row)).sum();
                let next = order.get(from).map(|&row| length(row));
                match size {
                    BatchSize::Sequences(most) => {
                        prop_assert!(batch.len() == most.max(1) || i + 1 == batches.len());
                    }
                    BatchSize::Tokens(most) => {
                        prop_assert!(sum <= most || batch.len() == 1);
                        prop_assert!(next.is_none_or(|next| sum + next > most));
                    }
                }
            }
            prop_assert_eq!(from, order.len());
        }
    }
}

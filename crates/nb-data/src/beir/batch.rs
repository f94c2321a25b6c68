//! Training pairs of a query and a relevant document, and batches of them.

use std::cmp::Reverse;

use super::qrels::{Judged, Qrels};
use crate::random::{Stream, mix};

/// Separates the randomness of negatives from other uses of the same seed.
const NEGATIVES: u64 = 0x6E_65_67_61_74_69_76_65; // "negative"

/// A query and one of its relevant documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Position in [`Qrels::queries`].
    pub judged: u32,
    /// Position in that query's [`Judged::relevant`].
    pub relevant: u32,
}

impl Qrels {
    /// Returns the pairs of the given queries (positions in [`Qrels::queries`]) with each of their relevant documents,
    /// in order.
    ///
    /// # Panics
    /// If a position is out of range.
    #[must_use]
    pub fn pairs(&self, judged: &[u32]) -> Vec<Pair> {
        let pairs_of = |&judged: &u32| {
            let n = self.queries[judged as usize].relevant.len() as u32;
            (0..n).map(move |relevant| Pair { judged, relevant })
        };
        judged.iter().flat_map(pairs_of).collect()
    }
}

/// P pairs and the D different documents that they are scored against.
///
/// Training contrasts each pair's relevant document with all other documents of the batch, except those that are also
/// relevant to its query: these are masked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryBatch {
    /// \[P\] row of each pair's query; pairs of the same query have the same row.
    pub queries: Vec<u32>,
    /// \[D\] corpus rows: the relevant documents of the pairs and their negatives, each once, by descending length,
    /// then by row.
    pub documents: Vec<u32>,
    /// \[P\] position in `documents` of each pair's relevant document.
    pub targets: Vec<i64>,
    /// \[P × D\], pair by pair: true if the document is another one that is relevant to the pair's query, and so not a
    /// negative.
    pub masked: Vec<bool>,
}

impl QueryBatch {
    /// Makes a batch. For each pair it draws `negatives` different documents from those judged not relevant to its
    /// query, or takes all of them if there are fewer. A draw depends on the seed, the epoch and the pair's query and
    /// document, not on the batch. `length` returns the number of tokens of a corpus row.
    ///
    /// ```
    /// use nb_data::beir::{Judged, ReadReport, Pair, QueryBatch, Qrels};
    /// let judged = |query, relevant: &[u32], negatives: &[u32]| Judged {
    ///     query,
    ///     relevant: relevant.iter().map(|&row| (row, 1)).collect(),
    ///     negatives: negatives.to_vec(),
    ///     missing: Vec::new(),
    /// };
    /// let queries = vec![judged(7, &[3, 5], &[9]), judged(8, &[5], &[])];
    /// let qrels = Qrels { queries, report: ReadReport::default() };
    /// let pairs = qrels.pairs(&[0, 1]);
    /// let batch = QueryBatch::new(&qrels, &pairs, 4, 0, 1, |row| row as usize);
    /// assert_eq!((batch.queries, batch.documents), (vec![7, 7, 8], vec![9, 5, 3]));
    /// assert_eq!(batch.targets, [2, 1, 1]);
    /// assert_eq!(batch.masked, [false, true, false, false, false, true, false, false, false]);
    /// ```
    ///
    /// # Panics
    /// If a pair is not from `qrels`.
    #[must_use]
    pub fn new(
        qrels: &Qrels,
        pairs: &[Pair],
        negatives: usize,
        seed: u64,
        epoch: u64,
        length: impl Fn(u32) -> usize,
    ) -> Self {
        let mut documents = Vec::new();
        for pair in pairs {
            let judged = &qrels.queries[pair.judged as usize];
            let (relevant, _) = judged.relevant[pair.relevant as usize];
            documents.push(relevant);
            let stream = Stream::new(mix(&[seed, epoch, NEGATIVES, u64::from(judged.query), u64::from(relevant)]));
            documents.extend(draw(&judged.negatives, negatives, stream));
        }
        documents.sort_unstable();
        documents.dedup();
        documents.sort_by_key(|&row| Reverse(length(row)));
        Self::with_documents(qrels, pairs, documents)
    }

    /// Makes the batch over `documents`, finding its targets and masks.
    fn with_documents(qrels: &Qrels, pairs: &[Pair], documents: Vec<u32>) -> Self {
        let mut by_row: Vec<(u32, usize)> = documents.iter().copied().zip(0..).collect();
        by_row.sort_unstable();
        let place = |row: u32| by_row.binary_search_by_key(&row, |&(row, _)| row).ok().map(|found| by_row[found].1);

        let mut batch = Self { masked: vec![false; pairs.len() * documents.len()], ..Self::default() };
        for (pair, masked) in pairs.iter().zip(batch.masked.chunks_exact_mut(documents.len().max(1))) {
            let Judged { query, relevant, .. } = &qrels.queries[pair.judged as usize];
            batch.queries.push(*query);
            for (other, &(row, _)) in relevant.iter().enumerate() {
                match place(row) {
                    Some(place) if other == pair.relevant as usize => batch.targets.push(place as i64),
                    Some(place) => masked[place] = true,
                    None => {}
                }
            }
        }
        Self { documents, ..batch }
    }
}

/// Draws `count` items without replacement, each set equally likely; returns all items if there are at most `count`.
fn draw(items: &[u32], count: usize, mut stream: Stream) -> Vec<u32> {
    let mut items = items.to_vec();
    for i in 0..count.min(items.len()) {
        let from = i + stream.below((items.len() - i) as u64) as usize;
        items.swap(i, from);
    }
    items.truncate(count);
    items
}

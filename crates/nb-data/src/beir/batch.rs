//! Training pairs of a query and a document that is relevant to it, and what a step encodes for some of them.

use std::cmp::Reverse;

use super::qrels::{Judged, Qrels};
use crate::random::{Stream, mix};

/// Keeps the draws of negatives apart from other uses of the same seed.
const NEGATIVES: u64 = 0x6E_65_67_61_74_69_76_65; // "negative"

/// A query and one of its relevant documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Place in [`Qrels::queries`].
    pub judged: u32,
    /// Place in that query's [`Judged::relevant`].
    pub relevant: u32,
}

impl Qrels {
    /// Every pair of the given queries (places in [`Qrels::queries`]) with each of their relevant documents, in order.
    ///
    /// # Panics
    /// If a place is not in the list.
    #[must_use]
    pub fn pairs(&self, judged: &[u32]) -> Vec<Pair> {
        let of = |&judged: &u32| {
            let n = self.queries[judged as usize].relevant.len() as u32;
            (0..n).map(move |relevant| Pair { judged, relevant })
        };
        judged.iter().flat_map(of).collect()
    }
}

/// P pairs and the D different documents that they are scored against.
///
/// Each pair's relevant document is to be told from all others of the batch, but for those that are relevant to its
/// query as well: these are masked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryBatch {
    /// \[P\] row of each pair's query. Two pairs of one query have the same.
    pub queries: Vec<u32>,
    /// \[D\] corpus rows: the relevant documents of the pairs and the negatives drawn for them, each once, the longest
    /// first and equal ones by row.
    pub documents: Vec<u32>,
    /// \[P\] where in `documents` each pair's relevant document stands.
    pub targets: Vec<i64>,
    /// \[P × D\], pair by pair: whether the document is another relevant one of the pair's query, and so no negative.
    pub masked: Vec<bool>,
}

impl QueryBatch {
    /// Puts a batch together. For each pair `negatives` different documents are drawn from those judged not relevant
    /// to its query, or all of them where they are fewer; a draw depends on the seed, the epoch and the pair's query
    /// and document alone, not on the batch. `length` is the tokens of a corpus row.
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
    /// If a pair is not one of `qrels`.
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
        Self::of(qrels, pairs, documents)
    }

    /// Finds targets and masks among `documents`.
    fn of(qrels: &Qrels, pairs: &[Pair], documents: Vec<u32>) -> Self {
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

/// `count` different places of `items`, each set equally likely; all of them where there are no more.
fn draw(items: &[u32], count: usize, mut stream: Stream) -> Vec<u32> {
    let mut items = items.to_vec();
    for i in 0..count.min(items.len()) {
        let from = i + stream.below((items.len() - i) as u64) as usize;
        items.swap(i, from);
    }
    items.truncate(count);
    items
}

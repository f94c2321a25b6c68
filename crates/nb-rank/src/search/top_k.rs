//! An exact search for the best documents of each of many queries. It processes documents in blocks, so their vectors are
//! never all in memory at once.

use std::cmp::Ordering;
use std::rc::Rc;

use nb_kernels::dot;
use nb_kernels::gemm::{Isa, Matrix, skinny};
use rayon::prelude::*;

use super::corpus_index::CorpusIndex;
use crate::error::RankError;

/// Number of queries that are multiplied with a block of documents at a time.
const QUERIES: usize = 256;
/// Number of documents that are multiplied with the queries at a time.
const BLOCK: usize = 4096;
/// Number of queries from which it pays to pack the documents for a product of many rows.
const MANY_QUERIES: usize = 32;

/// A document that was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// The row in the corpus.
    pub row: u32,
    /// The score q·h.
    pub score: f32,
}

/// The queries of a search.
#[derive(Debug, Clone)]
pub struct QueryVectors {
    /// Concatenated vectors of `hidden` units.
    pub vectors: Vec<f32>,
    /// Units of a vector.
    pub hidden: usize,
    /// By query: the row of the document with the query's id, which is excluded from its hits (ArguAna and Quora have their
    /// queries in the corpus; BEIR's `ignore_identical_ids`). Empty if queries have no ids.
    pub same_id: Vec<Option<u32>>,
}

/// A search for the best `depth` documents of each query.
///
/// Documents are ranked by score, compared in 32 bits, then in the order of [`CorpusIndex`], as in pytrec_eval. A score is a
/// function of the two vectors alone, so documents with equal vectors have equal scores.
///
/// ```
/// use nb_data::Repeated;
/// use nb_rank::{CorpusIndex, QueryVectors, TopKSearch};
/// let index = CorpusIndex::new(Repeated::Last, &[Some("a"), Some("b"), Some("c"), Some("d")]);
/// // One query, whose id is "c".
/// let queries = QueryVectors { vectors: vec![1.0, 0.0], hidden: 2, same_id: vec![Some(2)] };
/// let mut search = TopKSearch::new(queries, index.into(), 2);
/// search.add(&[0, 1], &[0.5, 9.0, 0.7, 0.0])?;
/// search.add(&[2, 3], &[0.9, 0.0, 0.7, 1.0])?;
/// let rows: Vec<u32> = search.finish()[0].iter().map(|hit| hit.row).collect();
/// assert_eq!(rows, [3, 1]); // "d" and "b" have the same score
/// # Ok::<(), nb_rank::RankError>(())
/// ```
#[derive(Debug)]
pub struct TopKSearch {
    queries: QueryVectors,
    index: Rc<CorpusIndex>,
    depth: usize,
    best: Vec<Best>,
}

/// The best documents of one query.
#[derive(Debug, Clone)]
struct Best {
    hits: Vec<RankedHit>,
    /// The tie rank of the document with the query's id.
    excluded: Option<u32>,
}

/// A hit that identifies its document by the rank among equal scores.
#[derive(Debug, Clone, Copy)]
struct RankedHit {
    tie_rank: u32,
    score: f32,
}

impl RankedHit {
    /// Compares hits, the better one first.
    fn best_first(&self, other: &Self) -> Ordering {
        other.score.total_cmp(&self.score).then(self.tie_rank.cmp(&other.tie_rank))
    }
}

impl TopKSearch {
    /// Starts a search for the best `depth` documents.
    ///
    /// # Panics
    /// If the number of query values is not a multiple of `hidden`.
    pub fn new(queries: QueryVectors, index: Rc<CorpusIndex>, depth: usize) -> Self {
        let QueryVectors { vectors, hidden, same_id } = &queries;
        assert!(*hidden > 0 && vectors.len().is_multiple_of(*hidden), "{} values of {hidden} units", vectors.len());
        let excluded = |query: usize| same_id.get(query).copied().flatten().and_then(|row| index.tie_rank(row));
        let best = (0..vectors.len() / hidden).map(|query| Best { hits: Vec::new(), excluded: excluded(query) });
        Self { best: best.collect(), queries, index, depth }
    }

    /// Adds rows of the corpus with their vectors.
    ///
    /// # Errors
    /// If a score is NaN.
    ///
    /// # Panics
    /// If there is not one vector per row.
    pub fn add(&mut self, rows: &[u32], vectors: &[f32]) -> Result<(), RankError> {
        let hidden = self.queries.hidden;
        assert_eq!(vectors.len(), rows.len() * hidden, "values of {} rows of {hidden} units", rows.len());
        for (rows, vectors) in rows.chunks(BLOCK).zip(vectors.chunks(BLOCK * hidden)) {
            self.add_block(rows, vectors)?;
        }
        Ok(())
    }

    fn add_block(&mut self, rows: &[u32], vectors: &[f32]) -> Result<(), RankError> {
        let hidden = self.queries.hidden;
        let tie_ranks: Vec<Option<u32>> = rows.iter().map(|&row| self.index.tie_rank(row)).collect();
        let longest = vectors.chunks_exact(hidden).map(length).fold(0.0, f32::max);
        let block = Block { tie_ranks: &tie_ranks, vectors, hidden, longest, depth: self.depth };
        let mut scores = Vec::new();
        for (queries, best) in self.queries.vectors.chunks(QUERIES * hidden).zip(self.best.chunks_mut(QUERIES)) {
            products(queries, vectors, hidden, &mut scores);
            if scores.iter().any(|score| score.is_nan()) {
                return Err(RankError::NotFinite);
            }
            best.par_iter_mut().enumerate().for_each(|(i, best)| {
                let (query, scores) = (&queries[i * hidden..][..hidden], &scores[i * rows.len()..][..rows.len()]);
                best.add(query, scores, &block);
            });
        }
        Ok(())
    }

    /// Returns the hits of each query, the best first.
    pub fn finish(mut self) -> Vec<Vec<Hit>> {
        let (depth, index) = (self.depth, &self.index);
        self.best.par_iter_mut().for_each(|best| {
            best.hits.sort_unstable_by(RankedHit::best_first);
            best.hits.truncate(depth);
        });
        let hit = |ranked: &RankedHit| Hit { row: index.row(ranked.tie_rank), score: ranked.score };
        self.best.iter().map(|best| best.hits.iter().map(hit).collect()).collect()
    }
}

/// Replaces `out` by the products of each query and each document, [queries, documents].
fn products(queries: &[f32], documents: &[f32], hidden: usize, out: &mut Vec<f32>) {
    let (documents, count) = (Matrix { entries: documents, columns: hidden }, documents.len() / hidden);
    let no_bias = vec![0.0; count];
    out.resize(queries.len() / hidden * count, 0.0);
    match Isa::<f32>::detect().filter(|_| queries.len() / hidden >= MANY_QUERIES) {
        Some(isa) => isa.linear(Matrix { entries: queries, columns: hidden }, documents, &no_bias, None, out),
        None => {
            for (queries, out) in queries.chunks(MANY_QUERIES * hidden).zip(out.chunks_mut(MANY_QUERIES * count)) {
                skinny::linear(Matrix { entries: queries, columns: hidden }, documents, &no_bias, out);
            }
        }
    }
}

/// A block of documents.
struct Block<'a> {
    /// The tie rank of each document; none for rows that are not searchable.
    tie_ranks: &'a [Option<u32>],
    vectors: &'a [f32],
    hidden: usize,
    /// The greatest length of a vector.
    longest: f32,
    depth: usize,
}

/// Computes the Euclidean length of a vector.
fn length(vector: &[f32]) -> f32 {
    dot(vector, vector).sqrt()
}

impl Block<'_> {
    /// Returns a bound of the rounding difference between two ways to compute a product of `query` with one of the vectors:
    /// 2 · H · ε times the product of the lengths (Higham 2002, section 3.1).
    fn rounding(&self, query: &[f32]) -> f32 {
        2.0 * self.hidden as f32 * f32::EPSILON * length(query) * self.longest
    }
}

impl Best {
    /// Adds documents that may be among the best, and truncates the hits to `depth` whenever there are twice as many.
    ///
    /// `scores` come from a matrix product, so they are exact up to rounding. They select the documents whose exact score is
    /// computed.
    fn add(&mut self, query: &[f32], scores: &[f32], block: &Block<'_>) {
        let (depth, hidden, rounding) = (block.depth, block.hidden, block.rounding(query));
        let mut worst = self.worst(depth);
        for (i, (score, tie_rank)) in scores.iter().zip(block.tie_ranks).enumerate() {
            let Some(tie_rank) = tie_rank.filter(|rank| Some(*rank) != self.excluded) else { continue };
            if worst.is_some_and(|worst| score + rounding < worst.score) {
                continue;
            }
            let exact = dot(query, &block.vectors[i * hidden..][..hidden]) + 0.0; // −0 becomes 0, so that they tie
            let hit = RankedHit { tie_rank, score: exact };
            if worst.is_some_and(|worst| hit.best_first(&worst).is_ge()) {
                continue;
            }
            self.hits.push(hit);
            // The count is halved, since twice the depth may overflow.
            if self.hits.len() / 2 >= depth.max(1) {
                self.hits.select_nth_unstable_by(depth.saturating_sub(1), RankedHit::best_first);
                self.hits.truncate(depth);
                worst = self.worst(depth);
            }
        }
    }

    /// Returns the worst hit if there are at least `depth` hits; a further hit must be better. Before the first truncation
    /// there may be more than `depth` hits, and the worst of them is a loose bound.
    fn worst(&self, depth: usize) -> Option<RankedHit> {
        (self.hits.len() >= depth).then(|| self.hits.iter().copied().max_by(RankedHit::best_first)).flatten()
    }
}

#[cfg(test)]
mod tests {
    use nb_data::Repeated;

    use super::*;

    /// Values with many ties.
    fn values(n: usize, seed: u64) -> Vec<f32> {
        let mut stream = nb_data::random::Stream::new(seed);
        (0..n).map(|_| stream.below(5) as f32 - 2.0).collect()
    }

    fn index(ids: &[String]) -> Rc<CorpusIndex> {
        CorpusIndex::new(Repeated::Last, &ids.iter().map(|id| Some(id.as_str())).collect::<Vec<_>>()).into()
    }

    fn numbered(n: usize) -> Rc<CorpusIndex> {
        index(&(0..n).map(|i| i.to_string()).collect::<Vec<_>>())
    }

    fn queries(vectors: Vec<f32>, hidden: usize) -> QueryVectors {
        QueryVectors { vectors, hidden, same_id: Vec::new() }
    }

    /// Searches documents in blocks of `block`.
    fn search(
        queries: QueryVectors,
        index: &Rc<CorpusIndex>,
        documents: &[f32],
        depth: usize,
        block: usize,
    ) -> Vec<Vec<Hit>> {
        let hidden = queries.hidden;
        let mut search = TopKSearch::new(queries, Rc::clone(index), depth);
        let rows: Vec<u32> = (0..(documents.len() / hidden) as u32).collect();
        for (rows, vectors) in rows.chunks(block).zip(documents.chunks(block * hidden)) {
            search.add(rows, vectors).unwrap();
        }
        search.finish()
    }

    #[test]
    fn a_search_in_blocks_finds_the_same_hits_as_sorting_all_documents() {
        let (hidden, depth, n) = (3, 7, 9000);
        let (vectors, documents) = (values(300 * hidden, 1), values(n * hidden, 2));
        // Every id of the last thousand repeats an earlier one; query 5 has the id of a document.
        let ids: Vec<String> = (0..n).map(|i| ((i * 7919) % 8000).to_string()).collect();
        let index = index(&ids);
        let mut same_id = vec![None; 300];
        same_id[5] = index.ids().row(b"4242");
        let last: std::collections::HashMap<&str, usize> = ids.iter().map(String::as_str).zip(0..).collect();
        let is_searchable = |row: u32| last[ids[row as usize].as_str()] == row as usize;
        let mut expected = Vec::new();
        for (query, same_id) in vectors.chunks(hidden).zip(&same_id) {
            let score = |document: &[f32]| document.iter().zip(query).map(|(a, b)| a * b).sum();
            let mut all: Vec<Hit> =
                documents.chunks(hidden).zip(0..).map(|(document, row)| Hit { row, score: score(document) }).collect();
            all.retain(|hit| is_searchable(hit.row) && Some(hit.row) != *same_id);
            all.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| ids[b.row as usize].cmp(&ids[a.row as usize])));
            all.truncate(depth);
            expected.push(all);
        }
        for block in [9000, 5000, 64] {
            let queries = QueryVectors { vectors: vectors.clone(), hidden, same_id: same_id.clone() };
            assert_eq!(search(queries, &index, &documents, depth, block), expected, "blocks of {block}");
        }
    }

    /// Sums of many units are rounded, but no score depends on the position of a document or on its block.
    #[test]
    fn equal_vectors_have_equal_scores_at_every_position() {
        let (hidden, n) = (67, 5000);
        let wave = |n: usize, pitch: f32| (0..n).map(|i| (i as f32 * pitch).sin()).collect::<Vec<f32>>();
        let distinct = wave(50 * hidden, 0.37);
        let documents: Vec<f32> = (0..n).flat_map(|i| distinct[(i * 31 % 50) * hidden..][..hidden].to_vec()).collect();
        let vectors = wave(9 * hidden, 0.61);
        let all = search(queries(vectors.clone(), hidden), &numbered(n), &documents, 150, n);
        for (query, hits) in vectors.chunks(hidden).zip(&all) {
            let vector = |hit: &Hit| hit.row as usize * 31 % 50;
            for equal in hits.chunk_by(|a, b| vector(a) == vector(b)) {
                assert!(equal.iter().all(|hit| hit.score == equal[0].score));
                let document = &documents[equal[0].row as usize * hidden..];
                let exact: f64 = query.iter().zip(document).map(|(a, b)| f64::from(*a * *b)).sum();
                assert!((f64::from(equal[0].score) - exact).abs() < 1e-4);
                assert!(equal.len() >= 50, "all 100 equal documents, or the 50 that fit");
            }
        }
        for block in [1, 17, 4097] {
            let found = search(queries(vectors.clone(), hidden), &numbered(n), &documents, 150, block);
            assert_eq!(found, all, "blocks of {block}");
        }
    }

    #[test]
    fn all_documents_of_a_small_corpus_are_found() {
        let rows = |depth: usize| {
            let hits = search(queries(vec![1.0], 1), &numbered(3), &[1.0, 3.0, 2.0], depth, 3);
            hits[0].iter().map(|hit| hit.row).collect::<Vec<_>>()
        };
        assert_eq!(rows(10), [1, 2, 0]);
        assert_eq!(rows(usize::MAX / 2 + 1), [1, 2, 0]);
    }

    #[test]
    fn a_nan_score_is_an_error() {
        assert!(TopKSearch::new(queries(vec![1.0], 1), numbered(1), 10).add(&[0], &[f32::NAN]).is_err());
    }
}

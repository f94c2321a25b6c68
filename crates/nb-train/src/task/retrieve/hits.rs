//! The best documents for each of many queries: exact, in blocks of documents, so that their vectors are never all in
//! memory.

use std::cmp::Ordering;
use std::rc::Rc;

use anyhow::{Result, bail};
use rayon::prelude::*;
use tch::Tensor;

use super::super::dot::dot;
use super::super::texts::NOT_NUMBERS;
use super::Documents;

/// Queries that are multiplied with a block of documents at a time.
const QUERIES: usize = 256;
/// Documents that are multiplied with the queries at a time.
const BLOCK: usize = 4096;

/// A document that was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// Its row in the corpus.
    pub row: u32,
    /// q·h.
    pub score: f32,
}

/// The queries of a search.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Vectors of `hidden` units, one after the other.
    pub vectors: Vec<f32>,
    /// Units of a vector.
    pub hidden: usize,
    /// By query: the row of the document with the query's own id, which is no result of it (ArguAna and Quora have
    /// their queries in the corpus; BEIR's `ignore_identical_ids`). Empty where queries have no ids.
    pub own: Vec<Option<u32>>,
}

/// The best `depth` documents of each query among the blocks seen so far.
///
/// The better score comes first; equal ones, compared in 32 bits, in the order of [`Documents`]: so pytrec_eval ranks.
/// A score is a function of the two vectors alone, so documents with equal vectors have equal scores.
///
/// ```
/// use nb_data::Repeated;
/// use nb_train::task::{Asked, Documents, TopHits};
/// let documents = Documents::new(Repeated::Last, &[Some("a"), Some("b"), Some("c"), Some("d")]);
/// let asked = Asked { vectors: vec![1.0, 0.0], hidden: 2, own: vec![Some(2)] }; // one query, whose id is "c"
/// let mut hits = TopHits::new(asked, documents.into(), 2);
/// hits.add(&[0, 1], &[0.5, 9.0, 0.7, 0.0])?;
/// hits.add(&[2, 3], &[0.9, 0.0, 0.7, 1.0])?;
/// let rows: Vec<u32> = hits.finish()[0].iter().map(|hit| hit.row).collect();
/// assert_eq!(rows, [3, 1]); // "d" and "b" have the same score
/// # anyhow::Ok(())
/// ```
#[derive(Debug)]
pub struct TopHits {
    asked: Asked,
    documents: Rc<Documents>,
    depth: usize,
    best: Vec<Best>,
}

/// The best documents of one query.
#[derive(Debug, Clone)]
struct Best {
    hits: Vec<Placed>,
    /// The place of the document with the query's own id.
    own: Option<u32>,
}

/// A document by its place in the order of equal scores.
#[derive(Debug, Clone, Copy)]
struct Placed {
    place: u32,
    score: f32,
}

fn better(a: &Placed, b: &Placed) -> Ordering {
    b.score.total_cmp(&a.score).then(a.place.cmp(&b.place))
}

impl TopHits {
    /// For queries over documents.
    ///
    /// # Panics
    /// If the queries do not come out even.
    pub fn new(asked: Asked, documents: Rc<Documents>, depth: usize) -> Self {
        let Asked { vectors, hidden, own } = &asked;
        assert!(*hidden > 0 && vectors.len().is_multiple_of(*hidden), "{} values of {hidden} units", vectors.len());
        let own = |query: usize| own.get(query).copied().flatten().and_then(|row| documents.place(row));
        let best = (0..vectors.len() / hidden).map(|query| Best { hits: Vec::new(), own: own(query) }).collect();
        Self { asked, documents, depth, best }
    }

    /// Looks at the vectors of some rows of the corpus.
    ///
    /// # Errors
    /// If a score is not a number.
    ///
    /// # Panics
    /// If there is not one vector per row.
    pub fn add(&mut self, rows: &[u32], vectors: &[f32]) -> Result<()> {
        let hidden = self.asked.hidden;
        assert_eq!(vectors.len(), rows.len() * hidden, "values of {} rows of {hidden} units", rows.len());
        for (rows, vectors) in rows.chunks(BLOCK).zip(vectors.chunks(BLOCK * hidden)) {
            let places: Vec<Option<u32>> = rows.iter().map(|&row| self.documents.place(row)).collect();
            let longest = vectors.chunks_exact(hidden).map(length).fold(0.0, f32::max);
            let block = Block { places: &places, vectors, hidden, longest, depth: self.depth };
            let table = matrix(vectors, hidden).transpose(0, 1);
            let blocks = self.asked.vectors.chunks(QUERIES * hidden).zip(self.best.chunks_mut(QUERIES));
            for (queries, best) in blocks {
                let scores = Vec::<f32>::try_from(tch::no_grad(|| matrix(queries, hidden).matmul(&table)).view(-1))?;
                if scores.iter().any(|score| score.is_nan()) {
                    bail!("{NOT_NUMBERS}");
                }
                best.par_iter_mut()
                    .zip(queries.par_chunks_exact(hidden))
                    .zip(scores.par_chunks_exact(rows.len()))
                    .for_each(|((best, query), scores)| best.keep(query, scores, &block));
            }
        }
        Ok(())
    }

    /// The hits of each query, the best first.
    pub fn finish(mut self) -> Vec<Vec<Hit>> {
        let (depth, documents) = (self.depth, &self.documents);
        self.best.par_iter_mut().for_each(|best| {
            best.hits.sort_unstable_by(better);
            best.hits.truncate(depth);
        });
        let hit = |placed: &Placed| Hit { row: documents.row(placed.place), score: placed.score };
        self.best.iter().map(|best| best.hits.iter().map(hit).collect()).collect()
    }
}

fn matrix(values: &[f32], width: usize) -> Tensor {
    Tensor::from_slice(values).view([-1, width as i64])
}

/// Rows that are looked at together.
struct Block<'a> {
    places: &'a [Option<u32>],
    vectors: &'a [f32],
    hidden: usize,
    /// The greatest length of a vector.
    longest: f32,
    depth: usize,
}

/// The Euclidean length of a vector.
fn length(vector: &[f32]) -> f32 {
    dot(vector, vector).sqrt()
}

impl Block<'_> {
    /// More than rounding can put between two ways to add up a product of `query` with one of the vectors: 2 · H · ε
    /// times the product of the lengths (Higham 2002, section 3.1).
    fn rounding(&self, query: &[f32]) -> f32 {
        2.0 * self.hidden as f32 * f32::EPSILON * length(query) * self.longest
    }
}

impl Best {
    /// Adds what may be among the best, and cuts back to the depth whenever twice as many have come together.
    ///
    /// `scores` are those of the matrix product, which are the same to rounding only; they decide what is looked at.
    fn keep(&mut self, query: &[f32], scores: &[f32], block: &Block<'_>) {
        let (depth, rounding) = (block.depth, block.rounding(query));
        let mut worst = self.worst(depth);
        for ((score, place), vector) in scores.iter().zip(block.places).zip(block.vectors.chunks_exact(block.hidden)) {
            let Some(place) = place.filter(|place| Some(*place) != self.own) else { continue };
            if worst.is_some_and(|worst| score + rounding < worst.score) {
                continue;
            }
            let placed = Placed { place, score: dot(query, vector) + 0.0 }; // −0 becomes 0, so that they tie
            if worst.is_some_and(|worst| better(&placed, &worst).is_ge()) {
                continue;
            }
            self.hits.push(placed);
            // Halved, since twice a depth that somebody typed may be more than a number can hold.
            if self.hits.len() / 2 >= depth.max(1) {
                self.hits.select_nth_unstable_by(depth.saturating_sub(1), better);
                self.hits.truncate(depth);
                worst = self.worst(depth);
            }
        }
    }

    /// The worst hit where there are enough: another must be better. Before the first cut more may be there; the worst
    /// of them is a bound that lets too much through.
    fn worst(&self, depth: usize) -> Option<Placed> {
        (self.hits.len() >= depth).then(|| self.hits.iter().copied().max_by(better)).flatten()
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

    fn documents(ids: &[String]) -> Rc<Documents> {
        Documents::new(Repeated::Last, &ids.iter().map(|id| Some(id.as_str())).collect::<Vec<_>>()).into()
    }

    fn numbered(n: usize) -> Rc<Documents> {
        documents(&(0..n).map(|i| i.to_string()).collect::<Vec<_>>())
    }

    fn asked(vectors: Vec<f32>, hidden: usize) -> Asked {
        Asked { vectors, hidden, own: Vec::new() }
    }

    /// In blocks of `block`.
    fn found(asked: Asked, documents: &Rc<Documents>, news: &[f32], depth: usize, block: usize) -> Vec<Vec<Hit>> {
        let hidden = asked.hidden;
        let mut hits = TopHits::new(asked, Rc::clone(documents), depth);
        let rows: Vec<u32> = (0..(news.len() / hidden) as u32).collect();
        for (rows, vectors) in rows.chunks(block).zip(news.chunks(block * hidden)) {
            hits.add(rows, vectors).unwrap();
        }
        hits.finish()
    }

    #[test]
    fn blocks_find_what_sorting_everything_finds() {
        let (hidden, depth, n) = (3, 7, 9000);
        let (queries, news) = (values(300 * hidden, 1), values(n * hidden, 2));
        // Every id of the last thousand is there before; query 5 has the id of a document.
        let ids: Vec<String> = (0..n).map(|i| ((i * 7919) % 8000).to_string()).collect();
        let documents = documents(&ids);
        let mut own = vec![None; 300];
        own[5] = documents.index().row(b"4242");
        let last: std::collections::HashMap<&str, usize> = ids.iter().map(String::as_str).zip(0..).collect();
        let holds = |row: u32| last[ids[row as usize].as_str()] == row as usize;
        let mut expected = Vec::new();
        for (query, own) in queries.chunks(hidden).zip(&own) {
            let score = |news: &[f32]| news.iter().zip(query).map(|(a, b)| a * b).sum();
            let mut all: Vec<Hit> =
                news.chunks(hidden).zip(0..).map(|(news, row)| Hit { row, score: score(news) }).collect();
            all.retain(|hit| holds(hit.row) && Some(hit.row) != *own);
            all.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| ids[b.row as usize].cmp(&ids[a.row as usize])));
            all.truncate(depth);
            expected.push(all);
        }
        for block in [9000, 5000, 64] {
            let asked = Asked { vectors: queries.clone(), hidden, own: own.clone() };
            assert_eq!(found(asked, &documents, &news, depth, block), expected, "blocks of {block}");
        }
    }

    /// Sums of many units are rounded; still no score depends on the place of a document or on its block.
    #[test]
    fn equal_vectors_have_equal_scores_wherever_they_stand() {
        let (hidden, n) = (67, 5000);
        let wave = |n: usize, pitch: f32| (0..n).map(|i| (i as f32 * pitch).sin()).collect::<Vec<f32>>();
        let few = wave(50 * hidden, 0.37);
        let news: Vec<f32> = (0..n).flat_map(|i| few[(i * 31 % 50) * hidden..][..hidden].to_vec()).collect();
        let queries = wave(9 * hidden, 0.61);
        let all = found(asked(queries.clone(), hidden), &numbered(n), &news, 150, n);
        for (query, hits) in queries.chunks(hidden).zip(&all) {
            let equal = |hit: &Hit| hit.row as usize * 31 % 50;
            for of_one in hits.chunk_by(|a, b| equal(a) == equal(b)) {
                assert!(of_one.iter().all(|hit| hit.score == of_one[0].score));
                let exact: f64 =
                    query.iter().zip(&news[of_one[0].row as usize * hidden..]).map(|(a, b)| f64::from(*a * *b)).sum();
                assert!((f64::from(of_one[0].score) - exact).abs() < 1e-4);
            }
            assert!(
                hits.chunk_by(|a, b| equal(a) == equal(b)).all(|of_one| of_one.len() >= 50),
                "all hundred or fifty"
            );
        }
        for block in [1, 17, 4097] {
            assert_eq!(
                found(asked(queries.clone(), hidden), &numbered(n), &news, 150, block),
                all,
                "blocks of {block}"
            );
        }
    }

    #[test]
    fn a_corpus_smaller_than_the_depth_is_all_found() {
        let rows = |depth: usize| {
            let hits = found(asked(vec![1.0], 1), &numbered(3), &[1.0, 3.0, 2.0], depth, 3);
            hits[0].iter().map(|hit| hit.row).collect::<Vec<_>>()
        };
        assert_eq!(rows(10), [1, 2, 0]);
        assert_eq!(rows(usize::MAX / 2 + 1), [1, 2, 0]);
        assert!(TopHits::new(asked(vec![1.0], 1), numbered(1), 10).add(&[0], &[f32::NAN]).is_err());
    }
}

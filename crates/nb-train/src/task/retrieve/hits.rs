//! The best news for each of many queries: exact, in blocks of news, so that memory does not grow with the corpus.

use std::cmp::Ordering;

use anyhow::{Result, bail};
use rayon::prelude::*;
use tch::Tensor;

use super::super::texts::NOT_NUMBERS;

/// Queries that are multiplied with a block of news at a time.
const QUERIES: usize = 256;
/// News that are multiplied with the queries at a time.
const NEWS: usize = 4096;

/// A news that was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// Its row in the corpus.
    pub row: u32,
    /// q·h.
    pub score: f32,
}

/// The better score first; of equal ones the earlier news.
fn better(a: &Hit, b: &Hit) -> Ordering {
    b.score.total_cmp(&a.score).then(a.row.cmp(&b.row))
}

/// The best `depth` news of each query among the blocks seen so far.
///
/// ```
/// use nb_train::task::TopHits;
/// let mut hits = TopHits::new(vec![1.0, 0.0], 2, 1); // one query of two units, the best news
/// hits.add(0, &[0.5, 9.0, 0.7, 0.0])?; // news 0 and 1
/// hits.add(2, &[0.6, 0.0])?; // news 2
/// assert_eq!(hits.finish()[0][0].row, 1);
/// # anyhow::Ok(())
/// ```
#[derive(Debug)]
pub struct TopHits {
    queries: Vec<f32>,
    hidden: usize,
    depth: usize,
    best: Vec<Vec<Hit>>,
}

impl TopHits {
    /// For `queries`, vectors of `hidden` units one after the other.
    ///
    /// # Panics
    /// If they do not come out even.
    pub fn new(queries: Vec<f32>, hidden: usize, depth: usize) -> Self {
        assert!(hidden > 0 && queries.len().is_multiple_of(hidden), "{} values of {hidden} units", queries.len());
        let best = vec![Vec::new(); queries.len() / hidden];
        Self { queries, hidden, depth, best }
    }

    /// Looks at a block of news whose first row in the corpus is `start`.
    ///
    /// # Errors
    /// If a score is not a number.
    ///
    /// # Panics
    /// If the block's vectors do not come out even.
    pub fn add(&mut self, start: u32, news: &[f32]) -> Result<()> {
        let hidden = self.hidden;
        assert!(news.len().is_multiple_of(hidden), "{} values of {hidden} units", news.len());
        for (rows, first) in news.chunks(NEWS * hidden).zip((start..).step_by(NEWS)) {
            let table = matrix(rows, hidden).transpose(0, 1);
            let blocks = self.queries.chunks(QUERIES * hidden).zip(self.best.chunks_mut(QUERIES));
            for (queries, best) in blocks {
                let scores = Vec::<f32>::try_from(tch::no_grad(|| matrix(queries, hidden).matmul(&table)).view(-1))?;
                if scores.iter().any(|score| score.is_nan()) {
                    bail!("{NOT_NUMBERS}");
                }
                let depth = self.depth;
                best.par_iter_mut()
                    .zip(scores.par_chunks_exact(rows.len() / hidden))
                    .for_each(|(best, scores)| keep(best, depth, first, scores));
            }
        }
        Ok(())
    }

    /// The hits of each query, the best first.
    pub fn finish(mut self) -> Vec<Vec<Hit>> {
        let depth = self.depth;
        self.best.par_iter_mut().for_each(|best| {
            best.sort_unstable_by(better);
            best.truncate(depth);
        });
        self.best
    }
}

fn matrix(values: &[f32], width: usize) -> Tensor {
    Tensor::from_slice(values).view([-1, width as i64])
}

/// Adds what may be among the best, and cuts back to `depth` whenever twice as many have come together.
fn keep(best: &mut Vec<Hit>, depth: usize, first: u32, scores: &[f32]) {
    let mut least = if best.len() >= depth { worst(best) } else { f32::NEG_INFINITY };
    for (&score, row) in scores.iter().zip(first..) {
        // An equal score of a later news is never better.
        if score > least || best.len() < depth {
            best.push(Hit { row, score: score + 0.0 }); // −0 becomes 0, so that they tie
            // Halved, since twice a depth that somebody typed may be more than a number can hold.
            if best.len() / 2 >= depth.max(1) {
                best.select_nth_unstable_by(depth.saturating_sub(1), better);
                best.truncate(depth);
                least = worst(best);
            }
        }
    }
}

fn worst(best: &[Hit]) -> f32 {
    // Before the first cut more than `depth` may be there; the least of them is a bound that lets too much through.
    best.iter().map(|hit| hit.score).fold(f32::INFINITY, f32::min)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values with many ties.
    fn values(n: usize, seed: u64) -> Vec<f32> {
        let mut stream = nb_data::random::Stream::new(seed);
        (0..n).map(|_| stream.below(5) as f32 - 2.0).collect()
    }

    #[test]
    fn blocks_find_what_sorting_everything_finds() {
        let (hidden, depth) = (3, 7);
        let (queries, news) = (values(300 * hidden, 1), values(9000 * hidden, 2));
        let mut expected = Vec::new();
        for query in queries.chunks(hidden) {
            let score = |news: &[f32]| news.iter().zip(query).map(|(a, b)| a * b).sum();
            let mut all: Vec<Hit> =
                news.chunks(hidden).zip(0..).map(|(news, row)| Hit { row, score: score(news) }).collect();
            all.sort_by(better);
            all.truncate(depth);
            expected.push(all);
        }
        for block in [9000, 5000, 64] {
            let mut hits = TopHits::new(queries.clone(), hidden, depth);
            for (rows, start) in news.chunks(block * hidden).zip((0..).step_by(block)) {
                hits.add(start, rows).unwrap();
            }
            assert_eq!(hits.finish(), expected, "blocks of {block}");
        }
    }

    #[test]
    fn a_corpus_smaller_than_the_depth_is_all_found() {
        let mut hits = TopHits::new(vec![1.0], 1, 10);
        hits.add(0, &[1.0, 3.0, 2.0]).unwrap();
        assert_eq!(hits.finish()[0].iter().map(|hit| hit.row).collect::<Vec<_>>(), [1, 2, 0]);
        let mut hits = TopHits::new(vec![1.0], 1, usize::MAX / 2 + 1);
        hits.add(0, &[1.0, 3.0]).unwrap();
        assert_eq!(hits.finish()[0].len(), 2);
        let mut hits = TopHits::new(vec![1.0], 1, 10);
        assert!(hits.add(0, &[f32::NAN]).is_err());
    }
}

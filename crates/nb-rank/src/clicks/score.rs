//! Scores of impressions from article vectors that are computed once. The scores are computed on all CPU cores; memory
//! grows by one number per candidate.

use std::ops::Range;

use nb_data::behaviors::{Behaviors, UNKNOWN};
use nb_kernels::dot;
use rayon::prelude::*;

use crate::error::RankError;

/// Readers whose vectors are in memory at a time.
const CHUNK: usize = 1024;

/// A vector for each article, by row.
#[derive(Debug)]
pub struct ArticleVectors {
    values: Vec<f32>,
    hidden: usize,
}

impl ArticleVectors {
    /// Wraps concatenated vectors of `hidden` units: [articles × H].
    ///
    /// # Panics
    /// If the number of values is not a multiple of `hidden`.
    pub fn new(values: Vec<f32>, hidden: usize) -> Self {
        assert!(hidden > 0 && values.len().is_multiple_of(hidden), "{} values of {hidden} units", values.len());
        Self { values, hidden }
    }

    /// Returns all vectors, concatenated.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Returns the number H of units.
    pub fn hidden(&self) -> usize {
        self.hidden
    }

    /// Returns the vector of an article.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row(&self, article: u32) -> &[f32] {
        &self.values[article as usize * self.hidden..][..self.hidden]
    }
}

/// A reader model over a table of articles: from clicked articles to a reader's vector.
pub trait ReaderEncoder {
    /// The error of the model.
    type Error: From<RankError>;

    /// Computes the vectors [readers × H] of readers who clicked these rows of the table, the oldest first; a history may be empty.
    /// For a score that is a cosine, the vector of a reader with clicks has length 1.
    ///
    /// # Errors
    /// If the model fails.
    fn encode(&self, histories: &[&[u32]]) -> Result<Vec<f32>, Self::Error>;
}

/// A score for each candidate of each impression; −∞ for a candidate whose article is unknown.
#[derive(Debug, Default)]
pub struct CandidateScores {
    values: Vec<f64>,
    ends: Vec<usize>,
}

impl CandidateScores {
    /// Returns the scores of the `i`-th scored impression, in the order of its candidates.
    pub fn impression(&self, i: usize) -> &[f64] {
        &self.values[self.range(i)]
    }

    fn range(&self, i: usize) -> Range<usize> {
        let start = i.checked_sub(1).map_or(0, |before| self.ends[before]);
        start..self.ends[i]
    }

    /// Appends an impression.
    ///
    /// # Errors
    /// If a score is NaN.
    fn push(&mut self, scores: Vec<f64>) -> Result<(), RankError> {
        if scores.iter().any(|score| score.is_nan()) {
            return Err(RankError::NotFinite);
        }
        self.values.extend(scores);
        self.ends.push(self.values.len());
        Ok(())
    }
}

/// Computes the scores u·h of the candidates of some impressions, without the scale of training, which changes no ranking.
/// For cosines, articles are unit vectors, and so are readers with clicks.
///
/// # Errors
/// If the reader model fails, or if a score is NaN.
///
/// # Panics
/// If the impressions were read with other articles.
pub fn score_clicks<R: ReaderEncoder>(
    articles: &ArticleVectors,
    reader: &R,
    behaviors: &Behaviors,
    impressions: &[u32],
) -> Result<CandidateScores, R::Error> {
    let mut scores = CandidateScores::default();
    for chunk in impressions.chunks(CHUNK) {
        let histories: Vec<&[u32]> = chunk.iter().map(|&i| behaviors.history(i as usize)).collect();
        let vectors = reader.encode(&histories)?;
        let score_impression = |(&impression, vector): (&u32, &[f32])| -> Vec<f64> {
            let candidates = behaviors.candidates(impression as usize).iter();
            candidates.map(|&article| score(articles, vector, article)).collect()
        };
        let chunk_scores: Vec<Vec<f64>> =
            chunk.par_iter().zip(vectors.par_chunks_exact(articles.hidden)).map(score_impression).collect();
        for impression in chunk_scores {
            scores.push(impression)?;
        }
    }
    Ok(scores)
}

/// Computes the score of one candidate for a reader vector.
fn score(articles: &ArticleVectors, reader: &[f32], article: u32) -> f64 {
    if article == UNKNOWN { f64::NEG_INFINITY } else { dot(reader, articles.row(article)).into() }
}

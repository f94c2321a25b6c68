//! The agreement of a model in a smaller number format with itself in f32.

use std::path::Path;

use anyhow::Result;
use nb_data::read::Article;
use nb_infer::{Model, Options};
use nb_rank::argmax;

use super::batching::MAX_TOKENS;
use super::side::texts;
use crate::details::Agreement;

/// Compares labels and vectors of all articles.
///
/// # Errors
/// If the folder cannot be opened in f32, or if a text cannot be predicted.
pub(super) fn measure(model: &Model, folder: &Path, articles: &[Article]) -> Result<Agreement> {
    let exact = Model::open(folder, &Options { max_tokens: Some(MAX_TOKENS), ..Options::default() })?;
    let texts = texts(articles);
    let labels = |model: &Model| -> Result<Vec<_>> {
        Ok(model.probabilities(&texts)?.iter().map(|probabilities| argmax(probabilities)).collect())
    };
    let pairs = exact.vectors(&texts)?.into_iter().zip(model.vectors(&texts)?);
    let cosines: Vec<f64> = pairs.map(|(a, b)| cosine(&a, &b)).collect();
    Ok(Agreement {
        labels: share_equal(&labels(&exact)?, &labels(model)?),
        cosine: cosines.iter().sum::<f64>() / cosines.len() as f64,
        lowest_cosine: cosines.into_iter().fold(1.0, f64::min),
    })
}

/// Returns the share of positions with equal entries.
fn share_equal<T: PartialEq>(a: &[T], b: &[T]) -> f64 {
    a.iter().zip(b).filter(|(a, b)| a == b).count() as f64 / a.len() as f64
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_cosines_match_their_definitions() {
        assert_eq!(share_equal(&[1, 2, 3, 4], &[1, 2, 4, 3]), 0.5);
        assert_eq!(cosine(&[3.0, 4.0], &[6.0, 8.0]), 1.0);
        assert_eq!(cosine(&[3.0, 4.0], &[4.0, -3.0]), 0.0);
        assert_eq!(cosine(&[3.0, 4.0], &[5.0, 0.0]), 0.6);
    }
}

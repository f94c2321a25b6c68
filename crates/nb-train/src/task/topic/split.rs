//! Labelled rows of a token store, and how often they have each label.

use std::rc::Rc;

use nb_data::{LabelNumbers, TokenStore};

/// Rows of a token store with their labels.
#[derive(Debug)]
pub struct TopicSplit {
    /// The texts.
    pub store: Rc<TokenStore>,
    /// The rows of the store that belong to the split.
    pub rows: Vec<u32>,
    /// The classes of each row of the store: one if it has a label, or any number.
    pub labels: LabelNumbers,
    /// Labels that no training row has, whose classes follow those of the training rows.
    pub unknown: Vec<String>,
}

impl TopicSplit {
    /// Returns the number of rows with each of `labels` labels.
    pub(super) fn rows_by_label(&self, labels: usize) -> Vec<usize> {
        let mut rows = vec![0; labels];
        self.rows.iter().flat_map(|&row| self.labels.of(row as usize)).for_each(|&label| rows[label] += 1);
        rows
    }
}

/// Returns the logarithm of the odds that a row has a label, log(w·(n + ½) / (rows − n + ½)) with its n rows and its weight w in the
/// hard loss, for each label.
///
/// With these biases an untrained model predicts every label as often as it occurs. Without them it predicts each of perhaps hundreds
/// of labels for half of the rows, and training first unlearns that (Lin et al. 2017, Focal Loss, section 3.3).
pub(super) fn log_odds(split: &TopicSplit, labels: usize, weights: Option<&[f64]>) -> Vec<f32> {
    let all = split.rows.len() as f64;
    let odds = |with: usize| (with as f64 + 0.5) / (all - with as f64 + 0.5);
    let weight = |label: usize| weights.map_or(1.0, |weights| weights[label]);
    let rows = split.rows_by_label(labels).into_iter().enumerate();
    rows.map(|(label, with)| (weight(label) * odds(with)).ln() as f32).collect()
}

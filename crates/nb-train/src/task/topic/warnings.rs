//! Warnings about the texts behind a result.

use std::collections::{BTreeMap, HashSet};

use nb_data::Labels;

use super::TopicSplit;
use crate::task::distinct::text_hash;

/// Labels with fewer training rows than this are hard to learn and even harder to evaluate.
const FEW: usize = 5;

/// Warns of texts that are in both training and evaluation data, and of labels with few rows.
pub(super) fn warnings(
    train: &TopicSplit,
    dev: &TopicSplit,
    test: Option<&TopicSplit>,
    labels: &Labels,
) -> Vec<String> {
    let known: HashSet<blake3::Hash> = hashes(train).collect();
    let mut warnings = Vec::new();
    for (name, split) in std::iter::once(("development", dev)).chain(test.map(|test| ("test", test))) {
        let both = hashes(split).filter(|text| known.contains(text)).count();
        if both > 0 {
            warnings.push(format!("{both} of {} {name} texts are also training texts", split.rows.len()));
        }
    }
    let mut rows: BTreeMap<usize, usize> = (0..labels.len()).map(|label| (label, 0)).collect();
    for label in train.rows.iter().filter_map(|&row| train.labels[row as usize]) {
        *rows.entry(label).or_default() += 1;
    }
    let few = rows.iter().filter(|(_, n)| **n < FEW);
    warnings.extend(few.map(|(&label, n)| format!("label {} has {n} training rows", labels.names()[label])));
    warnings
}

fn hashes(split: &TopicSplit) -> impl Iterator<Item = blake3::Hash> + '_ {
    split.rows.iter().map(|&row| text_hash(&split.store.batch(&[row])))
}

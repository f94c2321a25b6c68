//! Warnings about the texts behind a result.

use std::collections::HashSet;

use nb_data::Labels;

use super::TopicSplit;
use crate::task::distinct::text_hash;

/// Labels with fewer training rows than this are hard to learn and even harder to evaluate.
const FEW: usize = 5;
/// Warnings of this many labels are shown one by one.
const MOST_SHOWN: usize = 5;

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
    let few = train.rows_by_label(labels.len()).into_iter().zip(labels.names()).filter(|(rows, _)| *rows < FEW);
    let few: Vec<(usize, &String)> = few.collect();
    match few.len() {
        0 => {}
        n if n <= MOST_SHOWN => warnings.extend(few.iter().map(|(rows, label)| {
            let noun = if *rows == 1 { "row" } else { "rows" };
            format!("label {label} has {rows} training {noun}")
        })),
        n => warnings.push(format!(
            "{n} of {} labels have fewer than {FEW} training rows: {}, …",
            labels.len(),
            few[..MOST_SHOWN].iter().map(|(rows, label)| format!("{label} has {rows}")).collect::<Vec<_>>().join(", ")
        )),
    }
    warnings
}

fn hashes(split: &TopicSplit) -> impl Iterator<Item = blake3::Hash> + '_ {
    split.rows.iter().map(|&row| text_hash(&split.store.batch(&[row])))
}

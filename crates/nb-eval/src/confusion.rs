//! Classification: the confusion matrix, and accuracy and macro-F1 from its counts.
//!
//! A class is any number; only classes that occur in the truth or in the predictions count.

use std::collections::BTreeMap;

use crate::Error;
use crate::error::same_length;

/// The confusion matrix: the number of times that each class was predicted for each true class.
///
/// It is sparse: its size is the number of distinct pairs, not the square of the largest class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confusion {
    counts: BTreeMap<(usize, usize), u64>,
    rows: u64,
}

/// The number of rows of one true class that were predicted as one class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConfusionCell {
    /// The true class.
    pub truth: usize,
    /// The predicted class.
    pub predicted: usize,
    /// The number of rows.
    pub count: u64,
}

/// The counts of one class against all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClassCounts {
    /// The class.
    pub class: usize,
    /// Rows of this class that were predicted as this class.
    pub true_positive: u64,
    /// Rows of other classes that were predicted as this class.
    pub false_positive: u64,
    /// Rows of this class that were predicted as another.
    pub false_negative: u64,
}

impl Confusion {
    /// Counts the pairs of true and predicted class.
    ///
    /// # Errors
    /// If the lists have different lengths or no entries.
    pub fn new(truth: &[usize], predicted: &[usize]) -> Result<Self, Error> {
        same_length("truth", truth.len(), "prediction", predicted.len())?;
        if truth.is_empty() {
            return Err(Error::Empty { name: "truth" });
        }
        let mut counts = BTreeMap::new();
        for (&t, &p) in truth.iter().zip(predicted) {
            *counts.entry((t, p)).or_insert(0) += 1;
        }
        Ok(Self { counts, rows: truth.len() as u64 })
    }

    /// Returns the number of rows of class `truth` that were predicted as `predicted`.
    #[must_use]
    pub fn count(&self, truth: usize, predicted: usize) -> u64 {
        self.counts.get(&(truth, predicted)).copied().unwrap_or(0)
    }

    /// Returns all cells that are not 0, in ascending order of the true and then of the predicted class.
    pub fn cells(&self) -> impl Iterator<Item = ConfusionCell> + '_ {
        self.counts.iter().map(|(&(truth, predicted), &count)| ConfusionCell { truth, predicted, count })
    }

    /// Returns the number of rows.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Returns the counts of every class that occurs in truth or prediction, in ascending order of the class.
    #[must_use]
    pub fn per_class(&self) -> Vec<ClassCounts> {
        let mut per_class = BTreeMap::new();
        for ConfusionCell { truth, predicted, count } in self.cells() {
            let counts = per_class.entry(truth).or_insert(ClassCounts::none(truth));
            if truth == predicted {
                counts.true_positive += count;
                continue;
            }
            counts.false_negative += count;
            per_class.entry(predicted).or_insert(ClassCounts::none(predicted)).false_positive += count;
        }
        per_class.into_values().collect()
    }

    /// Returns the accuracy: correctly predicted rows divided by all rows.
    #[must_use]
    pub fn accuracy(&self) -> f64 {
        let right: u64 = self.cells().filter(|cell| cell.truth == cell.predicted).map(|cell| cell.count).sum();
        right as f64 / self.rows as f64
    }

    /// Returns the plain mean of [`ClassCounts::f1`] over the classes that occur in truth or prediction.
    #[must_use]
    pub fn macro_f1(&self) -> f64 {
        let per_class = self.per_class();
        per_class.iter().map(ClassCounts::f1).sum::<f64>() / per_class.len() as f64
    }
}

impl ClassCounts {
    pub(crate) fn none(class: usize) -> Self {
        Self { class, true_positive: 0, false_positive: 0, false_negative: 0 }
    }

    /// Returns the number of rows of this class.
    #[must_use]
    pub fn support(&self) -> u64 {
        self.true_positive + self.false_negative
    }

    /// Returns TP / (TP + FP); `None` if the class was never predicted.
    #[must_use]
    pub fn precision(&self) -> Option<f64> {
        ratio(self.true_positive, self.true_positive + self.false_positive)
    }

    /// Returns TP / (TP + FN); `None` if no row is of this class.
    #[must_use]
    pub fn recall(&self) -> Option<f64> {
        ratio(self.true_positive, self.support())
    }

    /// Returns F1 = 2·TP / (2·TP + FP + FN), the harmonic mean of precision and recall; 0 without a true positive.
    #[must_use]
    pub fn f1(&self) -> f64 {
        ratio(2 * self.true_positive, 2 * self.true_positive + self.false_positive + self.false_negative).unwrap_or(0.0)
    }
}

fn ratio(part: u64, total: u64) -> Option<f64> {
    (total > 0).then(|| part as f64 / total as f64)
}

/// Returns the share of rows whose predicted class is the true one.
///
/// # Errors
/// If the lists have different lengths or no entries.
///
/// ```
/// assert_eq!(nb_eval::accuracy(&[0, 1, 2, 2], &[0, 1, 2, 0])?, 0.75);
/// # Ok::<(), nb_eval::Error>(())
/// ```
pub fn accuracy(truth: &[usize], predicted: &[usize]) -> Result<f64, Error> {
    Ok(Confusion::new(truth, predicted)?.accuracy())
}

/// Returns the mean F1 over the classes that occur in truth or prediction; each class has the same weight.
///
/// # Errors
/// If the lists have different lengths or no entries.
///
/// ```
/// // Class 0 has F1 = 2/3; class 1 was never predicted and class 2 is never true: both have 0.
/// let f1 = nb_eval::macro_f1(&[0, 0, 1], &[0, 2, 2])?;
/// assert!((f1 - 2.0 / 9.0).abs() < 1e-12);
/// # Ok::<(), nb_eval::Error>(())
/// ```
pub fn macro_f1(truth: &[usize], predicted: &[usize]) -> Result<f64, Error> {
    Ok(Confusion::new(truth, predicted)?.macro_f1())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn counts_each_pair_and_each_class() {
        let confusion = Confusion::new(&[0, 0, 0, 7, 7, 3], &[0, 7, 7, 7, 0, 0]).unwrap();
        let cells = confusion.cells().map(|cell| (cell.truth, cell.predicted, cell.count));
        assert_eq!(cells.collect::<Vec<_>>(), [(0, 0, 1), (0, 7, 2), (3, 0, 1), (7, 0, 1), (7, 7, 1)]);
        assert_eq!((confusion.rows(), confusion.count(0, 7), confusion.count(7, 3)), (6, 2, 0));
        let counts = |class, true_positive, false_positive, false_negative| ClassCounts {
            class,
            true_positive,
            false_positive,
            false_negative,
        };
        assert_eq!(confusion.per_class(), [counts(0, 1, 2, 2), counts(3, 0, 0, 1), counts(7, 1, 2, 1)]);
        assert_eq!(confusion.per_class()[1].precision(), None);
        assert_eq!(confusion.per_class()[2].recall(), Some(0.5));
        // F1: 2/6, 0, 2/5.
        assert!((confusion.macro_f1() - (1.0 / 3.0 + 0.4) / 3.0).abs() < 1e-15);
    }

    #[test]
    fn a_huge_class_number_costs_nothing() {
        assert_eq!(macro_f1(&[usize::MAX, 0], &[usize::MAX, 0]), Ok(1.0));
    }

    #[test]
    fn bad_lists_are_refused_with_both_lengths() {
        let error = accuracy(&[1, 2], &[1]).unwrap_err();
        assert_eq!(error.to_string(), "truth has 2 entries but prediction has 1, expected the same number");
        assert_eq!(macro_f1(&[], &[]).unwrap_err().to_string(), "truth has no entry, expected at least one");
    }

    proptest! {
        #[test]
        fn per_class_counts_agree_with_a_direct_count(pairs in prop::collection::vec((0usize..6, 0usize..6), 1..60)) {
            let (truth, predicted): (Vec<_>, Vec<_>) = pairs.iter().copied().unzip();
            let confusion = Confusion::new(&truth, &predicted).unwrap();
            for counts in confusion.per_class() {
                let direct = |t: bool, p: bool| {
                    pairs.iter().filter(|pair| (pair.0 == counts.class) == t && (pair.1 == counts.class) == p).count() as u64
                };
                prop_assert_eq!(counts.true_positive, direct(true, true));
                prop_assert_eq!(counts.false_negative, direct(true, false));
                prop_assert_eq!(counts.false_positive, direct(false, true));
            }
            let right = pairs.iter().filter(|pair| pair.0 == pair.1).count();
            prop_assert_eq!(confusion.accuracy(), right as f64 / pairs.len() as f64);
        }

        #[test]
        fn renaming_classes_changes_neither_metric(pairs in prop::collection::vec((0usize..5, 0usize..5), 1..40)) {
            let (truth, predicted): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
            let renamed = |list: &[usize]| list.iter().map(|class| 100 - 7 * class).collect::<Vec<_>>();
            let (a, b) = (macro_f1(&truth, &predicted).unwrap(), macro_f1(&renamed(&truth), &renamed(&predicted)).unwrap());
            prop_assert!((a - b).abs() < 1e-12);
            prop_assert_eq!(accuracy(&truth, &predicted), accuracy(&renamed(&truth), &renamed(&predicted)));
        }
    }
}

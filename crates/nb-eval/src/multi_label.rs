//! Multi-label classification: any number of labels for each row.

use std::collections::BTreeMap;

use crate::average_precision::steps;
use crate::confusion::ClassCounts;
use crate::error::{all_probabilities, same_length};
use crate::{Error, average_precision};

/// Probabilities of labels with the labels that apply.
///
/// Probabilities are `[rows × labels]`, row by row. A row may have no label. A label whose number is not below `labels` has no
/// probability: it is never predicted, so it counts as missed.
///
/// ```
/// use nb_eval::MultiLabel;
/// let truth = [vec![0, 1], vec![], vec![1]];
/// let rows = MultiLabel::new(2, &truth, &[0.9, 0.4, 0.2, 0.1, 0.3, 0.8])?;
/// let decided = rows.decide(&[0.5, 0.5])?;
/// assert_eq!((decided.micro_f1(), decided.macro_f1()), (0.8, (1.0 + 2.0 / 3.0) / 2.0));
/// assert_eq!(rows.mean_average_precision()?, Some(1.0));
/// assert_eq!(rows.thresholds(1)?[1], 0.25); // halfway between 0.4 and the next lower probability, 0.1
/// # Ok::<(), nb_eval::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct MultiLabel<'a> {
    labels: usize,
    truth: &'a [Vec<usize>],
    probabilities: &'a [f64],
}

/// The counts of each label at certain thresholds.
#[derive(Debug, Clone, PartialEq)]
pub struct Decided {
    /// The counts of each label in the order of their numbers; of those without probabilities only the ones that occur.
    pub per_label: Vec<ClassCounts>,
    /// For each row: predicted labels that apply, and predicted labels plus those that apply.
    rows: Vec<RowCounts>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct RowCounts {
    both: u64,
    sum: u64,
}

impl<'a> MultiLabel<'a> {
    /// Checks the rows: `truth` has the numbers of each row's labels, in any order.
    ///
    /// # Errors
    /// If there is no row or no label, if there is not a probability for each label and row, or if a probability is not a
    /// number from 0 to 1.
    pub fn new(labels: usize, truth: &'a [Vec<usize>], probabilities: &'a [f64]) -> Result<Self, Error> {
        if truth.is_empty() || labels == 0 {
            return Err(Error::Empty { name: if labels == 0 { "labels" } else { "truth" } });
        }
        let expected = truth.len().saturating_mul(labels);
        same_length("rows times labels", expected, "probabilities", probabilities.len())?;
        all_probabilities("probabilities", probabilities)?;
        Ok(Self { labels, truth, probabilities })
    }

    /// Counts the labels whose probability is at least their threshold.
    ///
    /// # Errors
    /// If there is not a threshold for each label.
    pub fn decide(&self, thresholds: &[f64]) -> Result<Decided, Error> {
        same_length("labels", self.labels, "thresholds", thresholds.len())?;
        let mut per_label: Vec<ClassCounts> = (0..self.labels).map(ClassCounts::none).collect();
        let mut unknown: BTreeMap<usize, ClassCounts> = BTreeMap::new();
        let mut rows = Vec::with_capacity(self.truth.len());
        for (truth, probabilities) in self.truth.iter().zip(self.probabilities.chunks_exact(self.labels)) {
            let mut row = RowCounts { both: 0, sum: 0 };
            for (counts, (probability, threshold)) in per_label.iter_mut().zip(probabilities.iter().zip(thresholds)) {
                let (applies, predicted) = (truth.contains(&counts.class), probability >= threshold);
                counts.true_positive += u64::from(applies && predicted);
                counts.false_positive += u64::from(!applies && predicted);
                counts.false_negative += u64::from(applies && !predicted);
                row.both += u64::from(applies && predicted);
                row.sum += u64::from(applies) + u64::from(predicted);
            }
            for &label in truth.iter().filter(|&&label| label >= self.labels) {
                unknown.entry(label).or_insert_with(|| ClassCounts::none(label)).false_negative += 1;
                row.sum += 1;
            }
            rows.push(row);
        }
        per_label.extend(unknown.into_values());
        Ok(Decided { per_label, rows })
    }

    /// Returns the mean of the labels' [`average_precision`], over the labels with probabilities that a row has; `None` if no row
    /// has one.
    ///
    /// # Errors
    /// None that [`MultiLabel::new`] has not ruled out.
    pub fn mean_average_precision(&self) -> Result<Option<f64>, Error> {
        let mut precisions = Vec::new();
        for label in 0..self.labels {
            precisions.extend(average_precision(&self.probabilities_of(label), &self.relevance_of(label))?);
        }
        let mean = precisions.iter().sum::<f64>() / precisions.len() as f64;
        Ok((!precisions.is_empty()).then_some(mean))
    }

    /// Chooses a threshold for each label: the one with the largest F1 on these rows if the label has at least `least` of
    /// them, else the one for all labels with the largest micro-F1.
    ///
    /// A label's own threshold is Yang's SCut (2001); the common one for rare labels keeps the few rows of such a label from
    /// deciding alone, as Yang warns. A threshold lies halfway between two probabilities that occur. Of equally good
    /// thresholds, the largest is chosen. Without a label on any row, all thresholds are 0.5.
    ///
    /// # Errors
    /// None that [`MultiLabel::new`] has not ruled out.
    pub fn thresholds(&self, least: usize) -> Result<Vec<f64>, Error> {
        let mut all = vec![false; self.probabilities.len()];
        for (truth, flags) in self.truth.iter().zip(all.chunks_exact_mut(self.labels)) {
            truth.iter().filter(|&&label| label < self.labels).for_each(|&label| flags[label] = true);
        }
        let common = best_threshold(self.probabilities, &all)?.unwrap_or(0.5);
        let own = |label| {
            let relevance = self.relevance_of(label);
            let rows = relevance.iter().filter(|&&relevant| relevant).count();
            let own =
                if rows < least.max(1) { None } else { best_threshold(&self.probabilities_of(label), &relevance)? };
            Ok(own.unwrap_or(common))
        };
        (0..self.labels).map(own).collect()
    }

    fn probabilities_of(&self, label: usize) -> Vec<f64> {
        self.probabilities.iter().skip(label).step_by(self.labels).copied().collect()
    }

    fn relevance_of(&self, label: usize) -> Vec<bool> {
        self.truth.iter().map(|labels| labels.contains(&label)).collect()
    }
}

impl Decided {
    /// Returns F1 over the decisions of all labels: 2·TP / (2·TP + FP + FN); 1 if no label applies and none is predicted.
    #[must_use]
    pub fn micro_f1(&self) -> f64 {
        let (both, sum) = self.rows.iter().fold((0, 0), |(both, sum), row| (both + row.both, sum + row.sum));
        if sum == 0 { 1.0 } else { 2.0 * both as f64 / sum as f64 }
    }

    /// Returns a number for each row, the mean of which is [`Decided::micro_f1`]: F1 + rows·(2·both − F1·sum) / Σ sum, where `both`
    /// counts the row's predicted labels that apply, and `sum` its predicted labels plus those that apply.
    ///
    /// F1 is not a mean over rows but a ratio of two. These are its values by the delta method: they differ from F1 by how
    /// much a row raises or lowers it, so intervals and paired tests of means apply to them.
    #[must_use]
    pub fn micro_f1_by_row(&self) -> Vec<f64> {
        let (f1, rows) = (self.micro_f1(), self.rows.len() as f64);
        let sum: u64 = self.rows.iter().map(|row| row.sum).sum();
        let gain = |row: &RowCounts| rows * (2.0 * row.both as f64 - f1 * row.sum as f64) / sum.max(1) as f64;
        self.rows.iter().map(|row| f1 + gain(row)).collect()
    }

    /// Returns the mean of [`ClassCounts::f1`] over the labels that apply to a row or are predicted for one; 1 without such a
    /// label.
    #[must_use]
    pub fn macro_f1(&self) -> f64 {
        let occurs = |counts: &&ClassCounts| counts.support() + counts.false_positive > 0;
        let f1: Vec<f64> = self.per_label.iter().filter(occurs).map(ClassCounts::f1).collect();
        if f1.is_empty() { 1.0 } else { f1.iter().sum::<f64>() / f1.len() as f64 }
    }
}

/// Returns the threshold with the largest F1; `None` if no entry is relevant.
fn best_threshold(scores: &[f64], relevant: &[bool]) -> Result<Option<f64>, Error> {
    let steps = steps(scores, relevant)?;
    let all = steps.last().map_or(0, |step| step.relevant);
    // F1 = 2·relevant / (entries + all), compared without rounding. The first, largest score wins a tie.
    let is_better = |at: usize, best: usize| {
        let (a, b) = (&steps[at], &steps[best]);
        (a.relevant as u128) * ((b.entries + all) as u128) > (b.relevant as u128) * ((a.entries + all) as u128)
    };
    let best = (0..steps.len()).reduce(|best, at| if is_better(at, best) { at } else { best });
    Ok(best.filter(|_| all > 0).map(|best| {
        let next = steps.get(best + 1).map_or(0.0, |step| step.score);
        let halfway = f64::midpoint(steps[best].score, next);
        if halfway > next { halfway } else { steps[best].score } // no number lies between
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cases() -> impl Strategy<Value = (usize, Vec<Vec<usize>>, Vec<f64>)> {
        (1_usize..5, 1_usize..12).prop_flat_map(|(labels, rows)| {
            let truth = prop::collection::vec(prop::collection::btree_set(0..labels, 0..=labels), rows);
            let probabilities = prop::collection::vec((0_u8..=20).prop_map(|p| f64::from(p) / 20.0), rows * labels);
            let lists = |sets: Vec<std::collections::BTreeSet<usize>>| -> Vec<Vec<usize>> {
                sets.into_iter().map(|set| set.into_iter().collect()).collect()
            };
            (truth.prop_map(lists), probabilities)
                .prop_map(move |(truth, probabilities)| (labels, truth, probabilities))
        })
    }

    #[test]
    fn rare_labels_have_the_common_threshold() {
        // Label 0 is right above 0.6 alone; label 1 has one row. Together, 0.3 is best.
        let truth = [vec![0], vec![0], vec![1], vec![]];
        let probabilities = [0.9, 0.1, 0.7, 0.1, 0.5, 0.4, 0.2, 0.2];
        let rows = MultiLabel::new(2, &truth, &probabilities).unwrap();
        assert_eq!(rows.thresholds(1).unwrap(), [0.6, f64::midpoint(0.4, 0.2)]);
        let common = rows.thresholds(9).unwrap();
        assert_eq!(common[0], common[1]);
        assert_eq!(rows.thresholds(2).unwrap(), [0.6, common[0]]);
    }

    #[test]
    fn without_labels_nothing_is_wrong() {
        let truth = [vec![], vec![]];
        let rows = MultiLabel::new(1, &truth, &[0.1, 0.2]).unwrap();
        assert_eq!(rows.thresholds(1).unwrap(), [0.5]);
        let decided = rows.decide(&[0.5]).unwrap();
        assert_eq!((decided.micro_f1(), decided.macro_f1(), decided.micro_f1_by_row()), (1.0, 1.0, vec![1.0, 1.0]));
        assert_eq!(rows.mean_average_precision().unwrap(), None);
        assert_eq!(rows.decide(&[0.1]).unwrap().micro_f1(), 0.0);
    }

    #[test]
    fn labels_without_probabilities_are_missed() {
        let truth = [vec![0, 2], vec![usize::MAX, 2], vec![]];
        let rows = MultiLabel::new(2, &truth, &[0.9, 0.1, 0.2, 0.3, 0.1, 0.1]).unwrap();
        let decided = rows.decide(&[0.5, 0.5]).unwrap();
        let classes: Vec<usize> = decided.per_label.iter().map(|counts| counts.class).collect();
        assert_eq!((classes, decided.micro_f1()), (vec![0, 1, 2, usize::MAX], 2.0 / 5.0));
        assert_eq!(decided.macro_f1(), 1.0 / 3.0);
        assert_eq!(rows.mean_average_precision().unwrap(), Some(1.0));
        assert_eq!(rows.thresholds(1).unwrap(), [f64::midpoint(0.9, 0.2), f64::midpoint(0.9, 0.3)]);
    }

    #[test]
    fn bad_rows_are_refused() {
        let error = |labels, truth: &[Vec<usize>], probabilities: &[f64]| {
            MultiLabel::new(labels, truth, probabilities).unwrap_err().to_string()
        };
        assert_eq!(error(1, &[], &[]), "truth has no entry, expected at least one");
        assert_eq!(error(0, &[vec![]], &[]), "labels has no entry, expected at least one");
        assert_eq!(
            error(2, &[vec![0]], &[0.0; 3]),
            "rows times labels has 2 entries but probabilities has 3, expected the same number"
        );
        assert!(error(1, &[vec![0]], &[1.5]).contains("entry 0 of probabilities is 1.5"));
    }

    proptest! {
        #[test]
        fn the_mean_of_the_rows_is_micro_f1((labels, truth, probabilities) in cases(), threshold in 0.0..1.0) {
            let decided = MultiLabel::new(labels, &truth, &probabilities).unwrap().decide(&vec![threshold; labels]).unwrap();
            let values = decided.micro_f1_by_row();
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            prop_assert!((mean - decided.micro_f1()).abs() < 1e-12);
            let total = |count: fn(&ClassCounts) -> u64| decided.per_label.iter().map(count).sum::<u64>() as f64;
            let (right, wrong) = (total(|c| c.true_positive), total(|c| c.false_positive + c.false_negative));
            let expected = if right + wrong == 0.0 { 1.0 } else { 2.0 * right / (2.0 * right + wrong) };
            prop_assert!((decided.micro_f1() - expected).abs() < 1e-12);
        }

        #[test]
        fn no_threshold_is_better_than_the_chosen((labels, truth, probabilities) in cases(), other in 0.0..1.0) {
            let rows = MultiLabel::new(labels, &truth, &probabilities).unwrap();
            let f1 = |thresholds: &[f64]| -> Vec<f64> {
                rows.decide(thresholds).unwrap().per_label.iter().map(ClassCounts::f1).collect()
            };
            let (best, others) = (f1(&rows.thresholds(1).unwrap()), f1(&vec![other; labels]));
            prop_assert!(best.iter().zip(&others).all(|(best, other)| best >= &(other - 1e-12)), "{best:?} {others:?}");
            let common = rows.decide(&rows.thresholds(usize::MAX).unwrap()).unwrap();
            prop_assert!(common.micro_f1() >= rows.decide(&vec![other; labels]).unwrap().micro_f1() - 1e-12
                || truth.iter().all(Vec::is_empty));
        }
    }
}

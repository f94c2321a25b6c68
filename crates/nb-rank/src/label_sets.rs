//! Metrics of predicted sets of labels.

use nb_eval::MultiLabel;
use nb_report::record::Outcomes;

use crate::error::RankError;
use crate::measurements::{Measurements, Metric};

/// A label on at least this many rows has a threshold of its own; fewer say too little about it.
const ROWS_FOR_A_THRESHOLD: usize = 10;

/// Texts with any number of labels, and the probabilities that a model computes for them.
#[derive(Debug, Clone, Copy)]
pub struct LabelSets<'a> {
    /// The number of the model's labels.
    pub labels: usize,
    /// The numbers of each text's labels. Numbers from `labels` on are labels that the model does not know and never predicts.
    pub truth: &'a [Vec<usize>],
    /// The probability of each label of the model for each text, text after text.
    pub probabilities: &'a [f32],
}

/// Computes micro-F1, with an interval, and macro-F1 of labels whose probability is at least their threshold, and the mean average
/// precision (`map`), which needs no thresholds and is left out if no text has a label. The thresholds are chosen to be best on these
/// texts ([`MultiLabel::thresholds`]) unless they are given, one for each label of the model.
///
/// The outcomes are the texts' values of micro-F1 ([`Decided::micro_f1_by_row`](nb_eval::Decided::micro_f1_by_row)).
///
/// ```
/// use nb_rank::{LabelSets, evaluate_label_sets};
/// let truth = [vec![0, 1], vec![], vec![1]];
/// let sets = LabelSets { labels: 2, truth: &truth, probabilities: &[0.9, 0.4, 0.2, 0.1, 0.3, 0.8] };
/// let measured = evaluate_label_sets(&sets, Some(&[0.5, 0.5]))?;
/// assert_eq!((measured.rows, measured.get("micro_f1"), measured.get("map")), (3, Some(0.8), Some(1.0)));
/// let measured = evaluate_label_sets(&sets, None)?;
/// assert_eq!(measured.get("micro_f1"), Some(1.0));
/// assert!((measured.thresholds[0] - 0.35).abs() < 1e-6);
/// # Ok::<(), nb_rank::RankError>(())
/// ```
///
/// # Errors
/// If there is no text, if there is not a probability for each label and text, or not a threshold for each label.
pub fn evaluate_label_sets(sets: &LabelSets<'_>, thresholds: Option<&[f64]>) -> Result<Measurements, RankError> {
    let LabelSets { labels, truth, probabilities } = *sets;
    let probabilities: Vec<f64> = probabilities.iter().map(|&probability| f64::from(probability)).collect();
    let rows = MultiLabel::new(labels, truth, &probabilities)?;
    let thresholds = match thresholds {
        Some(given) => given.to_vec(),
        None => rows.thresholds(ROWS_FOR_A_THRESHOLD)?,
    };
    let decided = rows.decide(&thresholds)?;
    let by_row = decided.micro_f1_by_row();
    let micro_f1 = Metric { value: decided.micro_f1(), ..Metric::mean("micro_f1", &by_row)? }; // the mean with fewer roundings
    let metrics = [micro_f1, Metric::new("macro_f1", decided.macro_f1())];
    let precision = rows.mean_average_precision()?.map(|precision| Metric::new("map", precision));
    let count = by_row.len();
    let outcomes =
        Outcomes { rows: (0..count as u32).collect(), values: vec![("micro_f1".into(), by_row)], classes: None };
    let metrics = metrics.into_iter().chain(precision).collect();
    Ok(Measurements { rows: count, unit: "texts".into(), metrics, outcomes, thresholds, ..Measurements::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_labels_are_never_predicted() {
        let truth = [vec![0, 2], vec![3]];
        let sets = LabelSets { labels: 2, truth: &truth, probabilities: &[0.9, 0.1, 0.2, 0.3] };
        let measured = evaluate_label_sets(&sets, Some(&[0.5, 0.5])).unwrap();
        // Of three labels that apply, one is predicted, and no other: 2·1 / (2·1 + 2).
        assert_eq!(measured.get("micro_f1"), Some(0.5));
        assert_eq!(measured.get("macro_f1"), Some(1.0 / 3.0));
        assert_eq!(measured.thresholds, [0.5, 0.5]);
        assert_eq!(evaluate_label_sets(&sets, None).unwrap().thresholds.len(), 2);
    }

    #[test]
    fn wrong_numbers_are_errors() {
        let truth = [vec![0]];
        let sets = LabelSets { labels: 2, truth: &truth, probabilities: &[0.9, 0.1] };
        let error = evaluate_label_sets(&sets, Some(&[0.5])).unwrap_err().to_string();
        assert!(error.contains("thresholds has 1"), "{error}");
        assert!(evaluate_label_sets(&LabelSets { probabilities: &[0.9], ..sets }, None).is_err());
        assert!(evaluate_label_sets(&LabelSets { truth: &[], probabilities: &[], ..sets }, None).is_err());
    }
}

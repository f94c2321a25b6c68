//! Metrics of predicted classes.

use nb_eval::Confusion;
use nb_report::record::Outcomes;

use crate::error::RankError;
use crate::measurements::{Measurements, Metric};

/// Computes accuracy, with an interval, and macro-F1 of predicted classes.
///
/// ```
/// let measured = nb_rank::evaluate_classes(&[0, 1, 1, 2], &[0, 1, 2, 2])?;
/// assert_eq!((measured.rows, measured.get("accuracy")), (4, Some(0.75)));
/// # Ok::<(), nb_rank::RankError>(())
/// ```
///
/// # Errors
/// If there is no prediction, or not one prediction for each class.
pub fn evaluate_classes(truth: &[usize], predicted: &[usize]) -> Result<Measurements, RankError> {
    let confusion = Confusion::new(truth, predicted)?;
    let correct: Vec<f64> = truth.iter().zip(predicted).map(|(a, b)| f64::from(a == b)).collect();
    let metrics = vec![Metric::mean("accuracy", &correct)?, Metric::new("macro_f1", confusion.macro_f1())];
    let outcomes =
        Outcomes { rows: (0..truth.len() as u32).collect(), values: vec![("accuracy".into(), correct)], classes: None };
    Ok(Measurements { rows: truth.len(), unit: "texts".into(), metrics, outcomes, ..Measurements::default() })
}

//! The cost of training, in time.

use serde::{Deserialize, Serialize};

use super::lenient::or_default;

/// The cost of a part of a training, in elapsed time and in processor time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cost {
    /// Elapsed time, in seconds.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Processor time of all threads of the main process, in seconds.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub processor_seconds: Option<f64>,
}

/// The cost of a run, and of what it needed before.
///
/// ```
/// use nb_report::record::Summary;
///
/// let text = r#"{"cost":{"run":{"seconds":5.5,"processor_seconds":10.0},"teacher":{"processor_seconds":30.0}}}"#;
/// let summary: Summary = serde_json::from_str(text)?;
/// let cost = summary.cost.expect("the run measured its cost");
/// assert_eq!(cost.run.and_then(|run| run.seconds), Some(5.5));
/// assert_eq!(cost.teacher.and_then(|teacher| teacher.processor_seconds), Some(30.0));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunCost {
    /// The run's own training: its steps and, with a frozen teacher, the computation of the teacher's outputs.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub run: Option<Cost>,
    /// The training of its frozen teachers before the run. Absent if there was none or if it is unknown.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub teacher: Option<Cost>,
}

impl Cost {
    /// Returns the cost without the values that cannot be a time: negative and not finite ones.
    pub(crate) fn checked(self) -> Self {
        let time = |value: Option<f64>| value.filter(|value| value.is_finite() && *value >= 0.0);
        Self { seconds: time(self.seconds), processor_seconds: time(self.processor_seconds) }
    }
}

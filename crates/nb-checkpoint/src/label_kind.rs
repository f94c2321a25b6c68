//! The number of labels of a text.

/// The number of labels that a text has, which decides how logits become probabilities.
///
/// ```
/// use nb_checkpoint::LabelKind;
/// assert_eq!(LabelKind::Multi.problem_type(), "multi_label_classification");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LabelKind {
    /// One: the probabilities of all labels are a softmax and sum to 1.
    #[default]
    Single,
    /// Any number: the probability of each label is a sigmoid.
    Multi,
}

impl LabelKind {
    /// Returns the value of `problem_type` in a `config.json` of transformers.
    pub fn problem_type(self) -> &'static str {
        match self {
            Self::Single => "single_label_classification",
            Self::Multi => "multi_label_classification",
        }
    }

    /// Returns the kind for a value of `problem_type`; `None` for another problem.
    pub(crate) fn of_problem_type(name: &str) -> Option<Self> {
        [Self::Single, Self::Multi].into_iter().find(|kind| kind.problem_type() == name)
    }
}

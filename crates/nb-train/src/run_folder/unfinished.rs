//! The treatment of an unfinished run in the requested folder.

/// The action on a run folder of an unfinished run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unfinished {
    /// Leave it and fail.
    Refuse,
    /// Remove it and start over.
    Overwrite,
    /// Continue from its newest complete checkpoint; start over if it has none yet.
    Resume(Accepted),
    /// Continue if it has the same configuration, else remove it and start over.
    ResumeSame,
}

impl Unfinished {
    /// Returns whether to resume the unfinished run if possible.
    pub(crate) fn resumes(&self) -> bool {
        matches!(self, Self::Resume(_) | Self::ResumeSame)
    }
}

/// Keys in which a resumed run may differ from the configuration it was started with, including the keys below them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accepted(pub Vec<String>);

impl Accepted {
    /// Returns whether `key` or a key above it is accepted.
    pub(crate) fn holds(&self, key: &str) -> bool {
        let is_above = |above: &String| key.strip_prefix(above.as_str()).is_some_and(|rest| rest.starts_with('.'));
        self.0.iter().any(|accepted| accepted == key || is_above(accepted))
    }
}

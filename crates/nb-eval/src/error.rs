//! The error type of the crate: input from which no metric can be computed.

/// The reason why no metric was computed. Positions count from 0.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Two lists that describe the same rows have different lengths.
    #[error("{left_name} has {left} entries but {right_name} has {right}, expected the same number")]
    Lengths {
        /// Name of the first list.
        left_name: &'static str,
        /// Its length.
        left: usize,
        /// Name of the second list.
        right_name: &'static str,
        /// Its length.
        right: usize,
    },
    /// A list without entries has no mean.
    #[error("{name} has no entry, expected at least one")]
    Empty {
        /// Name of the list.
        name: &'static str,
    },
    /// A score is NaN, which has no rank.
    #[error("score {index} is NaN, expected a number")]
    NanScore {
        /// Position of the score.
        index: usize,
    },
    /// A value to be averaged is NaN or infinite.
    #[error("entry {index} of {name} is {value}, expected a finite number")]
    NotFinite {
        /// Name of the list.
        name: &'static str,
        /// Position of the value.
        index: usize,
        /// The value.
        value: f64,
    },
    /// An error in one of many impressions.
    #[error("impression {index}")]
    Impression {
        /// Position of the impression.
        index: usize,
        /// The error.
        source: Box<Error>,
    },
    /// Every impression has only clicked or only unclicked articles, so there is no mean.
    #[error("none of {skipped} impressions has both clicked and unclicked articles, expected at least one")]
    OneClassOnly {
        /// The number of impressions.
        skipped: usize,
    },
    /// A number of resamples or a confidence level that gives no interval.
    #[error("{name} of the bootstrap is {found}, expected {expected}")]
    Bootstrap {
        /// The setting.
        name: &'static str,
        /// Its value.
        found: f64,
        /// The valid values.
        expected: &'static str,
    },
    /// A probability, a p-value or a confidence is NaN, negative or above 1.
    #[error("entry {index} of {name} is {value}, expected a number from 0 to 1")]
    NotProbability {
        /// Name of the list.
        name: &'static str,
        /// Position of the value.
        index: usize,
        /// The value.
        value: f64,
    },
    /// The number of bins is 0.
    #[error("the number of bins is 0, expected at least 1")]
    NoBins,
}

/// Fails unless both lists have the same length.
pub(crate) fn same_length(
    left_name: &'static str,
    left: usize,
    right_name: &'static str,
    right: usize,
) -> Result<(), Error> {
    if left == right {
        return Ok(());
    }
    Err(Error::Lengths { left_name, left, right_name, right })
}

/// Fails unless the list has an entry and all entries are finite.
pub(crate) fn all_finite(name: &'static str, values: &[f64]) -> Result<(), Error> {
    if values.is_empty() {
        return Err(Error::Empty { name });
    }
    match values.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(Error::NotFinite { name, index, value: values[index] }),
        None => Ok(()),
    }
}

/// Fails unless all entries are between 0 and 1.
pub(crate) fn all_probabilities(name: &'static str, values: &[f64]) -> Result<(), Error> {
    match values.iter().position(|value| !(0.0..=1.0).contains(value)) {
        Some(index) => Err(Error::NotProbability { name, index, value: values[index] }),
        None => Ok(()),
    }
}

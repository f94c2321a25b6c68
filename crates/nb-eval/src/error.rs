//! The one error type of the crate: input from which no metric can be computed.

/// Why no metric was computed. Positions count from 0.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Two lists that describe the same rows have different lengths.
    #[error("{left_name} has {left} entries but {right_name} has {right}, expected the same number")]
    Lengths {
        /// What the first list holds.
        left_name: &'static str,
        /// Its length.
        left: usize,
        /// What the second list holds.
        right_name: &'static str,
        /// Its length.
        right: usize,
    },
    /// A list has no entry, so that nothing can be averaged.
    #[error("{name} has no entry, expected at least one")]
    Empty {
        /// What the list should have held.
        name: &'static str,
    },
    /// A score is NaN and so has no place in an order.
    #[error("score {index} is NaN, expected a number")]
    NanScore {
        /// Position of the score.
        index: usize,
    },
    /// A value to be averaged is NaN or infinite.
    #[error("entry {index} of {name} is {value}, expected a finite number")]
    NotFinite {
        /// What the list holds.
        name: &'static str,
        /// Position of the value.
        index: usize,
        /// The value.
        value: f64,
    },
    /// Something is wrong with one impression among many.
    #[error("impression {index}: {source}")]
    Impression {
        /// Position of the impression.
        index: usize,
        /// What is wrong with it.
        source: Box<Error>,
    },
    /// Every impression has only clicked or only other news, so that no mean exists.
    #[error("none of {left_out} impressions has both clicked and other news, expected at least one")]
    OneClassOnly {
        /// How many impressions there are, all of them left out.
        left_out: usize,
    },
    /// A number of resamples or a confidence level that gives no interval.
    #[error("{name} of the bootstrap is {found}, expected {expected}")]
    Bootstrap {
        /// Which setting.
        name: &'static str,
        /// What it is.
        found: f64,
        /// What it may be.
        expected: &'static str,
    },
    /// A probability, a p-value or a confidence is NaN, negative or above 1.
    #[error("entry {index} of {name} is {value}, expected a number from 0 to 1")]
    NotProbability {
        /// What the list holds.
        name: &'static str,
        /// Position of the value.
        index: usize,
        /// The value.
        value: f64,
    },
    /// Values were to be put into no bins.
    #[error("the number of bins is 0, expected at least 1")]
    NoBins,
}

/// Fails unless both lists have the same length.
pub(crate) fn same_length(left: (&'static str, usize), right: (&'static str, usize)) -> Result<(), Error> {
    if left.1 == right.1 {
        return Ok(());
    }
    Err(Error::Lengths { left_name: left.0, left: left.1, right_name: right.0, right: right.1 })
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

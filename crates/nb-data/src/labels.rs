//! The label set of a classification: collected from training data, saved with the model, used to encode other data.

use std::collections::BTreeSet;
use std::path::Path;

use crate::error::DataError;

/// The labels of a classification. The number of a label is its position.
///
/// ```
/// let labels = nb_data::Labels::learn(["sports", "autos", "sports"])?;
/// assert_eq!(labels.names(), ["autos", "sports"]);
/// assert_eq!(labels.index_of("sports"), Some(1));
/// # Ok::<(), nb_data::DataError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels {
    names: Vec<String>,
}

impl Labels {
    /// Collects the set from the labels of the training rows: each once, in ascending order of their UTF-8 bytes (so
    /// `10` precedes `2`).
    ///
    /// # Errors
    /// [`DataError::TooFewLabels`] if there are fewer than two different labels.
    pub fn learn<S: AsRef<str>>(labels: impl IntoIterator<Item = S>) -> Result<Self, DataError> {
        let mut names = BTreeSet::new();
        for label in labels {
            // There are many rows and few labels, so a known label is not copied.
            if !names.contains(label.as_ref()) {
                names.insert(label.as_ref().to_owned());
            }
        }
        Self::checked(names.into_iter().collect())
    }

    /// Restores the labels of a saved model, in their order.
    ///
    /// # Errors
    /// [`DataError::TooFewLabels`] if there are fewer than two labels, or one occurs twice.
    pub fn from_names(names: Vec<String>) -> Result<Self, DataError> {
        Self::checked(names)
    }

    fn checked(names: Vec<String>) -> Result<Self, DataError> {
        let found = match names.as_slice() {
            [] => "no labels".to_owned(),
            [only] => format!("only label {only:?}"),
            _ => {
                let mut seen = BTreeSet::new();
                match names.iter().find(|name| !seen.insert(*name)) {
                    Some(twice) => format!("label {twice:?} twice"),
                    None => return Ok(Self { names }),
                }
            }
        };
        Err(DataError::TooFewLabels { found })
    }

    /// Returns the labels in the order of their numbers.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Returns the number of labels; two or more.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a label set is never empty")]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Returns the number of a label.
    #[must_use]
    pub fn index_of(&self, label: &str) -> Option<usize> {
        // Label sets are small, and the labels of a saved model need not be sorted.
        self.names.iter().position(|name| name == label)
    }

    /// Returns the number of the label on `line` of `file`.
    ///
    /// # Errors
    /// [`DataError::UnknownLabel`] if the set does not contain it.
    pub fn encode(&self, label: &str, line: u64, file: &Path) -> Result<usize, DataError> {
        self.index_of(label).ok_or_else(|| DataError::UnknownLabel {
            file: file.display().to_string(),
            line,
            label: label.to_owned(),
            known: self.names.clone(),
        })
    }
}

/// The numbers of the labels of each article, of which it may have none, one or several.
///
/// ```
/// use nb_data::LabelNumbers;
/// let numbers: LabelNumbers = [vec![2], vec![], vec![0, 1]].into_iter().collect();
/// assert_eq!((numbers.of(0), numbers.of(1), numbers.of(2)), (&[2][..], &[][..], &[0, 1][..]));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelNumbers {
    /// The end of each article's numbers.
    ends: Vec<usize>,
    numbers: Vec<usize>,
}

impl LabelNumbers {
    /// Returns the numbers of article `i`.
    ///
    /// # Panics
    /// If there is no such article.
    #[must_use]
    pub fn of(&self, i: usize) -> &[usize] {
        let start = i.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.numbers[start..self.ends[i]]
    }

    /// Returns the number of articles.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns true if there is no article.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Adds an article.
    pub fn push(&mut self, numbers: impl IntoIterator<Item = usize>) {
        self.numbers.extend(numbers);
        self.ends.push(self.numbers.len());
    }
}

impl<I: IntoIterator<Item = usize>> FromIterator<I> for LabelNumbers {
    fn from_iter<T: IntoIterator<Item = I>>(articles: T) -> Self {
        let mut all = Self::default();
        articles.into_iter().for_each(|numbers| all.push(numbers));
        all
    }
}

/// Returns the numbers of the labels whose probability is at least their threshold, the most probable first; equally probable ones in
/// the order of their numbers.
///
/// ```
/// assert_eq!(nb_data::labels::label_set(&[0.25, 0.75, 0.5, 0.75], &[0.3, 0.75, 0.5, 0.1]), [1, 3, 2]);
/// ```
#[must_use]
pub fn label_set(probabilities: &[f32], thresholds: &[f64]) -> Vec<usize> {
    let applies = |(_, (probability, threshold)): &(usize, (&f32, &f64))| f64::from(**probability) >= **threshold;
    let mut labels: Vec<usize> =
        probabilities.iter().zip(thresholds).enumerate().filter(applies).map(|(label, _)| label).collect();
    labels.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]));
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_fewer_than_two_labels_is_an_error() {
        let error = |labels: &[&str]| Labels::learn(labels).unwrap_err().to_string();
        assert_eq!(error(&[]), "found no labels, expected at least two different labels");
        assert_eq!(error(&["a", "a"]), "found only label \"a\", expected at least two different labels");
        let twice = Labels::from_names(vec!["a".into(), "b".into(), "a".into()]).unwrap_err();
        assert_eq!(twice.to_string(), "found label \"a\" twice, expected at least two different labels");
    }

    #[test]
    fn labels_are_in_byte_order_or_in_saved_order() {
        assert_eq!(Labels::learn(["2", "10", "é", "a", "2"]).unwrap().names(), ["10", "2", "a", "é"]);
        let saved = Labels::from_names(vec!["b".into(), "a".into()]).unwrap();
        assert_eq!((saved.index_of("a"), saved.index_of("c"), saved.len()), (Some(1), None, 2));
    }

    #[test]
    fn an_unknown_label_is_reported_with_its_line() {
        let labels = Labels::learn(["a", "b"]).unwrap();
        assert_eq!(labels.encode("b", 1, Path::new("dev.csv")).unwrap(), 1);
        assert_eq!(
            labels.encode("c", 17, Path::new("dev.csv")).unwrap_err().to_string(),
            "dev.csv:17: unknown label \"c\", expected one of the labels in the training data: [\"a\", \"b\"]"
        );
    }
}

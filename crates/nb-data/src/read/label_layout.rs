//! The ways in which a file stores the labels of a row.

use std::borrow::Cow;

use super::skipped::Reason;
use super::text::meaningful;
use super::value::Value;

/// The place of a row's labels. `C` is a [`Column`](super::Column) of a CSV file or a [`KeyPath`](super::KeyPath).
///
/// ```
/// use nb_data::read::{Column, LabelLayout};
/// let flags = LabelLayout::Flags(vec![Column::Name("sports".into()), Column::Name("world".into())]);
/// assert_eq!(LabelLayout::from(Column::Number(0)), LabelLayout::One(Column::Number(0)));
/// # let _ = flags;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LabelLayout<C> {
    /// A column that holds one label, or a list of labels in formats that have lists.
    One(C),
    /// Columns that each hold a label, none, or several: in formats that have lists as a list, else with a separator between
    /// them, `sports|world`.
    Several {
        /// The columns.
        columns: Vec<C>,
        /// The text between two labels of a column.
        separator: Option<String>,
    },
    /// Columns that hold 1 if the row has the label named by the column, else 0.
    Flags(Vec<C>),
}

impl<C> From<C> for LabelLayout<C> {
    fn from(column: C) -> Self {
        Self::One(column)
    }
}

impl<C> LabelLayout<C> {
    /// Replaces the columns.
    ///
    /// # Errors
    /// The first error of `f`.
    pub fn try_map<D, E>(&self, f: impl Fn(&C) -> Result<D, E>) -> Result<LabelLayout<D>, E> {
        let all = |columns: &[C]| columns.iter().map(&f).collect::<Result<_, E>>();
        Ok(match self {
            Self::One(column) => LabelLayout::One(f(column)?),
            Self::Several { columns, separator } => {
                LabelLayout::Several { columns: all(columns)?, separator: separator.clone() }
            }
            Self::Flags(columns) => LabelLayout::Flags(all(columns)?),
        })
    }

    /// Returns the columns.
    pub(super) fn columns(&self) -> &[C] {
        match self {
            Self::One(column) => std::slice::from_ref(column),
            Self::Several { columns, .. } | Self::Flags(columns) => columns,
        }
    }

    /// Returns the labels' places, as `place` finds them. A flag's label is what `name` calls the column at a place.
    pub(super) fn places<E>(
        &self,
        place: impl Fn(&C) -> Result<usize, E>,
        name: impl Fn(&C, usize) -> String,
    ) -> Result<LabelPlaces, E> {
        Ok(match self {
            Self::One(column) => LabelPlaces::One(place(column)?),
            Self::Several { columns, separator } => {
                LabelPlaces::Several(columns.iter().map(place).collect::<Result<_, E>>()?, separator.clone())
            }
            Self::Flags(columns) => {
                let flag = |column: &C| place(column).map(|place| (place, name(column, place)));
                LabelPlaces::Flags(columns.iter().map(flag).collect::<Result<_, E>>()?)
            }
        })
    }
}

/// The positions of the labels among the fields of a row.
#[derive(Debug)]
pub(super) enum LabelPlaces {
    One(usize),
    /// The positions, and the separator.
    Several(Vec<usize>, Option<String>),
    /// The position and the name of each label.
    Flags(Vec<(usize, String)>),
}

/// The labels of a row, in its order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct RowLabels {
    pub(super) first: Option<String>,
    pub(super) more: Vec<String>,
}

impl RowLabels {
    /// Adds a label that the row does not have yet.
    fn push(&mut self, label: &str) {
        match &self.first {
            None => self.first = Some(label.to_owned()),
            Some(first) if first == label || self.more.iter().any(|known| known == label) => {}
            Some(_) => self.more.push(label.to_owned()),
        }
    }

    /// Adds a value, the parts between its separators, or the entries of a list; values that are not labels are ignored.
    fn extend(&mut self, value: &Value, separator: Option<&str>) {
        if let Value::List(entries) = value {
            entries.iter().for_each(|entry| self.extend_text(entry.label(), separator));
        } else {
            self.extend_text(value.label(), separator);
        }
    }

    /// Does the same, but a value that is present and not a label is an error: without it, a row would silently have fewer labels.
    fn extend_with_all(&mut self, value: &Value, separator: Option<&str>) -> Result<(), Reason> {
        let is_label = |value: &Value| *value == Value::Missing || value.label().is_some();
        let all_labels = match value {
            Value::List(entries) => entries.iter().all(is_label),
            other => is_label(other),
        };
        if !all_labels {
            return Err(Reason::InvalidLabel);
        }
        self.extend(value, separator);
        Ok(())
    }

    fn extend_text(&mut self, text: Option<Cow<str>>, separator: Option<&str>) {
        let text = text.as_deref().unwrap_or_default();
        match separator {
            Some(separator) => text.split(separator).filter_map(meaningful).for_each(|label| self.push(label)),
            None => meaningful(text).into_iter().for_each(|label| self.push(label)),
        }
    }
}

impl LabelPlaces {
    /// Returns the largest position.
    pub(super) fn last(&self) -> usize {
        match self {
            Self::One(place) => *place,
            Self::Several(places, _) => places.iter().copied().max().unwrap_or(0),
            Self::Flags(flags) => flags.iter().map(|(place, _)| *place).max().unwrap_or(0),
        }
    }

    /// Reads the labels of a row, whose fields `value` returns.
    pub(super) fn read<'a, V: std::borrow::Borrow<Value<'a>>>(
        &self,
        value: impl Fn(usize) -> Result<V, Reason>,
    ) -> Result<RowLabels, Reason> {
        let mut labels = RowLabels::default();
        match self {
            Self::One(place) => labels.extend(value(*place)?.borrow(), None),
            Self::Several(places, separator) => {
                for place in places {
                    labels.extend_with_all(value(*place)?.borrow(), separator.as_deref())?;
                }
            }
            Self::Flags(flags) => {
                for (place, name) in flags {
                    if value(*place)?.borrow().flag()? {
                        labels.push(name);
                    }
                }
            }
        }
        Ok(labels)
    }
}

//! The columns of labels in the input of `nb eval`.

use anyhow::{Result, bail};
use clap::Args;
use nb_data::read::LabelLayout;

/// The columns of the labels.
#[derive(Debug, Args)]
pub(super) struct LabelColumns {
    /// Column of the label, by number from 0, by name or by key (topic: csv, tsv, jsonl, parquet); several columns if the model was
    /// trained for texts with any number of labels
    #[arg(long, value_delimiter = ',', value_name = "COLUMN")]
    label: Vec<String>,
    /// Text between two labels of a column, such as | (topic, with any number of labels)
    #[arg(long, value_name = "TEXT", requires = "label")]
    label_separator: Option<String>,
    /// Columns of 0 and 1, one for each label that they name (topic, with any number of labels)
    #[arg(long, value_delimiter = ',', value_name = "COLUMN", conflicts_with = "label")]
    label_flags: Vec<String>,
}

impl LabelColumns {
    /// Returns the first option that is given.
    pub(super) fn given(&self) -> Option<&'static str> {
        match (self.label.is_empty(), self.label_flags.is_empty()) {
            (false, _) => Some("--label"),
            (true, false) => Some("--label-flags"),
            (true, true) => None,
        }
    }

    /// Returns the columns for a model for texts with one label.
    ///
    /// # Errors
    /// If they are those of any number of labels.
    pub(super) fn of_one_label(&self) -> Result<Option<LabelLayout<String>>> {
        let several = "the model was trained for texts with one label";
        if !self.label_flags.is_empty() || self.label_separator.is_some() {
            bail!("--label-flags and --label-separator are for texts with any number of labels, and {several}");
        }
        match self.label.as_slice() {
            [] => Ok(None),
            [column] => Ok(Some(LabelLayout::One(column.clone()))),
            all => bail!("--label has {} columns, and {several}, expected one column", all.len()),
        }
    }

    /// Returns the columns for a model for texts with any number of labels.
    pub(super) fn of_label_sets(&self) -> Option<LabelLayout<String>> {
        let (columns, separator) = (self.label.clone(), self.label_separator.clone());
        match (columns.is_empty(), self.label_flags.is_empty()) {
            (false, _) => Some(LabelLayout::Several { columns, separator }),
            (true, false) => Some(LabelLayout::Flags(self.label_flags.clone())),
            (true, true) => None,
        }
    }
}

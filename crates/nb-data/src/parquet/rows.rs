//! The rows of a Parquet file as articles.

use std::path::Path;

use arrow_array::RecordBatch;
use arrow_schema::DataType;

use super::class_names::{self, class_names};
use super::columns::Found;
use super::file::{Batches, ParquetFile};
use super::guard::guarded;
use super::values::{Values, array, is_readable, is_single, is_text};
use crate::error::DataError;
use crate::read::{Fields, IdRule, KeyLayout, LabelRule, Parts, Row, SkippedRow, Value};

/// Rows decoded at a time: enough to make the cost of a batch negligible, few enough for any text to fit.
const ROWS: usize = 1024;

/// The articles of a file, one batch at a time.
pub(crate) struct ParquetRows {
    batches: Batches,
    columns: Vec<Found>,
    /// For each column, the names of labels that are stored as numbers.
    names: Vec<Option<Vec<String>>>,
    fields: Fields,
    labels: LabelRule,
    /// The rows of the current batch, in reverse order.
    rows: Vec<Row>,
    read: u64,
}

impl ParquetRows {
    pub(crate) fn open(path: &Path, layout: &KeyLayout, labels: LabelRule) -> Result<Self, DataError> {
        let file = ParquetFile::open(path)?;
        let Parts { paths, fields } = Parts::of(layout, IdRule::Optional, file.name())?;
        if labels.needs_column() && !fields.has_label() {
            return Err(DataError::NoLabelColumn { file: file.name().to_owned() });
        }
        let columns = paths.iter().map(|path| file.column(path.as_str())).collect::<Result<Vec<_>, _>>()?;
        for (place, column) in columns.iter().enumerate() {
            let is_of_text = place < layout.text.len();
            let is_usable = match &column.data_type {
                DataType::Null => true,
                other if is_of_text => is_text(other),
                other if layout.id.is_some() && place == layout.text.len() => is_single(other),
                other => is_readable(other),
            };
            if !is_usable {
                return Err(wrong_type(
                    &file,
                    column,
                    if is_of_text { "text" } else { "texts, numbers, truth values or lists of them" },
                ));
            }
        }
        let features = file.metadata(class_names::KEY);
        let names = columns.iter().map(|column| class_names(features?, &column.names)).collect();
        let groups = (0..file.row_groups()).collect();
        let batches = file.batches(&columns, groups, ROWS)?;
        Ok(Self { batches, columns, names, fields, labels, rows: Vec::new(), read: 0 })
    }

    /// Returns the number of rows read.
    pub(crate) fn lines(&self) -> u64 {
        self.read - self.rows.len() as u64
    }

    pub(crate) fn next(&mut self) -> Option<Result<Row, DataError>> {
        while self.rows.is_empty() {
            match self.batches.next()? {
                Ok(batch) => {
                    if let Err(error) = self.take(&batch) {
                        return Some(Err(error));
                    }
                }
                Err(error) => return Some(Err(error)),
            }
        }
        self.rows.pop().map(Ok)
    }

    /// Takes the rows of a batch.
    fn take(&mut self, batch: &RecordBatch) -> Result<(), DataError> {
        let before = self.read;
        let arrays: Option<Vec<_>> = self.columns.iter().map(|column| array(batch, column)).collect();
        let failed = |source| DataError::Parquet { file: self.batches.name().to_owned(), row: before, source };
        let arrays = arrays.ok_or_else(|| failed("a column is missing".into()))?;
        let values: Vec<Values> = arrays
            .iter()
            .zip(&self.names)
            .map(|((array, around), names)| Values::new(array, around, names.as_deref()))
            .collect();
        let row = |row: usize| {
            let line = before + row as u64 + 1;
            let values: Result<Vec<Value>, _> = values.iter().map(|values| values.get(row)).collect();
            match values.and_then(|values| self.fields.article(line, &values, self.labels)) {
                Ok(article) => Row::Article(article),
                Err(reason) => Row::Skipped(SkippedRow { line, reason }),
            }
        };
        self.rows = guarded(|| Ok::<_, DataError>((0..batch.num_rows()).rev().map(row).collect())).map_err(failed)?;
        self.read += batch.num_rows() as u64;
        Ok(())
    }
}

/// Returns the error that a column is of a type that cannot be used.
pub(crate) fn wrong_type(file: &ParquetFile, column: &Found, expected: &'static str) -> DataError {
    let (file, name) = (file.name().to_owned(), column.names.join("."));
    DataError::ColumnType { file, name, found: described(&column.data_type), expected }
}

/// Returns a type as users know it.
fn described(data_type: &DataType) -> String {
    match data_type {
        DataType::Struct(_) => "struct".to_owned(),
        DataType::List(entry) => format!("list of {}", described(entry.data_type())),
        DataType::Utf8View => "text".to_owned(),
        DataType::BinaryView => "bytes".to_owned(),
        other => other.to_string(),
    }
}

impl std::fmt::Debug for ParquetRows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ParquetRows").field("columns", &self.columns).field("read", &self.read).finish_non_exhaustive()
    }
}

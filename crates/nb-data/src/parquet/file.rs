//! Opens Parquet files and checks what can be checked before anything is decoded.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};

use super::columns::{self, Found};
use super::guard::{Cause, guarded};
use super::{pages, thrift};
use crate::error::DataError;
use crate::read::open_file;

/// An open Parquet file.
pub(crate) struct ParquetFile {
    path: PathBuf,
    name: String,
    metadata: ArrowReaderMetadata,
    /// Number of rows before each row group.
    starts: Vec<u64>,
}

impl ParquetFile {
    /// Opens a file and checks its footer.
    pub(crate) fn open(path: &Path) -> Result<Self, DataError> {
        let (file, name) = (open_file(path)?, path.display().to_string());
        let failed = |source| DataError::Parquet { file: name.clone(), row: 0, source };
        let metadata = guarded(|| -> Result<_, Cause> {
            let length = file.metadata()?.len();
            thrift::check_footer(&file)?;
            // Arrow's own schema adds no type that is of use here, and is one more thing that may be damaged.
            let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
            let metadata = ArrowReaderMetadata::load(&file, options.clone())?;
            check(metadata.metadata(), length)?;
            let schema = Arc::new(columns::with_views(metadata.schema()));
            Ok(ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options.with_schema(schema))?)
        });
        let metadata = metadata.map_err(failed)?;
        let mut rows = 0;
        let start = |group: &RowGroupMetaData| {
            let start = rows;
            rows += group.num_rows().unsigned_abs();
            start
        };
        let starts = metadata.metadata().row_groups().iter().map(start).collect();
        Ok(Self { path: path.to_owned(), name, metadata, starts })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        self.metadata.schema()
    }

    /// Takes the values of a batch after row `row`, and turns a panic into an error: the arrays of a damaged file may
    /// contradict themselves.
    pub(crate) fn guarded<T>(&self, row: u64, work: impl FnOnce() -> Result<T, DataError>) -> Result<T, DataError> {
        let failed = |source| DataError::Parquet { file: self.name.clone(), row, source };
        guarded(|| Ok::<_, Cause>(work())).map_err(failed)?
    }

    /// Returns the error that a batch lacks a column of the schema.
    pub(crate) fn lacks_column(&self) -> DataError {
        DataError::Parquet { file: self.name.clone(), row: 0, source: "a column is missing".into() }
    }

    /// Returns the number of rows before a row group.
    pub(crate) fn start(&self, group: usize) -> u64 {
        self.starts.get(group).copied().unwrap_or(0)
    }

    /// Returns the number of row groups.
    pub(crate) fn row_groups(&self) -> usize {
        self.starts.len()
    }

    /// Returns the value of a key of the file's metadata.
    pub(crate) fn metadata(&self, key: &str) -> Option<&str> {
        let pairs = self.metadata.metadata().file_metadata().key_value_metadata()?;
        pairs.iter().find(|pair| pair.key == key)?.value.as_deref()
    }

    /// Finds a column.
    ///
    /// # Errors
    /// [`DataError::UnknownColumn`] if there is none of this name.
    pub(crate) fn column(&self, path: &str) -> Result<Found, DataError> {
        columns::find(self.schema(), path).ok_or_else(|| DataError::UnknownColumn {
            file: self.name.clone(),
            line: 0,
            name: path.to_owned(),
            columns: columns::names(self.schema()),
        })
    }

    /// Reads columns of some row groups, `rows` at a time.
    pub(crate) fn batches(&self, columns: &[Found], groups: Vec<usize>, rows: usize) -> Result<Batches, DataError> {
        let before = groups.first().map_or(0, |&group| self.start(group));
        let failed = |source| DataError::Parquet { file: self.name.clone(), row: before, source };
        let leaves: Vec<usize> = columns.iter().flat_map(|column| column.leaves.clone()).collect();
        // Readers on several threads need files of their own: copies of a handle share its position.
        let file = open_file(&self.path)?;
        let reader = guarded(|| -> Result<_, Cause> {
            for &group in &groups {
                pages::check(&file, self.metadata.metadata().row_group(group), &leaves)?;
            }
            let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone());
            let mask = ProjectionMask::leaves(builder.parquet_schema(), leaves.iter().copied());
            Ok(builder.with_projection(mask).with_row_groups(groups).with_batch_size(rows).build()?)
        });
        Ok(Batches { name: self.name.clone(), reader: reader.map_err(failed)?, read: before })
    }
}

/// Batches of rows.
pub(crate) struct Batches {
    name: String,
    reader: ParquetRecordBatchReader,
    /// Number of rows read, from the beginning of the file.
    read: u64,
}

impl Batches {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

impl Iterator for Batches {
    type Item = Result<RecordBatch, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        match guarded(|| self.reader.next().transpose()) {
            Ok(None) => None,
            Ok(Some(batch)) => {
                self.read += batch.num_rows() as u64;
                Some(Ok(batch))
            }
            Err(source) => Some(Err(DataError::Parquet { file: self.name.clone(), row: self.read, source })),
        }
    }
}

/// Checks that the file is long enough for everything that its footer promises.
fn check(metadata: &ParquetMetaData, length: u64) -> Result<(), ParquetError> {
    let damaged = |message: String| Err(ParquetError::General(message));
    let mut rows = 0_i64;
    for (i, group) in metadata.row_groups().iter().enumerate() {
        for column in group.columns() {
            let dictionary = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
            let start = dictionary.min(column.data_page_offset());
            let end = start.checked_add(column.compressed_size());
            if start < 0 || column.compressed_size() < 0 || end.is_none_or(|end| end.unsigned_abs() > length) {
                let size = column.compressed_size();
                return damaged(format!(
                    "row group {i}: {size} bytes at {start} found, expected them in {length} bytes"
                ));
            }
        }
        match rows.checked_add(group.num_rows()) {
            Some(sum) if group.num_rows() >= 0 => rows = sum,
            _ => return damaged(format!("row group {i}: {} rows found", group.num_rows())),
        }
    }
    if rows != metadata.file_metadata().num_rows() {
        return damaged(format!(
            "{} rows found, expected {rows} in the row groups",
            metadata.file_metadata().num_rows()
        ));
    }
    Ok(())
}

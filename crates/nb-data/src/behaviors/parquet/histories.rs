//! The histories of readers from a file of their own.

use std::collections::hash_map::Entry;

use arrow_array::{Array, RecordBatch};
use rayon::prelude::*;
use rustc_hash::FxHashMap;

use super::super::parse::Rules;
use super::id_lists::{Id, IdLists, Ids, ROWS, is_id, is_id_list};
use crate::error::DataError;
use crate::parquet::{Found, ParquetFile, array, wrong_type};

/// The known articles in the histories of all readers.
#[derive(Default)]
pub(super) struct ReaderHistories {
    readers: FxHashMap<OwnedId, u32>,
    pub(super) rows: Vec<u32>,
    spans: Vec<Span>,
    /// Number of unknown articles in all histories.
    pub(super) unknown: u64,
    /// Number of rows with a reader who has an earlier one.
    pub(super) repeated: u64,
}

/// A reader's history.
#[derive(Clone, Copy, Default)]
pub(super) struct Span {
    /// The first of its rows.
    pub(super) start: usize,
    /// Number of rows.
    pub(super) used: u32,
    /// Number of articles in the file.
    pub(super) length: u32,
}

#[derive(PartialEq, Eq, Hash)]
enum OwnedId {
    Number(i128),
    Text(Box<str>),
}

impl From<Id<'_>> for OwnedId {
    fn from(id: Id) -> Self {
        match id.canonical() {
            Id::Number(number) => Self::Number(number),
            Id::Text(text) => Self::Text(text.into()),
        }
    }
}

/// The histories of a row group.
#[derive(Default)]
struct Part {
    readers: Vec<OwnedId>,
    histories: ReaderHistories,
}

impl ReaderHistories {
    /// Reads a file. If a reader has several rows, the first counts.
    pub(super) fn read(file: &ParquetFile, reader: &str, articles: &str, rules: &Rules) -> Result<Self, DataError> {
        let columns = [file.column(reader)?, file.column(articles)?];
        if !is_id(&columns[0].data_type) {
            return Err(wrong_type(file, &columns[0], "texts or whole numbers"));
        }
        if !is_id_list(&columns[1].data_type) {
            return Err(wrong_type(file, &columns[1], "lists of ids, or texts with ids between spaces"));
        }
        let groups: Vec<usize> = (0..file.row_groups()).collect();
        let mut all = Self::default();
        for wave in groups.chunks(rayon::current_num_threads().max(1)) {
            let parts: Vec<Result<Part, DataError>> =
                wave.par_iter().map(|&group| read_group(file, &columns, group, rules)).collect();
            for part in parts {
                all.append(part?);
            }
        }
        all.rows.shrink_to_fit();
        Ok(all)
    }

    fn append(&mut self, part: Part) {
        let before = self.rows.len();
        for (id, span) in part.readers.into_iter().zip(part.histories.spans) {
            let place = self.spans.len() as u32;
            match self.readers.entry(id) {
                Entry::Vacant(entry) => drop(entry.insert(place)),
                Entry::Occupied(_) => self.repeated += 1,
            }
            self.spans.push(Span { start: span.start + before, ..span });
        }
        self.rows.extend(part.histories.rows);
        self.unknown += part.histories.unknown;
    }

    /// Returns the history of a reader who has a row.
    pub(super) fn of(&self, reader: Option<Id>) -> Option<Span> {
        let &place = self.readers.get(&reader?.into())?;
        Some(self.spans[place as usize])
    }
}

fn read_group(file: &ParquetFile, columns: &[Found], group: usize, rules: &Rules) -> Result<Part, DataError> {
    let (mut part, mut row) = (Part::default(), file.start(group));
    for batch in file.batches(columns, vec![group], ROWS)? {
        let batch = batch?;
        file.guarded(row, || part.read(file, columns, &batch, rules))?;
        row += batch.num_rows() as u64;
    }
    Ok(part)
}

impl Part {
    fn read(
        &mut self,
        file: &ParquetFile,
        columns: &[Found],
        batch: &RecordBatch,
        rules: &Rules,
    ) -> Result<(), DataError> {
        let (readers, _) = array(batch, &columns[0]).ok_or_else(|| file.lacks_column())?;
        let (lists, around) = array(batch, &columns[1]).ok_or_else(|| file.lacks_column())?;
        let (ids, lists) = (Ids::new(&readers), IdLists::new(&lists, &around));
        let mut found = Vec::new();
        for row in 0..batch.num_rows() {
            let Some(id) = ids.get(row).filter(|_| readers.is_valid(row)) else { continue };
            lists.read(row, &mut found);
            self.push(id, &found, rules);
        }
        Ok(())
    }

    fn push(&mut self, reader: Id, articles: &[Id], rules: &Rules) {
        let ReaderHistories { rows, spans, unknown, .. } = &mut self.histories;
        let start = rows.len();
        rows.extend(articles.iter().filter_map(|article| article.row(rules.news)));
        let known = rows.len() - start;
        *unknown += (articles.len() - known) as u64;
        rows.drain(start..start + known.saturating_sub(rules.history));
        let length = u32::try_from(articles.len()).unwrap_or(u32::MAX);
        spans.push(Span { start, used: (rows.len() - start) as u32, length });
        self.readers.push(reader.into());
    }
}

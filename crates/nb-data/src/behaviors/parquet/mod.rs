//! Impressions from Parquet files. Row groups are decoded in parallel, a few at a time, and their impressions are added in
//! the order of the file, so the result does not depend on the number of threads.

mod histories;
mod id_lists;

use std::path::Path;

use arrow_array::{Array, ArrayRef, RecordBatch};
use rayon::prelude::*;

use self::histories::ReaderHistories;
use self::id_lists::{Id, IdLists, Ids, ROWS, is_id, is_id_list};
use super::blocks::{Content, Histories, TooMany};
use super::clicks::{ClickRule, NO_LABEL};
use super::layout::{CandidateColumns, HistoryColumns, ImpressionLayout};
use super::parse::{Part, Rules, Shown};
use crate::error::DataError;
use crate::parquet::{Found, ParquetFile, array, wrong_type};
use crate::read::{Reason, SkippedRow};

/// Reads the impressions of a file.
pub(super) fn read(path: &Path, layout: &ImpressionLayout, rules: &Rules) -> Result<Content, DataError> {
    let file = ParquetFile::open(path)?;
    let readers = match &layout.history {
        HistoryColumns::Readers { path, reader, articles } => {
            let histories = ParquetFile::open(path)?;
            Some(ReaderHistories::read(&histories, reader.as_str(), articles.as_str(), rules)?)
        }
        HistoryColumns::Absent | HistoryColumns::Column(_) => None,
    };
    let columns = Columns::find(&file, layout, rules.clicks)?;
    let mut content = Content::default();
    if let Some(readers) = &readers {
        content.report.unknown_history = readers.unknown;
        content.report.repeated_readers = readers.repeated;
    }
    let groups: Vec<usize> = (0..file.row_groups()).collect();
    for wave in groups.chunks(rayon::current_num_threads().max(1)) {
        let read = |&group: &usize| columns.read_group(&file, group, readers.as_ref(), rules);
        let parts: Vec<Result<Vec<Part>, DataError>> = wave.par_iter().map(read).collect();
        let kind = if readers.is_some() { Histories::Shared } else { Histories::Own };
        for parts in parts {
            for part in parts? {
                let appended = content.append(&part, kind);
                appended.map_err(|TooMany| DataError::TooManyRows { path: path.to_owned() })?;
            }
        }
    }
    if rules.clicks == ClickRule::Required {
        check_readers(layout, &content)?; // a few impressions to rank may all be of new readers
    }
    if let Some(readers) = readers {
        content.columns.history = readers.rows;
    }
    content.columns.shrink_to_fit();
    Ok(content)
}

/// Fails if the histories are those of other readers.
fn check_readers(layout: &ImpressionLayout, content: &Content) -> Result<(), DataError> {
    let impressions = content.columns.len() as u64;
    match &layout.history {
        HistoryColumns::Readers { path, .. }
            if impressions > 0 && content.report.readers_without_history == impressions =>
        {
            let problem = "none of the readers of the impressions found, expected histories of the same readers";
            Err(DataError::Unsuitable { file: path.display().to_string(), problem })
        }
        _ => Ok(()),
    }
}

/// The columns of the impressions, by their positions in `found`.
struct Columns {
    found: Vec<Found>,
    shown: usize,
    /// The clicked articles, if they are in a column of their own.
    clicked: Option<usize>,
    kind: Kind,
    /// The history, or the reader whose history is in another file.
    history: Option<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The candidates contain their click labels.
    Labelled,
    /// The clicks are in a column of their own, or in none.
    Separate,
}

impl Columns {
    const ID: usize = 0;

    fn find(file: &ParquetFile, layout: &ImpressionLayout, clicks: ClickRule) -> Result<Self, DataError> {
        let mut columns = Self {
            found: vec![file.column(layout.id.as_str())?],
            shown: 0,
            clicked: None,
            kind: Kind::Labelled,
            history: None,
        };
        let (ids, lists) = ("texts or whole numbers", "lists of ids, or texts with ids between spaces");
        if !is_id(&columns.found[Self::ID].data_type) {
            return Err(wrong_type(file, &columns.found[Self::ID], ids));
        }
        let mut list = |found: Found| match is_id_list(&found.data_type) {
            true => {
                columns.found.push(found);
                Ok(columns.found.len() - 1)
            }
            false => Err(wrong_type(file, &found, lists)),
        };
        match &layout.candidates {
            CandidateColumns::Labelled(path) => columns.shown = list(file.column(path.as_str())?)?,
            CandidateColumns::ShownAndClicked { shown, clicked } => {
                columns.kind = Kind::Separate;
                columns.shown = list(file.column(shown.as_str())?)?;
                columns.clicked = match (file.column(clicked.as_str()), clicks) {
                    (Ok(found), _) => Some(list(found)?),
                    (Err(_), ClickRule::Optional) => None,
                    (Err(error), ClickRule::Required) => return Err(error),
                };
            }
        }
        match &layout.history {
            HistoryColumns::Absent => {}
            HistoryColumns::Column(path) => columns.history = Some(list(file.column(path.as_str())?)?),
            HistoryColumns::Readers { reader, .. } => {
                let found = file.column(reader.as_str())?;
                if !is_id(&found.data_type) {
                    return Err(wrong_type(file, &found, ids));
                }
                columns.found.push(found);
                columns.history = Some(columns.found.len() - 1);
            }
        }
        Ok(columns)
    }

    fn read_group(
        &self,
        file: &ParquetFile,
        group: usize,
        readers: Option<&ReaderHistories>,
        rules: &Rules,
    ) -> Result<Vec<Part>, DataError> {
        let mut row = file.start(group);
        let batch = |batch: Result<RecordBatch, DataError>| {
            let batch = batch?;
            let before = row;
            row += batch.num_rows() as u64;
            file.guarded(before, || self.read_batch(file, &batch, readers, rules))
        };
        file.batches(&self.found, vec![group], ROWS)?.map(batch).collect()
    }

    fn read_batch(
        &self,
        file: &ParquetFile,
        batch: &RecordBatch,
        readers: Option<&ReaderHistories>,
        rules: &Rules,
    ) -> Result<Part, DataError> {
        let arrays: Option<Vec<_>> = self.found.iter().map(|found| array(batch, found)).collect();
        let arrays = arrays.ok_or_else(|| file.lacks_column())?;
        let list = |place: usize| IdLists::new(&arrays[place].0, &arrays[place].1);
        let id = |place: usize| IdColumn { array: &arrays[place].0, ids: Ids::new(&arrays[place].0) };
        let history = match (self.history, readers) {
            (Some(place), Some(readers)) => History::Readers(id(place), readers),
            (Some(place), None) => History::Own(list(place)),
            (None, _) => History::Absent,
        };
        let batch_columns = BatchColumns {
            ids: id(Self::ID),
            shown: list(self.shown),
            clicked: self.clicked.map(list),
            kind: self.kind,
            history,
        };
        let mut part = Part::default();
        let mut lists = Lists::default();
        for row in 0..batch.num_rows() {
            part.lines += 1;
            if let Err(reason) = batch_columns.read(row, &mut part, &mut lists, rules) {
                let line = part.lines;
                part.skipped.push(SkippedRow { line, reason });
            }
        }
        Ok(part)
    }
}

/// Ids, of which some rows may be null.
struct IdColumn<'a> {
    array: &'a ArrayRef,
    ids: Ids,
}

impl IdColumn<'_> {
    fn get(&self, row: usize) -> Option<Id<'_>> {
        self.ids.get(row).filter(|_| self.array.is_valid(row))
    }
}

/// The columns of a batch.
struct BatchColumns<'a> {
    ids: IdColumn<'a>,
    shown: IdLists<'a>,
    clicked: Option<IdLists<'a>>,
    kind: Kind,
    history: History<'a>,
}

enum History<'a> {
    Absent,
    Own(IdLists<'a>),
    Readers(IdColumn<'a>, &'a ReaderHistories),
}

/// The lists of a row; their memory is reused.
#[derive(Default)]
struct Lists<'a> {
    shown: Vec<Id<'a>>,
    clicked: Vec<Id<'a>>,
    history: Vec<Id<'a>>,
}

impl<'a> BatchColumns<'a> {
    fn read<'b>(&'b self, row: usize, part: &mut Part, lists: &mut Lists<'b>, rules: &Rules) -> Result<(), Reason> {
        self.shown.read(row, &mut lists.shown);
        match self.kind {
            Kind::Labelled => part.push_candidates(lists.shown.iter().map(|id| match id {
                Id::Text(token) => rules.shown(token.as_bytes()),
                // A number has no click label.
                Id::Number(_) if rules.clicks == ClickRule::Required => None,
                id => Some(Shown { row: id.row(rules.news), click: NO_LABEL }),
            }))?,
            Kind::Separate => self.read_clicks(row, part, lists, rules)?,
        }
        match &self.history {
            History::Absent => part.push_history(std::iter::empty(), rules),
            History::Own(column) => {
                column.read(row, &mut lists.history);
                part.push_history(lists.history.iter().map(|id| id.row(rules.news)), rules);
            }
            History::Readers(column, readers) => {
                let history = readers.of(column.get(row));
                part.readers_without_history += u64::from(history.is_none());
                let span = history.unwrap_or_default();
                part.columns.history_starts.push(span.start);
                part.columns.history_used.push(span.used);
                part.columns.history_lengths.push(span.length);
            }
        }
        match self.ids.get(row) {
            Some(Id::Number(number)) => part.columns.ids.push_str(&number.to_string()),
            Some(Id::Text(text)) => part.columns.ids.push_str(text.trim()),
            None => {}
        }
        part.columns.end(part.lines);
        Ok(())
    }

    /// Adds the candidates, of which those among the clicked articles are clicked.
    fn read_clicks<'b>(
        &'b self,
        row: usize,
        part: &mut Part,
        lists: &mut Lists<'b>,
        rules: &Rules,
    ) -> Result<(), Reason> {
        let Lists { shown, clicked, .. } = lists;
        let has_clicks = self.clicked.as_ref().is_some_and(|column| column.read(row, clicked));
        // Nearly every impression has one click; the order matters only for a long list.
        clicked.iter_mut().for_each(|id| *id = id.canonical());
        clicked.sort_unstable();
        clicked.dedup();
        let mut unseen = vec![true; clicked.len()];
        let mut click = |id: Id| match (has_clicks, rules.clicks) {
            (true, _) => Some(match clicked.binary_search(&id) {
                Ok(place) => {
                    unseen[place] = false;
                    1
                }
                Err(_) => 0,
            }),
            (false, ClickRule::Optional) => Some(NO_LABEL),
            (false, ClickRule::Required) => None,
        };
        let candidate = |id: &Id| {
            let id = id.canonical();
            Some(Shown { row: id.row(rules.news), click: click(id)? })
        };
        part.push_candidates(shown.iter().map(candidate))?;
        part.clicks_not_shown += unseen.iter().filter(|&&it| it).count() as u64;
        Ok(())
    }
}

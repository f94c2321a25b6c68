//! Judgements: the documents that are relevant to a query, and those that are not.

use std::io::BufReader;
use std::path::Path;

use rustc_hash::FxHashMap;

use super::columns::{Judgement, Layout};
use super::report::ReadReport;
use crate::error::DataError;
use crate::ids::IdIndex;
use crate::read::records::{Cut, Record, Records};
use crate::read::{Reason, SkippedRow, open_file};

/// The judgements of one split, joined with the rows of queries and corpus.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Qrels {
    /// The judged queries, in the order of their first judgements; some may have no relevant document.
    pub queries: Vec<Judged>,
    /// The judgements that could not be used.
    pub report: ReadReport,
}

/// A query and its judged documents, each listed once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    /// The query's row.
    pub query: u32,
    /// Row and grade of each relevant document of the corpus, in the order of the file. The grade is the score, at most
    /// `u32::MAX`.
    pub relevant: Vec<(u32, u32)>,
    /// Rows of the documents judged with a score of 0 or less, in the order of the file.
    pub negatives: Vec<u32>,
    /// Grades of the relevant documents that the corpus lacks: they count as not found.
    pub missing: Vec<u32>,
}

impl Qrels {
    /// Reads a file of judgements and joins them with the rows of queries and corpus.
    ///
    /// | columns | layout |
    /// | --- | --- |
    /// | 3 | BEIR: query id, document id, score |
    /// | 4 | TREC: query id, iteration (ignored), document id, score |
    ///
    /// Columns are separated by tabs, or by white space if the first row has too few columns between tabs. The first
    /// row with three or four columns determines the layout of the file; rows with another number of columns cannot be
    /// used. The first row is a header if its score is not a number. A score is a whole number; a document with a score
    /// above 0 is relevant. At most the share `allowed_unusable` of rows may be unusable. If a pair is judged more than
    /// once, the last judgement counts. `queries` may include queries of other splits.
    ///
    /// ```
    /// use nb_data::IdIndex;
    /// use nb_data::beir::Qrels;
    ///
    /// let file = tempfile::NamedTempFile::new()?;
    /// let (queries, corpus) = (IdIndex::new([Some("q1"), Some("q2")]), IdIndex::new([Some("d1"), Some("d2")]));
    /// for text in ["query-id\tcorpus-id\tscore\nq1\td2\t1\nq1\td1\t0\nq2\td9\t1\n", "q1 0 d2 1\nq1 0 d1 0\nq2 0 d9 1\n"] {
    ///     std::fs::write(file.path(), text)?;
    ///     let qrels = Qrels::read(file.path(), &queries, &corpus, 0.1)?;
    ///     let [first, second] = &qrels.queries[..] else { panic!("two queries") };
    ///     assert_eq!((first.query, &first.relevant[..], &first.negatives[..]), (0, &[(1, 1)][..], &[0][..]));
    ///     assert_eq!((second.query, &second.relevant[..], &second.missing[..]), (1, &[][..], &[1][..]));
    ///     assert_eq!(
    ///         qrels.report.to_string(),
    ///         "judgements of unknown documents: 1; queries without a relevant document: 1"
    ///     );
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If the file cannot be read, has too many unusable rows, or judges none of the queries.
    pub fn read(path: &Path, queries: &IdIndex, corpus: &IdIndex, allowed_unusable: f64) -> Result<Self, DataError> {
        let reader = BufReader::with_capacity(1 << 16, open_file(path)?);
        let mut records = Records::new(reader, &path.display().to_string(), Cut::FilledLine);
        let (mut record, mut builder) = (Record::default(), Builder::default());
        let (mut layout, mut header) = (None, Header::Possible);
        while records.read(&mut record)? {
            layout = layout.or_else(|| Layout::of(&record.bytes));
            let row = layout.unwrap_or(Layout::BEIR).columns(&record.bytes);
            let first = std::mem::replace(&mut header, Header::Past);
            match row.judgement() {
                Ok(judgement) => builder.add(judgement, queries, corpus),
                Err(Reason::NoScore) if first == Header::Possible && !row.has_number() => {}
                Err(reason) => builder.report.skipped.add(SkippedRow { line: record.line, reason }),
            }
        }
        builder.finish(path, allowed_unusable)
    }

    /// Checks that at least one query has a relevant document, as training and model selection require. `path` is named
    /// in the error.
    ///
    /// # Errors
    /// If no query has a relevant document in the corpus.
    pub fn check_relevant(&self, path: &Path) -> Result<(), DataError> {
        if self.queries.iter().all(|judged| judged.relevant.is_empty()) {
            return Err(DataError::NoRelevant { path: path.to_owned(), report: Box::new(self.report.clone()) });
        }
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Header {
    Possible,
    Past,
}

/// The judgements of a file that is being read.
#[derive(Default)]
struct Builder {
    queries: Vec<Scored>,
    /// Position in `queries` of each query row.
    places: FxHashMap<u32, u32>,
    /// Position among the documents of `queries[place]`, by `place` and corpus row.
    known: FxHashMap<(u32, u32), usize>,
    /// The same by `place` and id, for documents that the corpus lacks.
    unknown: FxHashMap<(u32, Box<[u8]>), usize>,
    report: ReadReport,
    rows: u64,
}

/// A query with its documents and their scores, in the order of their first mention; a document without a row is not in
/// the corpus.
struct Scored {
    query: u32,
    documents: Vec<ScoredDocument>,
}

struct ScoredDocument {
    row: Option<u32>,
    score: i64,
}

impl Builder {
    fn add(&mut self, judgement: Judgement<'_>, queries: &IdIndex, corpus: &IdIndex) {
        self.rows += 1;
        let Some(query) = queries.row(judgement.query) else {
            self.report.no_query += 1;
            return;
        };
        let place = *self.places.entry(query).or_insert_with(|| {
            self.queries.push(Scored { query, documents: Vec::new() });
            self.queries.len() as u32 - 1
        });
        let documents = &mut self.queries[place as usize].documents;
        let row = corpus.row(judgement.document);
        self.report.no_document += u64::from(row.is_none());
        let at = match row {
            Some(row) => *self.known.entry((place, row)).or_insert(documents.len()),
            None => *self.unknown.entry((place, judgement.document.into())).or_insert(documents.len()),
        };
        match documents.get_mut(at) {
            Some(known) => {
                known.score = judgement.score;
                self.report.repeated += 1;
            }
            None => documents.push(ScoredDocument { row, score: judgement.score }),
        }
    }

    fn finish(mut self, path: &Path, allowed_unusable: f64) -> Result<Qrels, DataError> {
        self.report.skipped.check(path, self.rows, allowed_unusable)?;
        let queries: Vec<Judged> = self.queries.iter().map(Scored::judged).collect();
        self.report.none_relevant = queries.iter().filter(|judged| judged.relevant.is_empty()).count() as u64;
        if queries.is_empty() {
            return Err(DataError::NoQueries { path: path.to_owned(), report: Box::new(self.report) });
        }
        Ok(Qrels { queries, report: self.report })
    }
}

impl Scored {
    fn judged(&self) -> Judged {
        let mut judged = Judged { query: self.query, ..Judged::default() };
        for &ScoredDocument { row, score } in &self.documents {
            let grade = u32::try_from(score.max(0)).unwrap_or(u32::MAX);
            match (row, grade) {
                (Some(row), 0) => judged.negatives.push(row),
                (Some(row), grade) => judged.relevant.push((row, grade)),
                (None, 0) => {}
                (None, grade) => judged.missing.push(grade),
            }
        }
        judged
    }
}

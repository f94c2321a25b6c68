//! Judgements: which documents are relevant to a query, and which were found not to be.

use std::fmt;
use std::io::BufReader;
use std::path::Path;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::error::DataError;
use crate::ids::IdIndex;
use crate::read::records::{Cut, Record, Records};
use crate::read::{Reason, Skipped, SkippedRow, open_file};

/// The columns of a qrels file.
const QUERY: usize = 0;
const DOCUMENT: usize = 1;
const SCORE: usize = 2;

/// The judgements of one split, joined with the rows of queries and corpus.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Qrels {
    /// Every query with a relevant document, in the order of its first judgement.
    pub queries: Vec<Judged>,
    /// What of the file is not in `queries`.
    pub left_out: LeftOut,
}

/// A query and what is known of the documents for it. No document stands here twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// The query's row.
    pub query: u32,
    /// Row and grade of each relevant document, in the order of the file; one or more. A grade is the score, 255 for
    /// any above that.
    pub relevant: Vec<(u32, u8)>,
    /// Rows of the documents that were judged with a score of 0 or less, in the order of the file.
    pub negatives: Vec<u32>,
}

/// What was left out of a qrels file.
///
/// Its display form is for users: `judgements of unknown documents: 3; repeated judgements: 1`, or `nothing left out`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Judgements for a query that is not among the queries.
    pub no_query: u64,
    /// Judgements of a document that is not in the corpus, for a query that is there.
    pub no_document: u64,
    /// Judgements of a pair that was judged before; the first one holds.
    pub repeated: u64,
    /// Queries that are there, but without a relevant document that is.
    pub none_relevant: u64,
    /// Rows that cannot be used.
    pub skipped: Skipped,
}

impl LeftOut {
    /// Whether everything could be used.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Qrels {
    /// Reads a file of tab-separated query id, document id and score, and finds their rows.
    ///
    /// Queries of other splits may be among `queries`. The first row is a header if its third column is not a number.
    /// A score is a whole number; above 0 the document is relevant. Rows with fewer columns or without a score cannot
    /// be used; of them the share `allowed_unusable` is forgiven.
    ///
    /// ```
    /// use nb_data::IdIndex;
    /// use nb_data::beir::Qrels;
    ///
    /// let file = tempfile::NamedTempFile::new()?;
    /// std::fs::write(file.path(), "query-id\tcorpus-id\tscore\nq1\td2\t1\nq1\td1\t0\nq2\td9\t1\n")?;
    /// let (queries, corpus) = (IdIndex::new([Some("q1"), Some("q2")]), IdIndex::new([Some("d1"), Some("d2")]));
    /// let qrels = Qrels::read(file.path(), &queries, &corpus, 0.1)?;
    /// let first = &qrels.queries[0];
    /// assert_eq!((first.query, &first.relevant[..], &first.negatives[..]), (0, &[(1, 1)][..], &[0][..]));
    /// assert_eq!(
    ///     qrels.left_out.to_string(),
    ///     "judgements of unknown documents: 1; queries without a relevant document: 1"
    /// );
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If the file cannot be read, has too many unusable rows, or gives no query a relevant document.
    pub fn read(path: &Path, queries: &IdIndex, corpus: &IdIndex, allowed_unusable: f64) -> Result<Self, DataError> {
        let reader = BufReader::with_capacity(1 << 16, open_file(path)?);
        let mut records = Records::new(reader, &path.display().to_string(), Cut::Tabs);
        let (mut record, mut builder, mut header) = (Record::default(), Builder::default(), Header::Possible);
        while records.read(&mut record)? {
            let judgement = judgement(&record);
            let first = std::mem::replace(&mut header, Header::Past);
            match judgement {
                Ok(judgement) => builder.add(judgement, queries, corpus),
                Err(Reason::NoScore) if first == Header::Possible && !has_number(&record) => {}
                Err(reason) => builder.left_out.skipped.add(SkippedRow { line: record.line, reason }),
            }
        }
        builder.finish(path, allowed_unusable)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Header {
    Possible,
    Past,
}

/// A row of the file.
struct Judgement<'a> {
    query: &'a [u8],
    document: &'a [u8],
    score: i64,
}

fn judgement(record: &Record) -> Result<Judgement<'_>, Reason> {
    let field =
        |column| record.range(column).map(|range| record.bytes[range].trim_ascii()).ok_or(Reason::TooFewColumns);
    let (query, document) = (field(QUERY)?, field(DOCUMENT)?);
    let score = score(field(SCORE)?).ok_or(Reason::NoScore)?;
    Ok(Judgement { query, document, score })
}

/// Whether the third column is a number, of whatever kind.
fn has_number(record: &Record) -> bool {
    let field = record.range(SCORE).and_then(|range| std::str::from_utf8(&record.bytes[range]).ok());
    field.is_some_and(|field| field.trim().parse::<f64>().is_ok())
}

/// A whole number, also if it is written with a point.
fn score(field: &[u8]) -> Option<i64> {
    let field = std::str::from_utf8(field).ok()?;
    let whole = |number: f64| (number.fract() == 0.0).then_some(number as i64);
    field.parse().ok().or_else(|| field.parse().ok().and_then(whole))
}

/// Judgements of a file in the making.
#[derive(Default)]
struct Builder {
    queries: Vec<Judged>,
    /// Where in `queries` a query's row stands.
    places: FxHashMap<u32, usize>,
    seen: FxHashSet<(u32, u32)>,
    left_out: LeftOut,
    rows: u64,
}

impl Builder {
    fn add(&mut self, judgement: Judgement<'_>, queries: &IdIndex, corpus: &IdIndex) {
        self.rows += 1;
        let Some(query) = queries.row(judgement.query) else {
            self.left_out.no_query += 1;
            return;
        };
        let place = *self.places.entry(query).or_insert_with(|| {
            self.queries.push(Judged { query, relevant: Vec::new(), negatives: Vec::new() });
            self.queries.len() - 1
        });
        let Some(document) = corpus.row(judgement.document) else {
            self.left_out.no_document += 1;
            return;
        };
        if !self.seen.insert((query, document)) {
            self.left_out.repeated += 1;
            return;
        }
        let judged = &mut self.queries[place];
        if judgement.score > 0 {
            judged.relevant.push((document, u8::try_from(judgement.score).unwrap_or(u8::MAX)));
        } else {
            judged.negatives.push(document);
        }
    }

    fn finish(mut self, path: &Path, allowed_unusable: f64) -> Result<Qrels, DataError> {
        self.left_out.skipped.check(path, self.rows, allowed_unusable)?;
        let all = self.queries.len();
        self.queries.retain(|judged| !judged.relevant.is_empty());
        self.left_out.none_relevant = (all - self.queries.len()) as u64;
        if self.queries.is_empty() {
            return Err(DataError::NoQueries { path: path.to_owned(), left_out: Box::new(self.left_out) });
        }
        Ok(Qrels { queries: self.queries, left_out: self.left_out })
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        if self.skipped.count() > 0 {
            write!(f, "rows {}", self.skipped)?;
            separator = "; ";
        }
        for (what, count) in [
            ("judgements for unknown queries", self.no_query),
            ("judgements of unknown documents", self.no_document),
            ("repeated judgements", self.repeated),
            ("queries without a relevant document", self.none_relevant),
        ] {
            if count > 0 {
                write!(f, "{separator}{what}: {count}")?;
                separator = "; ";
            }
        }
        if separator.is_empty() { f.write_str("nothing left out") } else { Ok(()) }
    }
}

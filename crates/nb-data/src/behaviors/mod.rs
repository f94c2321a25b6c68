//! The articles each reader was shown, had read before, and clicked: MIND's `behaviors.tsv`, EB-NeRD, and other Parquet files
//! with these columns ([`ImpressionLayout`]).
//!
//! A line of MIND is an impression: its id, the user's id, the time, the history (news ids between spaces, the oldest first,
//! possibly none) and the candidates (`N1-1 N2-0`: clicked or not; `N1 N2` in MIND's test set). Columns are separated
//! by tabs, there is no header, and columns after the fifth are ignored.
//!
//! ```text
//! behaviors.tsv ─ Behaviors::read ─ samples(impressions) ─ cut_distinct(order, size) ─ ReaderBatch (plain vectors)
//! news ids ─ IdIndex ┘                 negatives(sample, seed, epoch) ┘
//! ```
//!
//! Text is UTF-8 with or without a byte-order mark, lines end in LF or CRLF, and empty lines are skipped. An impression
//! cannot be used if it is not UTF-8, has fewer than five columns or no candidate, or has a candidate without a click
//! label where clicks are required. Users and times are not stored. The same holds for the rows of a Parquet file.

mod batch;
mod blocks;
mod clicks;
mod columns;
mod ebnerd;
mod files;
mod layout;
#[cfg(feature = "parquet")]
mod parquet;
mod parse;
mod report;
mod samples;

use std::path::PathBuf;

pub use batch::{ClickedBefore, Draw, ReaderBatch, cut_distinct};
pub use clicks::{ClickRule, NO_LABEL, UNKNOWN};
pub use ebnerd::EbnerdFiles;
pub use files::{ClickFiles, ImpressionForm};
pub use layout::{CandidateColumns, HistoryColumns, ImpressionLayout};
pub use report::ReadReport;
pub use samples::{Sample, Samples};

use self::blocks::{Content, Portions, Stopped};
use self::columns::{Columns, range};
use self::parse::Rules;
use crate::IdIndex;
use crate::error::DataError;
use crate::read::{Input, Reason, ReasonCount};

/// A file of behaviors and the way to read it.
#[derive(Clone, Debug, PartialEq)]
pub struct BehaviorSource {
    /// The file. If its name ends in `.gz` or `.zst`, it is decompressed.
    pub path: PathBuf,
    /// Longest history: only this many of the most recent known articles are used.
    pub history: usize,
    /// The rule for impressions without click labels.
    pub clicks: ClickRule,
    /// The largest share of unusable lines, from 0 to 1, that is not an error.
    pub allowed_unusable: f64,
}

/// Impressions, numbered from 0 in the order of the file.
///
/// Articles are rows of the [`IdIndex`] that the file was read with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behaviors {
    columns: Columns,
    report: ReadReport,
    /// Impressions that list a candidate more than once, in ascending order.
    repeating: Vec<u32>,
    /// Number of rows of the articles.
    news: usize,
}

impl Behaviors {
    /// Reads a file.
    ///
    /// ```
    /// use nb_data::IdIndex;
    /// use nb_data::behaviors::{BehaviorSource, Behaviors, ClickRule, UNKNOWN};
    /// let path = tempfile::NamedTempFile::new()?.into_temp_path();
    /// std::fs::write(&path, "1\tU1\t11/12/2019 2:14:46 PM\tN3 N9 N1\tN2-0 N8-0 N1-1\n2\tU2\t\t\tN3-1 N2-0\n")?;
    /// let news = IdIndex::new(["N1", "N2", "N3"].map(Some));
    /// let clicks = ClickRule::Required;
    /// let source = BehaviorSource { path: path.to_path_buf(), history: 50, clicks, allowed_unusable: 0.1 };
    /// let behaviors = Behaviors::read(&source, &news)?;
    /// assert_eq!((behaviors.len(), behaviors.id(0), behaviors.line(1)), (2, "1", 2));
    /// assert_eq!(behaviors.history(0), [2, 0]);
    /// assert_eq!(behaviors.candidates(0), [1, UNKNOWN, 0]);
    /// assert_eq!(behaviors.clicked(0), [0, 0, 1]);
    /// let report = behaviors.report().to_string();
    /// assert_eq!(report, "unknown articles in histories: 1; unknown candidates: 1");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If the file cannot be read, has no usable line or too many unusable ones, or shows none of the articles.
    pub fn read(source: &BehaviorSource, news: &IdIndex) -> Result<Self, DataError> {
        let path = &source.path;
        let file = Input::open(path, None)?;
        let rules = Rules { news, clicks: source.clicks, history: source.history };
        let portions = Portions::for_threads(rayon::current_num_threads());
        let content = Content::read(file, &rules, portions).map_err(|stopped| match stopped {
            Stopped::Read(line, source) => DataError::Read { file: path.display().to_string(), line, source },
            Stopped::TooMany(_) => DataError::TooManyRows { path: path.clone() },
        })?;
        Self::new(content, source, news)
    }

    /// Reads a Parquet file, whose columns `layout` names. A row counts as a line.
    ///
    /// ```no_run
    /// use std::path::Path;
    /// use nb_data::IdIndex;
    /// use nb_data::behaviors::{BehaviorSource, Behaviors, ClickRule, EbnerdFiles};
    /// let files = EbnerdFiles::find(Path::new("ebnerd/train"))?;
    /// let articles = nb_data::read::read(&files.articles(&["title", "body"])?)?.articles;
    /// let news = IdIndex::new(articles.iter().map(|article| article.id.as_deref()));
    /// let (path, clicks) = (files.behaviors.clone(), ClickRule::Required);
    /// let source = BehaviorSource { path, history: 50, clicks, allowed_unusable: 0.1 };
    /// let behaviors = Behaviors::read_parquet(&source, &files.layout(), &news)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Behaviors::read`], and if a column is missing or has an unsuitable type.
    #[cfg(feature = "parquet")]
    pub fn read_parquet(source: &BehaviorSource, layout: &ImpressionLayout, news: &IdIndex) -> Result<Self, DataError> {
        let rules = Rules { news, clicks: source.clicks, history: source.history };
        Self::new(parquet::read(&source.path, layout, &rules)?, source, news)
    }

    /// Reads a file in the form that [`ClickFiles`] says.
    ///
    /// # Errors
    /// As [`Behaviors::read`], or if the file is Parquet and this build lacks the feature `parquet`.
    pub fn read_as(source: &BehaviorSource, form: &ImpressionForm, news: &IdIndex) -> Result<Self, DataError> {
        match form {
            ImpressionForm::Mind => Self::read(source, news),
            #[cfg(feature = "parquet")]
            ImpressionForm::Parquet(layout) => Self::read_parquet(source, layout, news),
            #[cfg(not(feature = "parquet"))]
            ImpressionForm::Parquet(_) => Err(DataError::no_parquet(source.path.display().to_string())),
        }
    }

    fn new(content: Content, source: &BehaviorSource, news: &IdIndex) -> Result<Self, DataError> {
        let Content { columns, report, repeating, .. } = content;
        let mut behaviors = Self { columns, report, repeating, news: news.rows() };
        behaviors.check(source)?;
        let ids = IdIndex::new((0..behaviors.len()).map(|i| Some(behaviors.id(i))));
        behaviors.report.repeated_ids = ids.repeated() as u64;
        Ok(behaviors)
    }

    fn check(&self, source: &BehaviorSource) -> Result<(), DataError> {
        let path = source.path.clone();
        let (usable, skipped) = (self.len() as u64, &self.report.skipped);
        let rows = usable + skipped.count();
        if let Some(ReasonCount { rows: found, first_line: line }) = skipped.by_reason(Reason::NoClick)
            && found as f64 > source.allowed_unusable * rows as f64
        {
            return Err(DataError::NoClicks { path, line, found, rows });
        }
        skipped.check(&path, usable, source.allowed_unusable)?;
        if self.columns.candidates.iter().all(|&row| row == UNKNOWN) {
            return Err(DataError::NoKnownCandidate { path, impressions: self.len(), news: self.news });
        }
        Ok(())
    }

    /// Returns the number of impressions; at least one.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "there is always an impression")]
    pub fn len(&self) -> usize {
        self.columns.len()
    }

    /// Returns the id of impression `i`.
    ///
    /// # Panics
    /// Here and in the accessors below, if there is no impression `i`.
    #[must_use]
    pub fn id(&self, i: usize) -> &str {
        &self.columns.ids[range(&self.columns.id_ends, i)]
    }

    /// Returns the line of impression `i`, counted from 1.
    #[must_use]
    pub fn line(&self, i: usize) -> u64 {
        self.columns.lines[i]
    }

    /// Returns the most recent known articles in the history of impression `i`, the oldest first. An article that was
    /// read twice occurs twice.
    #[must_use]
    pub fn history(&self, i: usize) -> &[u32] {
        self.columns.history(i)
    }

    /// Returns the length of the history of impression `i` in the file, including its oldest and unknown articles.
    #[must_use]
    pub fn history_length(&self, i: usize) -> usize {
        self.columns.history_lengths[i] as usize
    }

    /// Returns the candidates of impression `i`, at least one, in the order of the line. A candidate that is not among
    /// the articles is [`UNKNOWN`].
    #[must_use]
    pub fn candidates(&self, i: usize) -> &[u32] {
        &self.columns.candidates[range(&self.columns.candidate_ends, i)]
    }

    /// Returns the click label of each candidate of impression `i`: 1 clicked, 0 not clicked, [`NO_LABEL`] unknown.
    #[must_use]
    pub fn clicked(&self, i: usize) -> &[u8] {
        &self.columns.clicked[range(&self.columns.candidate_ends, i)]
    }

    /// Returns the counts of unusable and repeated entries.
    #[must_use]
    pub fn report(&self) -> &ReadReport {
        &self.report
    }

    /// Returns the number of rows of the [`IdIndex`] that the file was read with.
    #[must_use]
    pub fn news(&self) -> usize {
        self.news
    }

    /// Returns, for each article, true if it is in the history or among the candidates of one of these impressions.
    ///
    /// # Panics
    /// If an impression does not exist.
    #[must_use]
    pub fn seen(&self, impressions: impl IntoIterator<Item = u32>) -> Vec<bool> {
        let mut seen = vec![false; self.news];
        for impression in impressions {
            let i = impression as usize;
            let rows = self.history(i).iter().chain(self.candidates(i));
            rows.filter(|&&row| row != UNKNOWN).for_each(|&row| seen[row as usize] = true);
        }
        seen
    }
}

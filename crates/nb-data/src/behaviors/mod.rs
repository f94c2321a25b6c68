//! MIND's `behaviors.tsv`: who was shown which news, after having read which, and clicked what.
//!
//! A line is an impression: its id, the user's id, the time, the history (news ids between spaces, the oldest first,
//! possibly none) and the candidates (`N1-1 N2-0`: clicked or not; `N1 N2` in MIND's test set). Columns are separated
//! by tabs, there is no header, and a column behind the fifth is not read.
//!
//! ```text
//! behaviors.tsv ─ Behaviors::read ─ samples(impressions) ─ cut_distinct(order, size) ─ ReaderBatch (plain vectors)
//! news ids ─ IdIndex ┘                 negatives(sample, seed, epoch) ┘
//! ```
//!
//! Text is UTF-8 with or without a byte-order mark, lines end in LF or CRLF, empty lines are no lines. An impression
//! cannot be used if it is not UTF-8, has fewer than five columns or no candidate, or if a candidate lacks its click
//! where clicks are required. Users and times are not kept.

mod batch;
mod blocks;
mod clicks;
mod columns;
mod parse;
mod report;
mod samples;

use std::path::PathBuf;

pub use batch::{ClickedBefore, Draw, ReaderBatch, cut_distinct};
pub use clicks::{ClickRule, NO_LABEL, UNKNOWN};
pub use report::ReadReport;
pub use samples::{Sample, Samples};

use self::blocks::{Content, Portions, Stopped};
use self::columns::{Columns, range};
use self::parse::Rules;
use crate::IdIndex;
use crate::error::DataError;
use crate::read::{Reason, open_file};

/// A file of behaviors and how it is to be read.
#[derive(Clone, Debug, PartialEq)]
pub struct BehaviorSource {
    /// The file.
    pub path: PathBuf,
    /// How many news of a history are kept: the most recent ones of those that are known.
    pub history: usize,
    /// Whether an impression without clicks can be used.
    pub clicks: ClickRule,
    /// The share of lines, from 0 to 1, that may be unusable; more is an error.
    pub allowed_unusable: f64,
}

/// Impressions, numbered from 0 in the order of the file.
///
/// News are the rows of the [`IdIndex`] that the file was read with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behaviors {
    columns: Columns,
    report: ReadReport,
    /// Impressions that list a candidate more than once, in ascending order.
    repeating: Vec<u32>,
    /// How many rows the news have.
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
    /// assert_eq!(report, "1 in histories not in the news; 1 among candidates not in the news");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If the file cannot be read, has no usable line or too many unusable ones, or shows none of the news.
    pub fn read(source: &BehaviorSource, news: &IdIndex) -> Result<Self, DataError> {
        let path = &source.path;
        let file = open_file(path)?;
        let rules = Rules { news, clicks: source.clicks, history: source.history };
        let portions = Portions::for_threads(rayon::current_num_threads());
        let content = Content::read(file, &rules, portions).map_err(|stopped| match stopped {
            Stopped::Read(line, source) => DataError::Read { file: path.display().to_string(), line, source },
            Stopped::TooMany => DataError::TooManyRows { path: path.clone() },
        })?;
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
        if let Some((found, line)) = skipped.of(Reason::NoClick)
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

    /// How many impressions there are; at least one.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "there is always an impression")]
    pub fn len(&self) -> usize {
        self.columns.len()
    }

    /// The id of impression `i`.
    ///
    /// # Panics
    /// If there is no such impression; so do the other accessors.
    #[must_use]
    pub fn id(&self, i: usize) -> &str {
        &self.columns.ids[range(&self.columns.id_ends, i)]
    }

    /// The line of impression `i`, counted from 1.
    #[must_use]
    pub fn line(&self, i: usize) -> u64 {
        self.columns.lines[i]
    }

    /// The most recent known news of the history of impression `i`, the oldest first. A news that was read twice is
    /// there twice.
    #[must_use]
    pub fn history(&self, i: usize) -> &[u32] {
        &self.columns.history[range(&self.columns.history_ends, i)]
    }

    /// How many news the history of impression `i` has in the file: old ones and such as are not in the news too.
    #[must_use]
    pub fn history_length(&self, i: usize) -> usize {
        self.columns.history_lengths[i] as usize
    }

    /// The candidates of impression `i` in the order of the line, [`UNKNOWN`] where one is not in the news; at least
    /// one.
    #[must_use]
    pub fn candidates(&self, i: usize) -> &[u32] {
        &self.columns.candidates[range(&self.columns.candidate_ends, i)]
    }

    /// Beside each of the candidates of impression `i`: 1 clicked, 0 not, [`NO_LABEL`] not said.
    #[must_use]
    pub fn clicked(&self, i: usize) -> &[u8] {
        &self.columns.clicked[range(&self.columns.candidate_ends, i)]
    }

    /// What could not be used, or is there twice.
    #[must_use]
    pub fn report(&self) -> &ReadReport {
        &self.report
    }

    /// How many rows the news have that the file was read with.
    #[must_use]
    pub fn news(&self) -> usize {
        self.news
    }

    /// Per row of the news: whether it stands in the history or among the candidates of one of these impressions.
    ///
    /// # Panics
    /// If there is no such impression.
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

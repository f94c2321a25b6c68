//! The files of one split of a BEIR folder, as sources.

use std::path::{Path, PathBuf};

use super::folder::{Folder, Split};
use crate::MissingFile;
use crate::read::{Field, Format, LabelRule, Source};

/// Articles, queries, and the relevance judgements.
#[derive(Debug, Clone)]
pub struct QueryLog {
    /// The articles.
    pub corpus: Source,
    /// The queries.
    pub queries: Source,
    /// The judgements.
    pub qrels: PathBuf,
    /// Largest share of unusable rows that is not an error.
    pub allowed_unusable: f64,
}

impl QueryLog {
    /// Finds the files of one split of a BEIR folder. `fields` are the parts of an article to read, `allowed` the largest share of
    /// unusable rows that is not an error.
    ///
    /// ```
    /// use nb_data::beir::{QueryLog, Split};
    /// let error = QueryLog::find("nowhere".as_ref(), Split::Dev, &[], 0.1).unwrap_err();
    /// assert!(error.to_string().contains("queries.jsonl and qrels/dev.tsv"));
    /// ```
    ///
    /// # Errors
    /// If a file is missing.
    pub fn find(folder: &Path, split: Split, fields: &[Field], allowed: f64) -> Result<Self, MissingFile> {
        let files = Folder::new(folder);
        let source = |path, format| Source {
            labels: LabelRule::Optional,
            allowed_unusable: allowed,
            ..Source::labelled(path, format)
        };
        let log = Self {
            corpus: source(files.corpus(), Format::BeirCorpus { fields: fields.to_vec() }),
            queries: source(files.queries(), Format::BeirQueries),
            qrels: files.qrels(split),
            allowed_unusable: allowed,
        };
        let expected = format!("a folder with corpus.jsonl, queries.jsonl and qrels/{}.tsv", split.name());
        match MissingFile::first(folder, [&log.corpus.path, &log.queries.path, &log.qrels], expected) {
            None => Ok(log),
            Some(missing) => Err(missing),
        }
    }
}

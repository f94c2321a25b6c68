//! The model that encodes the articles of a search: the model that encodes the queries, or its teacher.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;

use super::compute::{Changes, Compute};
use crate::model::TextModel;

/// The option `--corpus-model`.
#[derive(Debug, Args)]
pub(crate) struct CorpusModelOption {
    /// Model folder that encodes the articles, in place of --model: a student that matches its teacher's vectors can
    /// search the teacher's articles (retrieve)
    #[arg(long, value_name = "FOLDER")]
    corpus_model: Option<PathBuf>,
}

impl CorpusModelOption {
    /// Returns the option's folder.
    pub(crate) fn folder(&self) -> Option<&Path> {
        self.corpus_model.as_deref()
    }

    /// Loads the model, if the option is given.
    ///
    /// # Errors
    /// If it cannot be loaded, does not output vectors for a search, or has vectors of another width than `queries`.
    pub(crate) fn load(&self, compute: &Compute, queries: &TextModel) -> Result<Option<TextModel>> {
        let Some(folder) = self.folder() else { return Ok(None) };
        let model = compute.load_option("--corpus-model", folder, Changes::default())?.with_head_of(queries);
        model.require_retrieval()?;
        let (found, expected) = (model.vector_width()?, queries.vector_width()?);
        if found != expected {
            bail!(
                "--corpus-model has vectors of {found} units, expected {expected}, as in --model: scores are products of \
                 both"
            );
        }
        Ok(Some(model))
    }
}

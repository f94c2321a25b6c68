//! A trained model on libtorch.

use std::path::Path;

use anyhow::Result;
use nb_checkpoint::{Description, PoolingKind};
use nb_data::Tokens;
use nb_data::behaviors::Behaviors;
use nb_data::read::{Article, Field};
use nb_model::Precision;
use nb_rank::{ArticleVectors, CandidateScores, score_clicks};
use nb_train::inference::{SavedModel, VectorKind};
use nb_train::task::ReaderTable;
use tch::Device;

/// A model on libtorch, and the vectors that a command asked for.
#[derive(Debug)]
pub(crate) struct GpuModel {
    model: SavedModel,
    kind: VectorKind,
}

impl GpuModel {
    /// Loads a model folder.
    ///
    /// # Errors
    /// If a file is missing, damaged, or does not fit the others, or if `max_tokens` does not fit the model.
    pub(crate) fn load(
        folder: &Path,
        device: Device,
        precision: Precision,
        pooling: Option<PoolingKind>,
        max_tokens: Option<usize>,
    ) -> Result<Self> {
        let model = SavedModel::load(folder, device, precision)?;
        let model = match max_tokens {
            Some(max_tokens) => model.with_max_tokens(max_tokens)?,
            None => model,
        };
        let kind = match pooling {
            Some(PoolingKind::Mean) => VectorKind::Mean,
            Some(PoolingKind::Cls) => VectorKind::Cls,
            Some(PoolingKind::Attentive) | None => VectorKind::Head,
        };
        Ok(Self { model, kind })
    }

    pub(super) fn description(&self) -> Option<&Description> {
        self.model.head().ok().map(|head| &head.description)
    }

    pub(super) fn fields(&self) -> Vec<Field> {
        if self.model.fields().is_empty() { Vec::new() } else { self.model.read_fields() }
    }

    pub(super) fn width(&self) -> Option<usize> {
        let is_known = self.kind != VectorKind::Head || self.model.has_vectors();
        is_known.then(|| self.model.vector_width(self.kind))
    }

    pub(super) fn settings(&self) -> String {
        format!("libtorch {} {:?}", self.model.settings(), self.kind)
    }

    pub(super) fn probabilities(&self, articles: &[Article]) -> Result<Vec<Vec<f32>>> {
        self.model.probabilities(articles)
    }

    pub(super) fn tokens(&self, articles: &[Article]) -> Result<Vec<Tokens>> {
        self.model.tokens(articles)
    }

    pub(super) fn vectors_of(&self, texts: &[Tokens]) -> Result<Vec<Vec<f32>>> {
        self.model.vectors_of(texts, self.kind)
    }

    pub(super) fn log_truncated(&self) {
        self.model.log_truncated();
    }

    pub(super) fn with_head_of(self, other: &Self) -> Self {
        Self { model: self.model.with_head_of(&other.model), kind: self.kind }
    }

    pub(super) fn score_clicks(
        &self,
        articles: &ArticleVectors,
        behaviors: &Behaviors,
        impressions: &[u32],
    ) -> Result<CandidateScores> {
        let reader = self.model.reader()?;
        score_clicks(articles, &ReaderTable::new(articles, &reader), behaviors, impressions)
    }
}

//! The head, the micro-batch and the objective of recommendation.

use std::rc::Rc;

use nb_data::TokenBatch;
use nb_data::behaviors::ReaderBatch;
use nb_model::{Arena, Clicks, Packed, Pooling, Reader, Score};
use tch::{Device, Kind, Tensor};

use crate::step::Counts;
use crate::task::encode::{pack, text_refs};
use crate::task::unlabelled::ARTICLE_STORE;
use crate::task::{Objective, TaskHead, TextRef, VectorHead};

/// The head of a model: from states to article vectors, and a reader model, which may be shared with another model.
#[derive(Debug)]
pub struct RecommendHead {
    /// Pooling, projection and score.
    pub vector: VectorHead,
    /// The reader model.
    pub reader: Rc<Reader>,
}

impl RecommendHead {
    /// Computes scores [readers, candidates] from the vectors [U, H] of the distinct articles.
    pub fn scores(&self, vectors: &Tensor, readers: &ReaderBatch) -> Tensor {
        let device = vectors.device();
        let clicks = Clicks::new(&readers.history, &readers.history_lengths, device);
        let candidates = nb_torch::send(&Tensor::from_slice(&readers.candidates), device);
        let candidates = candidates.view([readers.readers() as i64, -1]);
        let readers = reader_vectors(&self.reader, &self.vector.score, vectors, &clicks);
        self.vector.score.scaled(&nb_model::score(&readers, vectors, &candidates))
    }
}

/// Computes the vectors [R, H] of readers whose products with article vectors are the scores. The learned vector of a reader
/// without clicks is used as it is: it starts at zero, which has no direction.
pub(super) fn reader_vectors(reader: &Reader, score: &Score, articles: &Tensor, clicks: &Clicks) -> Tensor {
    let readers = reader.forward(articles, clicks);
    match clicks.has_clicks() {
        None => score.vectors(&readers),
        Some(has_clicks) => score.vectors(&readers).where_self(has_clicks, &readers),
    }
}

impl TaskHead for RecommendHead {
    fn pooling(&self) -> &Pooling {
        self.vector.pooling()
    }

    fn vectors(&self, pooled: &Tensor) -> Tensor {
        self.vector.vectors(pooled)
    }

    fn width(&self, hidden: i64) -> i64 {
        self.vector.width(hidden)
    }

    fn arenas(&self) -> Vec<&Arena> {
        self.vector.arenas().into_iter().chain(self.reader.arenas()).collect()
    }

    fn vector_arenas(&self) -> Vec<&Arena> {
        self.vector.arenas()
    }
}

/// A micro-batch: the tokens of its distinct articles, and the clicked and shown articles of its readers as indices into
/// them.
#[derive(Debug, Clone)]
pub struct RecommendBatch {
    /// The articles in the order of `readers`, then unlabelled articles.
    pub tokens: TokenBatch,
    /// The readers.
    pub readers: ReaderBatch,
}

/// Recommendation as the training step sees it.
#[derive(Debug, Clone, Copy)]
pub struct RecommendObjective {
    /// The device of the models.
    pub device: Device,
    /// The number of the token store of texts without labels.
    pub unlabelled_store: usize,
}

impl Objective for RecommendObjective {
    type Head = RecommendHead;
    type Batch = RecommendBatch;

    fn counts(&self, batch: &RecommendBatch) -> Counts {
        let readers = batch.readers.readers() as i64;
        Counts { rows: readers, ..Counts::of_batch(&batch.tokens, readers) }
    }

    fn texts(&self, batch: &RecommendBatch) -> Vec<TextRef> {
        let (articles, unlabelled) = batch.tokens.rows.split_at(batch.readers.news.len());
        text_refs(ARTICLE_STORE, articles).chain(text_refs(self.unlabelled_store, unlabelled)).collect()
    }

    fn packed(&self, batch: &RecommendBatch) -> Packed {
        pack(&batch.tokens, self.device)
    }

    /// Every label is 0: the clicked article is the first candidate.
    fn labels(&self, batch: &RecommendBatch) -> Tensor {
        Tensor::zeros([batch.readers.readers() as i64], (Kind::Int64, self.device))
    }

    fn logits(&self, head: &RecommendHead, vectors: &Tensor, batch: &RecommendBatch) -> Tensor {
        head.scores(vectors, &batch.readers)
    }
}

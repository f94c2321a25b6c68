//! The head, the micro-batch and the objective of retrieval.

use nb_data::TokenBatch;
use nb_data::beir::QueryBatch;
use nb_model::{Arena, Packed, Pooling};
use tch::{Device, Tensor};

use crate::step::Counts;
use crate::task::encode::{pack, text_refs};
use crate::task::unlabelled::ARTICLE_STORE;
use crate::task::{Objective, TaskHead, TextRef, VectorHead};

/// The score of an article that is not a candidate. It is far below any other score, but finite, so that its probability of
/// 0 times its logarithm is 0.
const NO_CANDIDATE: f64 = -1e9;

/// The head of a model: from states to vectors, and their score.
#[derive(Debug)]
pub struct RetrieveHead {
    /// Pooling, projection and score.
    pub vector: VectorHead,
}

impl RetrieveHead {
    /// Computes scores [queries, articles] from the vectors [articles + queries, H] of articles and queries.
    pub fn scores(&self, vectors: &Tensor, batch: &QueryBatch) -> Tensor {
        let (articles, queries) = (batch.documents.len() as i64, batch.targets.len() as i64);
        let masked = nb_torch::send(&Tensor::from_slice(&batch.masked), vectors.device()).view([queries, articles]);
        let products = vectors.narrow(0, articles, queries).matmul(&vectors.narrow(0, 0, articles).transpose(0, 1));
        self.vector.score.scaled(&products).masked_fill(&masked, NO_CANDIDATE)
    }
}

impl TaskHead for RetrieveHead {
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
        self.vector.arenas()
    }
}

/// A micro-batch: the tokens of its distinct articles and of its queries, and the articles that are relevant to each query.
#[derive(Debug, Clone)]
pub struct RetrieveBatch {
    /// The documents of `queries`, then its queries, each in their order, then unlabelled articles.
    pub tokens: TokenBatch,
    /// The queries.
    pub queries: QueryBatch,
}

/// The number of the token store of queries.
const QUERY_STORE: usize = 1;

/// Retrieval as the training step sees it.
#[derive(Debug, Clone, Copy)]
pub struct RetrieveObjective {
    /// The device of the models.
    pub device: Device,
    /// The number of the token store of texts without labels.
    pub unlabelled_store: usize,
}

impl Objective for RetrieveObjective {
    type Head = RetrieveHead;
    type Batch = RetrieveBatch;

    fn counts(&self, batch: &RetrieveBatch) -> Counts {
        let rows = batch.queries.targets.len() as i64;
        Counts { rows, ..Counts::of_batch(&batch.tokens, rows) }
    }

    fn texts(&self, batch: &RetrieveBatch) -> Vec<TextRef> {
        let (articles, rest) = batch.tokens.rows.split_at(batch.queries.documents.len());
        let (queries, unlabelled) = rest.split_at(batch.queries.queries.len());
        let labelled = text_refs(ARTICLE_STORE, articles).chain(text_refs(QUERY_STORE, queries));
        labelled.chain(text_refs(self.unlabelled_store, unlabelled)).collect()
    }

    fn packed(&self, batch: &RetrieveBatch) -> Packed {
        pack(&batch.tokens, self.device)
    }

    fn labels(&self, batch: &RetrieveBatch) -> Tensor {
        nb_torch::send(&Tensor::from_slice(&batch.queries.targets), self.device)
    }

    fn logits(&self, head: &RetrieveHead, vectors: &Tensor, batch: &RetrieveBatch) -> Tensor {
        head.scores(vectors, &batch.queries)
    }
}

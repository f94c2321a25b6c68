//! Retrieval: rank news for a query.
//!
//! Query and news go through the same encoder and the same attentive pooling; score = q·h. A row of logits is one query
//! with one of its relevant news: all news of the micro-batch are its candidates, but for the query's other relevant ones.

mod documents;
mod evaluate;
mod hits;
mod open;

use std::path::Path;
use std::rc::Rc;

use anyhow::{Context, Result};
use nb_checkpoint::Description;
use nb_data::batch::{cut, order};
use nb_data::beir::{Pair, Qrels, QueryBatch};
use nb_data::{BatchSize, TokenBatch, TokenStore, Tokenizer};
use nb_dist::ProcessGroup;
use nb_model::{Arena, AttentivePooling, Bert, Packed};
use tch::{Device, Tensor};

use super::texts::{Distinct, Unlabelled, encode, pack, probe, rows_of, vectors};
use super::{HeadPair, Layers, Objective, SplitName, Task, Widths, accept, pooling};
use crate::method::Share;
use crate::model::Model;
use crate::model::saved_folder::{Card, save_head};
use crate::step::terms::Counts;
use crate::task::evaluation::Evaluation;

pub use documents::Documents;
pub use evaluate::{DEPTH, Judging, evaluate_hits};
pub use hits::{Asked, Hit, TopHits};

/// News whose vectors are held at a time while a run evaluates.
const BLOCK: usize = 16_384;
/// The score of a news that is no candidate: far below any other, and finite, so that 0 times its logarithm is 0.
const NO_CANDIDATE: f64 = -1e9;

/// Queries of a split: news, queries, and which of the judged queries belong to the split.
#[derive(Debug)]
pub struct Queries {
    /// The news.
    pub corpus: Rc<TokenStore>,
    /// The queries.
    pub queries: Rc<TokenStore>,
    /// Which news answer which query; both are rows of the stores.
    pub qrels: Rc<Qrels>,
    /// The news that a search may find.
    pub documents: Rc<Documents>,
    /// Judged queries of the split.
    pub judged: Vec<u32>,
}

/// Retrieval on a training and a development split.
#[derive(Debug)]
pub struct Retrieve {
    train: Queries,
    dev: Queries,
    test: Option<Queries>,
    /// News without queries.
    unlabelled: Option<Unlabelled>,
    /// One for each relevant news of each training query.
    pairs: Vec<Pair>,
    negatives: usize,
    tokenizer: Tokenizer,
    card: Card,
    batch: BatchSize,
    seed: u64,
    device: Device,
}

/// The pooling of one model; it may be the other model's too.
#[derive(Debug)]
pub struct RetrieveHead {
    /// Attentive pooling over tokens.
    pub pooling: Rc<AttentivePooling>,
}

/// A micro-batch: the tokens of its distinct news, then those of its queries, and which news answer which query.
#[derive(Debug, Clone)]
pub struct RetrieveBatch {
    /// The documents of `queries` in its order, then its queries in theirs; behind them news without queries.
    pub tokens: TokenBatch,
    /// The queries.
    pub queries: QueryBatch,
}

impl RetrieveBatch {
    /// What it holds.
    pub fn counts(&self) -> Counts {
        let rows = self.queries.targets.len() as i64;
        Counts { rows, ..Counts::of_texts(&self.tokens.lengths, rows) }
    }
}

impl Layers for RetrieveHead {
    fn arenas(&self) -> Vec<&Arena> {
        vec![self.pooling.arena()]
    }
}

impl RetrieveHead {
    /// From the vectors [news + queries, H] of news and queries to scores [queries, news].
    pub fn scores(&self, pooled: &Tensor, batch: &QueryBatch) -> Tensor {
        let (news, rows) = (batch.documents.len() as i64, batch.targets.len() as i64);
        let masked = nb_torch::send(&Tensor::from_slice(&batch.masked), pooled.device()).view([rows, news]);
        let scores = pooled.narrow(0, news, rows).matmul(&pooled.narrow(0, 0, news).transpose(0, 1));
        scores.masked_fill(&masked, NO_CANDIDATE)
    }
}

impl Retrieve {
    fn length(&self, document: u32) -> usize {
        self.train.corpus.length(document as usize)
    }

    /// Tokens of a pair: the query's, its news', and no fewer than its given negatives can have.
    fn pair_length(&self, pair: u32) -> usize {
        let Pair { judged, relevant } = self.pairs[pair as usize];
        let judged = &self.train.qrels.queries[judged as usize];
        let negatives = judged.negatives.iter().map(|&row| self.length(row)).max().unwrap_or(0);
        self.train.queries.length(judged.query as usize)
            + self.length(judged.relevant[relevant as usize].0)
            + negatives * self.negatives.min(judged.negatives.len())
    }
}

impl Objective for Retrieve {
    type Head = RetrieveHead;
    type Batch = RetrieveBatch;

    fn counts(&self, batch: &RetrieveBatch) -> Counts {
        batch.counts()
    }

    fn texts(&self, batch: &RetrieveBatch) -> Vec<(usize, u32)> {
        let (news, rest) = batch.tokens.rows.split_at(batch.queries.documents.len());
        let (queries, unlabelled) = rest.split_at(batch.queries.queries.len());
        rows_of(0, news).chain(rows_of(1, queries)).chain(rows_of(2, unlabelled)).collect()
    }

    fn packed(&self, batch: &RetrieveBatch) -> Packed {
        pack(&batch.tokens, self.device)
    }

    fn labels(&self, batch: &RetrieveBatch) -> Tensor {
        nb_torch::send(&Tensor::from_slice(&batch.queries.targets), self.device)
    }

    fn pooled(&self, head: &RetrieveHead, states: &Tensor, packed: &Packed) -> Tensor {
        head.pooling.forward(states, packed.segments())
    }

    fn logits(&self, head: &RetrieveHead, pooled: &Tensor, batch: &RetrieveBatch) -> Tensor {
        head.scores(pooled, &batch.queries)
    }
}

impl Task for Retrieve {
    fn name(&self) -> &'static str {
        "retrieve"
    }

    fn primary_metric(&self) -> &'static str {
        "ndcg@10"
    }

    fn heads(&self, widths: Widths, share: Share, seed: u64, device: Device) -> HeadPair<RetrieveHead> {
        let pooling = pooling(widths, share, seed, device);
        HeadPair {
            teacher: RetrieveHead { pooling: pooling.teacher },
            student: RetrieveHead { pooling: pooling.student },
        }
    }

    fn accept(&self, description: &Description) -> Result<()> {
        accept(self.name(), description)
    }

    fn stores(&self) -> Vec<&TokenStore> {
        let own = [&*self.train.corpus, &*self.train.queries];
        own.into_iter().chain(self.unlabelled.iter().map(|u| &u.store)).collect()
    }

    fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    fn epoch(&self, epoch: u64) -> Vec<Vec<u32>> {
        let mut batches = cut(&order(self.pairs.len(), self.seed, epoch), |pair| self.pair_length(pair), self.batch);
        if let Some(unlabelled) = &self.unlabelled {
            unlabelled.deal(epoch, &mut batches);
        }
        batches
    }

    fn batch(&self, epoch: u64, rows: &[u32]) -> RetrieveBatch {
        let (pairs, others) = match &self.unlabelled {
            Some(unlabelled) => unlabelled.split(rows),
            None => (rows, TokenBatch::default()),
        };
        let pairs: Vec<Pair> = pairs.iter().map(|&i| self.pairs[i as usize]).collect();
        let length = |document| self.length(document);
        let queries = QueryBatch::new(&self.train.qrels, &pairs, self.negatives, self.seed, epoch, length);
        let mut tokens = self.train.corpus.batch(&queries.documents);
        tokens.append(self.train.queries.batch(&queries.queries));
        tokens.append(others);
        RetrieveBatch { tokens, queries }
    }

    fn describe(&self) -> Vec<(&'static str, String)> {
        let (train, dev) = (&self.train, &self.dev);
        vec![
            ("news", format!("{} to train on, {} to develop on", train.corpus.len(), dev.corpus.len())),
            (
                "queries",
                format!(
                    "{} with {} relevant news to train on, {} to develop on",
                    train.judged.len(),
                    self.pairs.len(),
                    dev.judged.len()
                ),
            ),
        ]
    }

    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }

    fn has_test(&self) -> bool {
        self.test.is_some()
    }

    fn evaluate(&self, model: &Model<RetrieveHead>, split: SplitName, processes: &ProcessGroup) -> Result<Evaluation> {
        let dev = match split {
            SplitName::Dev => &self.dev,
            SplitName::Test => self.test.as_ref().context("there is no data.test")?,
        };
        let Model { bert, head } = model;
        let vectors = |store, rows: &[u32]| vectors((bert, &head.pooling), (store, rows), self.device, processes);
        let hidden = bert.config().hidden_size as usize;
        let judged: Vec<_> = dev.judged.iter().map(|&i| &dev.qrels.queries[i as usize]).collect();
        let rows: Vec<u32> = judged.iter().map(|judged| judged.query).collect();
        let own = rows.iter().map(|&row| dev.documents.index().row(dev.queries.id(row as usize)?.as_bytes())).collect();
        let asked = Asked { vectors: vectors(&dev.queries, &rows)?, hidden, own };
        let mut hits = TopHits::new(asked, Rc::clone(&dev.documents), DEPTH);
        // News of one text stay together, so that they have one vector.
        let all: Vec<u32> = (0..dev.corpus.len() as u32).collect();
        for rows in Distinct::new(&dev.corpus, &all).blocks(BLOCK) {
            hits.add(&rows, &vectors(&dev.corpus, &rows)?)?;
        }
        evaluate_hits(&judged, &hits.finish(), Judging::All)
    }

    fn infer(&self, bert: &Bert, head: &RetrieveHead, batch: &TokenBatch) {
        let _ = std::hint::black_box(encode(bert, &head.pooling, &pack(batch, self.device)));
    }

    fn probe(&self) -> Vec<TokenBatch> {
        probe(&self.dev.corpus, (0..self.dev.corpus.len() as u32).collect())
    }

    fn save(&self, head: &RetrieveHead, folder: &Path) -> Result<()> {
        save_head(folder, &head.arenas())?;
        self.card.write(folder, &[], &self.tokenizer)
    }
}

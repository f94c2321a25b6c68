//! Retrieval: rank articles for a query.
//!
//! Query and articles go through the same encoder and the same head; their score is s·cos(q, h) or q·h. A row of logits is one query
//! with one of its relevant articles. All articles of the micro-batch are its candidates, except the query's other relevant
//! articles.

mod objective;
mod open;
mod plan;

use std::path::Path;
use std::rc::Rc;

use anyhow::{Context, Result};
use nb_checkpoint::{Description, HeadDescription};
use nb_data::batch::{cut, order};
use nb_data::beir::{Judged, Pair, Qrels, QueryBatch};
use nb_data::{BatchSize, TokenBatch, TokenStore, Tokenizer};
use nb_dist::ProcessGroup;
use nb_model::Bert;
use nb_rank::{CorpusIndex, EVALUATION_DEPTH, JudgementScope, Measurements, QueryVectors, TopKSearch, evaluate_hits};
use tch::Device;

use super::distinct::DistinctTexts;
use super::encode::{encode, pack, timing_batches};
use super::model_vectors::model_vectors;
use super::unlabelled::{SplitRows, Unlabelled, split_rows};
use super::{HasObjective, HeadPair, SplitName, Task, TaskHead, VectorHead, Widths, check_head, check_task};
use crate::method::Share;
use crate::model::{CardLabels, HeadLayers, Model, ModelCard, save_head};
use crate::plan::{Plan, TaskKind};

pub(super) use open::read_queries;

pub use objective::{RetrieveBatch, RetrieveHead, RetrieveObjective};
pub use plan::{RetrieveKind, RetrievePlan};

/// Number of articles whose vectors are in memory at a time during an evaluation.
const BLOCK: usize = 16_384;

/// Queries of a split, and the corpus that they search.
#[derive(Debug)]
pub struct QuerySplit {
    /// The articles.
    pub corpus: Rc<TokenStore>,
    /// The queries.
    pub queries: Rc<TokenStore>,
    /// The relevant articles of each query. Queries and articles are rows of the stores.
    pub qrels: Rc<Qrels>,
    /// The articles that a search may find.
    pub index: Rc<CorpusIndex>,
    /// The judged queries that belong to the split.
    pub judged: Vec<u32>,
}

/// Retrieval with its data.
#[derive(Debug)]
pub struct Retrieve {
    objective: RetrieveObjective,
    train: QuerySplit,
    dev: QuerySplit,
    test: Option<QuerySplit>,
    /// Articles without queries.
    unlabelled: Option<Unlabelled>,
    /// A pair for each relevant article of each training query.
    pairs: Vec<Pair>,
    negatives: usize,
    tokenizer: Tokenizer,
    card: ModelCard,
    /// Head of models before any training.
    untouched: HeadDescription,
    batch: BatchSize,
    seed: u64,
}

impl Retrieve {
    fn length(&self, document: u32) -> usize {
        self.train.corpus.length(document as usize)
    }

    /// Returns an upper bound of the tokens of a pair: its query, its relevant article and its judged negatives.
    fn pair_length(&self, pair: u32) -> usize {
        let Pair { judged, relevant } = self.pairs[pair as usize];
        let judged = &self.train.qrels.queries[judged as usize];
        let negatives = judged.negatives.iter().map(|&row| self.length(row)).max().unwrap_or(0);
        self.train.queries.length(judged.query as usize)
            + self.length(judged.relevant[relevant as usize].0)
            + negatives * self.negatives.min(judged.negatives.len())
    }
}

impl HasObjective for Retrieve {
    type Objective = RetrieveObjective;

    fn objective(&self) -> &RetrieveObjective {
        &self.objective
    }
}

impl Task for Retrieve {
    type Plan = RetrievePlan;

    const KIND: &'static dyn TaskKind = &RetrieveKind;

    fn open(plan: &Plan, task_plan: &RetrievePlan) -> Result<Self> {
        Self::open_files(plan, task_plan)
    }

    fn head_layers(_: &Path, _: i64, _: &Description, _: Device) -> Result<HeadLayers> {
        Ok(HeadLayers::None)
    }

    fn primary_metric(&self) -> &'static str {
        "ndcg@10"
    }

    fn heads(&self, widths: Widths, share: Share, seed: u64, device: Device) -> HeadPair<RetrieveHead> {
        let pair = VectorHead::pair(&self.card.head, widths, share, seed, device);
        HeadPair { teacher: RetrieveHead { vector: pair.teacher }, student: RetrieveHead { vector: pair.student } }
    }

    fn untouched_head(&self, hidden: i64) -> Option<RetrieveHead> {
        Some(RetrieveHead { vector: VectorHead::zeros(&self.untouched, hidden, self.objective.device) })
    }

    fn check_description(&self, description: &Description) -> Result<()> {
        check_task(self.name(), description)?;
        check_head(&description.head, &self.card.head)
    }

    fn stores(&self) -> Vec<&TokenStore> {
        let labelled = [&*self.train.corpus, &*self.train.queries];
        labelled.into_iter().chain(self.unlabelled.iter().filter_map(Unlabelled::own_store)).collect()
    }

    fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    fn epoch(&self, epoch: u64) -> Vec<Vec<u32>> {
        let mut batches = cut(&order(self.pairs.len(), self.seed, epoch), |pair| self.pair_length(pair), self.batch);
        if let Some(unlabelled) = &self.unlabelled {
            unlabelled.append_to(&mut batches, epoch);
        }
        batches
    }

    fn batch(&self, epoch: u64, rows: &[u32]) -> RetrieveBatch {
        let SplitRows { labelled, unlabelled } = split_rows(self.unlabelled.as_ref(), rows);
        let pairs: Vec<Pair> = labelled.iter().map(|&i| self.pairs[i as usize]).collect();
        let length = |document| self.length(document);
        let queries = QueryBatch::new(&self.train.qrels, &pairs, self.negatives, self.seed, epoch, length);
        let mut tokens = self.train.corpus.batch(&queries.documents);
        tokens.append(self.train.queries.batch(&queries.queries));
        tokens.append(unlabelled);
        RetrieveBatch { tokens, queries }
    }

    fn describe(&self) -> Vec<(&'static str, String)> {
        let (train, dev) = (&self.train, &self.dev);
        let articles = format!("{} for training, {} for development", train.corpus.len(), dev.corpus.len());
        let queries = format!(
            "{} with {} relevant articles for training, {} for development",
            train.judged.len(),
            self.pairs.len(),
            dev.judged.len()
        );
        let mut lines = vec![("news", articles), ("queries", queries)];
        lines.extend(self.unlabelled.as_ref().map(|texts| ("without labels", format!("{} articles", texts.len()))));
        lines
    }

    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }

    fn has_test(&self) -> bool {
        self.test.is_some()
    }

    fn evaluate(
        &self,
        model: &Model<RetrieveHead>,
        split: SplitName,
        _: &[f64],
        processes: &ProcessGroup,
    ) -> Result<Measurements> {
        let split = match split {
            SplitName::Dev => &self.dev,
            SplitName::Test => self.test.as_ref().context("data.test is not set")?,
        };
        evaluate_queries(model, split, processes)
    }

    fn infer(&self, bert: &Bert, head: &RetrieveHead, batch: &TokenBatch) {
        let _ = std::hint::black_box(encode(bert, head, &pack(batch, self.objective.device)));
    }

    fn timing_batches(&self) -> Vec<TokenBatch> {
        timing_batches(&self.dev.corpus, (0..self.dev.corpus.len() as u32).collect())
    }

    fn save(&self, head: &RetrieveHead, _: &[f64], folder: &Path) -> Result<()> {
        save_head(folder, &head.arenas())?;
        let card = ModelCard { head: head.vector.description(&self.card.head), ..self.card.clone() };
        card.write(folder, CardLabels::default(), &self.tokenizer)
    }
}

/// Searches the corpus of a split for its queries, and computes the metrics.
///
/// # Errors
/// If an entry of a vector is not finite, or if a process is lost.
pub(super) fn evaluate_queries<T: TaskHead>(
    model: &Model<T>,
    split: &QuerySplit,
    processes: &ProcessGroup,
) -> Result<Measurements> {
    let judged: Vec<&Judged> = split.judged.iter().map(|&i| &split.qrels.queries[i as usize]).collect();
    let rows: Vec<u32> = judged.iter().map(|judged| judged.query).collect();
    let same_id = |&row: &u32| split.index.ids().row(split.queries.id(row as usize)?.as_bytes());
    let queries = QueryVectors {
        vectors: model_vectors(model, &split.queries, &rows, processes)?,
        hidden: model.vector_width(),
        same_id: rows.iter().map(same_id).collect(),
    };
    let mut search = TopKSearch::new(queries, Rc::clone(&split.index), EVALUATION_DEPTH);
    // Articles with the same tokens are in the same block, so they are encoded once and have the same vector.
    let all: Vec<u32> = (0..split.corpus.len() as u32).collect();
    for rows in DistinctTexts::new(&split.corpus, &all).blocks(BLOCK) {
        search.add(&rows, &model_vectors(model, &split.corpus, &rows, processes)?)?;
    }
    Ok(evaluate_hits(&judged, &search.finish(), JudgementScope::All)?)
}

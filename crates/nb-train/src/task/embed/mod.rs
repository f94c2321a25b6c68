//! Embedding: a student whose vectors stand in for its teacher's, learned from texts alone.
//!
//! There are no labels. The frozen teacher is used as it comes; terms compare the vectors of both models and the similarities
//! of texts. A model is measured on held-out texts, and by ranking on the folders of `data.eval`.

mod evaluate;
mod objective;
mod open;
mod plan;

use std::cell::OnceCell;
use std::path::Path;
use std::rc::Rc;

use anyhow::{Context, Result, bail};
use nb_checkpoint::{Description, PoolingKind};
use nb_data::batch::{cut, order};
use nb_data::{BatchSize, TokenBatch, TokenStore, Tokenizer};
use nb_dist::ProcessGroup;
use nb_model::{Bert, Reader};
use nb_rank::{Measurements, Part};
use tch::Device;

use self::evaluate::{OVERLAP, TextVectors, evaluate_vectors};
use super::encode::{encode, pack, timing_batches};
use super::model_vectors::model_vectors;
use super::recommend::{ImpressionSplit, ReaderModel, evaluate_impressions};
use super::retrieve::{QuerySplit, evaluate_queries};
use super::texts::tokens_of;
use super::{HasObjective, HeadPair, SplitName, Task, TaskHead, TextRef, VectorHead, Widths, check_head};
use crate::method::Share;
use crate::model::build::saved_model;
use crate::model::{CardLabels, HeadLayers, Model, ModelCard, save_head};
use crate::plan::{Plan, TaskKind};

pub use objective::{EmbedBatch, EmbedObjective};
pub use plan::{EmbedKind, EmbedPlan, RankingFiles, RankingFolder};

/// Texts of a split to measure on.
#[derive(Debug)]
struct MeasuredTexts {
    /// The texts by store.
    parts: Vec<StoreRows>,
    /// The teacher's vectors of these texts, computed when they are first needed.
    teacher: OnceCell<TextVectors>,
}

/// Some rows of a store.
#[derive(Debug)]
struct StoreRows {
    store: Rc<TokenStore>,
    rows: Vec<u32>,
}

/// A folder on which ranking is measured.
#[derive(Debug)]
struct Ranking {
    name: String,
    data: RankingData,
}

#[derive(Debug)]
enum RankingData {
    Queries(QuerySplit),
    Clicks(ImpressionSplit),
}

/// Embedding with its data.
#[derive(Debug)]
pub struct Embed {
    objective: EmbedObjective,
    /// The stores of the training texts.
    stores: Vec<Rc<TokenStore>>,
    /// The training texts.
    train: Vec<TextRef>,
    dev: MeasuredTexts,
    test: Option<MeasuredTexts>,
    rankings: Vec<Ranking>,
    tokenizer: Tokenizer,
    card: ModelCard,
    batch: BatchSize,
    /// The plan, which names the teacher.
    plan: Box<Plan>,
}

impl Embed {
    /// Encodes texts into the vectors of a model.
    fn vectors(model: &Model<VectorHead>, parts: &[StoreRows], processes: &ProcessGroup) -> Result<TextVectors> {
        let mut values = Vec::new();
        for StoreRows { store, rows } in parts {
            values.extend(model_vectors(model, store, rows, processes)?);
        }
        Ok(TextVectors { values, width: model.vector_width() })
    }

    /// Returns the teacher's vectors of a split.
    fn teacher_vectors<'a>(&self, texts: &'a MeasuredTexts, processes: &ProcessGroup) -> Result<&'a TextVectors> {
        if let Some(vectors) = texts.teacher.get() {
            return Ok(vectors);
        }
        let folder = self.plan.trained.first().context("the plan has no frozen teacher")?;
        let teacher = saved_model(folder, &self.plan, self).with_context(|| format!("teacher {}", folder.display()))?;
        let vectors = Self::vectors(&teacher, &texts.parts, processes)?;
        Ok(texts.teacher.get_or_init(|| vectors))
    }

    /// Measures ranking on a folder of `data.eval`.
    fn rank(&self, model: &Model<VectorHead>, ranking: &Ranking, processes: &ProcessGroup) -> Result<Part> {
        let measured = match &ranking.data {
            RankingData::Queries(queries) => evaluate_queries(model, queries, processes),
            RankingData::Clicks(split) => {
                let width = model.vector_width() as i64;
                let reader = Reader::of_kind(PoolingKind::Mean, width, None, Device::Cpu);
                let reader = ReaderModel { reader: &reader, score: model.head.score.kind() };
                evaluate_impressions(model, &reader, split, None, processes)
            }
        };
        let Measurements { rows, metrics, .. } = measured.with_context(|| ranking.name.clone())?;
        Ok(Part { name: ranking.name.clone(), rows, metrics })
    }
}

impl HasObjective for Embed {
    type Objective = EmbedObjective;

    fn objective(&self) -> &EmbedObjective {
        &self.objective
    }
}

impl Task for Embed {
    type Plan = EmbedPlan;

    const KIND: &'static dyn TaskKind = &EmbedKind;

    fn open(plan: &Plan, task_plan: &EmbedPlan) -> Result<Self> {
        Self::open_files(plan, task_plan)
    }

    fn head_layers(_: &Path, _: i64, _: &Description, _: Device) -> Result<HeadLayers> {
        Ok(HeadLayers::None)
    }

    fn primary_metric(&self) -> &'static str {
        OVERLAP
    }

    fn heads(&self, widths: Widths, share: Share, seed: u64, device: Device) -> HeadPair<VectorHead> {
        VectorHead::pair(&self.card.head, widths, share, seed, device)
    }

    fn untouched_head(&self, hidden: i64) -> Option<VectorHead> {
        Some(VectorHead::zeros(&self.plan.untouched_head, hidden, self.objective.device))
    }

    /// A model that outputs vectors and has no further layers may be the teacher, whatever it was trained for.
    fn check_description(&self, description: &Description) -> Result<()> {
        if !["embed", "retrieve"].contains(&description.task.as_str()) {
            bail!("it was trained for {}, expected embed or retrieve", description.task);
        }
        check_head(&description.head, &self.card.head)
    }

    fn stores(&self) -> Vec<&TokenStore> {
        self.stores.iter().map(|store| &**store).collect()
    }

    fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    fn epoch(&self, epoch: u64) -> Vec<Vec<u32>> {
        let length = |row: u32| {
            let TextRef { store, row } = self.train[row as usize];
            self.stores[store].length(row as usize)
        };
        cut(&order(self.train.len(), self.plan.seed, epoch), length, self.batch)
    }

    fn batch(&self, _: u64, rows: &[u32]) -> EmbedBatch {
        let texts: Vec<TextRef> = rows.iter().map(|&row| self.train[row as usize]).collect();
        let tokens = tokens_of(&texts, |number| &self.stores[number]);
        EmbedBatch { tokens, texts }
    }

    fn describe(&self) -> Vec<(&'static str, String)> {
        let texts = format!("{} for training, {} for development", self.train.len(), self.dev.len());
        let names: Vec<&str> = self.rankings.iter().map(|ranking| ranking.name.as_str()).collect();
        let mut lines = vec![("texts", texts)];
        if !names.is_empty() {
            lines.push(("ranking", names.join(", ")));
        }
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
        model: &Model<VectorHead>,
        split: SplitName,
        _: &[f64],
        processes: &ProcessGroup,
    ) -> Result<Measurements> {
        let texts = match split {
            SplitName::Dev => &self.dev,
            SplitName::Test => self.test.as_ref().context("data.test is not set")?,
        };
        let student = Self::vectors(model, &texts.parts, processes)?;
        let measured = evaluate_vectors(self.teacher_vectors(texts, processes)?, &student)?;
        let rankings = self.rankings.iter().map(|ranking| self.rank(model, ranking, processes));
        Ok(Measurements { parts: rankings.collect::<Result<_>>()?, ..measured })
    }

    fn infer(&self, bert: &Bert, head: &VectorHead, batch: &TokenBatch) {
        let _ = std::hint::black_box(encode(bert, head, &pack(batch, self.objective.device)));
    }

    fn timing_batches(&self) -> Vec<TokenBatch> {
        let StoreRows { store, rows } = &self.dev.parts[0];
        timing_batches(store, rows.clone())
    }

    fn save(&self, head: &VectorHead, _: &[f64], folder: &Path) -> Result<()> {
        save_head(folder, &head.arenas())?;
        let card = ModelCard { head: head.description(&self.card.head), ..self.card.clone() };
        card.write(folder, CardLabels::default(), &self.tokenizer)
    }
}

impl MeasuredTexts {
    fn len(&self) -> usize {
        self.parts.iter().map(|part| part.rows.len()).sum()
    }
}

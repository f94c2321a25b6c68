//! Recommendation: rank the articles of an impression for a reader by their earlier clicks.
//!
//! Head: pooling from last hidden states to article vectors h, and a reader model from the vectors of the clicked articles to
//! a reader vector u; the score is s·cos(u, h) or u·h. A row of logits is one click: the clicked article and others of the same
//! impression. Each distinct article of a micro-batch is encoded once.

mod objective;
mod open;
mod plan;
mod reader_table;

use std::path::Path;
use std::rc::Rc;

use anyhow::{Context, Result, bail};
use nb_checkpoint::{DESCRIPTION_FILE, Description, HeadDescription};
use nb_data::batch::order;
use nb_data::behaviors::{Behaviors, ClickedBefore, Draw, ReaderBatch, Sample, cut_distinct};
use nb_data::{BatchSize, TokenBatch, TokenStore, Tokenizer};
use nb_dist::ProcessGroup;
use nb_model::{Bert, Reader};
use nb_rank::{ArticleVectors, Measurements, ScoredImpressions, evaluate_clicks, score_clicks};
use nb_share::Shared;
use tch::Device;

use super::encode::{encode, pack, timing_batches};
use super::model_vectors::model_vectors;
use super::unlabelled::{SplitRows, Unlabelled, split_rows};
use super::{HasObjective, HeadPair, SplitName, Task, TaskHead, VectorHead, Widths, check_head, check_task};
use crate::method::Share;
use crate::model::{CardLabels, HeadLayers, Model, ModelCard, save_head};
use crate::plan::{Plan, TaskKind};

pub(super) use open::read_impressions;

pub use objective::{RecommendBatch, RecommendHead, RecommendObjective};
pub use plan::{ClickLog, RecommendKind, RecommendPlan};
pub(in crate::task) use plan::{articles_of, log_files};
pub use reader_table::{ReaderModel, ReaderTable};

/// Impressions of a split, and the articles that they show.
#[derive(Debug)]
pub struct ImpressionSplit {
    /// The articles.
    pub articles: Rc<TokenStore>,
    /// All impressions of the file. Their articles are rows of the store.
    pub behaviors: Rc<Behaviors>,
    /// The impressions that belong to the split.
    pub impressions: Vec<u32>,
}

/// Impressions on which models are measured.
#[derive(Debug)]
struct MeasuredSplit {
    split: ImpressionSplit,
    /// By row of the articles: true if training showed the article.
    seen: Vec<bool>,
}

/// Recommendation with its data.
#[derive(Debug)]
pub struct Recommend {
    objective: RecommendObjective,
    train: ImpressionSplit,
    dev: MeasuredSplit,
    test: Option<MeasuredSplit>,
    /// The usable clicks of the training impressions.
    samples: Vec<Sample>,
    /// Articles without readers.
    unlabelled: Option<Unlabelled>,
    negatives: usize,
    clicked_before: ClickedBefore,
    self_attention: Option<i64>,
    tokenizer: Tokenizer,
    card: ModelCard,
    /// Head of models before any training.
    untouched: HeadDescription,
    batch: BatchSize,
    seed: u64,
}

impl Recommend {
    fn draw(&self, epoch: u64) -> Draw {
        Draw { negatives: self.negatives, seed: self.seed, epoch, clicked_before: self.clicked_before }
    }

    fn length(&self, article: u32) -> usize {
        self.train.articles.length(article as usize)
    }

    /// Reads a micro-batch of samples, given by number.
    fn readers(&self, epoch: u64, samples: &[u32]) -> ReaderBatch {
        let samples: Vec<Sample> = samples.iter().map(|&i| self.samples[i as usize]).collect();
        ReaderBatch::new(&self.train.behaviors, &samples, &self.draw(epoch), |article| self.length(article))
    }

    /// Returns the share of encodings that are saved in an epoch by encoding each distinct article of a micro-batch once.
    fn encodings_saved(&self) -> f64 {
        let (mut distinct, mut mentions) = (0, 0);
        for mut samples in self.epoch(0) {
            samples.retain(|&row| (row as usize) < self.samples.len()); // unlabelled articles are not mentions
            let readers = self.readers(0, &samples);
            distinct += readers.news.len();
            mentions += readers.history.len() + readers.candidates.len();
        }
        1.0 - distinct as f64 / mentions.max(1) as f64
    }
}

impl HasObjective for Recommend {
    type Objective = RecommendObjective;

    fn objective(&self) -> &RecommendObjective {
        &self.objective
    }
}

impl Task for Recommend {
    type Plan = RecommendPlan;

    const KIND: &'static dyn TaskKind = &RecommendKind;

    fn open(plan: &Plan, task_plan: &RecommendPlan) -> Result<Self> {
        Self::open_files(plan, task_plan)
    }

    fn head_layers(folder: &Path, hidden: i64, description: &Description, device: Device) -> Result<HeadLayers> {
        Ok(HeadLayers::Reader(Box::new(saved_reader(folder, hidden, description, device)?)))
    }

    fn primary_metric(&self) -> &'static str {
        "auc"
    }

    fn heads(&self, widths: Widths, share: Share, seed: u64, device: Device) -> HeadPair<RecommendHead> {
        let vector = VectorHead::pair(&self.card.head, widths, share, seed, device);
        let random = |hidden| {
            let mut reader = Reader::of_kind(self.card.head.reader, hidden, self.self_attention, device);
            reader.randomise(seed.wrapping_add(1)); // different random numbers from the pooling's
            reader
        };
        let reader = Shared::from_each(share.dense, || random(widths.teacher), || random(widths.vectors));
        HeadPair {
            teacher: RecommendHead { vector: vector.teacher, reader: reader.teacher },
            student: RecommendHead { vector: vector.student, reader: reader.student },
        }
    }

    fn untouched_head(&self, hidden: i64) -> Option<RecommendHead> {
        let device = self.objective.device;
        let reader = Rc::new(Reader::of_kind(self.untouched.reader, hidden, None, device));
        Some(RecommendHead { vector: VectorHead::zeros(&self.untouched, hidden, device), reader })
    }

    fn check_description(&self, description: &Description) -> Result<()> {
        check_task(self.name(), description)?;
        if description.self_attention != self.self_attention {
            let show = |heads: Option<i64>| heads.map_or_else(|| "not set".to_owned(), |heads| heads.to_string());
            let (found, expected) = (show(description.self_attention), show(self.self_attention));
            bail!("its reader.self_attention is {found}, expected {expected}, as in the configuration");
        }
        check_head(&description.head, &self.card.head)
    }

    fn stores(&self) -> Vec<&TokenStore> {
        std::iter::once(&*self.train.articles).chain(self.unlabelled.iter().filter_map(Unlabelled::own_store)).collect()
    }

    fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    fn epoch(&self, epoch: u64) -> Vec<Vec<u32>> {
        let order = order(self.samples.len(), self.seed, epoch);
        let length = |article| self.length(article);
        let mut batches =
            cut_distinct(&self.train.behaviors, &self.samples, &order, &self.draw(epoch), length, self.batch);
        if let Some(unlabelled) = &self.unlabelled {
            unlabelled.append_to(&mut batches, epoch);
        }
        batches
    }

    fn batch(&self, epoch: u64, rows: &[u32]) -> RecommendBatch {
        let SplitRows { labelled, unlabelled } = split_rows(self.unlabelled.as_ref(), rows);
        let readers = self.readers(epoch, labelled);
        let mut tokens = self.train.articles.batch(&readers.news);
        tokens.append(unlabelled);
        RecommendBatch { tokens, readers }
    }

    fn describe(&self) -> Vec<(&'static str, String)> {
        let (train, dev) = (&self.train, &self.dev.split);
        let articles = format!("{} for training, {} for development", train.articles.len(), dev.articles.len());
        let readers = format!(
            "{} clicks of {} impressions for training, {} impressions for development",
            self.samples.len(),
            train.impressions.len(),
            dev.impressions.len()
        );
        let saved = 100.0 * self.encodings_saved();
        let distinct = format!("encoding each article of a batch only once saves {saved:.1} % of the encodings");
        let mut lines = vec![("news", articles), ("readers", readers), ("distinct", distinct)];
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
        model: &Model<RecommendHead>,
        split: SplitName,
        _: &[f64],
        processes: &ProcessGroup,
    ) -> Result<Measurements> {
        let MeasuredSplit { split, seen } = match split {
            SplitName::Dev => &self.dev,
            SplitName::Test => self.test.as_ref().context("data.test is not set")?,
        };
        let RecommendHead { vector, reader } = &model.head;
        let reader = ReaderModel { reader, score: vector.score.kind() };
        evaluate_impressions(model, &reader, split, Some(seen), processes)
    }

    fn infer(&self, bert: &Bert, head: &RecommendHead, batch: &TokenBatch) {
        let _ = std::hint::black_box(encode(bert, head, &pack(batch, self.objective.device)));
    }

    fn timing_batches(&self) -> Vec<TokenBatch> {
        let articles = &self.dev.split.articles;
        timing_batches(articles, (0..articles.len() as u32).collect())
    }

    fn save(&self, head: &RecommendHead, _: &[f64], folder: &Path) -> Result<()> {
        save_head(folder, &head.arenas())?;
        let card = ModelCard { head: head.vector.description(&self.card.head), ..self.card.clone() };
        card.write(folder, CardLabels::default(), &self.tokenizer)
    }
}

/// Scores the impressions of a split and computes the metrics. `seen` tells which articles training showed.
///
/// # Errors
/// If a score is not finite, or if a process is lost.
pub(super) fn evaluate_impressions<T: TaskHead>(
    model: &Model<T>,
    reader: &ReaderModel<'_>,
    split: &ImpressionSplit,
    seen: Option<&[bool]>,
    processes: &ProcessGroup,
) -> Result<Measurements> {
    let ImpressionSplit { articles, behaviors, impressions } = split;
    let rows: Vec<u32> = (0..articles.len() as u32).collect();
    let vectors = ArticleVectors::new(model_vectors(model, articles, &rows, processes)?, model.vector_width());
    let scores = score_clicks(&vectors, &ReaderTable::new(&vectors, reader), behaviors, impressions)?;
    Ok(evaluate_clicks(&ScoredImpressions { behaviors, impressions, seen }, &scores)?)
}

/// Makes the reader model that a model folder describes.
fn saved_reader(folder: &Path, hidden: i64, description: &Description, device: Device) -> Result<Reader> {
    let heads = description.self_attention;
    if let Some(heads) = heads.filter(|&heads| heads < 1 || hidden % heads != 0) {
        let file = folder.join(DESCRIPTION_FILE);
        bail!("{}: self_attention is {heads}, expected a divisor of the {hidden} hidden units", file.display());
    }
    Ok(Reader::of_kind(description.head.reader, hidden, heads, device))
}

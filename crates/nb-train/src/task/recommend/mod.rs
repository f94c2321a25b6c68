//! Recommendation: rank the news of an impression for a reader by what they clicked.
//!
//! Top layers: attentive pooling from last hidden states to news vectors h, and a reader model from the vectors of the
//! clicked news to a reader vector u; score = u·h. A row of logits is one click: the clicked news and others of the same
//! impression. Each distinct news of a micro-batch is encoded once.

mod evaluate;
mod open;
mod score;

use std::path::Path;
use std::rc::Rc;

use anyhow::{Context, Result, bail};
use nb_checkpoint::Description;
use nb_data::batch::order;
use nb_data::behaviors::{Behaviors, ClickedBefore, Draw, ReaderBatch, Sample, cut_distinct};
use nb_data::{BatchSize, TokenBatch, TokenStore, Tokenizer};
use nb_dist::ProcessGroup;
use nb_model::{Arena, AttentivePooling, Bert, Clicks, Packed, Reader};
use nb_share::Shared;
use tch::{Device, Tensor};

use super::texts::{Unlabelled, encode, pack, probe, rows_of, vectors};
use super::{HeadPair, Layers, Objective, SplitName, Task, Widths, accept, pooling};
use crate::method::Share;
use crate::model::Model;
use crate::model::saved_folder::{Card, save_head};
use crate::step::terms::Counts;
use crate::task::evaluation::Evaluation;

pub use evaluate::{Impressions, evaluate_clicks};
pub use score::{NewsVectors, Scores, score_clicks};

/// Readers of a split: news, impressions over them, and which of the impressions belong to the split.
#[derive(Debug)]
pub struct Readers {
    /// The news.
    pub news: Rc<TokenStore>,
    /// The impressions; their news are rows of the store.
    pub behaviors: Rc<Behaviors>,
    /// Impressions of the split.
    pub impressions: Vec<u32>,
}

/// Readers that models are measured on.
#[derive(Debug)]
struct Measured {
    readers: Readers,
    /// By row of the news: whether training showed it.
    seen: Vec<bool>,
}

/// Recommendation on a training and a development split.
#[derive(Debug)]
pub struct Recommend {
    train: Readers,
    dev: Measured,
    test: Option<Measured>,
    /// One for each usable click of the training impressions.
    samples: Vec<Sample>,
    /// News without readers.
    unlabelled: Option<Unlabelled>,
    negatives: usize,
    clicked_before: ClickedBefore,
    self_attention: Option<i64>,
    tokenizer: Tokenizer,
    card: Card,
    batch: BatchSize,
    seed: u64,
    device: Device,
}

/// Pooling and reader model of one model; either may be the other model's too.
#[derive(Debug)]
pub struct RecommendHead {
    /// Attentive pooling over tokens.
    pub pooling: Rc<AttentivePooling>,
    /// The reader model.
    pub reader: Rc<Reader>,
}

/// A micro-batch: the tokens of its distinct news, and what its readers clicked and were shown, as places among them.
#[derive(Debug, Clone)]
pub struct RankBatch {
    /// The news, in the order that `readers` counts them; behind them news without readers.
    pub tokens: TokenBatch,
    /// The readers.
    pub readers: ReaderBatch,
}

impl RankBatch {
    /// What it holds.
    pub fn counts(&self) -> Counts {
        let readers = self.readers.readers() as i64;
        Counts { rows: readers, ..Counts::of_texts(&self.tokens.lengths, readers) }
    }
}

impl Layers for RecommendHead {
    fn arenas(&self) -> Vec<&Arena> {
        std::iter::once(self.pooling.arena()).chain(self.reader.arenas()).collect()
    }
}

impl RecommendHead {
    /// From the vectors [U, H] of the distinct news to scores [readers, candidates].
    pub fn scores(&self, pooled: &Tensor, readers: &ReaderBatch) -> Tensor {
        let device = pooled.device();
        let clicks = Clicks::new(&readers.history, &readers.history_lengths, device);
        let candidates = nb_torch::send(&Tensor::from_slice(&readers.candidates), device);
        let candidates = candidates.view([readers.readers() as i64, -1]);
        nb_model::score(&self.reader.forward(pooled, &clicks), pooled, &candidates)
    }
}

impl Recommend {
    fn draw(&self, epoch: u64) -> Draw {
        Draw { negatives: self.negatives, seed: self.seed, epoch, clicked_before: self.clicked_before }
    }

    fn length(&self, news: u32) -> usize {
        self.train.news.length(news as usize)
    }

    /// The micro-batch of some samples, by number.
    fn read(&self, epoch: u64, samples: &[u32]) -> ReaderBatch {
        let samples: Vec<Sample> = samples.iter().map(|&i| self.samples[i as usize]).collect();
        ReaderBatch::new(&self.train.behaviors, &samples, &self.draw(epoch), |news| self.length(news))
    }

    /// The same micro-batch with every mention of a news encoded by itself: what is saved by encoding it once.
    pub fn repeated(&self, batch: &RankBatch) -> RankBatch {
        let readers = batch.readers.repeated();
        RankBatch { tokens: self.train.news.batch(&readers.news), readers }
    }

    /// Share of encodings that are saved in an epoch by encoding each distinct news of a micro-batch once.
    fn encodings_saved(&self) -> f64 {
        let (mut distinct, mut mentions) = (0, 0);
        for mut samples in self.epoch(0) {
            samples.retain(|&row| (row as usize) < self.samples.len()); // news without readers are no mentions
            let batch = self.read(0, &samples);
            distinct += batch.news.len();
            mentions += batch.history.len() + batch.candidates.len();
        }
        1.0 - distinct as f64 / mentions.max(1) as f64
    }
}

impl Objective for Recommend {
    type Head = RecommendHead;
    type Batch = RankBatch;

    fn counts(&self, batch: &RankBatch) -> Counts {
        batch.counts()
    }

    fn texts(&self, batch: &RankBatch) -> Vec<(usize, u32)> {
        let (news, unlabelled) = batch.tokens.rows.split_at(batch.readers.news.len());
        rows_of(0, news).chain(rows_of(1, unlabelled)).collect()
    }

    fn packed(&self, batch: &RankBatch) -> Packed {
        pack(&batch.tokens, self.device)
    }

    fn labels(&self, batch: &RankBatch) -> Tensor {
        clicked_first(&batch.readers, self.device)
    }

    fn pooled(&self, head: &RecommendHead, states: &Tensor, packed: &Packed) -> Tensor {
        head.pooling.forward(states, packed.segments())
    }

    fn logits(&self, head: &RecommendHead, pooled: &Tensor, batch: &RankBatch) -> Tensor {
        head.scores(pooled, &batch.readers)
    }
}

/// The labels of readers: the clicked news stands first among the candidates.
pub fn clicked_first(readers: &ReaderBatch, device: Device) -> Tensor {
    Tensor::zeros([readers.readers() as i64], (tch::Kind::Int64, device))
}

impl Task for Recommend {
    fn name(&self) -> &'static str {
        "recommend"
    }

    fn primary_metric(&self) -> &'static str {
        "auc"
    }

    fn heads(&self, widths: Widths, share: Share, seed: u64, device: Device) -> HeadPair<RecommendHead> {
        let pooling = pooling(widths, share, seed, device);
        let make = |hidden| {
            move || {
                let mut reader = Reader::zeros(hidden, self.self_attention, device);
                reader.randomise(seed.wrapping_add(1)); // not the pooling's numbers again
                reader
            }
        };
        let reader = Shared::from_each(share.dense, make(widths.teacher), make(widths.student));
        HeadPair {
            teacher: RecommendHead { pooling: pooling.teacher, reader: reader.teacher },
            student: RecommendHead { pooling: pooling.student, reader: reader.student },
        }
    }

    fn accept(&self, description: &Description) -> Result<()> {
        accept(self.name(), description)?;
        if description.self_attention != self.self_attention {
            let (found, expected) = (description.self_attention, self.self_attention);
            bail!("its reader.self_attention is {found:?}, but this configuration says {expected:?}");
        }
        Ok(())
    }

    fn stores(&self) -> Vec<&TokenStore> {
        std::iter::once(&*self.train.news).chain(self.unlabelled.iter().map(|u| &u.store)).collect()
    }

    fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    fn epoch(&self, epoch: u64) -> Vec<Vec<u32>> {
        let order = order(self.samples.len(), self.seed, epoch);
        let length = |news| self.length(news);
        let mut batches =
            cut_distinct(&self.train.behaviors, &self.samples, &order, &self.draw(epoch), length, self.batch);
        if let Some(unlabelled) = &self.unlabelled {
            unlabelled.deal(epoch, &mut batches);
        }
        batches
    }

    fn batch(&self, epoch: u64, rows: &[u32]) -> RankBatch {
        let (samples, others) = match &self.unlabelled {
            Some(unlabelled) => unlabelled.split(rows),
            None => (rows, TokenBatch::default()),
        };
        let readers = self.read(epoch, samples);
        let mut tokens = self.train.news.batch(&readers.news);
        tokens.append(others);
        RankBatch { tokens, readers }
    }

    fn describe(&self) -> Vec<(&'static str, String)> {
        let (train, dev) = (&self.train, &self.dev.readers);
        vec![
            ("news", format!("{} to train on, {} to develop on", train.news.len(), dev.news.len())),
            (
                "readers",
                format!(
                    "{} clicks of {} impressions to train on, {} impressions to develop on",
                    self.samples.len(),
                    train.impressions.len(),
                    dev.impressions.len()
                ),
            ),
            (
                "distinct",
                format!(
                    "{:.1} % of the encodings are saved by encoding each news of a batch once",
                    100.0 * self.encodings_saved()
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

    fn evaluate(&self, model: &Model<RecommendHead>, split: SplitName, processes: &ProcessGroup) -> Result<Evaluation> {
        let Measured { readers, seen } = match split {
            SplitName::Dev => &self.dev,
            SplitName::Test => self.test.as_ref().context("there is no data.test")?,
        };
        let rows: Vec<u32> = (0..readers.news.len() as u32).collect();
        let Model { bert, head } = model;
        let values = vectors((bert, &head.pooling), (&readers.news, &rows), self.device, processes)?;
        let news = NewsVectors::new(values, bert.config().hidden_size as usize);
        let scores = score_clicks(&news, &head.reader, &readers.behaviors, &readers.impressions)?;
        evaluate_clicks(
            &Impressions { behaviors: &readers.behaviors, which: &readers.impressions, seen: Some(seen) },
            &scores,
        )
    }

    fn infer(&self, bert: &Bert, head: &RecommendHead, batch: &TokenBatch) {
        let _ = std::hint::black_box(encode(bert, &head.pooling, &pack(batch, self.device)));
    }

    fn probe(&self) -> Vec<TokenBatch> {
        let news = &self.dev.readers.news;
        probe(news, (0..news.len() as u32).collect())
    }

    fn save(&self, head: &RecommendHead, folder: &Path) -> Result<()> {
        save_head(folder, &head.arenas())?;
        self.card.write(folder, &[], &self.tokenizer)
    }
}

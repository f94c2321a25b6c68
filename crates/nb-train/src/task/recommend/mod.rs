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

use anyhow::Result;
use nb_data::batch::order;
use nb_data::behaviors::{Behaviors, ClickedBefore, Draw, ReaderBatch, Sample, cut_distinct};
use nb_data::{BatchSize, TokenBatch, TokenStore, Tokenizer};
use nb_model::{Arena, AttentivePooling, Bert, Clicks, Packed, Reader};
use nb_share::Shared;
use tch::{Device, Tensor};

use super::texts::{encode, pack, probe, vectors};
use super::{Layers, Objective, Outputs, Task, Tops, pooling};
use crate::card::{Card, save_head};
use crate::evaluation::Evaluation;
use crate::method::Share;
use crate::terms::Counts;

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

/// Recommendation on a training and a development split.
#[derive(Debug)]
pub struct Recommend {
    train: Readers,
    dev: Readers,
    /// One for each usable click of the training impressions.
    samples: Vec<Sample>,
    /// By row of the development news: whether training showed it.
    seen: Vec<bool>,
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
pub struct RecommendTop {
    /// Attentive pooling over tokens.
    pub pooling: Rc<AttentivePooling>,
    /// The reader model.
    pub reader: Rc<Reader>,
}

/// A micro-batch: the tokens of its distinct news, and what its readers clicked and were shown, as places among them.
#[derive(Debug, Clone)]
pub struct RankBatch {
    /// The news, in the order that `readers` counts them.
    pub tokens: TokenBatch,
    /// The readers.
    pub readers: ReaderBatch,
}

impl RankBatch {
    /// What it holds.
    pub fn counts(&self) -> Counts {
        let readers = self.readers.readers() as i64;
        Counts {
            tokens: self.tokens.ids.len() as i64,
            pooled: self.tokens.lengths.len() as i64,
            rows: readers,
            labelled: readers,
        }
    }
}

impl Layers for RecommendTop {
    fn arenas(&self) -> Vec<&Arena> {
        std::iter::once(self.pooling.arena()).chain(self.reader.arenas()).collect()
    }
}

impl RecommendTop {
    /// From last hidden states [n, H] of the distinct news to their vectors [U, H] and scores [readers, candidates].
    pub fn forward(&self, states: &Tensor, packed: &Packed, readers: &ReaderBatch) -> Outputs {
        let device = packed.device();
        let pooled = self.pooling.forward(states, packed.runs());
        let clicks = Clicks::new(&readers.history, &readers.history_lengths, device);
        let candidates = Tensor::from_slice(&readers.candidates).to_device(device);
        let candidates = candidates.view([readers.readers() as i64, -1]);
        let logits = nb_model::score(&self.reader.forward(&pooled, &clicks), &pooled, &candidates);
        Outputs { pooled, logits }
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
        for samples in self.epoch(0) {
            let batch = self.read(0, &samples);
            distinct += batch.news.len();
            mentions += batch.history.len() + batch.candidates.len();
        }
        1.0 - distinct as f64 / mentions.max(1) as f64
    }
}

impl Objective for Recommend {
    type Top = RecommendTop;
    type Batch = RankBatch;

    fn counts(&self, batch: &RankBatch) -> Counts {
        batch.counts()
    }

    fn packed(&self, batch: &RankBatch) -> Packed {
        pack(&batch.tokens, self.device)
    }

    fn labels(&self, batch: &RankBatch) -> Tensor {
        clicked_first(&batch.readers, self.device)
    }

    fn outputs(&self, top: &RecommendTop, states: &Tensor, packed: &Packed, batch: &RankBatch) -> Outputs {
        top.forward(states, packed, &batch.readers)
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

    fn tops(&self, hidden: i64, share: Share, seed: u64, device: Device) -> Tops<RecommendTop> {
        let pooling = pooling(hidden, share, seed, device);
        let reader = Shared::new(share.dense, || {
            let mut reader = Reader::zeros(hidden, self.self_attention, device);
            reader.randomise(seed.wrapping_add(1)); // not the pooling's numbers again
            reader
        });
        Tops {
            teacher: RecommendTop { pooling: pooling.teacher, reader: reader.teacher },
            student: RecommendTop { pooling: pooling.student, reader: reader.student },
        }
    }

    fn epoch(&self, epoch: u64) -> Vec<Vec<u32>> {
        let order = order(self.samples.len(), self.seed, epoch);
        let length = |news| self.length(news);
        cut_distinct(&self.train.behaviors, &self.samples, &order, &self.draw(epoch), length, self.batch)
    }

    fn batch(&self, epoch: u64, rows: &[u32]) -> RankBatch {
        let readers = self.read(epoch, rows);
        RankBatch { tokens: self.train.news.batch(&readers.news), readers }
    }

    fn describe(&self) -> Vec<(&'static str, String)> {
        let (train, dev) = (&self.train, &self.dev);
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

    fn evaluate(&self, bert: &Bert, top: &RecommendTop) -> Result<Evaluation> {
        let dev = &self.dev;
        let rows: Vec<u32> = (0..dev.news.len() as u32).collect();
        let values = vectors(bert, &top.pooling, &dev.news, &rows, self.device)?;
        let news = NewsVectors::new(values, bert.config().hidden_size as usize);
        let scores = score_clicks(&news, &top.reader, &dev.behaviors, &dev.impressions)?;
        evaluate_clicks(
            &Impressions { behaviors: &dev.behaviors, which: &dev.impressions, seen: Some(&self.seen) },
            &scores,
        )
    }

    fn infer(&self, bert: &Bert, top: &RecommendTop, batch: &TokenBatch) {
        let _ = std::hint::black_box(encode(bert, &top.pooling, &pack(batch, self.device)));
    }

    fn probe(&self) -> Vec<TokenBatch> {
        probe(&self.dev.news, (0..self.dev.news.len() as u32).collect())
    }

    fn save(&self, top: &RecommendTop, folder: &Path) -> Result<()> {
        save_head(folder, &top.arenas())?;
        self.card.write(folder, &[], &self.tokenizer)
    }
}

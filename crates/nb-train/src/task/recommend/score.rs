//! Scores of all impressions from news vectors that were computed once. On the CPU, on all cores, in bounded memory.

use std::ops::Range;

use anyhow::{Result, bail};
use nb_data::behaviors::{Behaviors, UNKNOWN};
use nb_model::{BertConfig, Clicks, Reader};
use rayon::prelude::*;
use tch::{Device, Kind, Tensor};

use super::super::texts::NOT_NUMBERS;

/// Readers whose vectors are held at a time.
const CHUNK: usize = 1024;

/// One vector per news, in the order that impressions count them.
#[derive(Debug)]
pub struct NewsVectors {
    values: Vec<f32>,
    hidden: usize,
}

impl NewsVectors {
    /// From the vectors one after the other: [news × H].
    pub fn new(values: Vec<f32>, config: &BertConfig) -> Self {
        Self { values, hidden: config.hidden_size as usize }
    }

    fn row(&self, news: u32) -> &[f32] {
        &self.values[news as usize * self.hidden..][..self.hidden]
    }
}

/// A score for each candidate of each impression; −∞ for a candidate whose news is not known.
#[derive(Debug, Default)]
pub struct Scores {
    values: Vec<f64>,
    ends: Vec<usize>,
}

impl Scores {
    /// The scores of the `i`-th scored impression, in the order of its candidates.
    pub fn of(&self, i: usize) -> &[f64] {
        &self.values[self.range(i)]
    }

    fn range(&self, i: usize) -> Range<usize> {
        let start = i.checked_sub(1).map_or(0, |before| self.ends[before]);
        start..self.ends[i]
    }
}

/// Scores u·h of the candidates of the given impressions.
///
/// # Errors
/// If a score is not a number.
pub fn score_clicks(news: &NewsVectors, reader: &Reader, behaviors: &Behaviors, impressions: &[u32]) -> Result<Scores> {
    let model = ReaderVectors::new(news, reader);
    let mut scores = Scores::default();
    for chunk in impressions.chunks(CHUNK) {
        let readers = model.of(behaviors, chunk)?;
        let rows: Vec<Vec<f64>> = chunk
            .par_iter()
            .zip(readers.par_chunks_exact(news.hidden))
            .map(|(&impression, reader)| {
                let candidates = behaviors.candidates(impression as usize).iter();
                let score = |&row: &u32| if row == UNKNOWN { f64::NEG_INFINITY } else { dot(reader, news.row(row)) };
                candidates.map(score).collect()
            })
            .collect();
        for row in rows {
            if row.iter().any(|score| score.is_nan()) {
                bail!("{NOT_NUMBERS}");
            }
            scores.values.extend(row);
            scores.ends.push(scores.values.len());
        }
    }
    Ok(scores)
}

/// The reader model over a table of news.
struct ReaderVectors<'a> {
    news: &'a NewsVectors,
    reader: &'a Reader,
    way: Way,
}

enum Way {
    /// Pooling alone: a news has the same weight before the softmax whoever clicked it, so it is computed once.
    Pooled { weights: Vec<f32>, cold: Vec<f32> },
    /// Self-attention mixes the news of a reader, so nothing can be shared between readers: the reader model itself.
    Attended { table: Tensor },
}

impl<'a> ReaderVectors<'a> {
    fn new(news: &'a NewsVectors, reader: &'a Reader) -> Self {
        let device = reader.cold().device();
        let table = Tensor::from_slice(&news.values).view([-1, news.hidden as i64]).to_device(device);
        let host = |t: Tensor| Vec::<f32>::try_from(t.to_device(Device::Cpu).to_kind(Kind::Float));
        let way = tch::no_grad(|| match reader.attention() {
            Some(_) => Way::Attended { table },
            None => Way::Pooled {
                weights: host(reader.pooling().scores(&table)).expect("a row of floats"),
                cold: host(reader.cold().detach()).expect("a row of floats"),
            },
        });
        Self { news, reader, way }
    }

    /// Reader vectors of the impressions, one after the other: [impressions × H].
    fn of(&self, behaviors: &Behaviors, impressions: &[u32]) -> Result<Vec<f32>> {
        let histories = impressions.iter().map(|&i| behaviors.history(i as usize));
        match &self.way {
            Way::Attended { table } => {
                let lengths: Vec<i64> = histories.clone().map(|history| history.len() as i64).collect();
                let rows: Vec<i64> = histories.flatten().map(|&row| i64::from(row)).collect();
                let clicks = Clicks::new(&rows, &lengths, table.device());
                let readers = tch::no_grad(|| self.reader.forward(table, &clicks)).to_device(Device::Cpu);
                Ok(Vec::<f32>::try_from(readers.view(-1))?)
            }
            Way::Pooled { weights, cold } => {
                let mut out = vec![0.0; impressions.len() * self.news.hidden];
                let histories: Vec<&[u32]> = histories.collect();
                out.par_chunks_exact_mut(self.news.hidden).zip(histories).for_each(|(reader, history)| {
                    pool(self.news, weights, history, cold, reader);
                });
                Ok(out)
            }
        }
    }
}

/// Attentive pooling of one reader's news, the weights before the softmax given.
fn pool(news: &NewsVectors, weights: &[f32], history: &[u32], cold: &[f32], out: &mut [f32]) {
    if history.is_empty() {
        return out.copy_from_slice(cold);
    }
    let weight = |row: &u32| weights[*row as usize];
    let largest = history.iter().map(weight).fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for row in history {
        let weight = (weight(row) - largest).exp();
        sum += weight;
        out.iter_mut().zip(news.row(*row)).for_each(|(out, value)| *out += weight * value);
    }
    out.iter_mut().for_each(|value| *value /= sum);
}

/// a·b, in lanes that the compiler can keep in vector registers.
fn dot(a: &[f32], b: &[f32]) -> f64 {
    const LANES: usize = 16;
    let mut sums = [0.0_f32; LANES];
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f32 = a.remainder().iter().zip(b.remainder()).map(|(x, y)| x * y).sum();
    for (a, b) in a.zip(b) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    f64::from(sums.iter().sum::<f32>() + rest)
}

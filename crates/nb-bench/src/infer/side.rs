//! Sides of a comparison inside this process: a model and the texts of a round.

use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use nb_data::read::Article;
use nb_infer::{Model, Options, Precision, Text};
use nb_train::inference::SavedModel;
use tch::Device;

use super::batching::{Batching, MAX_TOKENS};
use crate::memory::peak_bytes;
use crate::options::NumberFormat;
use crate::peer::Round;

/// Number of texts in a call, as in `nb predict`.
const WINDOW: usize = 1024;
/// The largest difference between two implementations' probabilities in f32.
const F32_TOLERANCE: f64 = 1e-3;
/// The same in smaller formats, which round differently in each: an ambiguous text may change its label, but not several classes.
const TOLERANCE: f64 = 0.3;

/// A model of either inference of this project.
#[derive(Debug)]
pub(super) enum Engine {
    /// `nb_infer`, on the CPU.
    Own(Box<Model>),
    /// `nb_train`, with libtorch, on any device.
    Libtorch(Box<SavedModel>),
}

impl Engine {
    /// Opens the model as `nb predict` does on this device.
    ///
    /// # Errors
    /// If the folder cannot be opened, or if the device does not know the number format.
    pub(super) fn open(folder: &Path, format: NumberFormat, device: Device, threads: usize) -> Result<Self> {
        if device != Device::Cpu {
            return Self::libtorch(folder, format, device);
        }
        let precision = match format {
            NumberFormat::F32 => Precision::F32,
            NumberFormat::Bf16 => Precision::Bf16,
            NumberFormat::Int8 => Precision::Int8,
        };
        let options = Options { precision, threads: Some(threads), max_tokens: Some(MAX_TOKENS) };
        Ok(Self::Own(Box::new(Model::open(folder, &options)?)))
    }

    /// Opens the model with libtorch.
    ///
    /// # Errors
    /// If the folder cannot be opened, or if the number format is int8.
    pub(super) fn libtorch(folder: &Path, format: NumberFormat, device: Device) -> Result<Self> {
        let precision = format.of_training().context("--precision int8 is for the CPU; add --device cpu")?;
        let model = SavedModel::load(folder, device, nb_train::plan::precision(precision))?;
        Ok(Self::Libtorch(Box::new(model.with_max_tokens(MAX_TOKENS)?)))
    }

    /// Computes the probabilities of articles. They arrive on the host, so a clock needs no synchronisation with the device.
    fn predict(&self, articles: &[Article]) -> Result<Vec<Vec<f32>>> {
        match self {
            Self::Own(model) => Ok(model.probabilities(&texts(articles))?),
            Self::Libtorch(model) => model.probabilities(articles),
        }
    }
}

/// Returns articles as texts of `nb_infer`.
pub(super) fn texts(articles: &[Article]) -> Vec<Text<'_>> {
    articles.iter().map(Text::from).collect()
}

/// A model and the texts of a round.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) engine: Engine,
    pub(super) batching: Batching,
    pub(super) articles: Rc<[Article]>,
    /// Number of tokens in all articles.
    pub(super) tokens: u64,
}

impl Side {
    /// Predicts all texts.
    pub(super) fn round(&self) -> Result<Round> {
        let begin = Instant::now();
        let latencies = match self.batching {
            Batching::Single => self.articles.iter().map(|article| self.latency(article)).collect::<Result<_>>()?,
            Batching::Bulk => {
                self.articles.chunks(WINDOW).try_for_each(|window| self.engine.predict(window).map(drop))?;
                Vec::new()
            }
        };
        let seconds = begin.elapsed().as_secs_f64();
        let sequences = self.articles.len() as u64;
        Ok(Round { seconds, sequences, tokens: self.tokens, peak_bytes: peak_bytes(), latencies })
    }

    /// Does the same as [`Side::round`] without the peak of memory, which is that of another side too.
    pub(super) fn round_in_shared_memory(&self) -> Result<Round> {
        Ok(Round { peak_bytes: None, ..self.round()? })
    }

    /// Fails unless a peer computes the probabilities of the first texts that ours computes.
    pub(super) fn check_same_model(&self, mode: &str, theirs: &[Vec<f64>], format: NumberFormat) -> Result<()> {
        let count = theirs.len().min(self.articles.len());
        let ours = self.engine.predict(&self.articles[..count])?;
        let tolerance = if format == NumberFormat::F32 { F32_TOLERANCE } else { TOLERANCE };
        match most_different(&ours, theirs).filter(|difference| difference.is_nan() || *difference > tolerance) {
            Some(difference) => bail!(
                "the rounds are not comparable: a probability of the peer {mode} differs from ours by {difference:.5}, \
                 expected at most {tolerance}"
            ),
            None => Ok(()),
        }
    }

    /// Predicts one text and returns the milliseconds it took.
    fn latency(&self, article: &Article) -> Result<f64> {
        let begin = Instant::now();
        self.engine.predict(std::slice::from_ref(article))?;
        Ok(1e3 * begin.elapsed().as_secs_f64())
    }
}

/// Returns the largest difference between entries, NaN if there is one; `None` if there are no entries.
fn most_different(ours: &[Vec<f32>], theirs: &[Vec<f64>]) -> Option<f64> {
    let pairs = ours.iter().zip(theirs).flat_map(|(ours, theirs)| ours.iter().zip(theirs));
    pairs.map(|(a, b)| (f64::from(*a) - b).abs()).max_by(f64::total_cmp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_difference_is_found_in_every_row() {
        let ours = [vec![0.25, 0.75], vec![0.5, 0.5]];
        assert_eq!(most_different(&ours, &[vec![0.25, 0.75], vec![0.125, 0.5]]), Some(0.375));
        assert_eq!(most_different(&ours, &[vec![1.25, 0.75]]), Some(1.0));
        assert!(most_different(&ours, &[vec![0.25, f64::NAN]]).unwrap().is_nan());
        assert_eq!(most_different(&ours, &[]), None);
    }
}

//! Scores of all impressions from news vectors that were computed once. On the CPU, on all cores; what grows with the
//! impressions is one number per candidate.

use std::ops::Range;

use anyhow::{Result, bail};
use nb_data::behaviors::{Behaviors, UNKNOWN};
use nb_model::{Clicks, Reader};
use rayon::prelude::*;
use tch::{Device, Kind, Tensor};

use super::super::dot::dot;
use super::super::texts::NOT_NUMBERS;

/// Readers whose vectors are held at a time.
const CHUNK: usize = 1024;
/// Readers that go through self-attention at a time; it compares each with the rows of all.
const ATTENDED: usize = 64;

/// One vector per news, in the order that impressions count them.
#[derive(Debug)]
pub struct NewsVectors {
    values: Vec<f32>,
    hidden: usize,
}

impl NewsVectors {
    /// From vectors of `hidden` units one after the other: [news × H].
    ///
    /// # Panics
    /// If they do not come out even.
    pub fn new(values: Vec<f32>, hidden: usize) -> Self {
        assert!(hidden > 0 && values.len().is_multiple_of(hidden), "{} values of {hidden} units", values.len());
        Self { values, hidden }
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
///
/// # Panics
/// If the impressions were read with other news.
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
                let score =
                    |&row: &u32| if row == UNKNOWN { f64::NEG_INFINITY } else { dot(reader, news.row(row)).into() };
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
                let mut out = Vec::with_capacity(impressions.len() * self.news.hidden);
                for histories in histories.collect::<Vec<_>>().chunks(ATTENDED) {
                    let lengths: Vec<i64> = histories.iter().map(|history| history.len() as i64).collect();
                    let rows: Vec<i64> = histories.iter().copied().flatten().map(|&row| i64::from(row)).collect();
                    let clicks = Clicks::new(&rows, &lengths, table.device());
                    let readers = tch::no_grad(|| self.reader.forward(table, &clicks)).to_device(Device::Cpu);
                    out.extend(Vec::<f32>::try_from(readers.view(-1))?);
                }
                Ok(out)
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

#[cfg(test)]
mod tests {
    use nb_data::IdIndex;
    use nb_data::behaviors::{BehaviorSource, ClickRule};

    use super::*;

    /// News vectors whose width is no multiple of the lanes.
    const HIDDEN: usize = 22;

    /// More impressions than a chunk holds: a reader without a history, one with a repeated click, unknown candidates.
    fn behaviors() -> Behaviors {
        let file = tempfile::NamedTempFile::new().unwrap();
        let lines = ["1\tu\tt\tN0 N3 N3\tN1-1 X-0 N4-0", "2\tu\tt\t\tN2-0 N0-1", "3\tu\tt\tN4 N1 N2 N0\tN3-0 N3-1"];
        let all: Vec<&str> = lines.into_iter().cycle().take(CHUNK + 5).collect();
        std::fs::write(file.path(), all.join("\n")).unwrap();
        let ids = IdIndex::new(["N0", "N1", "N2", "N3", "N4"].map(Some));
        let (path, clicks) = (file.path().to_owned(), ClickRule::Required);
        Behaviors::read(&BehaviorSource { path, history: 50, clicks, allowed_unusable: 0.0 }, &ids).unwrap()
    }

    #[test]
    fn scores_are_those_of_the_model_that_is_trained() {
        let behaviors = behaviors();
        let which: Vec<u32> = (0..behaviors.len() as u32).collect();
        let table =
            (Tensor::arange(5 * HIDDEN as i64, (Kind::Float, Device::Cpu)) * 0.37).sin().view([5, HIDDEN as i64]);
        let news = NewsVectors::new(Vec::try_from(table.view(-1)).unwrap(), HIDDEN);
        for heads in [None, Some(2)] {
            let mut reader = Reader::zeros(HIDDEN as i64, heads, Device::Cpu);
            reader.randomise(4);
            let _ = tch::no_grad(|| reader.cold().shallow_clone().fill_(0.3));
            let scores = score_clicks(&news, &reader, &behaviors, &which).unwrap();
            for i in 0..behaviors.len() {
                let history: Vec<i64> = behaviors.history(i).iter().map(|&row| i64::from(row)).collect();
                let vector = reader.forward(&table, &Clicks::new(&history, &[history.len() as i64], Device::Cpu));
                for (&row, &found) in behaviors.candidates(i).iter().zip(scores.of(i)) {
                    if row == UNKNOWN {
                        assert_eq!(found, f64::NEG_INFINITY);
                        continue;
                    }
                    let candidate = Tensor::from_slice(&[i64::from(row)]).view([1, 1]);
                    let expected = nb_model::score(&vector, &table, &candidate).double_value(&[0, 0]);
                    assert!((found - expected).abs() < 1e-5, "impression {i}, {heads:?}: {found}, expected {expected}");
                }
            }
        }
    }

    #[test]
    fn a_score_that_is_no_number_is_an_error() {
        let (behaviors, mut reader) = (behaviors(), Reader::zeros(HIDDEN as i64, None, Device::Cpu));
        reader.randomise(4);
        let news = NewsVectors::new(vec![f32::NAN; 5 * HIDDEN], HIDDEN);
        assert!(score_clicks(&news, &reader, &behaviors, &[0]).is_err());
    }
}

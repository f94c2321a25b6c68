//! Scores of impressions from article vectors that are computed once. The scores are computed on all CPU cores; memory
//! grows by one number per candidate.

use std::ops::Range;

use anyhow::{Result, bail};
use nb_data::behaviors::{Behaviors, UNKNOWN};
use nb_model::{Clicks, Pooling, Reader, ScoreKind};
use rayon::prelude::*;
use tch::{Device, Kind, Tensor};

use crate::task::dot::dot;
use crate::task::encode::NOT_FINITE;

/// Readers whose vectors are in memory at a time.
const CHUNK: usize = 1024;
/// Readers per pass of self-attention, which compares the rows of all of them.
const ATTENDED: usize = 64;

/// A vector for each article, by row.
#[derive(Debug)]
pub struct ArticleVectors {
    values: Vec<f32>,
    hidden: usize,
}

impl ArticleVectors {
    /// Wraps concatenated vectors of `hidden` units: [articles × H].
    ///
    /// # Panics
    /// If the number of values is not a multiple of `hidden`.
    pub fn new(values: Vec<f32>, hidden: usize) -> Self {
        assert!(hidden > 0 && values.len().is_multiple_of(hidden), "{} values of {hidden} units", values.len());
        Self { values, hidden }
    }

    fn row(&self, article: u32) -> &[f32] {
        &self.values[article as usize * self.hidden..][..self.hidden]
    }
}

/// A reader model, and the score of its vectors and articles.
#[derive(Debug, Clone, Copy)]
pub struct ReaderModel<'a> {
    /// From clicked articles to a reader's vector.
    pub reader: &'a Reader,
    /// Kind of the score.
    pub score: ScoreKind,
}

/// A score for each candidate of each impression; −∞ for a candidate whose article is unknown.
#[derive(Debug, Default)]
pub struct CandidateScores {
    values: Vec<f64>,
    ends: Vec<usize>,
}

impl CandidateScores {
    /// Returns the scores of the `i`-th scored impression, in the order of its candidates.
    pub fn impression(&self, i: usize) -> &[f64] {
        &self.values[self.range(i)]
    }

    fn range(&self, i: usize) -> Range<usize> {
        let start = i.checked_sub(1).map_or(0, |before| self.ends[before]);
        start..self.ends[i]
    }

    /// Appends an impression.
    ///
    /// # Errors
    /// If a score is NaN.
    fn push(&mut self, scores: Vec<f64>) -> Result<()> {
        if scores.iter().any(|score| score.is_nan()) {
            bail!("{NOT_FINITE}");
        }
        self.values.extend(scores);
        self.ends.push(self.values.len());
        Ok(())
    }
}

/// Computes the scores u·h of the candidates of some impressions, without the scale of training, which changes no ranking.
/// For cosines, articles are unit vectors, and so are readers with clicks.
///
/// # Errors
/// If a score is NaN.
///
/// # Panics
/// If the impressions were read with other articles.
pub fn score_clicks(
    articles: &ArticleVectors,
    model: &ReaderModel<'_>,
    behaviors: &Behaviors,
    impressions: &[u32],
) -> Result<CandidateScores> {
    let encoder = ReaderEncoder::new(articles, model);
    let mut scores = CandidateScores::default();
    for chunk in impressions.chunks(CHUNK) {
        let vectors = encoder.encode(behaviors, chunk)?;
        let score_impression = |(&impression, vector): (&u32, &[f32])| -> Vec<f64> {
            let candidates = behaviors.candidates(impression as usize).iter();
            candidates.map(|&article| score(articles, vector, article)).collect()
        };
        let chunk_scores: Vec<Vec<f64>> =
            chunk.par_iter().zip(vectors.par_chunks_exact(articles.hidden)).map(score_impression).collect();
        for impression in chunk_scores {
            scores.push(impression)?;
        }
    }
    Ok(scores)
}

/// Computes the score of one candidate for a reader vector.
fn score(articles: &ArticleVectors, reader: &[f32], article: u32) -> f64 {
    if article == UNKNOWN { f64::NEG_INFINITY } else { dot(reader, articles.row(article)).into() }
}

/// The reader model over a table of articles.
struct ReaderEncoder<'a> {
    articles: &'a ArticleVectors,
    model: &'a ReaderModel<'a>,
    histories: HistoryModel,
}

/// Values that depend on the articles alone, by kind of reader model.
enum HistoryModel {
    /// Pooling alone.
    Pooled {
        /// By article: its score before the softmax, which is the same for every reader.
        scores: Vec<f32>,
        /// The vector of a reader without a history.
        cold: Vec<f32>,
    },
    /// Self-attention before the pooling. It mixes the articles of a reader, so readers share no values.
    Attended {
        /// The article vectors as a tensor [articles, H].
        table: Tensor,
    },
}

impl<'a> ReaderEncoder<'a> {
    fn new(articles: &'a ArticleVectors, model: &'a ReaderModel<'a>) -> Self {
        let reader = model.reader;
        let device = reader.cold().device();
        let table = Tensor::from_slice(&articles.values).view([-1, articles.hidden as i64]).to_device(device);
        let host = |t: Tensor| Vec::<f32>::try_from(t.to_device(Device::Cpu).to_kind(Kind::Float));
        let histories = tch::no_grad(|| match reader.attention() {
            Some(_) => HistoryModel::Attended { table },
            None => HistoryModel::Pooled {
                scores: match reader.pooling() {
                    Pooling::Attentive(pooling) => host(pooling.scores(&table)).expect("a row of floats"),
                    Pooling::Mean | Pooling::Cls => vec![0.0; table.size()[0] as usize], // equal weights
                },
                cold: host(reader.cold().detach()).expect("a row of floats"),
            },
        });
        Self { articles, model, histories }
    }

    /// Computes the reader vectors of impressions, concatenated: [impressions × H].
    fn encode(&self, behaviors: &Behaviors, impressions: &[u32]) -> Result<Vec<f32>> {
        let mut vectors = self.pool_histories(behaviors, impressions)?;
        if self.model.score == ScoreKind::Cosine {
            let has_clicks = |&impression: &u32| !behaviors.history(impression as usize).is_empty();
            let rows = vectors.par_chunks_exact_mut(self.articles.hidden).zip(impressions);
            rows.filter(|(_, impression)| has_clicks(impression)).for_each(|(vector, _)| normalise(vector));
        }
        Ok(vectors)
    }

    fn pool_histories(&self, behaviors: &Behaviors, impressions: &[u32]) -> Result<Vec<f32>> {
        let histories: Vec<&[u32]> = impressions.iter().map(|&i| behaviors.history(i as usize)).collect();
        let hidden = self.articles.hidden;
        match &self.histories {
            HistoryModel::Attended { table } => {
                let mut out = Vec::with_capacity(impressions.len() * hidden);
                for histories in histories.chunks(ATTENDED) {
                    out.extend(self.attend(table, histories)?);
                }
                Ok(out)
            }
            HistoryModel::Pooled { scores, cold } => {
                let mut out = vec![0.0; impressions.len() * hidden];
                out.par_chunks_exact_mut(hidden).zip(histories).for_each(|(out, history)| {
                    pool(self.articles, scores, history, cold, out);
                });
                Ok(out)
            }
        }
    }

    /// Runs the reader model over histories: [histories × H].
    fn attend(&self, table: &Tensor, histories: &[&[u32]]) -> Result<Vec<f32>> {
        let lengths: Vec<i64> = histories.iter().map(|history| history.len() as i64).collect();
        let rows: Vec<i64> = histories.iter().copied().flatten().map(|&row| i64::from(row)).collect();
        let clicks = Clicks::new(&rows, &lengths, table.device());
        let vectors = tch::no_grad(|| self.model.reader.forward(table, &clicks)).to_device(Device::Cpu);
        Ok(Vec::try_from(vectors.view(-1))?)
    }
}

/// Pools the articles of a history into `out`, which must be zero: Σ softmax(scores)_i h_i, or `cold` for an empty history.
fn pool(articles: &ArticleVectors, scores: &[f32], history: &[u32], cold: &[f32], out: &mut [f32]) {
    if history.is_empty() {
        return out.copy_from_slice(cold);
    }
    let score = |row: &u32| scores[*row as usize];
    let largest = history.iter().map(score).fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for row in history {
        let weight = (score(row) - largest).exp();
        sum += weight;
        out.iter_mut().zip(articles.row(*row)).for_each(|(out, value)| *out += weight * value);
    }
    out.iter_mut().for_each(|value| *value /= sum);
}

/// Divides a vector by its length; zeros stay zeros.
fn normalise(vector: &mut [f32]) {
    let length = dot(vector, vector).sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|value| *value /= length);
    }
}

#[cfg(test)]
mod tests {
    use nb_data::IdIndex;
    use nb_data::behaviors::{BehaviorSource, ClickRule};

    use super::super::objective::reader_vectors;
    use super::*;
    use nb_model::{PoolingKind, ScaleKind, Score};

    /// Width of the article vectors, not a multiple of the lanes of a dot product.
    const HIDDEN: usize = 22;

    /// More impressions than fit into a chunk: some without a history, with a repeated click, or with unknown candidates.
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
    fn scores_equal_those_of_the_trained_model() {
        let behaviors = behaviors();
        let impressions: Vec<u32> = (0..behaviors.len() as u32).collect();
        let table =
            (Tensor::arange(5 * HIDDEN as i64, (Kind::Float, Device::Cpu)) * 0.37).sin().view([5, HIDDEN as i64]);
        let articles = ArticleVectors::new(Vec::try_from(table.view(-1)).unwrap(), HIDDEN);
        let poolings = [PoolingKind::Attentive, PoolingKind::Mean];
        let scores = [ScoreKind::Dot, ScoreKind::Cosine];
        for (heads, kind, score) in [None, Some(2)]
            .into_iter()
            .flat_map(|h| poolings.map(|p| (h, p)))
            .flat_map(|(h, p)| scores.map(|s| (h, p, s)))
        {
            let mut reader = Reader::of_kind(kind, HIDDEN as i64, heads, Device::Cpu);
            reader.randomise(4);
            let _ = tch::no_grad(|| reader.cold().shallow_clone().fill_(0.3));
            let model = ReaderModel { reader: &reader, score };
            let scores = score_clicks(&articles, &model, &behaviors, &impressions).unwrap();
            let score = Score::new(score, ScaleKind::default(), Device::Cpu);
            for i in 0..behaviors.len() {
                let history: Vec<i64> = behaviors.history(i).iter().map(|&row| i64::from(row)).collect();
                let clicks = Clicks::new(&history, &[history.len() as i64], Device::Cpu);
                let vector = reader_vectors(&reader, &score, &table, &clicks);
                for (&row, &found) in behaviors.candidates(i).iter().zip(scores.impression(i)) {
                    if row == UNKNOWN {
                        assert_eq!(found, f64::NEG_INFINITY);
                        continue;
                    }
                    let candidate = Tensor::from_slice(&[i64::from(row)]).view([1, 1]);
                    let expected = nb_model::score(&vector, &table, &candidate).double_value(&[0, 0]);
                    assert!(
                        (found - expected).abs() < 1e-5,
                        "impression {i}, {heads:?}, {kind:?}: {found}, expected {expected}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_nan_score_is_an_error() {
        let (behaviors, mut reader) = (behaviors(), Reader::zeros(HIDDEN as i64, None, Device::Cpu));
        reader.randomise(4);
        let articles = ArticleVectors::new(vec![f32::NAN; 5 * HIDDEN], HIDDEN);
        let model = ReaderModel { reader: &reader, score: ScoreKind::Dot };
        assert!(score_clicks(&articles, &model, &behaviors, &[0]).is_err());
    }
}

//! The reader model over a table of articles that are encoded once.

use anyhow::Result;
use nb_kernels::pooling::Table;
use nb_model::{Clicks, Pooling, Reader, ScoreKind};
use nb_rank::{ArticleVectors, ReaderEncoder, normalise};
use rayon::prelude::*;
use tch::{Device, Kind, Tensor};

/// Readers per pass of self-attention, which compares the rows of all of them.
const ATTENDED: usize = 64;

/// A reader model, and the score of its vectors and articles.
#[derive(Debug, Clone, Copy)]
pub struct ReaderModel<'a> {
    /// From clicked articles to a reader's vector.
    pub reader: &'a Reader,
    /// Kind of the score.
    pub score: ScoreKind,
}

/// The reader model over a table of articles.
#[derive(Debug)]
pub struct ReaderTable<'a> {
    articles: &'a ArticleVectors,
    model: &'a ReaderModel<'a>,
    histories: HistoryModel,
}

/// Values that depend on the articles alone, by kind of reader model.
#[derive(Debug)]
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

impl<'a> ReaderTable<'a> {
    /// Computes what depends on the articles alone.
    pub fn new(articles: &'a ArticleVectors, model: &'a ReaderModel<'a>) -> Self {
        let reader = model.reader;
        let device = reader.cold().device();
        let table = Tensor::from_slice(articles.values()).view([-1, articles.hidden() as i64]).to_device(device);
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

    fn pool_histories(&self, histories: &[&[u32]]) -> Result<Vec<f32>> {
        let hidden = self.articles.hidden();
        match &self.histories {
            HistoryModel::Attended { table } => {
                let mut out = Vec::with_capacity(histories.len() * hidden);
                for histories in histories.chunks(ATTENDED) {
                    out.extend(self.attend(table, histories)?);
                }
                Ok(out)
            }
            HistoryModel::Pooled { scores, cold } => {
                let mut out = vec![0.0; histories.len() * hidden];
                let table = Table { vectors: self.articles.values(), scores, hidden };
                out.par_chunks_exact_mut(hidden).zip(histories).for_each(|(out, history)| match history {
                    [] => out.copy_from_slice(cold),
                    rows => table.pool(rows, out),
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

impl ReaderEncoder for ReaderTable<'_> {
    type Error = anyhow::Error;

    fn encode(&self, histories: &[&[u32]]) -> Result<Vec<f32>> {
        let mut vectors = self.pool_histories(histories)?;
        if self.model.score == ScoreKind::Cosine {
            let rows = vectors.par_chunks_exact_mut(self.articles.hidden()).zip(histories);
            rows.filter(|(_, history)| !history.is_empty()).for_each(|(vector, _)| normalise(vector));
        }
        Ok(vectors)
    }
}

#[cfg(test)]
mod tests {
    use nb_data::IdIndex;
    use nb_data::behaviors::{BehaviorSource, Behaviors, ClickRule, UNKNOWN};
    use nb_rank::score_clicks;

    use super::super::objective::reader_vectors;
    use super::*;
    use nb_model::{PoolingKind, ScaleKind, Score};

    /// Width of the article vectors, not a multiple of the lanes of a dot product.
    const HIDDEN: usize = 22;
    /// More impressions than are scored at a time.
    const MANY: usize = 1029;

    /// Impressions: some without a history, with a repeated click, or with unknown candidates.
    fn behaviors() -> Behaviors {
        let file = tempfile::NamedTempFile::new().unwrap();
        let lines = ["1\tu\tt\tN0 N3 N3\tN1-1 X-0 N4-0", "2\tu\tt\t\tN2-0 N0-1", "3\tu\tt\tN4 N1 N2 N0\tN3-0 N3-1"];
        let all: Vec<&str> = lines.into_iter().cycle().take(MANY).collect();
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
            let scores =
                score_clicks(&articles, &ReaderTable::new(&articles, &model), &behaviors, &impressions).unwrap();
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
        assert!(score_clicks(&articles, &ReaderTable::new(&articles, &model), &behaviors, &[0]).is_err());
    }
}

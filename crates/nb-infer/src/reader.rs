//! The reader model: from the vectors of clicked articles to the vector of a reader.

use std::path::Path;

use nb_checkpoint::{DESCRIPTION_FILE, Description, FloatTensors, PoolingKind, ScoreKind};
use nb_kernels::attention::{Batch, Heads, Softmax};
use nb_kernels::pooling::Table;
use nb_kernels::{dot, threads};

use crate::dense::{Dense, DenseScratch};
use crate::error::InferError;
use crate::options::Precision;
use crate::pooling::Pooling;
use crate::unit_vector::normalise;

/// Clicked articles per pass of self-attention.
const ATTENDED: usize = 1024;
/// Readers per piece of work.
const PIECE: usize = 16;

/// Pooling of clicked articles, after self-attention among them if the model has it. A reader without clicks has a learned vector.
#[derive(Debug)]
pub(crate) struct Reader {
    attention: Option<SelfAttention>,
    pooling: Pooling,
    cold: Vec<f32>,
}

/// Multi-head self-attention as in NRMS (Wu et al., EMNLP 2019, section 2.2): no output projection, no residual.
#[derive(Debug)]
struct SelfAttention {
    heads: Heads,
    qkv: Dense,
}

impl Reader {
    /// Reads the reader model of a head, for vectors of `width` units.
    pub(crate) fn read(
        folder: &Path,
        weights: &FloatTensors<'_>,
        description: &Description,
        width: usize,
    ) -> Result<Self, InferError> {
        if description.head.reader == PoolingKind::Cls {
            return Err(InferError::Value {
                path: folder.join(DESCRIPTION_FILE),
                key: "head.reader",
                found: PoolingKind::Cls.name().to_owned(),
                expected: "attentive or mean".to_owned(),
            });
        }
        let heads = description.self_attention.map(|heads| heads_of(folder, heads, width)).transpose()?;
        Ok(Self {
            attention: heads.map(|heads| SelfAttention::read(weights, heads)).transpose()?,
            pooling: Pooling::read(weights, "reader", description.head.reader, width)?,
            cold: weights.get("reader.cold", &[width])?,
        })
    }

    /// Pools rows of a table of article vectors for each history: [readers, width].
    fn pool(&self, vectors: &[f32], scores: &[f32], histories: &[&[u32]]) -> Vec<f32> {
        let hidden = self.cold.len();
        let table = Table { vectors, scores, hidden };
        let mut out = vec![0.0; histories.len() * hidden];
        let pieces = histories.chunks(PIECE).zip(out.chunks_mut(PIECE * hidden));
        threads::for_each(pieces, |(histories, out)| {
            for (history, out) in histories.iter().zip(out.chunks_exact_mut(hidden)) {
                if history.is_empty() {
                    out.copy_from_slice(&self.cold);
                } else {
                    table.pool(history, out);
                }
            }
        });
        out
    }
}

/// Checks the number of heads that a description asks for.
fn heads_of(folder: &Path, heads: i64, width: usize) -> Result<Heads, InferError> {
    let count = usize::try_from(heads).unwrap_or(0);
    if count == 0 || !width.is_multiple_of(count) {
        return Err(InferError::Value {
            path: folder.join(DESCRIPTION_FILE),
            key: "self_attention",
            found: heads.to_string(),
            expected: format!("a divisor of the {width} units of a vector"),
        });
    }
    Ok(Heads::new(width, count))
}

impl SelfAttention {
    fn read(weights: &FloatTensors<'_>, heads: Heads) -> Result<Self, InferError> {
        let names = ["query", "key", "value"].map(|part| format!("reader.attention.{part}"));
        Ok(Self { heads, qkv: Dense::read_side_by_side(weights, &names, [heads.hidden(); 2], Precision::F32, None)? })
    }

    /// Mixes the rows [n, width] of each history.
    fn forward(&self, rows: &[f32], lengths: &[usize]) -> Vec<f32> {
        let mut qkv = Vec::new();
        self.qkv.forward(rows, &mut DenseScratch::default(), &mut qkv);
        let mut mixed = vec![0.0; rows.len()];
        let mut softmax = vec![Softmax::default(); rows.len() / self.heads.hidden() * self.heads.count];
        Batch { lengths, heads: self.heads, dropout: None }.forward(&qkv, &mut mixed, &mut softmax);
        mixed
    }
}

/// The reader model over a table of article vectors, such as all that a site may recommend.
///
/// ```no_run
/// use nb_infer::{Model, Options};
/// let model = Model::open("runs/mind/student", &Options::default())?;
/// let articles = model.vectors(&["Shares fall".into(), "Rain in York".into(), "Oil prices rise".into()])?.concat();
/// let readers = model.readers(&articles)?;
/// let clicked = [0]; // the rows of the articles that a reader clicked, the oldest first
/// let vector = readers.vectors(&[&clicked])?;
/// let scores: Vec<f32> = [1, 2].iter().map(|&row| readers.score(&vector, row)).collect();
/// # Ok::<(), nb_infer::InferError>(())
/// ```
#[derive(Debug)]
pub struct Readers<'a> {
    reader: &'a Reader,
    articles: &'a [f32],
    /// By article: its score before the softmax of the pooling, which is the same for every reader. Empty with self-attention, which
    /// mixes the articles of a reader first.
    scores: Vec<f32>,
    score: ScoreKind,
    folder: &'a Path,
}

impl<'a> Readers<'a> {
    /// # Panics
    /// Unless `articles` consists of complete vectors.
    pub(crate) fn new(folder: &'a Path, reader: &'a Reader, score: ScoreKind, articles: &'a [f32]) -> Self {
        let hidden = reader.cold.len();
        assert!(articles.len().is_multiple_of(hidden), "{} entries of vectors of {hidden} units", articles.len());
        let scores = match reader.attention {
            Some(_) => Vec::new(),
            None => reader.pooling.scores(articles, hidden, &mut DenseScratch::default()),
        };
        Self { reader, articles, scores, score, folder }
    }

    /// Computes the vectors [readers × width] of readers who clicked these rows of the table, the oldest first. The model was trained
    /// with the number of most recent clicks that `newsbert.json` states as `history`; a history may be empty. For a score that is a
    /// cosine, the vector of a reader with clicks has length 1.
    ///
    /// # Errors
    /// If an output is NaN or infinite.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn vectors(&self, histories: &[&[u32]]) -> Result<Vec<f32>, InferError> {
        let hidden = self.reader.cold.len();
        let mut vectors = match &self.reader.attention {
            None => self.reader.pool(self.articles, &self.scores, histories),
            Some(attention) => self.attended(attention, histories),
        };
        if self.score == ScoreKind::Cosine {
            let rows = vectors.chunks_exact_mut(hidden).zip(histories);
            rows.filter(|(_, history)| !history.is_empty()).for_each(|(vector, _)| normalise(vector));
        }
        match vectors.chunks_exact(hidden).position(|vector| vector.iter().any(|x| !x.is_finite())) {
            None => Ok(vectors),
            Some(reader) => Err(InferError::ReaderNotFinite { path: self.folder.to_owned(), reader }),
        }
    }

    /// Computes the score of an article for a reader's vector: their product, without the scale of training, which changes no ranking.
    /// Equal vectors have equal scores, to the bit.
    ///
    /// # Panics
    /// If there is no such row, or if the reader's vector is of another width.
    pub fn score(&self, reader: &[f32], row: u32) -> f32 {
        let hidden = self.reader.cold.len();
        dot(reader, &self.articles[row as usize * hidden..][..hidden])
    }

    /// Mixes the articles of each history, then pools them.
    fn attended(&self, attention: &SelfAttention, histories: &[&[u32]]) -> Vec<f32> {
        let hidden = self.reader.cold.len();
        let mut out = Vec::with_capacity(histories.len() * hidden);
        let mut rest = histories;
        while !rest.is_empty() {
            let mut clicks = 0;
            let fits = |history: &&&[u32]| {
                clicks += history.len();
                clicks <= ATTENDED
            };
            let count = rest.iter().take_while(fits).count().max(1);
            let (histories, others) = rest.split_at(count);
            rest = others;
            let lengths: Vec<usize> = histories.iter().map(|history| history.len()).filter(|&len| len > 0).collect();
            let rows: Vec<f32> =
                histories.iter().copied().flatten().flat_map(|&row| self.article(row)).copied().collect();
            let mixed = attention.forward(&rows, &lengths);
            let scores = self.reader.pooling.scores(&mixed, hidden, &mut DenseScratch::default());
            let mut next = 0;
            let numbered: Vec<Vec<u32>> = histories
                .iter()
                .map(|history| {
                    let rows = next..next + history.len() as u32;
                    next = rows.end;
                    rows.collect()
                })
                .collect();
            out.extend(self.reader.pool(&mixed, &scores, &numbered.iter().map(Vec::as_slice).collect::<Vec<_>>()));
        }
        out
    }

    fn article(&self, row: u32) -> &[f32] {
        let hidden = self.reader.cold.len();
        &self.articles[row as usize * hidden..][..hidden]
    }
}

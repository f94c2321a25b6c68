//! A trained model as the commands use it: on the CPU with nb-infer, on a GPU with libtorch.

#[cfg(feature = "train")]
mod gpu;

use anyhow::{Context, Result, bail};
use nb_checkpoint::{DESCRIPTION_FILE, Description};
use nb_data::Tokens;
use nb_data::behaviors::Behaviors;
use nb_data::read::{Article, Field};
use nb_infer::{InferError, Model, Readers, Text};
use nb_rank::{ArticleVectors, CandidateScores, RankError, ReaderEncoder, score_clicks};

#[cfg(feature = "train")]
pub(crate) use self::gpu::GpuModel;

/// A model that a command loaded from its folder.
#[derive(Debug)]
pub(crate) enum TextModel {
    /// Without libtorch.
    Cpu(Box<Model>),
    /// With libtorch.
    #[cfg(feature = "train")]
    Gpu(Box<GpuModel>),
}

/// The kind of outputs that a model was trained for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outputs {
    /// Probabilities of labels.
    Topics,
    /// Vectors of articles, and of their readers.
    Readers,
    /// Vectors of texts.
    Vectors,
}

impl TextModel {
    /// Returns the description of the trained model.
    ///
    /// # Errors
    /// If the folder contains only an encoder.
    pub(crate) fn trained(&self) -> Result<&Description> {
        self.description().with_context(|| match self {
            Self::Cpu(model)
                if let Some(reason) = model.missing_head().filter(|reason| !reason.contains(DESCRIPTION_FILE)) =>
            {
                format!("--model has no {DESCRIPTION_FILE}, and {reason}")
            }
            _ => format!("--model has no {DESCRIPTION_FILE}: it contains an encoder without a trained head"),
        })
    }

    /// Returns the task that the model was trained for. A classifier that was fine-tuned elsewhere is for topics.
    pub(crate) fn task(&self) -> &str {
        self.description().map_or("topic", |description| &description.task)
    }

    fn description(&self) -> Option<&Description> {
        match self {
            Self::Cpu(model) => model.description(),
            #[cfg(feature = "train")]
            Self::Gpu(model) => model.description(),
        }
    }

    /// Returns the kind of outputs.
    ///
    /// # Errors
    /// If the folder contains only an encoder, or if its task is unknown.
    pub(crate) fn outputs(&self) -> Result<Outputs> {
        if self.description().is_none() && !self.known_labels().is_empty() {
            return Ok(Outputs::Topics); // a classifier that was fine-tuned elsewhere
        }
        let description = self.trained()?;
        Ok(match description.task.as_str() {
            "topic" => Outputs::Topics,
            "recommend" => Outputs::Readers,
            "retrieve" | "embed" => Outputs::Vectors,
            task => bail!("{DESCRIPTION_FILE}: task is `{task}`, expected topic, recommend, retrieve or embed"),
        })
    }

    /// Returns the labels by class number.
    ///
    /// # Errors
    /// If the model was not trained for topic classification.
    pub(crate) fn labels(&self) -> Result<&[String]> {
        match self.outputs()? {
            Outputs::Topics => Ok(self.known_labels()),
            _ => bail!(
                "the model was trained for {}, expected topic; use `nb rank` or `nb search`",
                self.trained()?.task
            ),
        }
    }

    fn known_labels(&self) -> &[String] {
        match self {
            Self::Cpu(model) => model.labels(),
            #[cfg(feature = "train")]
            Self::Gpu(model) => model.description().map_or(&[], |description| &description.labels),
        }
    }

    /// Returns the threshold of each label; none if a text has one label.
    pub(crate) fn thresholds(&self) -> &[f64] {
        match self {
            Self::Cpu(model) => model.thresholds(),
            #[cfg(feature = "train")]
            Self::Gpu(model) => model.description().map_or(&[], |description| &description.thresholds),
        }
    }

    /// Checks that the model outputs vectors for a search.
    ///
    /// # Errors
    /// If it was trained for a task with other outputs, or if its folder contains an encoder and does not say how to pool.
    pub(crate) fn require_retrieval(&self) -> Result<()> {
        if self.description().is_none() && self.known_labels().is_empty() && self.width().is_some() {
            return Ok(());
        }
        match self.outputs()? {
            Outputs::Vectors => Ok(()),
            _ if self.description().is_none() => bail!("the model is a classifier, expected one for retrieval"),
            _ => bail!("the model was trained for {}, expected retrieve", self.trained()?.task),
        }
    }

    /// Returns the parts of articles that the model was trained on; none if that is unknown.
    pub(crate) fn fields(&self) -> Vec<Field> {
        match self {
            Self::Cpu(model) => model.fields(),
            #[cfg(feature = "train")]
            Self::Gpu(model) => model.fields(),
        }
    }

    /// Returns the parts of articles to read: those that the model was trained on, or title and abstract if that is unknown.
    pub(crate) fn read_fields(&self) -> Vec<Field> {
        let fields = self.fields();
        if fields.is_empty() { vec![Field::Title, Field::Abstract] } else { fields }
    }

    /// Returns the width of vectors; `None` if the folder does not say how to pool.
    pub(crate) fn width(&self) -> Option<usize> {
        match self {
            Self::Cpu(model) => model.width(),
            #[cfg(feature = "train")]
            Self::Gpu(model) => model.width(),
        }
    }

    /// Returns the width of vectors.
    ///
    /// # Errors
    /// If the folder does not say how to pool.
    pub(crate) fn vector_width(&self) -> Result<usize> {
        match (self.width(), self) {
            (Some(width), _) => Ok(width),
            // The error says why.
            (None, Self::Cpu(model)) => Err(model.vectors(&[]).err().map_or_else(no_pooling, with_advice)),
            #[cfg(feature = "train")]
            (None, Self::Gpu(_)) => Err(no_pooling()),
        }
    }

    /// Returns a key for everything that vectors depend on besides the folder's weights.
    pub(crate) fn settings(&self) -> String {
        match self {
            Self::Cpu(model) => model.settings(),
            #[cfg(feature = "train")]
            Self::Gpu(model) => model.settings(),
        }
    }

    /// Computes class probabilities [texts, classes] in the order of the articles.
    ///
    /// # Errors
    /// If the model was not trained for topic classification, or if a text cannot be tokenised.
    pub(crate) fn probabilities(&self, articles: &[Article]) -> Result<Vec<Vec<f32>>> {
        self.labels()?;
        match self {
            Self::Cpu(model) => Ok(model.probabilities(&texts(articles))?),
            #[cfg(feature = "train")]
            Self::Gpu(model) => model.probabilities(articles),
        }
    }

    /// Computes vectors [texts, width] in the order of the articles.
    ///
    /// # Errors
    /// If the folder prescribes no vectors, or if a text cannot be tokenised.
    pub(crate) fn vectors(&self, articles: &[Article]) -> Result<Vec<Vec<f32>>> {
        self.vectors_of(&self.tokens(articles)?)
    }

    /// Tokenises articles for the model.
    ///
    /// # Errors
    /// If a text cannot be tokenised.
    pub(crate) fn tokens(&self, articles: &[Article]) -> Result<Vec<Tokens>> {
        match self {
            Self::Cpu(model) => Ok(model.tokens(&texts(articles))?),
            #[cfg(feature = "train")]
            Self::Gpu(model) => model.tokens(articles),
        }
    }

    /// Computes vectors [texts, width] of tokenised texts.
    ///
    /// # Errors
    /// If the folder prescribes no vectors.
    pub(crate) fn vectors_of(&self, texts: &[Tokens]) -> Result<Vec<Vec<f32>>> {
        match self {
            Self::Cpu(model) => model.vectors_of(texts).map_err(with_advice),
            #[cfg(feature = "train")]
            Self::Gpu(model) => model.vectors_of(texts),
        }
    }

    /// Logs how many texts were truncated since the model was loaded, if any were.
    pub(crate) fn log_truncated(&self) {
        match self {
            Self::Cpu(model) => {
                let counts = model.text_counts();
                if counts.truncated > 0 {
                    let most = model.max_tokens();
                    tracing::info!("{} of {} texts were truncated to {most} tokens", counts.truncated, counts.all);
                }
            }
            #[cfg(feature = "train")]
            Self::Gpu(model) => model.log_truncated(),
        }
    }

    /// Returns an encoder without a head with the pooling, the score, the fields and the length limit of `other`, if its head
    /// has no parameters. A model with a head is returned unchanged. Both are on the same device.
    pub(crate) fn with_head_of(self, other: &Self) -> Self {
        match (self, other) {
            (Self::Cpu(model), Self::Cpu(other)) => Self::Cpu(Box::new(model.with_head_of(other))),
            #[cfg(feature = "train")]
            (Self::Gpu(model), Self::Gpu(other)) => Self::Gpu(Box::new(model.with_head_of(other))),
            #[cfg(feature = "train")]
            (model, _) => model,
        }
    }

    /// Checks that the model recommends.
    ///
    /// # Errors
    /// If it was not trained for recommendation.
    pub(crate) fn require_readers(&self) -> Result<()> {
        match self.outputs()? {
            Outputs::Readers => Ok(()),
            _ => bail!("the model was trained for {}, expected recommend", self.trained()?.task),
        }
    }

    /// Computes the scores of the candidates of all impressions.
    ///
    /// # Errors
    /// If the model was not trained for recommendation, or if a score is NaN.
    pub(crate) fn score_clicks(&self, articles: &ArticleVectors, behaviors: &Behaviors) -> Result<CandidateScores> {
        self.require_readers()?;
        let impressions: Vec<u32> = (0..behaviors.len() as u32).collect();
        match self {
            Self::Cpu(model) => {
                let readers = CpuReaders(model.readers(articles.values())?);
                score_clicks(articles, &readers, behaviors, &impressions)
            }
            #[cfg(feature = "train")]
            Self::Gpu(model) => model.score_clicks(articles, behaviors, &impressions),
        }
    }
}

/// The reader model of nb-infer.
struct CpuReaders<'a>(Readers<'a>);

impl ReaderEncoder for CpuReaders<'_> {
    type Error = anyhow::Error;

    fn encode(&self, histories: &[&[u32]]) -> Result<Vec<f32>> {
        match self.0.vectors(histories) {
            Err(InferError::ReaderNotFinite { .. }) => Err(RankError::NotFinite.into()),
            vectors => Ok(vectors?),
        }
    }
}

/// Returns the texts of articles.
pub(crate) fn texts(articles: &[Article]) -> Vec<Text<'_>> {
    articles.iter().map(Text::from).collect()
}

fn no_pooling() -> anyhow::Error {
    anyhow::anyhow!("the folder does not say how to pool; use --pooling mean or cls")
}

/// Adds to an error how a user can avoid it.
fn with_advice(error: InferError) -> anyhow::Error {
    match error {
        InferError::NoPooling { path, reason } => {
            anyhow::anyhow!("{} {reason}; use --pooling mean or cls", path.display())
        }
        error => error.into(),
    }
}

//! The head: from the states of a text to its vector, and from vectors to probabilities.

use std::path::Path;

use nb_checkpoint::{
    CheckpointError, DESCRIPTION_FILE, Description, FloatTensors, HEAD_FILE, MODULES_FILE, PoolingKind,
    SavedClassifier, SavedEncoder, ScaleKind, ScoreKind, SentenceModules, TensorFile,
};

use crate::dense::{Dense, DenseScratch};
use crate::encoder::Buffers;
use crate::error::InferError;
use crate::pooling::Pooling;
use crate::reader::Reader;
use crate::transform::Transform;
use crate::unit_vector::normalise;

/// The tasks whose heads this crate computes.
const TASKS: [&str; 4] = ["topic", RECOMMEND, "retrieve", "embed"];
/// The task whose head has a reader model.
pub(crate) const RECOMMEND: &str = "recommend";

/// The layers on top of the encoder. They compute in f32 in every precision: they are a small part of the work.
#[derive(Debug)]
pub(crate) struct Head {
    pooling: Pooling,
    /// From pooled vectors to vectors of another width.
    projection: Option<Dense>,
    score: ScoreKind,
    /// From pooled vectors to vectors, in a model that was trained elsewhere: the layer of a classifier, or the Dense modules
    /// of sentence-transformers.
    transforms: Vec<Transform>,
    /// From vectors to logits, for topics.
    classifier: Option<Dense>,
    /// The labels by class number.
    labels: Vec<String>,
    /// The threshold of each label; empty if a text has one label.
    thresholds: Vec<f64>,
    /// From vectors of clicked articles to a reader's vector, for recommendation.
    reader: Option<Reader>,
}

/// The reason why a folder has no head that can be computed.
#[derive(Debug)]
pub(crate) struct NoHead(pub(crate) String);

impl Head {
    /// Reads the head of a model folder for states of `hidden` units: that of a run, else the classifier of a model that was
    /// fine-tuned elsewhere, else the modules of sentence-transformers.
    ///
    /// # Errors
    /// If a file of a trained head cannot be used. Modules of sentence-transformers that cannot be used are no error:
    /// the encoder can still be used with another head.
    pub(crate) fn read(
        folder: &Path,
        description: Option<&Description>,
        saved: &SavedEncoder,
    ) -> Result<Result<Self, NoHead>, InferError> {
        let hidden = saved.config.hidden_size.unsigned_abs() as usize;
        let Some(description) = description else {
            // Without a classifier that can be used, the encoder can still be used with another head.
            let unusable = |error: &dyn std::error::Error| {
                Ok(Err(NoHead(format!("has a classifier that cannot be used: {}", with_causes(error)))))
            };
            return match SavedClassifier::read(folder) {
                Ok(Some(classifier)) => Self::of_classifier(&classifier, saved, hidden)
                    .map_or_else(|error| unusable(&error), |head| Ok(Ok(head))),
                Ok(None) => Ok(Self::of_modules(folder)),
                Err(error) => unusable(&error),
            };
        };
        if !TASKS.contains(&description.task.as_str()) {
            return Err(InferError::Value {
                path: folder.join(DESCRIPTION_FILE),
                key: "task",
                found: format!("`{}`", description.task),
                expected: TASKS.join(", "),
            });
        }
        if let Some(width) = description.head.projection.filter(|&width| width < 1) {
            return Err(InferError::Value {
                path: folder.join(DESCRIPTION_FILE),
                key: "head.projection",
                found: width.to_string(),
                expected: "1 or more".to_owned(),
            });
        }
        let file = TensorFile::read(&folder.join(HEAD_FILE))?;
        Self::of_weights(folder, &FloatTensors::of_head(&file)?, description, hidden).map(Ok)
    }

    fn of_modules(folder: &Path) -> Result<Self, NoHead> {
        let unusable =
            |error: CheckpointError| NoHead(format!("has modules that cannot be used: {}", with_causes(&error)));
        let Some(SentenceModules { pooling, dense, normalize, .. }) =
            SentenceModules::read(folder).map_err(unusable)?
        else {
            return Err(NoHead(format!("has neither {DESCRIPTION_FILE} nor {MODULES_FILE}")));
        };
        let transforms = dense.iter().map(Transform::of_module).collect::<Result<_, _>>().map_err(unusable)?;
        // Always some: no pooling module has parameters.
        let pooling = Pooling::without_parameters(pooling).unwrap_or(Pooling::Mean);
        let score = if normalize { ScoreKind::Cosine } else { ScoreKind::Dot };
        Ok(Self { transforms, ..Self::without_parameters(pooling, score) })
    }

    fn of_classifier(classifier: &SavedClassifier, saved: &SavedEncoder, hidden: usize) -> Result<Self, InferError> {
        let (form, labels) = (classifier.form(), classifier.labels().to_vec());
        let weights = classifier.tensors(&saved.weights)?;
        let thresholds = classifier.thresholds().to_vec();
        Ok(Self {
            transforms: vec![Transform::of_classifier(&weights, form, hidden)?],
            classifier: Some(Dense::read(&weights, form.output, [labels.len(), hidden])?),
            labels,
            thresholds,
            ..Self::without_parameters(Pooling::Cls, ScoreKind::Dot)
        })
    }

    /// Returns a head without parameters.
    pub(crate) fn without_parameters(pooling: Pooling, score: ScoreKind) -> Self {
        Self {
            pooling,
            projection: None,
            score,
            transforms: Vec::new(),
            classifier: None,
            labels: Vec::new(),
            thresholds: Vec::new(),
            reader: None,
        }
    }

    fn of_weights(
        folder: &Path,
        weights: &FloatTensors<'_>,
        description: &Description,
        hidden: usize,
    ) -> Result<Self, InferError> {
        let Description { head, labels, thresholds, task, .. } = description;
        weights.check_names(&known_names(description))?;
        let width = head.projection.map_or(hidden, |width| usize::try_from(width).unwrap_or(0));
        let reads = task == RECOMMEND;
        Ok(Self {
            pooling: Pooling::read(weights, "pooling", head.pooling, hidden)?,
            projection: head.projection.map(|_| Dense::read(weights, "vector", [width, hidden])).transpose()?,
            score: head.score,
            transforms: Vec::new(),
            labels: labels.clone(),
            thresholds: thresholds.clone(),
            classifier: (!labels.is_empty())
                .then(|| Dense::read(weights, "dense", [labels.len(), width]))
                .transpose()?,
            reader: reads.then(|| Reader::read(folder, weights, description, width)).transpose()?,
        })
    }

    /// Returns a key for the kind of head.
    pub(crate) fn key(&self) -> String {
        let pooling = match self.pooling {
            Pooling::Attentive { .. } => PoolingKind::Attentive,
            Pooling::Mean => PoolingKind::Mean,
            Pooling::Cls => PoolingKind::Cls,
        };
        let transforms: String = self.transforms.iter().map(|transform| format!(" then {transform}")).collect();
        format!("{pooling:?}{transforms} {:?}", self.score)
    }

    /// Returns the score of two vectors.
    pub(crate) fn score(&self) -> ScoreKind {
        self.score
    }

    /// Returns the reader model, if the head has one.
    pub(crate) fn reader(&self) -> Option<&Reader> {
        self.reader.as_ref()
    }

    /// Returns a head with the pooling and score of this one, if nothing before a projection has parameters.
    pub(crate) fn untrained_copy(&self) -> Option<Self> {
        if !self.transforms.is_empty() {
            return None;
        }
        let pooling = match self.pooling {
            Pooling::Attentive { .. } => return None,
            Pooling::Mean => Pooling::Mean,
            Pooling::Cls => Pooling::Cls,
        };
        Some(Self::without_parameters(pooling, self.score))
    }

    /// Returns the labels by class number; none if the head does not classify.
    pub(crate) fn labels(&self) -> &[String] {
        &self.labels
    }

    /// Returns the threshold of each label; none if a text has one label.
    pub(crate) fn thresholds(&self) -> &[f64] {
        &self.thresholds
    }

    /// Returns true if the head classifies.
    pub(crate) fn classifies(&self) -> bool {
        self.classifier.is_some()
    }

    /// Returns the width of vectors, for states of `hidden` units.
    pub(crate) fn width(&self, hidden: usize) -> usize {
        let transformed = self.transforms.last().map_or(hidden, Transform::outputs);
        self.projection.as_ref().map_or(transformed, Dense::outputs)
    }

    /// Computes the vectors [texts, width] of the texts in `buffers`.
    pub(crate) fn vectors(&self, buffers: &mut Buffers, hidden: usize) -> Vec<f32> {
        let Buffers { lengths, windows, states, dense, .. } = buffers;
        let mut vectors = self.pooling.forward(lengths, states, hidden, dense);
        if !windows.is_empty() {
            vectors = Pooling::Mean.forward(windows, &vectors, hidden, dense);
        }
        for transform in &self.transforms {
            transform.apply(&mut vectors, dense);
        }
        if let Some(projection) = &self.projection {
            let pooled = std::mem::take(&mut vectors);
            projection.forward(&pooled, dense, &mut vectors);
        }
        if self.score == ScoreKind::Cosine {
            vectors.chunks_exact_mut(self.width(hidden)).for_each(normalise);
        }
        vectors
    }

    /// Computes the probabilities [texts, labels] of vectors [texts, width].
    pub(crate) fn probabilities(&self, vectors: &[f32]) -> Vec<f32> {
        let mut logits = Vec::new();
        if let Some(classifier) = &self.classifier {
            classifier.forward(vectors, &mut DenseScratch::default(), &mut logits);
            if self.thresholds.is_empty() {
                logits.chunks_exact_mut(classifier.outputs()).for_each(softmax);
            } else {
                logits.iter_mut().for_each(|logit| *logit = sigmoid(*logit));
            }
        }
        logits
    }
}

/// Returns the beginnings of the names of a head's parameters.
fn known_names(description: &Description) -> Vec<&'static str> {
    let Description { head, labels, task, self_attention, .. } = description;
    let reads = task == RECOMMEND;
    let all = [
        (head.pooling == PoolingKind::Attentive, "pooling."),
        (head.projection.is_some(), "vector."),
        (!labels.is_empty(), "dense."),
        (head.scale == ScaleKind::Learned, "score."),
        (reads, "reader.cold"),
        (reads && head.reader == PoolingKind::Attentive, "reader.proj."),
        (reads && head.reader == PoolingKind::Attentive, "reader.query."),
        (reads && self_attention.is_some(), "reader.attention."),
    ];
    all.into_iter().filter_map(|(is_known, name)| is_known.then_some(name)).collect()
}

fn softmax(logits: &mut [f32]) {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    logits.iter_mut().for_each(|logit| *logit = (*logit - largest).exp());
    let sum: f32 = logits.iter().sum();
    logits.iter_mut().for_each(|logit| *logit /= sum);
}

fn sigmoid(logit: f32) -> f32 {
    1.0 / (1.0 + (-logit).exp())
}

/// Returns the message of an error and of its causes.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

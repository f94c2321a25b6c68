//! The head: from the states of a text to its vector, and from vectors to probabilities.

use std::path::Path;

use nb_checkpoint::{
    CheckpointError, DESCRIPTION_FILE, DenseActivation, Description, FloatTensors, HEAD_FILE, HeadDescription,
    LabelKind, PoolingKind, ScaleKind, ScoreKind, SentenceDense, SentenceModules, TensorFile,
};

use super::activation;
use super::graph::{Graph, Value};
use super::linear::Linear;
use super::pooling::Pooling;
use crate::error::ExportError;

/// The least norm by which a vector is divided, so that zeros stay zeros.
const MIN_NORM: f32 = 1e-12;

/// The layers on top of the encoder.
pub(super) struct Head {
    pooling: Pooling,
    /// From pooled vectors to vectors, in a folder of sentence-transformers.
    modules: Vec<DenseModule>,
    /// From pooled vectors to vectors of another width.
    projection: Option<Linear>,
    score: ScoreKind,
    /// From vectors to logits, for topics.
    classifier: Option<Linear>,
    /// The number of labels of a text.
    label_kind: LabelKind,
}

/// A dense layer and its activation.
struct DenseModule {
    linear: Linear,
    activation: DenseActivation,
}

/// The outputs of a head.
pub(super) struct Outputs {
    /// [B, width]
    pub(super) vectors: Value,
    /// [B, labels]
    pub(super) probabilities: Option<Value>,
}

impl Head {
    /// Reads the head of a model folder for states of `hidden` units.
    ///
    /// # Errors
    /// If a file cannot be used, or if the folder does not say how to pool.
    pub(super) fn read(folder: &Path, description: Option<&Description>, hidden: usize) -> Result<Self, ExportError> {
        let Some(description) = description else {
            return match SentenceModules::read(folder)? {
                Some(modules) => Ok(Self::of_modules(&modules)?),
                None => Err(ExportError::NoPooling { path: folder.to_owned() }),
            };
        };
        if description.task == "topic" && description.labels.is_empty() {
            return Err(ExportError::Value {
                path: folder.join(DESCRIPTION_FILE),
                key: "labels",
                found: "empty".to_owned(),
                expected: "the label names of a model for topics".to_owned(),
            });
        }
        let width = vector_width(folder, &description.head, hidden)?;
        let file = TensorFile::read(&folder.join(HEAD_FILE))?;
        Ok(Self::of_tensors(&FloatTensors::of_head(&file)?, description, [hidden, width])?)
    }

    fn of_modules(
        SentenceModules { pooling, dense, normalize, .. }: &SentenceModules,
    ) -> Result<Self, CheckpointError> {
        // Of these modules, no pooling has parameters.
        let pooling = if *pooling == PoolingKind::Cls { Pooling::Cls } else { Pooling::Mean };
        let score = if *normalize { ScoreKind::Cosine } else { ScoreKind::Dot };
        let modules = dense.iter().enumerate().map(|(i, module)| DenseModule::read(format!("modules.{i}"), module));
        let modules = modules.collect::<Result<_, _>>()?;
        Ok(Self { pooling, modules, projection: None, score, classifier: None, label_kind: LabelKind::Single })
    }

    fn of_tensors(
        tensors: &FloatTensors<'_>,
        description: &Description,
        [hidden, width]: [usize; 2],
    ) -> Result<Self, CheckpointError> {
        let Description { head, labels, .. } = description;
        tensors.check_names(&known_names(head, labels.len()))?;
        let read = |is_there: bool, name, shape| is_there.then(|| Linear::read(tensors, name, shape)).transpose();
        Ok(Self {
            pooling: Pooling::read(tensors, "pooling", head.pooling, hidden)?,
            modules: Vec::new(),
            projection: read(head.projection.is_some(), "vector", [width, hidden])?,
            score: head.score,
            classifier: read(!labels.is_empty(), "dense", [labels.len(), width])?,
            label_kind: description.label_kind(),
        })
    }

    /// Returns the width of vectors, for states of `hidden` units.
    pub(super) fn width(&self, hidden: usize) -> usize {
        let width = self.modules.last().map_or(hidden, |module| module.linear.outputs());
        self.projection.as_ref().map_or(width, Linear::outputs)
    }

    /// Adds the head to a graph with states [B, T, H] and a mask [B, T].
    pub(super) fn add(&self, graph: &mut Graph, states: &Value, mask: &Value) -> Outputs {
        let mut vectors = self.pooling.add(graph, "pooling", states, mask);
        for DenseModule { linear, activation } in &self.modules {
            vectors = linear.add(graph, &vectors);
            vectors = activation::add_dense(graph, *activation, vectors);
        }
        if let Some(projection) = &self.projection {
            vectors = projection.add(graph, &vectors);
        }
        if self.score == ScoreKind::Cosine {
            graph.scope("normalise");
            vectors = normalised(graph, &vectors);
        }
        let probabilities = self.classifier.as_ref().map(|classifier| {
            let logits = classifier.add(graph, &vectors);
            match self.label_kind {
                LabelKind::Single => graph.softmax(&logits),
                LabelKind::Multi => graph.sigmoid(&logits),
            }
        });
        Outputs { vectors, probabilities }
    }
}

impl DenseModule {
    fn read(name: String, module: &SentenceDense) -> Result<Self, CheckpointError> {
        let linear = Linear::new(name, module.parameters()?, module.inputs);
        Ok(Self { linear, activation: module.activation })
    }
}

/// Adds the division of vectors by their norms.
pub(super) fn normalised(graph: &mut Graph, vectors: &Value) -> Value {
    let norm = graph.norm(vectors);
    let norm = graph.with_scalar("Max", &norm, MIN_NORM);
    graph.zip("Div", vectors, &norm)
}

/// Returns the width of a model's vectors, for states of `hidden` units.
///
/// # Errors
/// If the projection has an impossible width.
pub(super) fn vector_width(folder: &Path, head: &HeadDescription, hidden: usize) -> Result<usize, ExportError> {
    let Some(width) = head.projection else { return Ok(hidden) };
    match usize::try_from(width) {
        Ok(width @ 1..) => Ok(width),
        _ => Err(ExportError::Value {
            path: folder.join(DESCRIPTION_FILE),
            key: "head.projection",
            found: width.to_string(),
            expected: "1 or more".to_owned(),
        }),
    }
}

/// Returns the beginnings of the names of a head's parameters.
fn known_names(head: &HeadDescription, labels: usize) -> Vec<&'static str> {
    let all = [
        (head.pooling == PoolingKind::Attentive, "pooling."),
        (head.projection.is_some(), "vector."),
        (labels > 0, "dense."),
        (head.scale == ScaleKind::Learned, "score."),
        (labels == 0, "reader."), // scores articles for a reader; vectors do not need it
    ];
    all.into_iter().filter_map(|(is_known, name)| is_known.then_some(name)).collect()
}

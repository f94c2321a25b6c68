//! The reader model: from the vectors of clicked articles to a reader's vector and scores of candidates.

use std::path::Path;

use nb_checkpoint::{
    BertConfig, CONFIG_FILE, CheckpointError, DESCRIPTION_FILE, Description, FloatTensors, HEAD_FILE, PoolingKind,
    ScoreKind, TensorFile,
};

use super::encoder::{Heads, mix};
use super::graph::{Dim, Graph, Value};
use super::head::{normalised, vector_width};
use super::linear::Linear;
use super::pooling::Pooling;
use super::proto::DataType;
use super::{file, mask};
use crate::error::ExportError;

/// The reader model of a folder.
struct Reader {
    /// Query, key and value, and their heads.
    attention: Option<([Linear; 3], Heads)>,
    pooling: Pooling,
    /// The vector of a reader without clicks.
    cold: Vec<f32>,
    score: ScoreKind,
}

/// Writes the reader model of a model for recommendation as an ONNX file.
///
/// Inputs: `clicks`, f32 [batch, clicks, width], the vectors of the articles that each reader clicked, as
/// [`onnx`](super::onnx) computes them; `clicks_mask`, int64 [batch, clicks], 1, or 0 for padding; `candidates`, f32 [batch, candidates, width]. Outputs, f32:
/// `reader` [batch, width] and `scores` [batch, candidates], the products of the reader's vector with the candidates. A reader
/// without clicks has the vector that training has learned.
///
/// # Errors
/// If a file of the folder is missing, damaged, or does not fit the others, if the folder has no reader model, or if the
/// output cannot be written. An existing output then remains unchanged.
pub fn onnx_reader(model: &Path, output: &Path) -> Result<(), ExportError> {
    file::check_folder(model)?;
    file::check_output(output)?;
    let config = BertConfig::read(&model.join(CONFIG_FILE))?;
    let no_reader = |reason: String| ExportError::NoReader { path: model.to_owned(), reason };
    let description = match Description::read(model)? {
        None => return Err(no_reader("it is an encoder without a head".to_owned())),
        Some(description) if description.task == "recommend" => description,
        Some(description) => {
            return Err(no_reader(format!("it was trained for {}, expected recommend", description.task)));
        }
    };
    check_pooling(model, &description)?;
    let width = vector_width(model, &description.head, config.hidden_size as usize)?;
    check_heads(model, &description, width)?;
    let weights = TensorFile::read(&model.join(HEAD_FILE))?;
    let reader = Reader::read(&FloatTensors::of_head(&weights)?, &description, width)?;
    let mut graph = Graph::new("newsbert-reader");
    reader.add(&mut graph, width);
    let mut metadata = vec![("task", description.task)];
    metadata.extend(description.history.map(|clicks| ("history", clicks.to_string())));
    file::write(output, graph, metadata)
}

impl Reader {
    fn read(tensors: &FloatTensors<'_>, description: &Description, width: usize) -> Result<Self, CheckpointError> {
        let attention = description.self_attention.map(|count| {
            let [query, key, value] = ["query", "key", "value"]
                .map(|part| Linear::read(tensors, &format!("reader.attention.{part}"), [width, width]));
            Ok::<_, CheckpointError>(([query?, key?, value?], Heads { count, hidden: width as i64 }))
        });
        Ok(Self {
            attention: attention.transpose()?,
            pooling: Pooling::read(tensors, "reader", description.head.reader, width)?,
            cold: tensors.get("reader.cold", &[width])?,
            score: description.head.score,
        })
    }

    fn add(&self, graph: &mut Graph, width: usize) {
        let batch = Dim::Named("batch");
        let vectors = |count| [batch, Dim::Named(count), Dim::Fixed(width)];
        let clicks = graph.input("clicks", DataType::Float, &vectors("clicks"));
        let mask = graph.input("clicks_mask", DataType::Int64, &[batch, Dim::Named("clicks")]);
        let candidates = graph.input("candidates", DataType::Float, &vectors("candidates"));
        let rows = self.attend(graph, &clicks, &mask);
        let mut pooled = self.pooling.add(graph, "reader", &rows, &mask);
        if self.score == ScoreKind::Cosine {
            pooled = normalised(graph, &pooled);
        }
        // Readers without clicks: the learned vector as it is.
        let mask = graph.cast(&mask);
        let count = graph.sum(&mask);
        let zero = graph.scalar(0.0);
        let has_clicks = graph.zip("Greater", &count, &zero);
        let cold = graph.floats("reader.cold", &[1, width], &self.cold);
        let reader = graph.choose(&has_clicks, &pooled, &cold);
        let column = graph.unsqueeze(&reader, &[2]);
        let scores = graph.zip("MatMul", &candidates, &column);
        let scores = graph.squeeze(&scores, 2);
        graph.output("reader", &reader, &[batch, Dim::Fixed(width)]);
        graph.output("scores", &scores, &[batch, Dim::Named("candidates")]);
    }

    /// Adds self-attention among a reader's clicks [B, C, W], if the model has it.
    fn attend(&self, graph: &mut Graph, clicks: &Value, mask: &Value) -> Value {
        let Some((projections, heads)) = &self.attention else { return clicks.clone() };
        let [query, key, value] = projections.each_ref().map(|linear| linear.add(graph, clicks));
        graph.scope("reader.attention");
        let mask = mask::attention_bias(graph, mask);
        mix(graph, [&query, &key, &value], *heads, &mask)
    }
}

/// Refuses a pooling that no reader model has: clicks have no first row with a meaning of its own.
fn check_pooling(folder: &Path, description: &Description) -> Result<(), ExportError> {
    match description.head.reader {
        PoolingKind::Attentive | PoolingKind::Mean => Ok(()),
        kind @ PoolingKind::Cls => Err(ExportError::Value {
            path: folder.join(DESCRIPTION_FILE),
            key: "head.reader",
            found: kind.name().to_owned(),
            expected: "attentive or mean".to_owned(),
        }),
    }
}

fn check_heads(folder: &Path, description: &Description, width: usize) -> Result<(), ExportError> {
    match description.self_attention {
        Some(heads) if heads < 1 || width as i64 % heads != 0 => Err(ExportError::Value {
            path: folder.join(DESCRIPTION_FILE),
            key: "self_attention",
            found: heads.to_string(),
            expected: format!("a divisor of {width}, the width of vectors"),
        }),
        _ => Ok(()),
    }
}

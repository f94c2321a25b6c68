//! ONNX: encoder, pooling and head in one file.

mod activation;
mod calibration;
mod encoder;
mod file;
mod graph;
mod head;
mod linear;
mod mask;
mod pooling;
mod precision;
mod proto;
mod quantise;
mod reader;
#[cfg(test)]
mod tests;

use std::path::Path;

use nb_checkpoint::{BertConfig, Description, SavedEncoder, Truncation, Windows};

pub use self::calibration::{Calibration, InputRange, LayerInputs};
use self::encoder::{Encoder, Inputs};
use self::graph::{Dim, Graph};
use self::head::Head;
pub use self::precision::OnnxPrecision;
use self::proto::DataType;
pub use self::reader::onnx_reader;
use crate::error::ExportError;

/// The dimensions of the encoder's inputs.
const TOKENS: [Dim; 2] = [Dim::Named("batch"), Dim::Named("sequence")];

/// Writes the model of a folder as one ONNX file: encoder, pooling and head.
///
/// Inputs, int64 [batch, sequence]: `input_ids`, `attention_mask` (1, or 0 for padding after a text) and `token_type_ids` (which
/// models without segments ignore). Outputs, f32: `probabilities` [batch, labels], only for a model for topics (a softmax, or a
/// sigmoid for each label if a text has any number of labels), and `vectors` [batch, width], pooled, projected, and of length 1 if the model's score is a cosine. Padding changes no output. The file's
/// metadata has `precision`, `max_tokens` (of one sequence), and, if the folder has `newsbert.json`, `task` and `labels` (as
/// JSON), and `thresholds` (as JSON) if a text has any number of labels.
/// The caller truncates texts: there is `truncate` if the model was trained on their beginning and end (`head_tail`), and `windows`
/// (as JSON) if it was trained on windows. The file computes one sequence, not the mean of a text's windows.
///
/// ```no_run
/// use nb_export::{OnnxPrecision, onnx};
/// onnx("runs/quickstart/student".as_ref(), "student.onnx".as_ref(), &OnnxPrecision::F32)?;
/// # Ok::<(), nb_export::ExportError>(())
/// ```
///
/// # Errors
/// If a file of the folder is missing, damaged, or does not fit the others, if the folder does not say how to pool, if the
/// calibration does not fit the model, or if the output cannot be written or would exceed 2 GiB. An existing output then remains unchanged.
pub fn onnx(model: &Path, output: &Path, precision: &OnnxPrecision) -> Result<(), ExportError> {
    file::check_folder(model)?;
    file::check_output(output)?;
    let saved = SavedEncoder::read(model)?;
    let (config, tensors) = saved.float_tensors()?;
    if let OnnxPrecision::Int8(calibration) = precision {
        calibration.check(config.num_hidden_layers as usize)?;
    }
    let description = Description::read(model)?;
    let hidden = config.hidden_size as usize;
    let head = Head::read(model, description.as_ref(), hidden)?;

    let mut graph = Graph::new("newsbert");
    let mut input = |name| graph.input(name, DataType::Int64, &TOKENS);
    let inputs = Inputs { ids: input("input_ids"), mask: input("attention_mask"), segments: input("token_type_ids") };
    let states = Encoder { config: &config, tensors: &tensors, precision }.add(&mut graph, &inputs)?;
    let outputs = head.add(&mut graph, &states, &inputs.mask);
    let labels = description.as_ref().map_or(0, |description| description.labels.len());
    if let Some(probabilities) = &outputs.probabilities {
        graph.output("probabilities", probabilities, &[Dim::Named("batch"), Dim::Fixed(labels)]);
    }
    graph.output("vectors", &outputs.vectors, &[Dim::Named("batch"), Dim::Fixed(head.width(hidden))]);
    let metadata = metadata(&config, description.as_ref(), precision);
    drop(saved); // encoding needs the memory
    file::write(output, graph, metadata)
}

fn metadata(
    config: &BertConfig,
    description: Option<&Description>,
    precision: &OnnxPrecision,
) -> Vec<(&'static str, String)> {
    let positions = config.max_tokens().unsigned_abs() as usize;
    let max_tokens = description.map_or(positions, |description| description.longest_sequence().min(positions));
    let mut metadata = vec![("precision", precision.name().to_owned()), ("max_tokens", max_tokens.to_string())];
    if let Some(Description { task, labels, thresholds, truncate, windows, .. }) = description {
        if let Some(Windows { size, stride }) = windows {
            metadata.push(("windows", serde_json::json!({"size": size, "stride": stride}).to_string()));
        }
        if *truncate != Truncation::Head {
            metadata.push(("truncate", truncate.name().to_owned()));
        }
        metadata.push(("task", task.clone()));
        metadata.push(("labels", serde_json::json!(labels).to_string()));
        if !thresholds.is_empty() {
            metadata.push(("thresholds", serde_json::json!(thresholds).to_string()));
        }
    }
    metadata
}

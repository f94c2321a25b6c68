//! The encoder: from token ids to states.
//!
//! Queries, keys and values are separate products, GELU and the attention mask are written in the usual operations, so that the
//! optimisers of runtimes recognise the parts of a BERT.

use nb_checkpoint::{
    BertConfig, CheckpointError, EMBEDDING_NORM, EMBEDDING_PROJECTION, FloatTensors, POSITION_EMBEDDINGS,
    SEGMENT_EMBEDDINGS, WORD_EMBEDDINGS,
};

use super::activation;
use super::calibration::{InputRange, LayerInputs};
use super::graph::{Dim, Graph, Value};
use super::linear::Linear;
use super::mask;
use super::precision::OnnxPrecision;
use super::quantise::{QuantisedRows, Rounding};

/// The inputs of an encoder, each [B, T].
pub(super) struct Inputs {
    pub(super) ids: Value,
    pub(super) mask: Value,
    /// 0 or 1: the text that a token belongs to.
    pub(super) segments: Value,
}

/// An encoder that is being added to a graph.
pub(super) struct Encoder<'a> {
    pub(super) config: &'a BertConfig,
    pub(super) tensors: &'a FloatTensors<'a>,
    pub(super) precision: &'a OnnxPrecision,
}

impl Encoder<'_> {
    fn hidden(&self) -> usize {
        self.config.hidden_size as usize
    }

    /// Adds the encoder and returns its states [B, T, H].
    pub(super) fn add(&self, graph: &mut Graph, inputs: &Inputs) -> Result<Value, CheckpointError> {
        let mut states = self.embeddings(graph, inputs)?;
        graph.scope("mask");
        let mask = mask::attention_bias(graph, &inputs.mask);
        for i in 0..self.config.num_hidden_layers {
            states = self.layer(graph, i as usize, &states, &mask)?;
        }
        Ok(states)
    }

    /// LayerNorm(word + (position + segment)), projected to the hidden size if it has another width.
    fn embeddings(&self, graph: &mut Graph, inputs: &Inputs) -> Result<Value, CheckpointError> {
        let (e, config) = (self.config.embedding_width() as usize, self.config);
        let table = |name, rows: i64| self.tensors.get(name, &[rows as usize, e]);
        graph.scope("embeddings");
        let words = table(WORD_EMBEDDINGS, config.vocab_size)?;
        let words = match self.precision {
            OnnxPrecision::F32 => {
                let words = graph.floats(WORD_EMBEDDINGS, &[words.len() / e, e], &words);
                graph.gather(&words, &inputs.ids)
            }
            OnnxPrecision::Int8Weights | OnnxPrecision::Int8(_) => int8_rows(graph, &words, e, &inputs.ids),
        };
        let mut all = table(POSITION_EMBEDDINGS, config.max_position_embeddings)?;
        let mut positions = all.split_off(config.first_position() as usize * e);
        let segments = (config.type_vocab_size > 0).then(|| table(SEGMENT_EMBEDDINGS, config.type_vocab_size));
        let segments = segments.transpose()?.unwrap_or_default();
        let segments = if segments.len() > e {
            let table = graph.floats(SEGMENT_EMBEDDINGS, &[segments.len() / e, e], &segments);
            Some(graph.gather(&table, &inputs.segments))
        } else {
            // All tokens have the only segment, whatever the input says.
            let add = |position: &mut [f32]| position.iter_mut().zip(&segments).for_each(|(p, s)| *p += s);
            positions.chunks_exact_mut(e).for_each(add);
            None
        };
        let positions = graph.floats(POSITION_EMBEDDINGS, &[positions.len() / e, e], &positions);
        let length = graph.size(&inputs.ids, 1);
        let mut sums = graph.first_rows(&positions, &length);
        if let Some(segments) = segments {
            sums = graph.zip("Add", &segments, &sums);
        }
        let sums = graph.zip("Add", &words, &sums);
        graph.declare(&sums, &[Dim::Named("batch"), Dim::Named("sequence"), Dim::Fixed(e)]); // the slice hides them
        let embedded = self.norm(graph, EMBEDDING_NORM, e, &sums)?;
        if !config.projects_embeddings() {
            return Ok(embedded);
        }
        Ok(Linear::read(self.tensors, EMBEDDING_PROJECTION, [self.hidden(), e])?.add(graph, &embedded))
    }

    /// Adds the LayerNorm of rows of `width` entries.
    fn norm(&self, graph: &mut Graph, name: &str, width: usize, x: &Value) -> Result<Value, CheckpointError> {
        let mut part = |part: &str| -> Result<Value, CheckpointError> {
            let name = format!("{name}.{part}");
            Ok(graph.floats(&name, &[width], &self.tensors.get(&name, &[width])?))
        };
        let (weight, bias) = (part("weight")?, part("bias")?);
        graph.scope(name);
        Ok(graph.layer_norm(x, &weight, &bias, self.config.layer_norm_eps as f32))
    }

    /// Adds a layer: attention, then two dense layers, each followed by LayerNorm of the sum with its input.
    fn layer(&self, graph: &mut Graph, i: usize, x: &Value, mask: &Value) -> Result<Value, CheckpointError> {
        let (h, f) = (self.hidden(), self.config.intermediate_size as usize);
        let name = |part: &str| format!("encoder.layer.{i}.{part}");
        let context = self.attention(graph, i, x, mask)?;
        let input = self.input(graph, i, |inputs| inputs.attention_output, &context);
        let branch = self.dense(graph, &name("attention.output.dense"), [h, h], &input)?;
        let sum = graph.zip("Add", &branch, x);
        let x = self.norm(graph, &name("attention.output.LayerNorm"), h, &sum)?;

        let input = self.input(graph, i, |inputs| inputs.intermediate, &x);
        let units = self.dense(graph, &name("intermediate.dense"), [f, h], &input)?;
        graph.scope(name("intermediate"));
        let units = activation::add(graph, self.config.hidden_act, &units);
        let input = self.input(graph, i, |inputs| inputs.output, &units);
        let branch = self.dense(graph, &name("output.dense"), [h, f], &input)?;
        let sum = graph.zip("Add", &branch, &x);
        self.norm(graph, &name("output.LayerNorm"), h, &sum)
    }

    /// Adds attention without its output layer: [B, T, H] to [B, T, H].
    fn attention(&self, graph: &mut Graph, i: usize, x: &Value, mask: &Value) -> Result<Value, CheckpointError> {
        let h = self.hidden();
        let name = |part: &str| format!("encoder.layer.{i}.attention.self{part}");
        graph.scope(name(""));
        let x = self.input(graph, i, |inputs| inputs.attention, x);
        let query = self.dense(graph, &name(".query"), [h, h], &x)?;
        let key = self.dense(graph, &name(".key"), [h, h], &x)?;
        let value = self.dense(graph, &name(".value"), [h, h], &x)?;
        graph.scope(name(""));
        Ok(mix(graph, [&query, &key, &value], Heads { count: self.config.num_attention_heads, hidden: h as i64 }, mask))
    }

    fn dense(&self, graph: &mut Graph, name: &str, shape: [usize; 2], x: &Value) -> Result<Value, CheckpointError> {
        let linear = Linear::read(self.tensors, name, shape)?;
        Ok(match self.precision {
            OnnxPrecision::F32 => linear.add(graph, x),
            OnnxPrecision::Int8Weights | OnnxPrecision::Int8(_) => linear.add_int8(graph, x),
        })
    }

    /// Rounds the input of dense layers of layer `i` to int8, if the calibration is known.
    fn input(&self, graph: &mut Graph, i: usize, range: fn(&LayerInputs) -> InputRange, x: &Value) -> Value {
        let OnnxPrecision::Int8(calibration) = self.precision else { return x.clone() };
        let Some(inputs) = calibration.layers.get(i) else { return x.clone() }; // checked: there is one for each layer
        let Rounding { scale, zero } = Rounding::of(range(inputs));
        let (scale, zero) = (graph.scalar(scale), graph.zero(zero));
        let rounded = graph.quantise(x, &scale, &zero);
        graph.dequantise(&rounded, &scale, &zero)
    }
}

/// The heads of attention.
#[derive(Clone, Copy)]
pub(super) struct Heads {
    pub(super) count: i64,
    /// The width of all heads together.
    pub(super) hidden: i64,
}

/// Adds softmax(q kᵀ / √d + mask) v for each head: from three values [B, T, H] to one.
pub(super) fn mix(graph: &mut Graph, [query, key, value]: [&Value; 3], heads: Heads, mask: &Value) -> Value {
    let width = heads.hidden / heads.count;
    let mut split = |x: &Value, order: [i64; 4]| {
        let x = graph.reshape(x, &[0, 0, heads.count, width]);
        graph.transpose(&x, order)
    };
    let (query, key, value) = (split(query, [0, 2, 1, 3]), split(key, [0, 2, 3, 1]), split(value, [0, 2, 1, 3]));
    let scores = graph.zip("MatMul", &query, &key);
    let scores = graph.with_scalar("Div", &scores, (width as f32).sqrt());
    let scores = graph.zip("Add", &scores, mask);
    let weights = graph.softmax(&scores);
    let mixed = graph.zip("MatMul", &weights, &value);
    let mixed = graph.transpose(&mixed, [0, 2, 1, 3]);
    graph.reshape(&mixed, &[0, 0, heads.hidden])
}

/// Adds the rows of a table in int8, with a scale for each row.
fn int8_rows(graph: &mut Graph, table: &[f32], columns: usize, ids: &Value) -> Value {
    let QuantisedRows { numbers, scales } = QuantisedRows::new(table, columns);
    let numbers = graph.int8s(WORD_EMBEDDINGS, &[scales.len(), columns], &numbers);
    let scales = graph.floats(&format!("{WORD_EMBEDDINGS}.scale"), &[scales.len(), 1], &scales);
    let rows = graph.gather(&numbers, ids);
    let rows = graph.cast(&rows);
    let scales = graph.gather(&scales, ids);
    graph.zip("Mul", &rows, &scales)
}

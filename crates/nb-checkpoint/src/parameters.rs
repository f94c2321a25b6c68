//! The parameters of a BERT: the embeddings, then L layers, each in the same order.
//!
//! In a layer, the matrices come first, then the vectors. The matrices of queries, keys and values are adjacent, so
//! that one product computes all three. All families have the names of BERT here; files have those of the family
//! ([`Family::saved_name`](crate::Family::saved_name)).

use crate::config::BertConfig;
use crate::layout::Layout;

/// The word embeddings, [vocabulary, E]; the width E of embeddings is the hidden size H, unless they are projected.
pub const WORD_EMBEDDINGS: &str = "embeddings.word_embeddings.weight";
/// The position embeddings, [positions, E].
pub const POSITION_EMBEDDINGS: &str = "embeddings.position_embeddings.weight";
/// The segment embeddings, [segments, E].
pub const SEGMENT_EMBEDDINGS: &str = "embeddings.token_type_embeddings.weight";
/// The prefix of the embeddings' LayerNorm, whose parameters end in `.weight` and `.bias`.
pub const EMBEDDING_NORM: &str = "embeddings.LayerNorm";
/// The prefix of the dense layer from embeddings of width E to H, whose parameters end in `.weight`, [H, E], and `.bias`, \[H\].
/// Models whose embeddings have the width H lack it.
pub const EMBEDDING_PROJECTION: &str = "embeddings_project";

/// Returns the parameters of one encoder layer in order, as `BertModel` names them below `encoder.layer.i.`.
fn layer_slots(config: &BertConfig) -> [(&'static str, Vec<i64>); 16] {
    let (h, f) = (config.hidden_size, config.intermediate_size);
    [
        ("attention.self.query.weight", vec![h, h]),
        ("attention.self.key.weight", vec![h, h]),
        ("attention.self.value.weight", vec![h, h]),
        ("attention.output.dense.weight", vec![h, h]),
        ("intermediate.dense.weight", vec![f, h]),
        ("output.dense.weight", vec![h, f]),
        ("attention.self.query.bias", vec![h]),
        ("attention.self.key.bias", vec![h]),
        ("attention.self.value.bias", vec![h]),
        ("attention.output.dense.bias", vec![h]),
        ("attention.output.LayerNorm.weight", vec![h]),
        ("attention.output.LayerNorm.bias", vec![h]),
        ("intermediate.dense.bias", vec![f]),
        ("output.dense.bias", vec![h]),
        ("output.LayerNorm.weight", vec![h]),
        ("output.LayerNorm.bias", vec![h]),
    ]
}

/// Returns the parameters of the embeddings.
fn embedding_layout(config: &BertConfig) -> Layout {
    let mut layout = Layout::default();
    let e = config.embedding_width();
    layout.push_table(WORD_EMBEDDINGS, [config.vocab_size, e]);
    layout.push(POSITION_EMBEDDINGS, &[config.max_position_embeddings, e]);
    if config.type_vocab_size > 0 {
        layout.push(SEGMENT_EMBEDDINGS, &[config.type_vocab_size, e]);
    }
    layout.push(format!("{EMBEDDING_NORM}.weight"), &[e]);
    layout.push(format!("{EMBEDDING_NORM}.bias"), &[e]);
    if config.projects_embeddings() {
        layout.push(format!("{EMBEDDING_PROJECTION}.weight"), &[config.hidden_size, e]);
        layout.push(format!("{EMBEDDING_PROJECTION}.bias"), &[config.hidden_size]);
    }
    layout
}

/// Returns the parameters of a BERT of this shape (without a pooler), with their order and offsets in one buffer.
///
/// ```
/// use nb_checkpoint::{BertConfig, parameter_layout};
/// let layout = parameter_layout(&BertConfig::new(100, 8, 2, 2));
/// assert_eq!(layout.slots()[0].shape, [100, 8]);
/// ```
pub fn parameter_layout(config: &BertConfig) -> Layout {
    let mut layout = embedding_layout(config);
    for i in 0..config.num_hidden_layers {
        for (name, shape) in layer_slots(config) {
            layout.push(format!("encoder.layer.{i}.{name}"), &shape);
        }
    }
    layout
}

/// Returns the offset at which the layers begin in the [`parameter_layout`]: the number of parameters of the embeddings.
pub fn layers_start(config: &BertConfig) -> i64 {
    embedding_layout(config).numel()
}

/// Returns the number of parameters of a BERT of this shape (without a pooler).
pub fn parameter_count(config: &BertConfig) -> i64 {
    parameter_layout(config).numel()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;

    #[test]
    fn an_error_lists_some_of_many_wrong_tensors() {
        let mut shapes = BTreeMap::new();
        let listing = |shapes: &BTreeMap<&str, Vec<i64>>, layers| {
            let layout = parameter_layout(&BertConfig::new(8, 4, layers, 2));
            layout.check(shapes, Path::new("model.safetensors")).unwrap_err().to_string()
        };
        let few = listing(&shapes, 1);
        assert!(few.lines().count() == 1 + 21 && few.contains("missing    embeddings.LayerNorm.bias [4]"), "{few}");
        let names: Vec<String> = (0..70).map(|i| format!("a.{i}")).collect();
        shapes.extend(names.iter().map(|name| (name.as_str(), Vec::new())));
        let many = listing(&shapes, 1024);
        assert_eq!((many.lines().count(), many.lines().last()), (1 + 64 + 1, Some("  and 16395 more")));
    }

    #[test]
    fn the_layers_follow_the_embeddings_and_have_equal_sizes() {
        let config = BertConfig::new(100, 8, 3, 2);
        let layout = parameter_layout(&config);
        let first = layout.slot("encoder.layer.0.attention.self.query.weight").unwrap();
        assert_eq!(first.offset, layers_start(&config));
        let second = layout.slot("encoder.layer.1.attention.self.query.weight").unwrap();
        assert_eq!(parameter_count(&config), first.offset + 3 * (second.offset - first.offset));
    }
}

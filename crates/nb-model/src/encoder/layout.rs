//! Where each parameter of a BERT lies in its arena: the embeddings, then L layers with the same order inside.
//!
//! Inside a layer the matrices come first (queries, keys and values together, so that one product computes all three),
//! then the vectors.

use crate::arena::Layout;
use crate::config::BertConfig;

pub(crate) const WORD: &str = "embeddings.word_embeddings.weight";
pub(crate) const POSITION: &str = "embeddings.position_embeddings.weight";
pub(crate) const SEGMENT: &str = "embeddings.token_type_embeddings.weight";
pub(crate) const EMBEDDING_NORM: &str = "embeddings.LayerNorm";

/// The parameters of one encoder layer in the arena's order, as `BertModel` names them below `encoder.layer.i.`.
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

/// The whole layout, and the offset at which the layers begin.
pub(crate) fn bert_layout(config: &BertConfig) -> (Layout, i64) {
    let mut layout = Layout::default();
    let h = config.hidden_size;
    layout.push_table(WORD, [config.vocab_size, h]);
    layout.push(POSITION, &[config.max_position_embeddings, h]);
    if config.type_vocab_size > 0 {
        layout.push(SEGMENT, &[config.type_vocab_size, h]);
    }
    layout.push(format!("{EMBEDDING_NORM}.weight"), &[h]);
    layout.push(format!("{EMBEDDING_NORM}.bias"), &[h]);
    let layers = layout.numel();
    for i in 0..config.num_hidden_layers {
        for (name, shape) in layer_slots(config) {
            layout.push(format!("encoder.layer.{i}.{name}"), &shape);
        }
    }
    (layout, layers)
}

/// The parameters of a BERT of this shape (without a pooler), in the order in which its arena has them.
///
/// ```
/// let layout = nb_model::parameter_layout(&nb_model::BertConfig::new(100, 8, 2, 2));
/// assert_eq!(layout.slots()[0].shape, [100, 8]);
/// ```
pub fn parameter_layout(config: &BertConfig) -> Layout {
    bert_layout(config).0
}

/// Number of parameters of a BERT of this shape (without a pooler).
pub fn parameter_count(config: &BertConfig) -> i64 {
    bert_layout(config).0.numel()
}

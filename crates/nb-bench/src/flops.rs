//! Useful operations: the arithmetic that a step requires, independent of its implementation.
//!
//! A multiply-add counts as two operations. Padding, recomputation, embeddings, LayerNorm, activations, losses, heads on
//! pooled vectors and the optimiser are not counted: a fast step spends little time on them.

use nb_model::{BertConfig, POOLING_QUERY};
use nb_train::step::Counts;

/// The passes of a model in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passes {
    /// Forward only: counts once.
    Forward,
    /// Forward and backward. The gradients of inputs and of weights each cost as much as the forward pass: counts three
    /// times.
    ForwardAndBackward,
}

/// A model and its passes in a step.
#[derive(Debug, Clone, Copy)]
pub struct ModelPasses<'a> {
    /// The shape of the model.
    pub config: &'a BertConfig,
    /// Its passes.
    pub passes: Passes,
}

impl Passes {
    fn count(self) -> f64 {
        match self {
            Self::Forward => 1.0,
            Self::ForwardAndBackward => 3.0,
        }
    }
}

/// Returns the operations of one forward pass of an encoder: N · (2n(4H² + 2HI) + 2·2·H·Σ L²) for N layers with H hidden
/// and I feed-forward units, over n real tokens in sequences of lengths L. The first term is the products with weights
/// (queries, keys, values, output, and the two of the feed-forward block); the second is the two products of attention.
///
/// ```
/// use nb_bench::flops::forward;
/// use nb_model::BertConfig;
/// use nb_train::step::Counts;
/// let bert = BertConfig::new(100, 8, 2, 2); // I = 4H
/// // 2 layers · (2·5·(4·64 + 2·8·32) + 4·8·(9 + 4))
/// assert_eq!(forward(&bert, &Counts::of_texts(&[3, 2], 0)), 2.0 * (7680.0 + 416.0));
/// ```
pub fn forward(config: &BertConfig, counts: &Counts) -> f64 {
    let (h, i, n) = (config.hidden_size as f64, config.intermediate_size as f64, counts.tokens as f64);
    let weights = 2.0 * n * (4.0 * h * h + 2.0 * h * i);
    let attention = 2.0 * 2.0 * h * counts.pairs as f64;
    config.num_hidden_layers as f64 * (weights + attention)
}

/// Returns the operations of one forward pass of attentive pooling over n tokens: 2n(HQ + Q + H).
pub fn pooling(config: &BertConfig, counts: &Counts) -> f64 {
    let (h, q) = (config.hidden_size as f64, POOLING_QUERY as f64);
    2.0 * counts.tokens as f64 * (h * q + q + h)
}

/// Returns the operations of one step: encoder and pooling of every model, times the count of its passes.
pub fn step(models: &[ModelPasses<'_>], counts: &Counts) -> f64 {
    let operations = |model: &ModelPasses<'_>| {
        model.passes.count() * (forward(model.config, counts) + pooling(model.config, counts))
    };
    models.iter().map(operations).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_step_of_minilm_at_64_tokens_equals_the_count_by_hand() {
        let (teacher, student) = (BertConfig::new(30_522, 384, 6, 12), BertConfig::new(30_522, 384, 2, 12));
        let counts = Counts::of_texts(&[64; 32], 32);
        // A layer: 2048 tokens · 2 · 12 · 384², and 32 sequences · 4 · 64² · 384.
        let layer = 2048.0 * 2.0 * 12.0 * 147_456.0 + 32.0 * 4.0 * 4096.0 * 384.0;
        assert_eq!(forward(&teacher, &counts), 6.0 * layer);
        let pooled = 2.0 * 2048.0 * (384.0 * 200.0 + 200.0 + 384.0);
        let student = ModelPasses { config: &student, passes: Passes::ForwardAndBackward };
        let joint = [ModelPasses { config: &teacher, passes: Passes::ForwardAndBackward }, student];
        assert_eq!(step(&joint, &counts), 3.0 * (8.0 * layer + 2.0 * pooled));
        let frozen = [ModelPasses { config: &teacher, passes: Passes::Forward }, student];
        assert_eq!(step(&frozen, &counts), 12.0 * layer + 4.0 * pooled);
    }

    #[test]
    fn only_attention_grows_with_the_square_of_a_length() {
        let config = BertConfig::new(10, 16, 1, 2);
        let (one, two) = (Counts::of_texts(&[40], 0), Counts::of_texts(&[20, 20], 0));
        assert_eq!(forward(&config, &one) - forward(&config, &two), 4.0 * 16.0 * (1600.0 - 800.0));
        assert_eq!(pooling(&config, &one), pooling(&config, &two));
    }
}

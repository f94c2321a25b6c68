//! Useful arithmetic: what a step has to compute, whatever an implementation computes beside it.
//!
//! A multiply-add counts as two operations. Padding, recomputation, embeddings, LayerNorm, activations, losses, heads on
//! pooled vectors and the optimiser count as nothing: they are what a fast step has little of.

use nb_model::{BertConfig, POOLING_QUERY};
use nb_train::step::terms::Counts;

/// How a model goes through a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passes {
    /// Forward alone: 1.
    Forward,
    /// Forward, and the gradients of inputs and of weights, each as much again: 3.
    ForwardAndBackward,
}

impl Passes {
    fn count(self) -> f64 {
        match self {
            Self::Forward => 1.0,
            Self::ForwardAndBackward => 3.0,
        }
    }
}

/// Operations of one forward pass of an encoder of N layers with H hidden and I feed-forward units over n real tokens in
/// sequences of lengths L: N · (2n(4H² + 2HI) + 2·2·H·Σ L²). The first term are the products with weights (queries, keys,
/// values, output; the two of the feed-forward block), the second attention's two products.
///
/// ```
/// use nb_bench::flops::forward;
/// use nb_model::BertConfig;
/// use nb_train::step::terms::Counts;
/// let mut bert = BertConfig::new(100, 8, 2, 2); // I = 4H
/// // 2 layers · (2·5·(4·64 + 2·8·32) + 4·8·(9 + 4))
/// assert_eq!(forward(&bert, &Counts::of_texts(&[3, 2], 0)), 2.0 * (7680.0 + 416.0));
/// ```
pub fn forward(config: &BertConfig, counts: &Counts) -> f64 {
    let (h, i, n) = (config.hidden_size as f64, config.intermediate_size as f64, counts.tokens as f64);
    let weights = 2.0 * n * (4.0 * h * h + 2.0 * h * i);
    let attention = 2.0 * 2.0 * h * counts.pairs as f64;
    config.num_hidden_layers as f64 * (weights + attention)
}

/// Operations of attentive pooling over n tokens, forward: 2n(HQ + Q + H).
pub fn pooling(config: &BertConfig, counts: &Counts) -> f64 {
    let (h, q) = (config.hidden_size as f64, POOLING_QUERY as f64);
    2.0 * counts.tokens as f64 * (h * q + q + h)
}

/// Operations of one step: each model's encoder and pooling, as often as its passes say.
pub fn step(models: &[(&BertConfig, Passes)], counts: &Counts) -> f64 {
    models.iter().map(|(config, passes)| passes.count() * (forward(config, counts) + pooling(config, counts))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_step_of_minilm_at_64_tokens_is_what_it_is_by_hand() {
        let (teacher, student) = (BertConfig::new(30_522, 384, 6, 12), BertConfig::new(30_522, 384, 2, 12));
        let counts = Counts::of_texts(&[64; 32], 32);
        // Of a layer: 2048 tokens · 2 · 12 · 384², and 32 sequences · 4 · 64² · 384.
        let layer = 2048.0 * 2.0 * 12.0 * 147_456.0 + 32.0 * 4.0 * 4096.0 * 384.0;
        assert_eq!(forward(&teacher, &counts), 6.0 * layer);
        let both = [(&teacher, Passes::ForwardAndBackward), (&student, Passes::ForwardAndBackward)];
        let pooled = 2.0 * 2048.0 * (384.0 * 200.0 + 200.0 + 384.0);
        assert_eq!(step(&both, &counts), 3.0 * (8.0 * layer + 2.0 * pooled));
        let frozen = [(&teacher, Passes::Forward), (&student, Passes::ForwardAndBackward)];
        assert_eq!(step(&frozen, &counts), 12.0 * layer + 4.0 * pooled);
    }

    #[test]
    fn attention_grows_with_the_square_of_a_length_and_the_rest_does_not() {
        let config = BertConfig::new(10, 16, 1, 2);
        let (one, two) = (Counts::of_texts(&[40], 0), Counts::of_texts(&[20, 20], 0));
        assert_eq!(forward(&config, &one) - forward(&config, &two), 4.0 * 16.0 * (1600.0 - 800.0));
        assert_eq!(pooling(&config, &one), pooling(&config, &two));
    }
}

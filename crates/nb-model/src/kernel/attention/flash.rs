//! Attention on a GPU: one kernel for all sequences, each as long as it is (FlashAttention 2, Dao 2023; libtorch's).
//!
//! There is one for 16 bits alone, and where it is missing or declines, batched products take its place.

use std::sync::atomic::{AtomicBool, Ordering};

use nb_torch::{Attended, flash_attention, flash_attention_backward};
use tch::{Device, Kind, Tensor};

use super::Dropout;
use crate::packed::Packed;

/// Whether libtorch has declined: it will again.
static DECLINED: AtomicBool = AtomicBool::new(false);

/// What the backward pass needs.
#[derive(Debug)]
pub(crate) struct Tape {
    /// [n, 3H]
    qkv: Tensor,
    attended: Attended,
}

/// Whether this kernel is one for `qkv` [n, 3H].
pub(super) fn fits(qkv: &Tensor, heads: i64) -> bool {
    let size = qkv.size()[1] / 3 / heads;
    let is_16_bits = matches!(qkv.kind(), Kind::BFloat16 | Kind::Half);
    matches!(qkv.device(), Device::Cuda(_))
        && is_16_bits
        && size % 8 == 0
        && size <= 256
        && !DECLINED.load(Ordering::Relaxed)
}

/// See [`super::forward`]; none where libtorch declines, e.g. on a GPU older than Ampere.
pub(super) fn forward(qkv: &Tensor, packed: &Packed, heads: i64, dropout: Option<Dropout>) -> Option<(Tensor, Tape)> {
    let [query, key, value] = split(qkv, heads);
    let run =
        || flash_attention([&query, &key, &value], packed.for_kernel()?, seeded(dropout)).map_err(|e| e.to_string());
    match run() {
        Ok(attended) => {
            let out = attended.out().view([qkv.size()[0], -1]);
            Some((out, Tape { qkv: qkv.shallow_clone(), attended }))
        }
        Err(error) => {
            tracing::warn!("attention goes without its fused kernel: {}", error.lines().next().unwrap_or_default());
            DECLINED.store(true, Ordering::Relaxed);
            None
        }
    }
}

/// See [`super::backward`].
pub(super) fn backward(grad: &Tensor, packed: &Packed, heads: i64, dropout: Option<Dropout>, tape: &Tape) -> Tensor {
    let [query, key, value] = split(&tape.qkv, heads);
    let grad = grad.view_as(&query);
    let run = || {
        let parts = [&query, &key, &value];
        let sequences = packed.for_kernel()?;
        flash_attention_backward(&grad, parts, &tape.attended, sequences, seeded(dropout)).map_err(|e| e.to_string())
    };
    join(&run().unwrap_or_else(|e| panic!("the backward pass of attention, whose forward pass went well: {e}")))
}

/// Queries, keys and values [n, A, D] of a row of all [n, 3H], which they share.
fn split(qkv: &Tensor, heads: i64) -> [Tensor; 3] {
    let all = qkv.view([qkv.size()[0], 3, heads, -1]);
    [0, 1, 2].map(|part| all.select(1, part))
}

/// Three of [n, A, D] as one [n, 3H].
fn join(parts: &[Tensor; 3]) -> Tensor {
    Tensor::stack(parts, 1).view([parts[0].size()[0], -1])
}

/// The probability of a dropout, whose key the device's generator begins from.
fn seeded(dropout: Option<Dropout>) -> f64 {
    dropout.map_or(0.0, Dropout::seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADS: i64 = 2;

    #[test]
    fn heads_of_queries_keys_and_values_are_found_and_put_back() {
        let qkv = Tensor::arange(5 * 3 * HEADS * 4, (Kind::Float, Device::Cpu)).view([5, 3 * HEADS * 4]);
        let parts = split(&qkv, HEADS);
        // Key of head 1 in row 2: behind all queries and the keys of head 0.
        let key = Vec::<f32>::try_from(parts[1].get(2).get(1)).unwrap();
        assert_eq!(key, [60., 61., 62., 63.]); // 2·24 + 8 + 4
        assert!(join(&parts).equal(&qkv));
    }

    /// On a GPU it is tried by `tests/gpu.rs`.
    #[test]
    fn the_cpu_has_a_kernel_of_its_own() {
        assert!(!fits(&Tensor::zeros([5, 3 * HEADS * 8], (Kind::BFloat16, Device::Cpu)), HEADS));
    }
}

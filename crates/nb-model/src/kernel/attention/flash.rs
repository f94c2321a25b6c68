//! Attention on a GPU: one kernel for all sequences, each as long as it is (FlashAttention 2, Dao 2023; libtorch's).
//!
//! There is one for 16 bits alone, and not on every GPU; where there is none, batched products take its place.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};

use nb_torch::{Attended, Sequences, flash_attention};
use tch::{Device, Kind, TchError, Tensor};

use super::Dropout;
use crate::packed::Packed;

/// What the backward pass needs.
#[derive(Debug)]
pub(crate) struct Tape(Attended);

/// Whether there is a kernel for `qkv` [n, 3H].
pub(crate) fn fits(qkv: &Tensor, heads: i64) -> bool {
    let size = qkv.size()[1] / 3 / heads;
    let is_16_bits = matches!(qkv.kind(), Kind::BFloat16 | Kind::Half);
    match qkv.device() {
        Device::Cuda(gpu) => is_16_bits && size % 8 == 0 && size <= 256 && works_on(gpu),
        _ => false,
    }
}

/// Whether a GPU has such kernels: asked once, with next to nothing. Whatever goes wrong later is not for want of one.
fn works_on(gpu: usize) -> bool {
    static WORKS: Mutex<BTreeMap<usize, bool>> = Mutex::new(BTreeMap::new());
    let mut works = WORKS.lock().unwrap_or_else(PoisonError::into_inner);
    *works.entry(gpu).or_insert_with(|| {
        let device = Device::Cuda(gpu);
        let tried = Sequences::new(&[1], device).and_then(|sequences| {
            let one = || Tensor::f_zeros([1, 1, 8], (Kind::BFloat16, device));
            flash_attention([one()?, one()?, one()?], &Rc::new(sequences), 0.0)
        });
        tried.inspect_err(|e| tracing::warn!("attention goes without its fused kernel: {}", first_line(e))).is_ok()
    })
}

/// See [`super::forward`].
pub(super) fn forward(qkv: &Tensor, packed: &Packed, heads: i64, dropout: Option<Dropout>) -> (Tensor, Tape) {
    let p = dropout.map_or(0.0, Dropout::seed);
    let attended = there(flash_attention(split(qkv, heads), packed.for_kernel(), p));
    (attended.out().view([qkv.size()[0], -1]), Tape(attended))
}

/// See [`super::backward`]. Which weights were dropped the tape knows.
pub(super) fn backward(grad: &Tensor, Tape(attended): &Tape) -> Tensor {
    join(&there(attended.backward(&grad.view_as(attended.out()))))
}

fn there<T>(result: Result<T, TchError>) -> T {
    result.unwrap_or_else(|e| panic!("attention on a GPU: {}", first_line(&e)))
}

fn first_line(error: &TchError) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
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

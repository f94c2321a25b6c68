//! Attention on a GPU: one kernel of libtorch for all sequences, without padding (FlashAttention 2, Dao 2023).
//!
//! It exists for 16-bit numbers only, and not on every GPU; elsewhere batched products replace it.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};

use nb_kernels::dropout::Dropout;
use nb_torch::{Attended, Sequences, flash_attention};
use tch::{Device, Kind, TchError, Tensor};

use crate::kernel::dropout::seed_generators;
use crate::packed::Packed;

/// The input of the backward pass.
#[derive(Debug)]
pub(super) struct Tape(Attended);

/// Returns true if FlashAttention has a kernel for `qkv` [n, 3H] on its device.
pub fn is_available(qkv: &Tensor, heads: i64) -> bool {
    let size = qkv.size()[1] / 3 / heads;
    let is_16_bits = matches!(qkv.kind(), Kind::BFloat16 | Kind::Half);
    match qkv.device() {
        Device::Cuda(gpu) => is_16_bits && size % 8 == 0 && size <= 256 && works_on(gpu),
        _ => false,
    }
}

/// Returns true if a GPU has such kernels. They are tried once, on one token, so a later failure has another cause.
fn works_on(gpu: usize) -> bool {
    static WORKS: Mutex<BTreeMap<usize, bool>> = Mutex::new(BTreeMap::new());
    let mut works = WORKS.lock().unwrap_or_else(PoisonError::into_inner);
    *works.entry(gpu).or_insert_with(|| {
        let device = Device::Cuda(gpu);
        let tried = attend_to_one_token(device);
        tried
            .inspect_err(|e| {
                tracing::warn!("FlashAttention is not available, using batched products: {}", first_line(e))
            })
            .is_ok()
    })
}

fn attend_to_one_token(device: Device) -> Result<Attended, TchError> {
    let sequences = Sequences::new(&[1], device)?;
    let token = || Tensor::f_zeros([1, 1, 8], (Kind::BFloat16, device));
    flash_attention([token()?, token()?, token()?], &Rc::new(sequences), 0.0)
}

/// See [`super::forward`].
pub(super) fn forward(qkv: &Tensor, packed: &Packed, heads: i64, dropout: Option<Dropout>) -> (Tensor, Tape) {
    dropout.inspect(|dropout| seed_generators(*dropout));
    let p = dropout.map_or(0.0, Dropout::probability);
    let attended = expect_ok(flash_attention(split(qkv, heads), packed.for_flash(), p));
    (attended.out().view([qkv.size()[0], -1]), Tape(attended))
}

/// See [`super::backward`]. The tape records which weights were dropped.
pub(super) fn backward(grad: &Tensor, Tape(attended): &Tape) -> Tensor {
    join(&expect_ok(attended.backward(&grad.view_as(attended.out()))))
}

fn expect_ok<T>(result: Result<T, TchError>) -> T {
    result.unwrap_or_else(|e| panic!("attention on a GPU: {}", first_line(&e)))
}

fn first_line(error: &TchError) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

/// Returns the views of queries, keys and values [n, A, D] in `qkv` [n, 3H].
fn split(qkv: &Tensor, heads: i64) -> [Tensor; 3] {
    let all = qkv.view([qkv.size()[0], 3, heads, -1]);
    [0, 1, 2].map(|part| all.select(1, part))
}

/// Joins three tensors [n, A, D] into one [n, 3H].
fn join(parts: &[Tensor; 3]) -> Tensor {
    Tensor::stack(parts, 1).view([parts[0].size()[0], -1])
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADS: i64 = 2;

    #[test]
    fn split_finds_each_head_and_join_restores_the_rows() {
        let qkv = Tensor::arange(5 * 3 * HEADS * 4, (Kind::Float, Device::Cpu)).view([5, 3 * HEADS * 4]);
        let parts = split(&qkv, HEADS);
        // The key of head 1 in row 2 follows all queries and the keys of head 0.
        let key = Vec::<f32>::try_from(parts[1].get(2).get(1)).unwrap();
        assert_eq!(key, [60., 61., 62., 63.]); // 2·24 + 8 + 4
        assert!(join(&parts).equal(&qkv));
    }

    /// `tests/gpu.rs` covers GPUs.
    #[test]
    fn flash_attention_is_not_available_on_the_cpu() {
        assert!(!is_available(&Tensor::zeros([5, 3 * HEADS * 8], (Kind::BFloat16, Device::Cpu)), HEADS));
    }
}

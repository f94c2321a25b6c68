//! Encoding of texts outside training: batches by tokens, pooled vectors, and the division of work among processes.

use anyhow::Result;
use nb_data::batch::cut;
use nb_data::{BatchSize, TokenBatch, TokenStore};
use nb_dist::ProcessGroup;
use nb_model::{Bert, Capture, Packed, Pass};
use tch::{Device, Tensor};

use super::distinct::DistinctTexts;
use super::{TaskHead, TextRef};
use crate::plan::estimate::BATCH_TOKENS;

/// The error message for a model whose training diverged.
pub(super) const NOT_FINITE: &str = "the model's outputs are NaN or infinite; lower train.lr";

/// Copies a batch to the device.
pub(crate) fn pack(batch: &TokenBatch, device: Device) -> Packed {
    Packed::new(&batch.ids, &batch.segments, &batch.lengths, device).with_windows(&batch.windows)
}

/// Returns references to rows of the store with number `store`.
pub(super) fn text_refs(store: usize, rows: &[u32]) -> impl Iterator<Item = TextRef> + '_ {
    rows.iter().map(move |&row| TextRef { store, row })
}

/// Cuts rows of a store into batches, longest texts first.
pub(crate) fn batches(store: &TokenStore, mut rows: Vec<u32>) -> impl Iterator<Item = TokenBatch> + '_ {
    let length = |row: u32| store.length(row as usize);
    rows.sort_by_key(|&row| std::cmp::Reverse(length(row)));
    cut(&rows, length, BatchSize::Tokens(BATCH_TOKENS)).into_iter().map(|rows| store.batch(&rows))
}

/// Returns batches of about a thousand rows of a store, to time a model with.
pub(super) fn timing_batches(store: &TokenStore, rows: Vec<u32>) -> Vec<TokenBatch> {
    const MOST_TEXTS: usize = 1024;
    // Batches are sorted by length: every n-th one preserves the mixture of lengths.
    let every = rows.len().div_ceil(MOST_TEXTS).max(1);
    let (mut chosen, mut texts) = (Vec::new(), 0);
    for batch in batches(store, rows).step_by(every) {
        if texts >= MOST_TEXTS {
            break;
        }
        texts += batch.rows.len();
        chosen.push(batch);
    }
    chosen
}

/// Encodes a batch into the model's vectors on the CPU: [texts, H].
pub(crate) fn encode(bert: &Bert, head: &impl TaskHead, packed: &Packed) -> Tensor {
    tch::no_grad(|| {
        let encoded = bert.encode(packed, Pass::Inference, Capture::Last);
        head.vectors(&head.pooling().texts(encoded.last(), packed)).to_device(Device::Cpu)
    })
}

/// Computes `width` numbers for each row of a store, concatenated: [rows × width].
///
/// `compute` returns the numbers of a batch. The processes share the batches, and all of them get all numbers. Texts with
/// the same tokens are computed once, so their numbers are bit-identical.
///
/// # Errors
/// If `compute` fails, or if a process is lost.
pub(super) fn compute_rows(
    store: &TokenStore,
    rows: &[u32],
    width: usize,
    processes: &ProcessGroup,
    mut compute: impl FnMut(&TokenBatch) -> Result<Vec<f32>>,
) -> Result<Vec<f32>> {
    let distinct = DistinctTexts::new(store, rows);
    let mut out = vec![0.0; rows.len() * width];
    let length = |i: u32| store.length(rows[i as usize] as usize);
    let mut order = distinct.first().to_vec();
    order.sort_by_key(|&i| std::cmp::Reverse(length(i)));
    let batches = cut(&order, length, BatchSize::Tokens(BATCH_TOKENS));
    for batch in batches.into_iter().skip(processes.rank()).step_by(processes.size()) {
        let batch_rows: Vec<u32> = batch.iter().map(|&i| rows[i as usize]).collect();
        let numbers = compute(&store.batch(&batch_rows))?;
        for (&i, numbers) in batch.iter().zip(numbers.chunks_exact(width)) {
            out[i as usize * width..][..width].copy_from_slice(numbers);
        }
        processes.heartbeat();
    }
    if processes.size() > 1 {
        let mut all = Tensor::from_slice(&out); // 0 where another process computes the number
        processes.sum(&mut [&mut all])?;
        out = Vec::try_from(all)?;
    }
    for (i, first) in distinct.representatives().enumerate() {
        out.copy_within(first * width..(first + 1) * width, i * width);
    }
    Ok(out)
}

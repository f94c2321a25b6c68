//! Attention over packed sequences (FlashAttention, Dao et al. 2022; version 2, Dao 2023).

use std::rc::Rc;

use tch::{Device, TchError, Tensor};

use crate::shim::AttentionInputs;
use crate::{send, shim};

/// The boundaries of B sequences whose rows are packed one after the other.
#[derive(Debug)]
pub struct Sequences {
    /// The first row of each sequence, then the end of the last one: [B + 1] i32.
    starts: Tensor,
    longest: i64,
    rows: i64,
}

impl Sequences {
    /// Creates the boundaries of sequences of the given lengths, for rows on `device`. The copy does not wait for the device.
    ///
    /// # Errors
    /// If a length is not positive, or if there are more than 2³¹ − 1 rows.
    ///
    /// ```
    /// use nb_torch::Sequences;
    /// assert!(Sequences::new(&[3, 4], tch::Device::Cpu).is_ok());
    /// assert!(Sequences::new(&[3, 0], tch::Device::Cpu).is_err());
    /// ```
    pub fn new(lengths: &[i64], device: Device) -> Result<Self, TchError> {
        let mut starts = vec![0_i32];
        let mut rows = 0_i64;
        for &length in lengths {
            rows += length;
            match i32::try_from(rows) {
                Ok(end) if length > 0 => starts.push(end),
                _ => return Err(TchError::Shape(format!("a length of {length}, {rows} rows, expected 1 to 2^31 - 1"))),
            }
        }
        let starts = send(&Tensor::f_from_slice(&starts)?, device);
        Ok(Self { starts, longest: lengths.iter().copied().max().unwrap_or(0), rows })
    }

    /// Checks the number of rows, since the kernel does not.
    fn check(&self, parts: &[Tensor]) -> Result<(), TchError> {
        for part in parts {
            let size = part.size();
            if size.len() != 3 || size[0] != self.rows {
                return Err(TchError::Shape(format!("{size:?}, expected [{}, heads, entries]", self.rows)));
            }
        }
        Ok(())
    }
}

/// The result of a forward pass and the tensors that its backward pass needs.
#[derive(Debug)]
pub struct Attended {
    /// Queries, keys and values.
    parts: [Tensor; 3],
    sequences: Rc<Sequences>,
    dropout: f64,
    /// The result and the tensors that libtorch's backward pass takes.
    forward: [Tensor; 4],
}

/// Computes softmax(Q Kᵀ/√D) V within each sequence, without padding and without storing scores. `parts` are queries, keys and
/// values [n, A, D], which hold the sequences one after the other: n rows, A heads of D entries. `dropout` is the probability
/// of dropping a weight; libtorch's generator for the device chooses the weights.
///
/// libtorch has a kernel for CUDA devices from Ampere on, for bf16 and f16 and for D a multiple of 8 up to 256. Rows may be
/// strided, as in the result of one product for all three; the entries of a head must be contiguous. The backward pass uses the
/// three tensors without a copy.
///
/// # Errors
/// If the number of rows does not match the sequences, or if libtorch fails, e.g. because it has no kernel.
pub fn flash_attention(parts: [Tensor; 3], sequences: &Rc<Sequences>, dropout: f64) -> Result<Attended, TchError> {
    sequences.check(&parts)?;
    let forward = shim::flash_attention(&inputs(&parts, sequences, dropout))?;
    Ok(Attended { parts, sequences: Rc::clone(sequences), dropout, forward })
}

impl Attended {
    /// Returns softmax(Q Kᵀ/√D) V within each sequence: [n, A, D].
    pub fn out(&self) -> &Tensor {
        &self.forward[0]
    }

    /// Computes dL/d(query), dL/d(key) and dL/d(value) from dL/d(out), all [n, A, D], with the weights that the forward pass
    /// dropped. Sums have a fixed order, so the same arguments give the same bits. While it runs, libtorch's setting for
    /// deterministic kernels applies to the whole process.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn backward(&self, grad: &Tensor) -> Result<[Tensor; 3], TchError> {
        shim::flash_attention_backward(grad, &self.forward, &inputs(&self.parts, &self.sequences, self.dropout))
    }
}

/// The arguments that forward and backward pass have in common. Scores are multiplied by 1/√D.
fn inputs<'a>([query, key, value]: &'a [Tensor; 3], sequences: &'a Sequences, dropout: f64) -> AttentionInputs<'a> {
    let head_size = query.size().last().copied().unwrap_or(1);
    let scale = 1.0 / (head_size as f64).sqrt();
    AttentionInputs { query, key, value, starts: &sequences.starts, longest: sequences.longest, dropout, scale }
}

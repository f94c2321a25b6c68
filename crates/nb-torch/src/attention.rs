//! Attention over packed sequences (FlashAttention, Dao et al. 2022; version 2, Dao 2023).

use std::rc::Rc;

use tch::{Device, TchError, Tensor};

use crate::{send, shim};

/// Which rows are whose: B sequences one after the other.
#[derive(Debug)]
pub struct Sequences {
    /// Where each begins, and where the last one ends: [B + 1] i32.
    starts: Tensor,
    longest: i64,
    rows: i64,
}

impl Sequences {
    /// Sequences of these lengths, for rows on `device`. The copy there does not wait for what the device is doing.
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

    /// The kernel trusts the rows to be there.
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

/// A forward pass: its result, and what its backward pass needs.
#[derive(Debug)]
pub struct Attended {
    /// Queries, keys and values.
    parts: [Tensor; 3],
    sequences: Rc<Sequences>,
    dropout: f64,
    /// The result, and what libtorch wants back with it.
    forward: [Tensor; 4],
}

/// softmax(Q Kᵀ/√D) V within each sequence, without padding and without keeping scores: queries, keys and values [n, A, D] hold
/// the sequences one after the other; n rows, A heads of D entries. `dropout` is the probability of dropping a weight; which ones
/// is decided by libtorch's generator of the device.
///
/// There is a kernel for CUDA devices from Ampere on, for bf16 and f16, and D a multiple of 8 up to 256. Rows may lie apart, as
/// those of one product for all three do; the entries of a head lie together. The three are kept for the backward pass, not copied.
///
/// # Errors
/// If there are other rows than those of the sequences, and what libtorch says, e.g. where there is no kernel.
pub fn flash_attention(parts: [Tensor; 3], sequences: &Rc<Sequences>, dropout: f64) -> Result<Attended, TchError> {
    sequences.check(&parts)?;
    let [query, key, value] = &parts;
    let rows = [query, key, value, &sequences.starts];
    let forward = shim::flash_attention(rows, sequences.longest, dropout, scale(query))?;
    Ok(Attended { parts, sequences: Rc::clone(sequences), dropout, forward })
}

impl Attended {
    /// softmax(Q Kᵀ/√D) V within each sequence: [n, A, D].
    pub fn out(&self) -> &Tensor {
        &self.forward[0]
    }

    /// From dL/d(out) [n, A, D] to dL/d(query), dL/d(key) and dL/d(value), of the same shape, with the dropped weights of the
    /// forward pass. Sums are in a fixed order, so the same arguments give the same bits; while it runs, libtorch's setting for
    /// that holds for the whole process.
    ///
    /// # Errors
    /// What libtorch says.
    pub fn backward(&self, grad: &Tensor) -> Result<[Tensor; 3], TchError> {
        let [query, key, value] = &self.parts;
        let Sequences { starts, longest, .. } = &*self.sequences;
        let rows = [grad, query, key, value, starts];
        shim::flash_attention_backward(rows, &self.forward, *longest, self.dropout, scale(query))
    }
}

/// 1/√D
fn scale(query: &Tensor) -> f64 {
    let size = query.size().last().copied().unwrap_or(1);
    1.0 / (size as f64).sqrt()
}

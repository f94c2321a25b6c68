//! Segments: neighbouring rows that belong together, such as a sequence's tokens or a reader's clicked articles.

use std::cell::OnceCell;

use nb_torch::send;
use tch::{Device, Tensor};

/// R segments, one after the other, over n rows.
#[derive(Debug)]
pub struct Segments {
    lengths: Vec<i64>,
    device: Device,
    members: OnceCell<Tensor>,
    firsts: OnceCell<Tensor>,
}

impl Segments {
    /// Creates segments of the given lengths.
    ///
    /// # Panics
    ///
    /// If there is no segment, or if one is empty.
    pub fn new(lengths: &[i64], device: Device) -> Self {
        assert!(
            !lengths.is_empty() && lengths.iter().all(|&length| length > 0),
            "sequences of lengths {lengths:?}: none may be empty"
        );
        Self { lengths: lengths.to_vec(), device, members: OnceCell::new(), firsts: OnceCell::new() }
    }

    /// Returns a mask [R, n] that is true where the row belongs to the segment.
    pub(crate) fn members(&self) -> &Tensor {
        self.members.get_or_init(|| {
            let numbered = self.lengths.iter().zip(0_i64..);
            let owner: Vec<i64> = numbered.flat_map(|(&length, i)| std::iter::repeat_n(i, length as usize)).collect();
            let owner = send(&Tensor::from_slice(&owner), self.device);
            let segments = Tensor::arange(self.lengths.len() as i64, (tch::Kind::Int64, self.device));
            segments.unsqueeze(1).eq_tensor(&owner.unsqueeze(0))
        })
    }

    /// Returns the first row of each segment, \[R\].
    pub(crate) fn firsts(&self) -> &Tensor {
        self.firsts.get_or_init(|| {
            let starts = self.lengths.iter().scan(0, |next, length| {
                let start = *next;
                *next += length;
                Some(start)
            });
            send(&Tensor::from_slice(&starts.collect::<Vec<i64>>()), self.device)
        })
    }

    /// Returns the number of rows of each segment.
    pub fn lengths(&self) -> &[i64] {
        &self.lengths
    }
}

//! Runs of neighbouring rows that belong together: a sequence's tokens, a reader's clicked news.

use std::cell::OnceCell;

use nb_torch::send;
use tch::{Device, Tensor};

/// R runs, one after the other, over n rows.
#[derive(Debug)]
pub struct Runs {
    lengths: Vec<i64>,
    device: Device,
    members: OnceCell<Tensor>,
}

impl Runs {
    /// Runs of the given lengths.
    ///
    /// # Panics
    /// If there is no run, or if one is empty.
    pub fn new(lengths: &[i64], device: Device) -> Self {
        assert!(
            !lengths.is_empty() && lengths.iter().all(|&length| length > 0),
            "sequences of lengths {lengths:?}: none may be empty"
        );
        Self { lengths: lengths.to_vec(), device, members: OnceCell::new() }
    }

    /// [R, n], true where the row belongs to the run.
    pub(crate) fn members(&self) -> &Tensor {
        self.members.get_or_init(|| {
            let runs = self.lengths.iter().zip(0_i64..);
            let owner: Vec<i64> = runs.flat_map(|(&length, i)| std::iter::repeat_n(i, length as usize)).collect();
            let owner = send(&Tensor::from_slice(&owner), self.device);
            let all = Tensor::arange(self.lengths.len() as i64, (tch::Kind::Int64, self.device));
            all.unsqueeze(1).eq_tensor(&owner.unsqueeze(0))
        })
    }

    /// Rows of each run.
    pub fn lengths(&self) -> &[i64] {
        &self.lengths
    }
}

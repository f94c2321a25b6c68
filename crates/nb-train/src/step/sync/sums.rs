//! The gradients of an update added up over the processes, the layers' while the backward pass still goes on.
//!
//! An exchange takes its time on the wire, and a layer's gradient is complete long before that of the layer below it. So the
//! sum of a layer's begins as soon as its backward pass in the process's last micro-batch is done (as the buckets of Li et al.
//! 2020, PyTorch Distributed, do), and whatever is small or complete at the end alone follows.

use anyhow::Result;
use nb_dist::{Error, ProcessGroup, Sum};
use tch::Tensor;

use crate::method::TeacherRole;
use crate::model::Models;
use crate::optim::ParamGroup;

/// Gradients of at least this many entries are added up where they lie, smaller ones in one buffer.
const LARGE: usize = 1 << 16;

/// The sums of one update.
#[derive(Debug)]
pub(crate) struct GradientSums<'a> {
    processes: &'a ProcessGroup,
    /// Layers' gradients, in the order of the backward pass, and whether they are complete. The order in which their sums begin
    /// is this one in every process, also in one that has no micro-batch.
    layers: Vec<(Tensor, bool)>,
    begun: Vec<Sum>,
    failed: Option<Error>,
}

impl<'a> GradientSums<'a> {
    /// None begun yet, over the gradients of the encoders that are trained.
    pub(crate) fn new<T>(processes: &'a ProcessGroup, models: &Models<T>, teacher: TeacherRole) -> Self {
        let layers = models.trained(teacher).flat_map(|(_, model)| {
            let grads = model.bert.layer_grads();
            (0..model.bert.depth() as i64).rev().map(move |layer| (grads.get(layer), false))
        });
        let is_worth_it = |(grads, _): &(Tensor, bool)| processes.size() > 1 && grads.numel() >= LARGE;
        Self { processes, layers: layers.filter(is_worth_it).collect(), begun: Vec::new(), failed: None }
    }

    /// A layer's gradient is complete in this process.
    pub(crate) fn complete(&mut self, grads: &Tensor) {
        let is_it = |(layer, _): &&mut (Tensor, bool)| layer.data_ptr() == grads.data_ptr();
        if let Some((_, is_complete)) = self.layers.iter_mut().find(is_it) {
            *is_complete = true;
            self.begin();
        }
    }

    /// Begins the sums of those that come next, up to the first that is not complete; none any more once one could not begin.
    fn begin(&mut self) {
        if self.failed.is_some() {
            return;
        }
        let complete = self.layers.iter().take_while(|(_, is_complete)| *is_complete);
        for (layer, _) in complete.skip(self.begun.len()) {
            match self.processes.begin_sum(layer) {
                Ok(sum) => self.begun.push(sum),
                Err(error) => {
                    self.failed = Some(error);
                    return;
                }
            }
        }
    }

    /// Adds up all that is left of the gradients of `groups`, and waits for all sums. Each process has looked up some of the rows
    /// `touched_rows` of the tables: of a table only those travel.
    ///
    /// # Errors
    /// If a process is lost.
    pub(crate) fn finish(mut self, groups: &[ParamGroup], touched_rows: &[u32]) -> Result<()> {
        if self.processes.size() == 1 {
            return Ok(());
        }
        self.layers.iter_mut().for_each(|(_, is_complete)| *is_complete = true);
        self.begin();
        if let Some(error) = self.failed {
            return Err(error.into());
        }
        let layers: Vec<Tensor> = self.layers.into_iter().map(|(layer, _)| layer).collect();
        let dense = groups.iter().flat_map(ParamGroup::dense_gradients).flat_map(|part| without(&part, &layers));
        let (large, mut small): (Vec<Tensor>, Vec<Tensor>) = dense.partition(|part| part.numel() >= LARGE);
        let tables: Vec<(Tensor, Tensor)> =
            groups.iter().filter_map(|group| group.table_gradient(touched_rows)).collect();
        small.extend(tables.iter().map(|(table, rows)| table.index_select(0, rows)));
        let flat: Vec<Tensor> = small.iter().map(|part| part.reshape(-1)).collect();
        let together = (!flat.is_empty()).then(|| Tensor::cat(&flat, 0));
        for part in large.iter().chain(&together) {
            self.begun.push(self.processes.begin_sum(part)?);
        }
        self.processes.finish(self.begun)?;
        if let Some(together) = together {
            put_back(&together, &mut small, &tables);
        }
        Ok(())
    }
}

/// What lies of `all`, a row of f32, outside of those of `parts` that lie in it.
fn without(all: &Tensor, parts: &[Tensor]) -> Vec<Tensor> {
    let index = |part: &Tensor| (part.data_ptr() as i64 - all.data_ptr() as i64) / size_of::<f32>() as i64;
    let len = all.numel() as i64;
    let mut inside: Vec<(i64, i64)> = parts
        .iter()
        .map(|part| (index(part), index(part) + part.numel() as i64))
        .filter(|(start, end)| *start >= 0 && *end <= len)
        .collect();
    inside.sort_unstable();
    inside.push((len, len));
    let mut from = 0;
    let gap = |(start, end): (i64, i64)| {
        let gap = (start > from).then(|| all.narrow(0, from, start - from));
        from = end;
        gap
    };
    inside.into_iter().filter_map(gap).collect()
}

/// Puts the sums of small parts, and behind them those of rows of tables, where they belong.
fn put_back(sums: &Tensor, small: &mut [Tensor], tables: &[(Tensor, Tensor)]) {
    let sizes: Vec<i64> = small.iter().map(|part| part.numel() as i64).collect();
    for (part, sum) in small.iter_mut().zip(sums.split_with_sizes(sizes, 0)) {
        part.copy_(&sum.view_as(part));
    }
    let rows = &small[small.len() - tables.len()..];
    for ((table, numbers), rows) in tables.iter().zip(rows) {
        let _ = table.shallow_clone().index_copy_(0, numbers, rows);
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    #[test]
    fn what_is_left_of_a_gradient_lies_around_its_layers() {
        let all = Tensor::arange(10, (Kind::Float, Device::Cpu));
        let other = Tensor::arange(10, (Kind::Float, Device::Cpu));
        let left = |parts: &[Tensor]| -> Vec<Vec<f32>> {
            without(&all, parts).iter().map(|part| Vec::try_from(part).unwrap()).collect()
        };
        let part = |start, len| all.narrow(0, start, len);
        assert_eq!(left(&[]), [(0..10).map(|i| i as f32).collect::<Vec<_>>()]);
        assert_eq!(left(&[part(6, 2), other.narrow(0, 0, 10), part(3, 2)]), [vec![0., 1., 2.], vec![5.], vec![8., 9.]]);
        assert_eq!(left(&[part(0, 4), part(4, 6)]), Vec::<Vec<f32>>::new());
    }
}

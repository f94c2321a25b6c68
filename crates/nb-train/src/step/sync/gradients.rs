//! The gradients of an update, summed over the processes; the layers' sums overlap with the backward pass.
//!
//! An all-reduce takes time on the network, and a layer's gradient is complete long before that of the layer below. So the
//! sum of a layer's gradient starts as soon as the process's last micro-batch has passed that layer (like the buckets of Li
//! et al. 2020, PyTorch Distributed). Gradients that are small, or complete only at the end, follow.

use anyhow::Result;
use nb_dist::{Error, ProcessGroup, Sum};
use tch::Tensor;

use crate::method::TeacherRole;
use crate::model::Models;
use crate::optim::{ParamGroup, TableGradient};

/// Gradients of at least this many entries are summed in place, smaller ones in one buffer.
const LARGE: usize = 1 << 16;

/// The sums of one update.
#[derive(Debug)]
pub(crate) struct GradientSums<'a> {
    processes: &'a ProcessGroup,
    /// The layers' gradients, in the order of the backward pass. Their sums begin in this order in every process, even in one
    /// without a micro-batch.
    layers: Vec<LayerGradient>,
    started: Vec<Sum>,
    failed: Option<Error>,
}

#[derive(Debug)]
struct LayerGradient {
    grads: Tensor,
    is_complete: bool,
}

impl<'a> GradientSums<'a> {
    /// Prepares the sums over the gradients of the encoders that are trained; starts none.
    pub(crate) fn new<T>(processes: &'a ProcessGroup, models: &Models<T>, teacher: TeacherRole) -> Self {
        let mut layers = Vec::new();
        for (_, model) in models.trained(teacher).filter(|_| processes.size() > 1) {
            let trained = model.bert.trained().layers(model.bert.depth());
            let of_layers = trained.rev().filter_map(|layer| model.bert.layer_grads(layer..layer + 1));
            let large = of_layers.filter(|grads| grads.numel() >= LARGE);
            layers.extend(large.map(|grads| LayerGradient { grads, is_complete: false }));
        }
        Self { processes, layers, started: Vec::new(), failed: None }
    }

    /// Marks a layer's gradient as complete in this process.
    pub(crate) fn layer_done(&mut self, grads: &Tensor) {
        let layer = self.layers.iter_mut().find(|layer| layer.grads.data_ptr() == grads.data_ptr());
        if let Some(layer) = layer {
            layer.is_complete = true;
            self.start_complete();
        }
    }

    /// Starts the next sums, up to the first layer that is not complete. After a failure it starts none.
    fn start_complete(&mut self) {
        if self.failed.is_some() {
            return;
        }
        let complete = self.layers.iter().take_while(|layer| layer.is_complete);
        for layer in complete.skip(self.started.len()) {
            match self.processes.begin_sum(&layer.grads) {
                Ok(sum) => self.started.push(sum),
                Err(error) => {
                    self.failed = Some(error);
                    return;
                }
            }
        }
    }

    /// Sums the remaining gradients of `groups`, and waits for all sums. Of the tables, it sums only `touched_rows`: the rows
    /// that any process looked up.
    ///
    /// # Errors
    /// If a process is lost.
    pub(crate) fn finish(mut self, groups: &[ParamGroup], touched_rows: &[u32]) -> Result<()> {
        if self.processes.size() == 1 {
            return Ok(());
        }
        self.layers.iter_mut().for_each(|layer| layer.is_complete = true);
        self.start_complete();
        if let Some(error) = self.failed {
            return Err(error.into());
        }
        let layers: Vec<Tensor> = self.layers.into_iter().map(|layer| layer.grads).collect();
        let dense = groups.iter().flat_map(ParamGroup::dense_gradients).flat_map(|part| outside(&part, &layers));
        let (large, mut small): (Vec<Tensor>, Vec<Tensor>) = dense.partition(|part| part.numel() >= LARGE);
        let tables: Vec<TableGradient> = groups.iter().filter_map(|group| group.table_gradient(touched_rows)).collect();
        small.extend(tables.iter().map(|table| table.grads.index_select(0, &table.rows)));
        let flat: Vec<Tensor> = small.iter().map(|part| part.reshape(-1)).collect();
        let bucket = (!flat.is_empty()).then(|| Tensor::cat(&flat, 0));
        for part in large.iter().chain(&bucket) {
            self.started.push(self.processes.begin_sum(part)?);
        }
        self.processes.finish(self.started)?;
        if let Some(bucket) = bucket {
            scatter(&bucket, &mut small, &tables);
        }
        Ok(())
    }
}

/// Returns the parts of `all`, a vector of f32, that no tensor in `parts` covers. Tensors that are not views of `all` are
/// ignored.
fn outside(all: &Tensor, parts: &[Tensor]) -> Vec<Tensor> {
    let len = all.numel() as i64;
    let start_of = |part: &Tensor| (part.data_ptr() as i64 - all.data_ptr() as i64) / size_of::<f32>() as i64;
    let ranges = parts.iter().map(|part| start_of(part)..start_of(part) + part.numel() as i64);
    let mut inside: Vec<_> = ranges.filter(|range| range.start >= 0 && range.end <= len).collect();
    inside.sort_unstable_by_key(|range| (range.start, range.end));
    inside.push(len..len);
    let mut gaps = Vec::new();
    let mut from = 0;
    for range in inside {
        if range.start > from {
            gaps.push(all.narrow(0, from, range.start - from));
        }
        from = range.end;
    }
    gaps
}

/// Copies the sums in `bucket` back into the small parts. The last of these are table rows, which it also copies into their
/// tables.
fn scatter(bucket: &Tensor, small: &mut [Tensor], tables: &[TableGradient]) {
    let sizes: Vec<i64> = small.iter().map(|part| part.numel() as i64).collect();
    for (part, sum) in small.iter_mut().zip(bucket.split_with_sizes(sizes, 0)) {
        part.copy_(&sum.view_as(part));
    }
    let rows = &small[small.len() - tables.len()..];
    for (table, rows) in tables.iter().zip(rows) {
        let _ = table.grads.shallow_clone().index_copy_(0, &table.rows, rows);
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    #[test]
    fn gradients_outside_the_layers_are_the_gaps_between_them() {
        let all = Tensor::arange(10, (Kind::Float, Device::Cpu));
        let other = Tensor::arange(10, (Kind::Float, Device::Cpu));
        let gaps = |parts: &[Tensor]| -> Vec<Vec<f32>> {
            outside(&all, parts).iter().map(|part| Vec::try_from(part).unwrap()).collect()
        };
        let part = |start, len| all.narrow(0, start, len);
        assert_eq!(gaps(&[]), [(0..10).map(|i| i as f32).collect::<Vec<_>>()]);
        assert_eq!(gaps(&[part(6, 2), other.narrow(0, 0, 10), part(3, 2)]), [vec![0., 1., 2.], vec![5.], vec![8., 9.]]);
        assert_eq!(gaps(&[part(0, 4), part(4, 6)]), Vec::<Vec<f32>>::new());
    }
}

//! A parameter group: trained parameters, their optimiser state and their learning rate.

use std::ops::Range;

use nb_model::{Arena, Bert, Copies, Slot, TrainedRange};
use nb_torch::cpu_slices::{read, with_slices, write};
use nb_torch::{populate, zeros_on_demand};
use tch::{Device, Kind, Tensor};

use super::norm::sum_of_squares;
use super::piece::State;
use super::rows::Rows;
use super::span::Span;

/// Trained parameters of an arena, with their optimiser state and their peak learning rate.
#[derive(Debug)]
pub struct ParamGroup {
    pub(super) values: Tensor,
    pub(super) grads: Tensor,
    pub(super) exp_avg: Tensor,
    pub(super) exp_avg_sq: Tensor,
    pub(super) spans: Vec<Span>,
    /// The group's table, if its rows are updated lazily; no span covers it then.
    pub(super) rows: Option<Rows>,
    /// On the CPU, copies of values that an update writes, too.
    pub(super) copies: CopiesOfGroup,
    pub(super) peak: f64,
}

/// The copies of a group's values in bf16: of those from `start` to the end.
#[derive(Debug)]
pub(super) struct CopiesOfGroup {
    pub(super) start: usize,
    /// Empty if there are none.
    pub(super) values: Tensor,
}

impl CopiesOfGroup {
    /// Returns the part of an encoder's copies that belongs to the values `entries` of its arena.
    fn of(entries: &Range<i64>, copies: Option<Copies>) -> Self {
        let none = || Self { start: 0, values: Tensor::empty([0], (Kind::BFloat16, Device::Cpu)) };
        let Some(copies) = copies.filter(|copies| copies.values.device() == Device::Cpu) else { return none() };
        let first = entries.start.max(copies.entries.start);
        if first >= entries.end {
            return none();
        }
        assert!(entries.end <= copies.entries.end, "copies {:?} of the entries {entries:?}", copies.entries);
        let values = copies.values.narrow(0, first - copies.entries.start, entries.end - first);
        Self { start: (first - entries.start) as usize, values }
    }
}

/// The gradient of a lazily updated table.
#[derive(Debug)]
pub(crate) struct TableGradient {
    /// The gradient: [rows, width].
    pub(crate) grads: Tensor,
    /// The rows that may have a gradient.
    pub(crate) rows: Tensor,
}

impl ParamGroup {
    /// Makes a group over all entries of `arena`, with moments of zero.
    ///
    /// # Panics
    /// If some entries of the arena are not trained.
    pub fn new(arena: &Arena, peak: f64) -> Self {
        let mut groups = Self::all(arena, peak);
        let group = groups.pop().filter(|group| group.values.numel() == arena.values().numel());
        group.expect("every entry of the arena is trained")
    }

    /// Makes the groups over the trained entries of `arena`, with moments of zero: one for each range of entries.
    pub fn all(arena: &Arena, peak: f64) -> Vec<Self> {
        arena.trained().into_iter().map(|range| Self::over(arena, range, None, peak)).collect()
    }

    /// Does the same as [`ParamGroup::all`] for the parameters of an encoder. On the CPU, an update writes the encoder's copies in
    /// bf16 ([`Bert::copies`]), too.
    pub fn of_encoder(bert: &Bert, peak: f64) -> Vec<Self> {
        let arena = bert.arena();
        arena.trained().into_iter().map(|range| Self::over(arena, range, bert.copies(), peak)).collect()
    }

    /// Returns true if an update writes the copies of an encoder's trained layers.
    pub(crate) fn writes_copies_of(&self, bert: &Bert) -> bool {
        let Some(copies) = bert.copies().filter(|_| self.copies.values.numel() > 0) else { return false };
        let start = copies.values.data_ptr() as usize;
        (start..start + copies.values.numel() * size_of::<half::bf16>())
            .contains(&(self.copies.values.data_ptr() as usize))
    }

    fn over(arena: &Arena, range: TrainedRange, copies: Option<Copies>, peak: f64) -> Self {
        let TrainedRange { entries, values, grads } = range;
        let is_inside = |slot: &&Slot| entries.contains(&slot.offset);
        let is_lazy = arena.values().device() == Device::Cpu;
        let table = arena.layout().table().filter(is_inside).filter(|_| is_lazy);
        let rows = table.map(|slot| Rows::new(slot, entries.start, arena.touched().clone()));
        let copies = CopiesOfGroup::of(&entries, copies);
        let mut spans: Vec<Span> = Vec::new();
        let slots = arena.layout().slots().iter().filter(is_inside);
        for slot in slots.filter(|slot| !(slot.is_table && rows.is_some())) {
            let (start, len, decays) = ((slot.offset - entries.start) as usize, slot.numel() as usize, slot.decays());
            let begins_copies = copies.values.numel() > 0 && start == copies.start; // a span has copies as a whole or not at all
            match spans.last_mut() {
                Some(span) if span.decays == decays && span.start + span.len == start && !begins_copies => {
                    span.len += len
                }
                _ => spans.push(Span { start, len, decays }),
            }
        }
        let [exp_avg, exp_avg_sq] = moments(&values);
        let mut group = Self { exp_avg, exp_avg_sq, values, grads, spans, rows, copies, peak };
        group.populate_spans();
        group
    }

    /// The tensors that an update changes, by name: values and both moments. They share memory with the group's tensors. Read
    /// them when all rows are up to date ([`ParamGroup::catch_up`]), and write them before the first update.
    pub(crate) fn state(&self) -> [(&'static str, Tensor); 3] {
        [("values", &self.values), ("first", &self.exp_avg), ("second", &self.exp_avg_sq)]
            .map(|(name, tensor)| (name, tensor.shallow_clone()))
    }

    /// Replaces the moments by zeros, so that the next update is update 1.
    pub(crate) fn reset_state(&mut self) {
        self.catch_up();
        [self.exp_avg, self.exp_avg_sq] = moments(&self.values);
        self.populate_spans();
    }

    /// Applies deferred updates. Call it before anything other than [`crate::step::Stepper::step`] reads the values:
    /// table rows that recent steps did not look up may lack updates.
    pub(crate) fn catch_up(&mut self) {
        let Self { values, exp_avg, exp_avg_sq, rows, .. } = self;
        if let Some(rows) = rows {
            with_slices([values, exp_avg, exp_avg_sq].map(write::<f32>), |[values, exp_avg, exp_avg_sq]| {
                rows.catch_up_all(State { values, exp_avg, exp_avg_sq });
            });
        }
    }

    /// Prepares the table rows `ids`, given in ascending order, each once, for a step: applies deferred updates, and allocates
    /// the pages of gradients and moments.
    pub(crate) fn catch_up_rows(&mut self, ids: &[u32]) {
        let Self { values, grads, exp_avg, exp_avg_sq, rows, .. } = self;
        if let Some(rows) = rows {
            let buffers = [values, grads, exp_avg, exp_avg_sq].map(write::<f32>);
            with_slices(buffers, |[values, grads, exp_avg, exp_avg_sq]| {
                rows.populate(ids, [&mut *grads, &mut *exp_avg, &mut *exp_avg_sq]);
                rows.catch_up(&mut State { values, exp_avg, exp_avg_sq }, ids);
            });
        }
    }

    /// Allocates the pages of gradients and moments, except those of a lazily updated table.
    fn populate_spans(&mut self) {
        let Self { values, grads, exp_avg, exp_avg_sq, spans, rows, .. } = self;
        if values.device() != Device::Cpu {
            return;
        }
        rows.iter_mut().for_each(Rows::forget_populated);
        with_slices([grads, exp_avg, exp_avg_sq].map(write::<f32>), |buffers| {
            for buffer in buffers {
                spans.iter().for_each(|span| populate(&mut buffer[span.start..span.start + span.len]));
            }
        });
    }

    /// The device of the parameters.
    pub(crate) fn device(&self) -> Device {
        self.values.device()
    }

    /// The number of parameters.
    pub(crate) fn parameters(&self) -> u64 {
        self.values.numel() as u64
    }

    /// Returns whether the group has a lazily updated table.
    pub(crate) fn is_lazy(&self) -> bool {
        self.rows.is_some()
    }

    /// Rows of the lazily updated table, if there is one.
    pub(crate) fn table_rows(&self) -> Option<usize> {
        self.rows.as_ref().map(Rows::count)
    }

    /// Views of the gradient, without the gradient of a lazily updated table.
    pub(crate) fn dense_gradients(&self) -> Vec<Tensor> {
        match &self.rows {
            None => vec![self.grads.shallow_clone()],
            Some(rows) => rows.around(&self.grads).into(),
        }
    }

    /// Returns the gradient of the lazily updated table with those of `rows` that the table has, and marks these as touched.
    pub(crate) fn table_gradient(&self, rows: &[u32]) -> Option<TableGradient> {
        let table = self.rows.as_ref()?;
        let known: Vec<i64> = table.touch(rows).into_iter().map(i64::from).collect();
        Some(TableGradient { grads: table.view(&self.grads), rows: Tensor::from_slice(&known) })
    }

    /// The L2 norm of the gradient, f64.
    pub(super) fn norm(&self) -> Tensor {
        let Some(rows) = &self.rows else {
            return self.grads.norm().to_kind(Kind::Double);
        };
        let spans = &self.spans;
        let sum = with_slices(read::<f32>(&self.grads), |grads| {
            let spans = spans.iter().map(|span| sum_of_squares(&grads[span.start..span.start + span.len]));
            spans.sum::<f64>() + rows.sum_of_squares(grads)
        });
        Tensor::from(sum.sqrt())
    }

    /// Clears the gradient without an update.
    pub(super) fn clear_gradient(&mut self) {
        let Self { grads, spans, rows, .. } = self;
        let Some(rows) = rows else {
            let _ = grads.zero_();
            return;
        };
        // Not the complete table: most of its pages may not exist.
        with_slices(write::<f32>(grads), |grads| {
            spans.iter().for_each(|span| grads[span.start..span.start + span.len].fill(0.0));
            rows.clear_gradient(grads);
        });
    }
}

/// Returns both moments of `values` before the first update: zeros that take memory where an update writes them. A table's
/// rows that never have a gradient need none.
fn moments(values: &Tensor) -> [Tensor; 2] {
    [(); 2].map(|()| zeros_on_demand(values.numel() as i64, values.device()))
}

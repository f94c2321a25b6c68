//! An arena under optimisation.

use nb_model::Arena;
use nb_torch::cpu_slices::{read, with_slices, write};
use tch::{Device, Kind, Tensor};

use super::rows::Rows;
use super::update::sum_of_squares;

/// One arena under optimisation: its handles, its moments, and its peak learning rate.
#[derive(Debug)]
pub struct Group {
    pub(super) values: Tensor,
    pub(super) grads: Tensor,
    pub(super) first: Tensor,
    pub(super) second: Tensor,
    pub(super) spans: Vec<Span>,
    /// The arena's table, where its rows are updated when they are needed; no span covers it then.
    pub(super) rows: Option<Rows>,
    pub(super) peak: f64,
}

/// Neighbouring parameters that decay alike.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) len: usize,
    /// Whether λ applies.
    pub(super) decays: bool,
}

impl Span {
    pub(super) fn of(self, buffer: &Tensor) -> Tensor {
        buffer.narrow(0, self.start as i64, self.len as i64)
    }
}

impl Group {
    /// A group over `arena` with moments of zero.
    pub fn new(arena: &Arena, peak: f64) -> Self {
        let rows = if arena.values().device() == Device::Cpu { Rows::in_arena(arena) } else { None };
        let mut spans: Vec<Span> = Vec::new();
        for slot in arena.layout().slots().iter().filter(|slot| !(slot.is_table && rows.is_some())) {
            let (start, len, decays) = (slot.offset as usize, slot.numel() as usize, slot.decays());
            match spans.last_mut() {
                Some(span) if span.decays == decays && span.start + span.len == start => span.len += len,
                _ => spans.push(Span { start, len, decays }),
            }
        }
        let zeros = || arena.values().zeros_like();
        Self { values: arena.values(), grads: arena.grads(), first: zeros(), second: zeros(), spans, rows, peak }
    }

    /// What an update changes, by name: the values and both moments, which share their memory with the group's. To be read
    /// when all are up to date ([`Group::settle`]), and written before the first update.
    pub(crate) fn state(&self) -> [(&'static str, Tensor); 3] {
        [("values", &self.values), ("first", &self.first), ("second", &self.second)]
            .map(|(name, tensor)| (name, tensor.shallow_clone()))
    }

    /// Sets the moments to zero, so that the next update is update 1.
    pub fn forget(&mut self) {
        self.settle();
        let _ = self.first.zero_();
        let _ = self.second.zero_();
    }

    /// Brings every value up to date. To be called before anything but [`crate::step::Stepper::step`] reads the arena's
    /// values after updates: rows of a table that no step has looked up since may still lack some.
    pub fn settle(&mut self) {
        let Self { values, first, second, rows, .. } = self;
        if let Some(rows) = rows {
            with_slices([values, first, second].map(write), |buffers| rows.settle_all(buffers));
        }
    }

    /// Brings some rows of the table up to date: `ids` in ascending order, each once.
    pub(crate) fn settle_rows(&mut self, ids: &[u32]) {
        let Self { values, first, second, rows, .. } = self;
        if let Some(rows) = rows {
            with_slices([values, first, second].map(write), |buffers| rows.settle(buffers, ids));
        }
    }

    /// Where it lies.
    pub(crate) fn device(&self) -> Device {
        self.values.device()
    }

    /// Whether rows wait for their updates until they are looked up.
    pub(crate) fn is_lazy(&self) -> bool {
        self.rows.is_some()
    }

    /// Rows of the table that waits for them to be looked up.
    pub(crate) fn table_rows(&self) -> Option<usize> {
        self.rows.as_ref().map(Rows::count)
    }

    /// Views of the gradient, but for such a table.
    pub(crate) fn dense_gradients(&self) -> Vec<Tensor> {
        match &self.rows {
            None => vec![self.grads.shallow_clone()],
            Some(rows) => rows.around(&self.grads).into(),
        }
    }

    /// Such a table's gradient, [rows, width], and the numbers of those of `rows` that it has; notes that these may have one.
    pub(crate) fn table_gradient(&self, rows: &[u32]) -> Option<(Tensor, Tensor)> {
        let table = self.rows.as_ref()?;
        let known: Vec<i64> = table.touch(rows).into_iter().map(i64::from).collect();
        Some((table.of(&self.grads), Tensor::from_slice(&known)))
    }

    /// Norm of the gradient, f64.
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

    /// Sets the gradient to zero without an update.
    pub(super) fn drop_gradient(&mut self) {
        let _ = self.grads.zero_();
        if let Some(rows) = &self.rows {
            rows.drop_gradient();
        }
    }
}

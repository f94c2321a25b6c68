//! The parameter arena: all parameters of a module in one contiguous f32 buffer, and all their gradients in another.
//!
//! With one buffer, an operation on the entire model is a single pass: a norm, a blend of layers, an optimiser step, a sum over
//! processes, a write to disk. Parameters are views into it. There are two ways to fill the gradient buffer: a module with its
//! own backward pass adds into [`Arena::grad`] views; a module that uses autograd takes [`Arena::leaf`]s, whose `.grad` *is*
//! the view, so `backward()` accumulates there.

use std::iter;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use nb_checkpoint::{Layout, Slot};
use nb_torch::zeros_on_demand;
use tch::{Device, Kind, Tensor};

/// The rows of an arena's table that received gradients since the last update. Code that adds gradients must record their rows.
/// On the CPU the norm and the update read only these rows; on other devices they read the complete table.
#[derive(Debug, Clone, Default)]
pub struct TouchedRows(Arc<Mutex<Vec<u32>>>);

impl TouchedRows {
    /// Records rows, in any order and any number of times.
    pub fn add(&self, rows: impl IntoIterator<Item = u32>) {
        self.lock().extend(rows);
    }

    /// Returns all recorded rows, in ascending order, each once.
    pub fn sorted(&self) -> Vec<u32> {
        let mut rows = self.lock();
        rows.sort_unstable();
        rows.dedup();
        rows.clone()
    }

    /// Removes all rows.
    pub fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Values and gradients of a module's parameters, each one contiguous f32 buffer. On the CPU, gradients take memory where one has
/// been written: most rows of a large table never have one. All [`Layout::numel`] entries have gradients,
/// unless [`Arena::train_only`] selects some of them.
#[derive(Debug)]
pub struct Arena {
    layout: Layout,
    values: Tensor,
    grads: Tensor,
    /// The entries with gradients, in ascending order. `grads` holds theirs one range after the other.
    trained: Vec<Range<i64>>,
    touched: TouchedRows,
}

/// A range of entries with gradients.
#[derive(Debug)]
pub struct TrainedRange {
    /// The entries.
    pub entries: Range<i64>,
    /// The view of their values.
    pub values: Tensor,
    /// The view of their gradients.
    pub grads: Tensor,
}

impl Arena {
    /// Creates an arena of zeros.
    pub fn zeros(layout: Layout, device: Device) -> Self {
        let values = Tensor::zeros([layout.numel()], (Kind::Float, device));
        let (grads, trained) = (zeros_on_demand(layout.numel(), device), iter::once(0..layout.numel()).collect());
        Self { layout, values, grads, trained, touched: TouchedRows::default() }
    }

    /// Frees the gradients, and creates new ones, of zero, for the given ranges of entries alone. Views of the old gradients are
    /// no longer part of the arena.
    ///
    /// # Panics
    ///
    /// If the ranges overlap, are not in ascending order, or exceed the arena.
    pub fn train_only(&mut self, ranges: impl IntoIterator<Item = Range<i64>>) {
        self.trained = ranges.into_iter().filter(|range| !range.is_empty()).collect();
        let ends = iter::once(0).chain(self.trained.iter().map(|range| range.end));
        let in_order = self.trained.iter().zip(ends).all(|(range, end)| end <= range.start);
        let last = self.trained.last().map_or(0, |range| range.end);
        assert!(in_order && last <= self.layout.numel(), "{:?} of {} entries", self.trained, self.layout.numel());
        let count: i64 = self.trained.iter().map(|range| range.end - range.start).sum();
        self.grads = zeros_on_demand(count, self.values.device());
        self.touched.clear();
    }

    /// Returns the ranges of entries with gradients, in ascending order.
    pub fn trained(&self) -> Vec<TrainedRange> {
        let mut ranges = Vec::with_capacity(self.trained.len());
        let mut start = 0;
        for entries in self.trained.iter().cloned() {
            let count = entries.end - entries.start;
            let values = self.values.narrow(0, entries.start, count);
            ranges.push(TrainedRange { entries, values, grads: self.grads.narrow(0, start, count) });
            start += count;
        }
        ranges
    }

    /// Returns the view of the gradients of a range of entries; `None` if the range is empty, or if any entry has no gradient.
    pub fn grads_of(&self, entries: Range<i64>) -> Option<Tensor> {
        if entries.is_empty() {
            return None;
        }
        let inside = |range: &TrainedRange| range.entries.start <= entries.start && entries.end <= range.entries.end;
        let range = self.trained().into_iter().find(inside)?;
        Some(range.grads.narrow(0, entries.start - range.entries.start, entries.end - entries.start))
    }

    /// Returns the positions of all parameters.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Returns all values, shape \[P\]. Writing through this handle changes the model.
    pub fn values(&self) -> Tensor {
        self.values.shallow_clone()
    }

    /// Returns all gradients: \[P\], or fewer entries after [`Arena::train_only`]. They accumulate until [`Arena::zero_grad`].
    pub fn grads(&self) -> Tensor {
        self.grads.shallow_clone()
    }

    /// Returns the view of one parameter's values.
    ///
    /// # Panics
    ///
    /// If the arena has no parameter of that name.
    pub fn value(&self, name: &str) -> Tensor {
        view(&self.values, self.expect(name))
    }

    /// Returns the view of one parameter's gradient.
    ///
    /// # Panics
    ///
    /// If the arena has no parameter of that name, or if it is not trained.
    pub fn grad(&self, name: &str) -> Tensor {
        self.trained_grad(name).unwrap_or_else(|| panic!("the parameter `{name}` is not trained"))
    }

    /// Returns the view of one parameter's gradient; `None` if the parameter is not trained.
    ///
    /// # Panics
    ///
    /// If the arena has no parameter of that name.
    pub fn trained_grad(&self, name: &str) -> Option<Tensor> {
        let slot = self.expect(name);
        Some(self.grads_of(slot.offset..slot.offset + slot.numel())?.view(slot.shape.as_slice()))
    }

    /// Returns an autograd leaf that shares one parameter's memory: it reflects every update of the arena, and `backward()`
    /// adds its gradient to the arena's.
    ///
    /// # Panics
    ///
    /// As [`Arena::grad`].
    pub fn leaf(&self, name: &str) -> Tensor {
        let slot = self.expect(name);
        let leaf = view(&self.values, slot).detach().set_requires_grad(true);
        // `.grad` exists only after a first backward pass. A pass with zero gradients creates it; then its data is set to the
        // arena's. Later passes find it defined and add in place.
        tch::with_grad(|| (&leaf * 0.0).sum(Kind::Float).backward());
        leaf.grad().set_data(&self.grad(name));
        leaf
    }

    /// Returns the rows of the table whose gradient may be nonzero. Code that writes to the table's gradient on the CPU must
    /// record its rows here.
    pub fn touched(&self) -> &TouchedRows {
        &self.touched
    }

    /// Sets all gradients to zero.
    pub fn zero_grad(&self) {
        self.touched.clear();
        let _ = self.grads.shallow_clone().zero_();
    }

    fn expect(&self, name: &str) -> &Slot {
        self.layout.slot(name).unwrap_or_else(|| panic!("the arena has no parameter `{name}`"))
    }
}

fn view(buffer: &Tensor, slot: &Slot) -> Tensor {
    buffer.narrow(0, slot.offset, slot.numel()).view(slot.shape.as_slice())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arena() -> Arena {
        let mut layout = Layout::default();
        assert_eq!(layout.push("a", &[2, 3]), 0);
        assert_eq!(layout.push("b", &[4]), 6);
        Arena::zeros(layout, Device::Cpu)
    }

    #[test]
    fn a_leaf_reflects_updates_and_adds_its_gradient_to_the_arena() {
        let arena = arena();
        let leaf = arena.leaf("b");
        let _ = arena.value("b").fill_(3.0);
        for _ in 0..2 {
            leaf.square().sum(Kind::Float).backward();
        }
        // d/dx x² = 2x = 6, accumulated twice.
        assert_eq!(Vec::<f32>::try_from(arena.grads()).unwrap(), [0., 0., 0., 0., 0., 0., 12., 12., 12., 12.]);
        arena.zero_grad();
        leaf.sum(Kind::Float).backward();
        assert_eq!(Vec::<f32>::try_from(arena.grad("b")).unwrap(), [1.0; 4]);
    }

    #[test]
    fn only_trained_entries_have_gradients() {
        let mut arena = arena();
        arena.train_only(iter::once(6..10));
        assert_eq!(arena.grads().size(), [4]);
        assert!(arena.trained_grad("a").is_none() && arena.grads_of(4..8).is_none());
        assert!(arena.grads_of(8..8).is_none());
        arena.leaf("b").square().sum(Kind::Float).backward();
        let _ = arena.grad("b").fill_(2.0);
        let _ = arena.grads_of(7..9).expect("trained").fill_(3.0);
        assert_eq!(Vec::<f32>::try_from(arena.grads()).unwrap(), [2., 3., 3., 2.]);
        arena.train_only([0..2, 8..10]);
        let ranges: Vec<_> = arena.trained().into_iter().map(|range| (range.entries, range.grads.size())).collect();
        assert_eq!(ranges, [(0..2, vec![2]), (8..10, vec![2])]);
        arena.train_only([]);
        assert_eq!((arena.grads().numel(), arena.trained().len()), (0, 0));
    }

    #[test]
    #[should_panic(expected = "of 10 entries")]
    fn trained_ranges_do_not_overlap() {
        arena().train_only([0..5, 4..10]);
    }

    #[test]
    fn touched_rows_come_in_order_and_once() {
        let rows = TouchedRows::default();
        rows.add([7, 3]);
        rows.clone().add([3, 1]);
        assert_eq!(rows.sorted(), [1, 3, 7]);
        rows.clear();
        assert!(rows.sorted().is_empty());
    }

    #[test]
    #[should_panic(expected = "one table at most")]
    fn a_second_table_is_refused() {
        let mut layout = Layout::default();
        layout.push_table("a", [2, 3]);
        layout.push_table("b", [2, 3]);
    }

    #[test]
    fn only_matrices_decay() {
        let decays: Vec<bool> = arena().layout().slots().iter().map(Slot::decays).collect();
        assert_eq!(decays, [true, false]);
    }
}

//! The rows of an embedding table, updated lazily.
//!
//! Most rows of an embedding table have no gradient in a step: a batch of 32 articles uses a few hundred of 30,522 words.
//! AdamW still changes the other rows through their moments and the weight decay, so every step passes the whole table
//! through memory. On titles this took a sixth of the time of the matrix products. But no row is read before it is looked
//! up. So the table counts the updates applied to each row and stores the factors of recent updates, and a row catches up
//! on all missed updates at once before it is read. The operations on an entry and their order are the same as with updates
//! in every step, so the result has the same bits.

use nb_kernels::threads;
use nb_model::{Slot, TouchedRows};
use nb_torch::populate;
use pulp::Arch;
use tch::Tensor;

use super::norm::squares;
use super::piece::{Factors, State, update_piece};

/// Length of the history at which every row catches up, which bounds the memory of the history.
const LONGEST_HISTORY: usize = 4096;
/// Entries that catch up at once, in registers.
const LANES: usize = 32;
/// Rows per parallel task.
const PIECE: usize = 8;

/// A table [rows, width] in a parameter group.
#[derive(Debug)]
pub(super) struct Rows {
    /// The table's first entry in the group.
    start: usize,
    /// Its entries.
    len: usize,
    width: usize,
    decays: bool,
    touched: TouchedRows,
    /// The rows whose gradients and moments have pages.
    populated: Vec<bool>,
    /// Updates of `history` applied to each row.
    applied: Vec<u32>,
    /// The factors of each update since all rows were last up to date.
    history: Vec<Factors>,
}

impl Rows {
    /// The table in `slot` of an arena, in a group whose entries start at `group` in the arena.
    pub(super) fn new(slot: &Slot, group: i64, touched: TouchedRows) -> Self {
        let (rows, width) = (slot.shape[0] as usize, slot.shape[1] as usize);
        Self {
            start: (slot.offset - group) as usize,
            len: rows * width,
            width,
            decays: slot.decays(),
            touched,
            populated: vec![false; rows],
            applied: vec![0; rows],
            history: Vec::new(),
        }
    }

    /// The number of rows.
    pub(super) fn count(&self) -> usize {
        self.applied.len()
    }

    /// The table's part of a group's buffer: [rows, width].
    pub(super) fn view(&self, buffer: &Tensor) -> Tensor {
        let shape = [self.count() as i64, self.width as i64];
        buffer.narrow(0, self.start as i64, self.len as i64).view(shape)
    }

    /// The parts of a group's buffer before and after the table.
    pub(super) fn around(&self, buffer: &Tensor) -> [Tensor; 2] {
        let end = (self.start + self.len) as i64;
        [buffer.narrow(0, 0, self.start as i64), buffer.narrow(0, end, buffer.size()[0] - end)]
    }

    /// Marks rows that may have a gradient, and returns those that are in the table.
    pub(super) fn touch(&self, rows: &[u32]) -> Vec<u32> {
        let known: Vec<u32> = rows.iter().copied().filter(|&row| (row as usize) < self.count()).collect();
        self.touched.add(known.iter().copied());
        known
    }

    /// Σ g² over the rows that may have a gradient.
    pub(super) fn sum_of_squares(&self, grads: &[f32]) -> f64 {
        let table = &grads[self.start..self.start + self.len];
        let row = |row: u32| &table[row as usize * self.width..][..self.width];
        self.touched.sorted().into_iter().map(|i| Arch::new().dispatch(|| squares(row(i)))).sum()
    }

    /// Sets the gradient of the rows that may have one to zero, and unmarks them.
    pub(super) fn clear_gradient(&self, grads: &mut [f32]) {
        for row in self.touched.sorted() {
            let first = self.start + row as usize * self.width;
            grads[first..first + self.width].fill(0.0);
        }
        self.touched.clear();
    }

    /// Applies one update to the rows that may have a gradient; the other rows catch up later.
    pub(super) fn update(&mut self, mut state: State<'_>, grads: &mut [f32], factors: Factors, clip: f32) {
        let rows = self.touched.sorted();
        self.touched.clear();
        self.catch_up(&mut state, &rows); // most are up to date: the step has read them
        let factors = factors.with_decay(self.decays);
        self.history.push(factors);
        let updates = self.history.len() as u32;
        rows.iter().for_each(|&row| self.applied[row as usize] = updates);

        let mut grads = self.split_rows(grads, &rows).into_iter();
        let mut tasks: Vec<(State<'_>, &mut [f32])> = Vec::with_capacity(rows.len());
        for row in self.split_state(&mut state, &rows) {
            tasks.extend(grads.next().map(|grads| (row, grads)));
        }
        threads::for_each(tasks.chunks_mut(PIECE), |tasks| {
            for (row, grads) in tasks {
                Arch::new().dispatch(|| update_piece(row, grads, factors, clip));
            }
        });
        if self.history.len() >= LONGEST_HISTORY {
            self.catch_up_all(state);
        }
    }

    /// Allocates the pages of `rows` in buffers of the group, once.
    pub(super) fn populate(&mut self, rows: &[u32], mut buffers: [&mut [f32]; 3]) {
        for row in rows.iter().map(|&row| row as usize).filter(|&row| row < self.applied.len()) {
            if !std::mem::replace(&mut self.populated[row], true) {
                let first = self.start + row * self.width;
                buffers.iter_mut().for_each(|buffer| populate(&mut buffer[first..first + self.width]));
            }
        }
    }

    /// Marks all rows as unpopulated, since the group has new buffers.
    pub(super) fn forget_populated(&mut self) {
        self.populated.fill(false);
    }

    /// Brings all rows up to date.
    pub(super) fn catch_up_all(&mut self, mut state: State<'_>) {
        let all: Vec<u32> = (0..self.count() as u32).collect();
        self.catch_up(&mut state, &all);
        self.history.clear();
        self.applied.fill(0);
    }

    /// Brings `rows` (ascending, each once) up to date.
    pub(super) fn catch_up(&mut self, state: &mut State<'_>, rows: &[u32]) {
        let now = self.history.len() as u32;
        let is_behind = |row: &u32| self.applied.get(*row as usize).is_some_and(|&applied| applied < now);
        let behind: Vec<u32> = rows.iter().copied().filter(is_behind).collect();
        let missed = |row: u32| &self.history[self.applied[row as usize] as usize..];
        let mut tasks: Vec<(State<'_>, &[Factors])> = Vec::with_capacity(behind.len());
        for (row, &number) in self.split_state(state, &behind).into_iter().zip(&behind) {
            tasks.push((row, missed(number)));
        }
        threads::for_each(tasks.chunks_mut(PIECE), |tasks| {
            for (row, missed) in tasks {
                Arch::new().dispatch(|| catch_up(row, missed));
            }
        });
        behind.iter().for_each(|&row| self.applied[row as usize] = now);
    }

    /// The state of single rows, in ascending order and each once.
    fn split_state<'a>(&self, state: &'a mut State<'_>, rows: &[u32]) -> Vec<State<'a>> {
        let mut values = self.split_rows(state.values, rows).into_iter();
        let mut exp_avg = self.split_rows(state.exp_avg, rows).into_iter();
        let mut split = Vec::with_capacity(rows.len());
        for exp_avg_sq in self.split_rows(state.exp_avg_sq, rows) {
            if let (Some(values), Some(exp_avg)) = (values.next(), exp_avg.next()) {
                split.push(State { values, exp_avg, exp_avg_sq });
            }
        }
        split
    }

    /// Single rows of a group's buffer, in ascending order and each once.
    fn split_rows<'a>(&self, buffer: &'a mut [f32], rows: &[u32]) -> Vec<&'a mut [f32]> {
        let mut split = Vec::with_capacity(rows.len());
        let mut rest = &mut buffer[self.start..self.start + self.len];
        let mut next = 0;
        for &row in rows {
            let (_, from_row) = rest.split_at_mut((row as usize - next) * self.width);
            let (row_entries, after) = from_row.split_at_mut(self.width);
            split.push(row_entries);
            (rest, next) = (after, row as usize + 1);
        }
        split
    }
}

/// Applies all `missed` updates to a row, whose gradient was 0 in each of them.
#[inline(always)]
fn catch_up(row: &mut State<'_>, missed: &[Factors]) {
    let width = row.values.len();
    for start in (0..width).step_by(LANES) {
        let range = start..(start + LANES).min(width);
        let n = range.len();
        let (mut v, mut m, mut s) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
        v[..n].copy_from_slice(&row.values[range.clone()]);
        m[..n].copy_from_slice(&row.exp_avg[range.clone()]);
        s[..n].copy_from_slice(&row.exp_avg_sq[range.clone()]);
        if m.iter().chain(&s).all(|&moment| moment == 0.0) {
            // A row that never had a gradient: the quotient is 0, and only the decay remains of the update. Its moments are
            // not written: their pages may not exist yet.
            missed.iter().for_each(|factors| v.iter_mut().for_each(|v| *v *= factors.decay));
        } else {
            for factors in missed {
                for i in 0..LANES {
                    factors.update(&mut v[i], &mut m[i], &mut s[i], 0.0);
                }
            }
            row.exp_avg[range.clone()].copy_from_slice(&m[..n]);
            row.exp_avg_sq[range.clone()].copy_from_slice(&s[..n]);
        }
        row.values[range].copy_from_slice(&v[..n]);
    }
}

#[cfg(test)]
mod tests {
    use nb_model::{Arena, Layout};
    use tch::{Device, Kind, Tensor};

    use super::super::{AdamW, ParamGroup, catch_up, gradient_norm};
    use super::*;

    const ROWS: i64 = 23;
    const WIDTH: i64 = 37;

    /// Makes parameters with a table that is updated lazily (`is_table`) or in every step.
    fn arena(is_table: bool) -> Arena {
        let mut layout = Layout::default();
        match is_table {
            true => layout.push_table("table", [ROWS, WIDTH]),
            false => layout.push("table", &[ROWS, WIDTH]),
        };
        layout.push("bias", &[5]);
        let arena = Arena::zeros(layout, Device::Cpu);
        arena.values().copy_(&numbers(arena.layout().numel(), 0.0));
        arena
    }

    /// Fixed numbers between −1 and 1, independent of the random generators of other tests.
    fn numbers(count: i64, shift: f64) -> Tensor {
        (Tensor::arange(count, (Kind::Float, Device::Cpu)) * 0.7 + shift).sin()
    }

    /// Returns the rows that step `i` looks up. Row 22 is never looked up, row 21 only in step 30.
    fn touched_rows(i: u64) -> Vec<u32> {
        let row = |k: u64| ((i * i * 7 + k * 5) % 21) as u32;
        let late = (i == 30).then_some(21);
        (0..i % 4).map(row).chain(late).collect()
    }

    fn add_gradient(arena: &Arena, i: u64) {
        let rows = touched_rows(i);
        for &row in &rows {
            arena.grad("table").get(i64::from(row)).copy_(&numbers(WIDTH, i as f64 + 13.0 * f64::from(row)));
        }
        let _ = arena.grad("bias").fill_(0.1 * i as f64);
        arena.touched().add(rows);
    }

    fn trained(is_table: bool) -> (Arena, ParamGroup, Vec<f64>) {
        let arena = arena(is_table);
        let mut groups = [ParamGroup::new(&arena, 1e-2)];
        let mut norms = Vec::new();
        for i in 1..=60 {
            if i == 40 {
                groups[0].reset_state();
            }
            add_gradient(&arena, i);
            norms.push(gradient_norm(&groups).double_value(&[]));
            // Not computed from the norm, whose last bits depend on the order of its sum. Step 17 is skipped.
            let clip = if i == 17 { 0.0 } else { 1.0 / (1.0 + i as f64) };
            AdamW::new(0.1).step(&mut groups, i, 1.0 - i as f64 / 100.0, &Tensor::from(clip));
        }
        catch_up(&mut groups);
        let [group] = groups;
        (arena, group, norms)
    }

    #[test]
    fn lazily_updated_rows_equal_rows_updated_in_every_step_bit_for_bit() {
        let ((lazy, lazy_group, norms), (dense, dense_group, expected)) = (trained(true), trained(false));
        assert!(lazy_group.is_lazy() && !dense_group.is_lazy());
        assert!(lazy.values().equal(&dense.values()) && !lazy.values().equal(&arena(true).values()));
        assert!(lazy_group.exp_avg.equal(&dense_group.exp_avg));
        assert!(lazy_group.exp_avg_sq.equal(&dense_group.exp_avg_sq));
        assert_eq!(lazy.grads().abs().max().double_value(&[]), 0.0);
        for (norm, expected) in norms.into_iter().zip(expected) {
            assert!((norm - expected).abs() < 1e-6 * expected, "{norm}, expected {expected}");
        }
    }

    #[test]
    fn a_row_is_up_to_date_before_it_is_read() {
        let after = |bring_up_to_date: fn(&mut ParamGroup)| {
            let arena = arena(true);
            let mut group = ParamGroup::new(&arena, 1e-2);
            for i in 1..=9 {
                add_gradient(&arena, i);
                AdamW::new(0.1).step(std::slice::from_mut(&mut group), i, 1.0, &Tensor::from(1.0));
            }
            bring_up_to_date(&mut group);
            arena.value("table").get(22).copy()
        };
        assert!(after(|group| group.catch_up_rows(&[3, 22])).equal(&after(ParamGroup::catch_up)));
        assert!(!after(|group| group.catch_up_rows(&[3])).equal(&after(ParamGroup::catch_up)));
    }

    #[test]
    fn the_history_is_bounded() {
        let arena = arena(true);
        let mut group = ParamGroup::new(&arena, 1e-2);
        for i in 1..=LONGEST_HISTORY as u64 + 3 {
            AdamW::new(0.1).step(std::slice::from_mut(&mut group), i, 1.0, &Tensor::from(1.0));
        }
        assert_eq!(group.rows.as_ref().map(|rows| rows.history.len()), Some(3));
    }
}

//! The rows of a table, updated when they are needed.
//!
//! Most rows of an embedding table have no gradient in a step: of 30,522 words a batch of 32 news has some hundreds. AdamW
//! changes the others too, by their moments and by the decay, and all of it goes through memory: on titles that took a
//! sixth of the time of the products. But nobody reads a row before it is looked up. So each row counts the updates it has
//! had, the factors of all updates are kept, and a row catches up, all missed updates in one go, before a step reads it and
//! before anything else may. The operations on an entry and their order are those of updating in every step, so the bits
//! are too.

use nb_kernels::threads;
use nb_model::{Arena, TouchedRows};
use pulp::Arch;
use tch::Tensor;

use super::update::{Factors, squares, update_piece};

/// Missed updates after which every row catches up: bounds what is kept.
const LONGEST_HISTORY: usize = 4096;
/// Entries that catch up together, in registers.
const LANES: usize = 32;
/// Rows per parallel piece.
const PIECE: usize = 8;

/// A table [rows, width] in an arena.
#[derive(Debug)]
pub(super) struct Rows {
    /// Its first entry in the arena, and its entries.
    start: usize,
    len: usize,
    width: usize,
    decays: bool,
    touched: TouchedRows,
    /// How much of `history` each row has had.
    had: Vec<u32>,
    /// The factors of the updates since all rows were up to date.
    history: Vec<Factors>,
}

impl Rows {
    /// The table of an arena.
    pub(super) fn in_arena(arena: &Arena) -> Option<Self> {
        let slot = arena.layout().table()?;
        let (rows, width) = (slot.shape[0] as usize, slot.shape[1] as usize);
        Some(Self {
            start: slot.offset as usize,
            len: rows * width,
            width,
            decays: slot.decays(),
            touched: arena.touched().clone(),
            had: vec![0; rows],
            history: Vec::new(),
        })
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.had.len()
    }

    /// The table in an arena's buffer: [rows, width].
    pub(super) fn of(&self, buffer: &Tensor) -> Tensor {
        let shape = [self.count() as i64, self.width as i64];
        buffer.narrow(0, self.start as i64, self.len as i64).view(shape)
    }

    /// What lies before and behind the table in an arena's buffer.
    pub(super) fn around(&self, buffer: &Tensor) -> [Tensor; 2] {
        let end = (self.start + self.len) as i64;
        [buffer.narrow(0, 0, self.start as i64), buffer.narrow(0, end, buffer.size()[0] - end)]
    }

    /// Notes rows that may have a gradient, of those that there are; returns them.
    pub(super) fn touch(&self, rows: &[u32]) -> Vec<u32> {
        let known: Vec<u32> = rows.iter().copied().filter(|&row| (row as usize) < self.count()).collect();
        self.touched.add(known.iter().copied());
        known
    }

    /// Σ g² over the rows with a gradient, row by row.
    pub(super) fn sum_of_squares(&self, grads: &[f32]) -> f64 {
        let table = &grads[self.start..self.start + self.len];
        let row = |row: u32| &table[row as usize * self.width..][..self.width];
        self.touched.sorted().into_iter().map(|i| Arch::new().dispatch(|| squares(row(i)))).sum()
    }

    /// Forgets which rows have a gradient, once it is set to zero.
    pub(super) fn drop_gradient(&self) {
        self.touched.clear();
    }

    /// One update: rows with a gradient now, the others later. Takes values, gradients and both moments of the arena.
    pub(super) fn update(&mut self, buffers: [&mut [f32]; 4], factors: Factors, clip: f32) {
        let rows = self.touched.sorted();
        self.touched.clear();
        let [values, grads, first, second] = buffers;
        self.settle([&mut *values, &mut *first, &mut *second], &rows); // most are: the step has read them
        let factors = factors.with_decay(self.decays);
        self.history.push(factors);
        let had = self.history.len() as u32;
        rows.iter().for_each(|&row| self.had[row as usize] = had);

        let [v, g, m, s] = [&mut *values, grads, &mut *first, &mut *second].map(|buffer| self.pick(buffer, &rows));
        let mut tasks: Vec<_> = v.into_iter().zip(g).zip(m.into_iter().zip(s)).collect();
        threads::for_each(tasks.chunks_mut(PIECE), |tasks| {
            for ((v, g), (m, s)) in tasks {
                Arch::new().dispatch(|| update_piece((v, g), (m, s), factors, clip));
            }
        });
        if self.history.len() >= LONGEST_HISTORY {
            self.settle_all([values, first, second]);
        }
    }

    /// Brings all rows up to date. Takes values and both moments of the arena.
    pub(super) fn settle_all(&mut self, buffers: [&mut [f32]; 3]) {
        let all: Vec<u32> = (0..self.had.len() as u32).collect();
        self.settle(buffers, &all);
        self.history.clear();
        self.had.fill(0);
    }

    /// Brings `rows` (ascending, each once) up to date.
    pub(super) fn settle(&mut self, buffers: [&mut [f32]; 3], rows: &[u32]) {
        let now = self.history.len() as u32;
        let behind: Vec<u32> =
            rows.iter().copied().filter(|&row| self.had.get(row as usize).is_some_and(|&h| h < now)).collect();
        let missed = behind.iter().map(|&row| &self.history[self.had[row as usize] as usize..]);
        let [v, m, s] = buffers.map(|buffer| self.pick(buffer, &behind));
        let mut tasks: Vec<_> = v.into_iter().zip(m.into_iter().zip(s)).zip(missed).collect();
        threads::for_each(tasks.chunks_mut(PIECE), |tasks| {
            for ((v, (m, s)), missed) in tasks {
                Arch::new().dispatch(|| catch_up(v, m, s, missed));
            }
        });
        behind.iter().for_each(|&row| self.had[row as usize] = now);
    }

    /// Rows of an arena's buffer, in ascending order and each once.
    fn pick<'a>(&self, buffer: &'a mut [f32], rows: &[u32]) -> Vec<&'a mut [f32]> {
        let mut rest = &mut buffer[self.start..self.start + self.len];
        let mut next = 0;
        let pick = |&row: &u32| {
            let (_, from) = std::mem::take(&mut rest).split_at_mut((row as usize - next) * self.width);
            let (own, after) = from.split_at_mut(self.width);
            (rest, next) = (after, row as usize + 1);
            own
        };
        rows.iter().map(pick).collect()
    }
}

/// All `missed` updates of a row, whose gradient was 0 in each.
#[inline(always)]
fn catch_up(values: &mut [f32], first: &mut [f32], second: &mut [f32], missed: &[Factors]) {
    let chunks = values.chunks_mut(LANES).zip(first.chunks_mut(LANES).zip(second.chunks_mut(LANES)));
    for (values, (first, second)) in chunks {
        let n = values.len();
        let (mut v, mut m, mut s) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
        v[..n].copy_from_slice(values);
        m[..n].copy_from_slice(first);
        s[..n].copy_from_slice(second);
        if m.iter().chain(&s).all(|&moment| moment == 0.0) {
            // A row that never had a gradient: the quotient is 0, and what is left of the update is the decay.
            missed.iter().for_each(|factors| v.iter_mut().for_each(|v| *v *= factors.decay));
        } else {
            for factors in missed {
                for ((v, m), s) in v.iter_mut().zip(&mut m).zip(&mut s) {
                    factors.update(v, m, s, 0.0);
                }
            }
        }
        values.copy_from_slice(&v[..n]);
        first.copy_from_slice(&m[..n]);
        second.copy_from_slice(&s[..n]);
    }
}

#[cfg(test)]
mod tests {
    use nb_model::Layout;
    use tch::{Device, Kind, Tensor};

    use super::super::{AdamW, Group, gradient_norm, settle};
    use super::*;

    const ROWS: i64 = 23;
    const WIDTH: i64 = 37;

    /// The same parameters with a table that catches up and with one that is updated in every step.
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

    /// Numbers between −1 and 1 that no other test's random generator can disturb.
    fn numbers(count: i64, shift: f64) -> Tensor {
        (Tensor::arange(count, (Kind::Float, Device::Cpu)) * 0.7 + shift).sin()
    }

    /// Rows that step `i` looks up; row 22 never is, row 21 first in step 30.
    fn looked_up(i: u64) -> Vec<u32> {
        let row = |k: u64| ((i * i * 7 + k * 5) % 21) as u32;
        let late = (i == 30).then_some(21);
        (0..i % 4).map(row).chain(late).collect()
    }

    fn add_gradient(arena: &Arena, i: u64) {
        let rows = looked_up(i);
        for &row in &rows {
            arena.grad("table").get(i64::from(row)).copy_(&numbers(WIDTH, i as f64 + 13.0 * f64::from(row)));
        }
        let _ = arena.grad("bias").fill_(0.1 * i as f64);
        arena.touched().add(rows);
    }

    fn trained(is_table: bool) -> (Arena, Group, Vec<f64>) {
        let arena = arena(is_table);
        let mut groups = [Group::new(&arena, 1e-2)];
        let mut norms = Vec::new();
        for i in 1..=60 {
            if i == 40 {
                groups[0].forget();
            }
            add_gradient(&arena, i);
            norms.push(gradient_norm(&groups).double_value(&[]));
            // Not from the norm, whose last bits depend on the order of its sum. Step 17 is left out.
            let clip = if i == 17 { 0.0 } else { 1.0 / (1.0 + i as f64) };
            AdamW::new(0.1).step(&mut groups, i, 1.0 - i as f64 / 100.0, &Tensor::from(clip));
        }
        settle(&mut groups);
        let [group] = groups;
        (arena, group, norms)
    }

    #[test]
    fn rows_that_catch_up_are_those_of_updating_in_every_step_bit_for_bit() {
        let ((lazy, own, norms), (dense, every, expected)) = (trained(true), trained(false));
        assert!(own.is_lazy() && !every.is_lazy());
        assert!(lazy.values().equal(&dense.values()) && !lazy.values().equal(&arena(true).values()));
        assert!(own.first.equal(&every.first) && own.second.equal(&every.second));
        assert_eq!(lazy.grads().abs().max().double_value(&[]), 0.0);
        for (norm, expected) in norms.into_iter().zip(expected) {
            assert!((norm - expected).abs() < 1e-6 * expected, "{norm}, expected {expected}");
        }
    }

    #[test]
    fn a_row_is_up_to_date_before_it_is_read() {
        let after = |settled: fn(&mut Group)| {
            let arena = arena(true);
            let mut group = Group::new(&arena, 1e-2);
            for i in 1..=9 {
                add_gradient(&arena, i);
                AdamW::new(0.1).step(std::slice::from_mut(&mut group), i, 1.0, &Tensor::from(1.0));
            }
            settled(&mut group);
            arena.value("table").get(22).copy()
        };
        assert!(after(|group| group.settle_rows(&[3, 22])).equal(&after(Group::settle)));
        assert!(!after(|group| group.settle_rows(&[3])).equal(&after(Group::settle)));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let arena = arena(true);
        let mut group = Group::new(&arena, 1e-2);
        for i in 1..=LONGEST_HISTORY as u64 + 3 {
            AdamW::new(0.1).step(std::slice::from_mut(&mut group), i, 1.0, &Tensor::from(1.0));
        }
        assert_eq!(group.rows.as_ref().map(|rows| rows.history.len()), Some(3));
    }
}

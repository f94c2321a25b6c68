//! Which rows meet which panels when, on how many threads.

use pulp::{Simd, WithSimd};

use super::finish::{Added, Finish, Piece};
use super::number::{Columns, Number, SUMS};
use super::pack;
use super::tile::{COLUMNS, Dots, Left, ROWS, Tile};
use crate::pool;

/// Tiles that go by a panel before the next one: the more, the less often panels come from memory, as long as the rows stay in
/// the second cache.
const MOST_TILES: usize = 36;
/// The words that those rows take at most.
const ROW_WORDS: usize = 1 << 17;
/// Rows whose products take as long as rearranging what they are multiplied with.
const PACK_ROWS: usize = 16;
/// Tiles of columns of a gradient that a task rearranges for itself.
const COLUMN_TILES: usize = 16;
/// Steps of a panel of columns at most, so that it stays in the second cache too; longer sums are made in parts.
const STEPS: usize = 1024;

/// How a product is divided among threads: each part has some rows and some panels, which its thread rearranges for itself. To
/// fetch what another thread has just written takes longer than that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Grid {
    /// Rows of a part, in whole tiles.
    rows: usize,
    /// Columns of a part, in whole panels.
    columns: usize,
}

impl Grid {
    /// Of a result [`rows`, `width`], such that `threads` are done soonest.
    fn new(rows: usize, width: usize, threads: usize) -> Self {
        let (tiles, panels) = (rows.div_ceil(ROWS).max(1), width.div_ceil(COLUMNS).max(1));
        let with = |by_columns: usize| Self {
            rows: tiles.div_ceil(threads / by_columns) * ROWS,
            columns: panels.div_ceil(by_columns) * COLUMNS,
        };
        let time = |grid: &Self| grid.columns * (grid.rows + PACK_ROWS);
        let all = (1..=threads.min(panels)).map(with);
        all.min_by_key(time).unwrap_or_else(|| with(1)) // never empty: there are a thread and a panel
    }
}

fn threads() -> usize {
    usize::try_from(tch::get_num_threads()).unwrap_or(1).max(1)
}

/// How many of so many rows a task takes: whole tiles, `most` of them at most, and so many that threads end together.
fn block(rows: usize, most: usize) -> usize {
    let tiles = rows.div_ceil(ROWS).max(1);
    let tasks = tiles.div_ceil(most).max(2).next_multiple_of(threads());
    tiles.div_ceil(tasks) * ROWS
}

/// `x` [n, in] · Wᵀ.
pub(super) struct Forward<'a, T> {
    pub(super) dots: Dots<T>,
    pub(super) x: &'a [T],
    pub(super) weight: &'a [T],
    pub(super) outputs: usize,
}

impl<T: Number> Forward<'_, T> {
    /// `rows` has the rows of the result, one after the other, each in pieces of as many columns as it is told.
    pub(super) fn run<'o, F: Finish<T>, I>(&self, finish: &F, rows: impl FnOnce(usize) -> I)
    where
        I: Iterator<Item = F::Row<'o>>,
    {
        let inputs = self.weight.len() / self.outputs;
        let pack = |index: usize, panel: &mut [T]| pack::transposed(self.weight, inputs, index, panel);
        by_parts(self.dots, (self.x, inputs), (pack, self.outputs), finish, rows);
    }
}

/// `grad` [n, out] · W.
pub(super) struct Backward<'a, T> {
    pub(super) dots: Dots<T>,
    pub(super) grad: &'a [T],
    pub(super) weight: &'a [T],
    pub(super) inputs: usize,
}

impl<T: Number> Backward<'_, T> {
    /// As [`Forward::run`].
    pub(super) fn run<'o, F: Finish<T>, I>(&self, finish: &F, rows: impl FnOnce(usize) -> I)
    where
        I: Iterator<Item = F::Row<'o>>,
    {
        let outputs = self.weight.len() / self.inputs;
        let pack = |index, panel: &mut [T]| {
            T::interleave(self.dots, &Columns::part(self.weight, self.inputs, index, COLUMNS), COLUMNS, panel);
        };
        by_parts(self.dots, (self.grad, outputs), (pack, self.inputs), finish, rows);
    }
}

/// `grad`ᵀ [out, n] · `x` [n, in].
pub(super) struct WeightGrad<'a, T> {
    pub(super) dots: Dots<T>,
    pub(super) grad: &'a [T],
    pub(super) x: &'a [T],
    pub(super) inputs: usize,
}

impl<T: Number> WeightGrad<'_, T> {
    /// Adds it to `weights` [out, in], and the sums of the columns of `grad` to `biases` \[out\].
    pub(super) fn add_to(&self, weights: &mut [f32], biases: &mut [f32]) {
        let rows = self.x.len() / self.inputs;
        let parts = rows.div_ceil(STEPS * T::IN_WORD).max(1);
        let rows = rows.div_ceil(parts).next_multiple_of(T::IN_WORD).max(1);
        for (grad, x) in self.grad.chunks(rows * biases.len()).zip(self.x.chunks(rows * self.inputs)) {
            Self { grad, x, ..*self }.add_part_to(weights, biases);
        }
    }

    fn add_part_to(&self, weights: &mut [f32], biases: &mut [f32]) {
        let (dots, inputs, outputs) = (self.dots, self.inputs, biases.len());
        let n = self.x.len() / inputs;
        let pack = |index, panel: &mut [T]| {
            T::interleave(dots, &Columns::part(self.x, inputs, index, COLUMNS), COLUMNS, panel);
        };
        let len = pack::panel_len::<T>(n);
        with_room(pack::panels_len::<T>(n, inputs), |panels| {
            pool::for_each(panels.chunks_exact_mut(len.max(1)).enumerate(), |(index, panel)| pack(index, panel));
            let rows = block(outputs, COLUMN_TILES);
            let parts = weights.chunks_mut(rows * inputs).zip(biases.chunks_mut(rows));
            let width = rows.next_multiple_of(SUMS);
            let room = || vec![T::ZERO; n.next_multiple_of(T::IN_WORD) * width];
            pool::for_each_with(parts.enumerate(), room, |words, (part, (out, sums))| {
                T::interleave(dots, &Columns::part(self.grad, outputs, part, rows), width, words);
                T::add_sums(dots, words, width, sums);
                let left = Lefts::Columns { words, width, count: sums.len() };
                let mut out: Vec<_> = out.chunks_mut(inputs).collect();
                for (index, panel) in panels.chunks_exact(len.max(1)).enumerate() {
                    let column = index * COLUMNS;
                    T::run(dots, Block { dots, left, panel, finish: &Added, column, first: 0, out: &mut out });
                }
            });
        });
    }
}

/// `left` [n, k] times a matrix of `width` columns, whose panels `pack` fills.
fn by_parts<'o, T: Number, F: Finish<T>, I>(
    dots: Dots<T>,
    (left, k): (&[T], usize),
    (pack, width): (impl Fn(usize, &mut [T]) + Sync, usize),
    finish: &F,
    rows: impl FnOnce(usize) -> I,
) where
    I: Iterator<Item = F::Row<'o>>,
{
    let n = left.len() / k;
    let grid = Grid::new(n, width, threads());
    let across = width.div_ceil(grid.columns);
    let mut parts: Vec<_> = (0..n.div_ceil(grid.rows) * across).map(|_| Vec::with_capacity(grid.rows)).collect();
    for (i, piece) in rows(grid.columns).enumerate() {
        parts[i / across / grid.rows * across + i % across].push(piece);
    }
    let most = (ROW_WORDS * T::IN_WORD / (ROWS * k)).clamp(1, MOST_TILES) * ROWS;
    let len = pack::panel_len::<T>(k);
    pool::for_each(parts.into_iter().enumerate(), |(part, mut out)| {
        let (row, first) = (part / across * grid.rows, part % across * grid.columns);
        let columns = grid.columns.min(width - first);
        with_room(pack::panels_len::<T>(k, columns), |panels| {
            let lefts = left[row * k..].chunks(most * k).zip(out.chunks_mut(most));
            for (block, (entries, out)) in lefts.enumerate() {
                for (index, panel) in panels.chunks_exact_mut(len).enumerate() {
                    let column = first + index * COLUMNS;
                    if block == 0 {
                        pack(column / COLUMNS, panel);
                    }
                    let left = Lefts::Rows { entries: &entries[..out.len() * k], k };
                    T::run(dots, Block { dots, left, panel, finish, column, first, out });
                }
            }
        });
    });
}

/// Calls `f` with room for so many numbers, which hold anything.
fn with_room<T: Number>(len: usize, f: impl FnOnce(&mut [T])) {
    // Taken, not borrowed: on a thread that works for others while it waits, another product may come in between.
    let mut room = T::room().take();
    if room.len() < len {
        room.reserve_exact(len - room.len());
        room.resize(len, T::ZERO);
    }
    f(&mut room[..len]);
    T::room().set(room);
}

/// Rows of a left matrix.
#[derive(Debug, Clone, Copy)]
enum Lefts<'a, T> {
    /// As they lie, `k` entries each, k in whole words.
    Rows { entries: &'a [T], k: usize },
    /// The `count` columns by [`Number::interleave`] of a matrix, of `width` that there is room for.
    Columns { words: &'a [T], width: usize, count: usize },
}

impl<'a, T: Number> Lefts<'a, T> {
    fn rows(self) -> usize {
        match self {
            Self::Rows { entries, k } => entries.len() / k,
            Self::Columns { count, .. } => count,
        }
    }

    /// The tile that begins with row `row`, at a multiple of [`ROWS`].
    fn tile(self, row: usize) -> Left<'a, T> {
        let (rows, word) = (ROWS.min(self.rows() - row), T::IN_WORD);
        match self {
            Self::Rows { entries, k } => Left { entries: &entries[row * k..(row + rows) * k], row: k, word, rows },
            Self::Columns { words, width, .. } => {
                Left { entries: &words[word * row..], row: word, word: word * width, rows }
            }
        }
    }
}

/// Some rows of a product, and a panel for them.
struct Block<'a, 'o, T, F: Finish<T>> {
    dots: Dots<T>,
    left: Lefts<'a, T>,
    panel: &'a [T],
    finish: &'a F,
    /// The panel's first column in the whole result.
    column: usize,
    /// That of `out`.
    first: usize,
    /// A piece of each row.
    out: &'a mut [F::Row<'o>],
}

impl<T: Number, F: Finish<T>> WithSimd for Block<'_, '_, T, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (dots, finish) = (self.dots, self.finish);
        let mut sums: Tile = [[0.0; COLUMNS]; ROWS];
        let place = (self.column, self.column - self.first);
        for (index, out) in self.out.chunks_mut(ROWS).enumerate() {
            out.iter().for_each(|row| row.soon(place));
            dots.tile(self.left.tile(index * ROWS), self.panel, &mut sums);
            out.iter_mut().zip(&mut sums).for_each(|(row, sums)| finish.row((simd, dots), row, place, sums));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_get_like_parts() {
        let grid = |rows, width, threads| {
            let Grid { rows, columns } = Grid::new(rows, width, threads);
            (rows, columns)
        };
        assert_eq!(grid(370, 384, 1), (372, 384));
        assert_eq!(grid(370, 384, 2), (372, 192));
        assert_eq!(grid(600, 384, 4), (300, 192)); // 6 panels are not 4 equal parts
        assert_eq!(grid(600, 512, 4), (600, 128));
        assert_eq!(grid(600, 64, 3), (204, 64));
        assert_eq!(grid(1, 1, 8), (6, 64));
    }
}

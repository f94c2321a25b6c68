//! Products split into tasks: the order in which rows are multiplied with panels, and the threads that do it.

use pulp::{Simd, WithSimd};

use super::element::{Element, Isa, SUMS};
use super::epilogue::{Added, Epilogue};
use super::operands::{Columns, MR, Matrix, MicroPanel, MicroTile, NR, in_word};
use super::pack;
use super::tile::{Grid, Position, Tile, TileMut};
use crate::threads;

/// Maximum number of micro-tiles that are multiplied with a panel before the next panel. The more there are, the less often
/// panels come from memory, as long as the micro-tiles' rows stay in the L2 cache.
const MOST_MICRO_TILES: usize = 36;
/// Maximum number of words in these rows.
const ROW_WORDS: usize = 1 << 17;
/// Maximum number of micro-tiles of a weight gradient's rows per task.
const GRAD_MICRO_TILES: usize = 16;
/// Maximum number of steps of a panel of columns, which keeps it in the L2 cache, too. Longer sums are computed in parts.
const STEPS: usize = 1024;

/// Computes `left` [n, k] times a matrix [k, w] whose panels `pack` fills. `grid` splits the result [n, w] into tiles, each
/// with one of `epilogues`.
pub(super) fn gemm_grid<T: Element, E: Epilogue<T>>(
    isa: Isa<T>,
    left: Matrix<'_, T>,
    pack: impl Fn(usize, &mut [T]) + Sync,
    grid: &Grid,
    epilogues: impl ExactSizeIterator<Item = E> + Send,
) {
    threads::for_each(grid.tiles().zip(epilogues), |(tile, mut epilogue)| {
        let len = pack::panels_len::<T>(left.columns, tile.columns.len());
        with_scratch(len, |panels| {
            let mut packing = Packing { pack: &pack, first: tile.columns.start / NR, panels };
            gemm_tile(isa, left, &mut packing, &tile, &mut epilogue);
        });
    });
}

/// Computes `left` [n, k] times a matrix [k, w] of which `panels` are all panels, one after the other.
pub(super) fn gemm_packed<T: Element, E: Epilogue<T>>(
    isa: Isa<T>,
    left: Matrix<'_, T>,
    panels: &[T],
    grid: &Grid,
    epilogues: impl ExactSizeIterator<Item = E> + Send,
) {
    threads::for_each(grid.tiles().zip(epilogues), |(tile, mut epilogue)| {
        gemm_tile(isa, left, &mut Packed(panels), &tile, &mut epilogue);
    });
}

/// The panels of a right matrix.
trait Panels<T> {
    /// Returns panel `index`, which has `len` entries; it is needed for the first rows of a tile if `is_first`, and then again.
    fn panel(&mut self, index: usize, len: usize, is_first: bool) -> &[T];
}

/// Panels that are packed when they are first needed.
struct Packing<'a, T, F> {
    pack: &'a F,
    /// The first panel.
    first: usize,
    panels: &'a mut [T],
}

impl<T, F: Fn(usize, &mut [T])> Panels<T> for Packing<'_, T, F> {
    fn panel(&mut self, index: usize, len: usize, is_first: bool) -> &[T] {
        let panel = &mut self.panels[(index - self.first) * len..][..len];
        if is_first {
            (self.pack)(index, panel);
        }
        panel
    }
}

/// Panels packed in advance.
struct Packed<'a, T>(&'a [T]);

impl<T> Panels<T> for Packed<'_, T> {
    fn panel(&mut self, index: usize, len: usize, _: bool) -> &[T] {
        &self.0[index * len..][..len]
    }
}

/// Computes one tile.
fn gemm_tile<T: Element, E: Epilogue<T>>(
    isa: Isa<T>,
    left: Matrix<'_, T>,
    panels: &mut impl Panels<T>,
    tile: &Tile,
    epilogue: &mut E,
) {
    let k = left.columns;
    let len = pack::panel_len::<T>(k);
    let most_rows = (ROW_WORDS * in_word::<T>() / (MR * k)).clamp(1, MOST_MICRO_TILES) * MR;
    for row in tile.rows.clone().step_by(most_rows) {
        let rows = left.slice_rows(row..tile.rows.end.min(row + most_rows));
        for column in tile.columns.clone().step_by(NR) {
            let panel = panels.panel(column / NR, len, row == tile.rows.start);
            let at = Position { row, column };
            T::run(isa, Block { isa, left: Lhs::Rows(rows), panel, epilogue, at });
        }
    }
}

/// Adds `grad`ᵀ [out, n] · `x` [n, in] to `weight_grad` [out, in], and the sums of the columns of `grad` to `bias_grad`
/// \[out\].
pub(super) fn add_weight_grad<T: Element>(
    isa: Isa<T>,
    grad: Matrix<'_, T>,
    x: Matrix<'_, T>,
    weight_grad: &mut [f32],
    bias_grad: &mut [f32],
) {
    let rows = x.rows();
    let parts = rows.div_ceil(STEPS * in_word::<T>()).max(1);
    let part_rows = rows.div_ceil(parts).next_multiple_of(in_word::<T>()).max(1);
    for first in (0..rows).step_by(part_rows) {
        let part = first..rows.min(first + part_rows);
        let (grad, x) = (grad.slice_rows(part.clone()), x.slice_rows(part));
        add_weight_grad_part(isa, grad, x, weight_grad, bias_grad);
    }
}

/// Does the same as [`add_weight_grad`] for at most [`STEPS`] steps, which keeps a panel of `x` in the L2 cache.
fn add_weight_grad_part<T: Element>(
    isa: Isa<T>,
    grad: Matrix<'_, T>,
    x: Matrix<'_, T>,
    weight_grad: &mut [f32],
    bias_grad: &mut [f32],
) {
    let n = x.rows();
    let panel_len = pack::panel_len::<T>(n);
    let width = rows_per_task(grad.columns);
    with_scratch(pack::panels_len::<T>(n, x.columns), |panels| {
        threads::for_each(panels.chunks_exact_mut(panel_len).enumerate(), |(index, panel)| {
            T::interleave(isa, &Columns::part(x, index, NR), NR, panel);
        });
        let task = GradTask { isa, grad, width, panels, panel_len, inputs: x.columns };
        let parts = weight_grad.chunks_mut(width * x.columns).zip(bias_grad.chunks_mut(width));
        threads::for_each_with(
            parts.enumerate(),
            || task.buffer(),
            |words, (index, (weight_grad, bias_grad))| {
                task.run(index, words, weight_grad, bias_grad);
            },
        );
    });
}

/// Returns the number of rows of a weight gradient, out of `rows`, that a task computes: complete micro-tiles, at most
/// [`GRAD_MICRO_TILES`] of them, in shares that let all threads finish at the same time.
fn rows_per_task(rows: usize) -> usize {
    let micro_tiles = rows.div_ceil(MR).max(1);
    let tasks = micro_tiles.div_ceil(GRAD_MICRO_TILES).max(2).next_multiple_of(threads::count());
    micro_tiles.div_ceil(tasks) * MR
}

/// The operands that all tasks of a weight gradient share.
struct GradTask<'a, T> {
    isa: Isa<T>,
    /// [n, out]
    grad: Matrix<'a, T>,
    /// Outputs per task.
    width: usize,
    /// All panels of x.
    panels: &'a [T],
    panel_len: usize,
    inputs: usize,
}

impl<T: Element> GradTask<'_, T> {
    /// Returns the number of words per step of a task's gradient columns.
    fn step_words(&self) -> usize {
        self.width.next_multiple_of(SUMS)
    }

    /// Returns a thread's buffer for a task's gradient columns.
    fn buffer(&self) -> Vec<T> {
        vec![T::ZERO; self.grad.rows().next_multiple_of(in_word::<T>()) * self.step_words()]
    }

    /// Adds the rows of part `index` to `weight_grad` and `bias_grad`.
    fn run(&self, index: usize, words: &mut [T], weight_grad: &mut [f32], bias_grad: &mut [f32]) {
        let step_words = self.step_words();
        T::interleave(self.isa, &Columns::part(self.grad, index, self.width), step_words, words);
        T::add_sums(self.isa, words, step_words, bias_grad);
        let left = Lhs::Columns { words, step_words, count: bias_grad.len() };
        let mut epilogue = Added { out: TileMut::whole(weight_grad, self.inputs) };
        for (index, panel) in self.panels.chunks_exact(self.panel_len).enumerate() {
            let at = Position { row: 0, column: index * NR };
            T::run(self.isa, Block { isa: self.isa, left, panel, epilogue: &mut epilogue, at });
        }
    }
}

/// Calls `f` with a buffer of `len` entries, whose contents are arbitrary.
fn with_scratch<T: Element>(len: usize, f: impl FnOnce(&mut [T])) {
    // Taken, not borrowed: a thread that waits may take on other work, and run another product in the meantime.
    let mut scratch = T::scratch().take();
    if scratch.len() < len {
        scratch.reserve_exact(len - scratch.len());
        scratch.resize(len, T::ZERO);
    }
    f(&mut scratch[..len]);
    T::scratch().set(scratch);
}

/// The left matrix of a product.
#[derive(Debug, Clone, Copy)]
enum Lhs<'a, T> {
    /// Rows in place, each of complete words.
    Rows(Matrix<'a, T>),
    /// The `count` columns of a matrix that `Microkernel::interleave` copied, in steps of `step_words` words.
    Columns { words: &'a [T], step_words: usize, count: usize },
}

impl<'a, T: Element> Lhs<'a, T> {
    fn rows(self) -> usize {
        match self {
            Self::Rows(matrix) => matrix.rows(),
            Self::Columns { count, .. } => count,
        }
    }

    /// Returns the rows of one micro-tile, from `row` on, a multiple of [`MR`].
    fn micro_panel(self, row: usize) -> MicroPanel<'a, T> {
        let (rows, word) = (MR.min(self.rows() - row), in_word::<T>());
        match self {
            Self::Rows(matrix) => MicroPanel {
                entries: matrix.slice_rows(row..row + rows).entries,
                row_stride: matrix.columns,
                word_stride: word,
                rows,
            },
            Self::Columns { words, step_words, .. } => {
                MicroPanel { entries: &words[word * row..], row_stride: word, word_stride: word * step_words, rows }
            }
        }
    }
}

/// Rows of a product that are multiplied with one panel.
struct Block<'a, T, E> {
    isa: Isa<T>,
    left: Lhs<'a, T>,
    panel: &'a [T],
    epilogue: &'a mut E,
    /// The position of the first row and of the panel's first column in the result.
    at: Position,
}

impl<T: Element, E: Epilogue<T>> WithSimd for Block<'_, T, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { isa, left, panel, epilogue, at } = self;
        let mut sums: MicroTile = [[0.0; NR]; MR];
        for first in (0..left.rows()).step_by(MR) {
            let micro_panel = left.micro_panel(first);
            let row = at.row + first;
            for i in 0..micro_panel.rows {
                epilogue.prefetch(Position { row: row + i, ..at });
            }
            isa.micro_tile(micro_panel, panel, &mut sums);
            for (i, sums) in sums.iter_mut().take(micro_panel.rows).enumerate() {
                epilogue.store(simd, isa, Position { row: row + i, ..at }, sums);
            }
        }
    }
}

//! Products of bf16 matrices on processors that multiply pairs of them and add up in f32 (AVX-512 BF16: AMD's Zen 4 and 5, and some
//! of Intel's). Numbers that are too small to be normal count as 0 there.
//!
//! oneDNN multiplies as fast. What it does not do is the rest: sums of f32 go straight into the gradients, and biases,
//! activations and their derivatives are done while a tile of the result is in the first cache, without rounding in between.
//! Nor is anything compiled for the number of rows, which is another in each batch of packed tokens.
//!
//! The right matrix is rearranged into panels of 64 columns, and the left one goes by in rows, six at a time. An entry of the
//! result is a sum in one order, whatever the number of threads.

mod finish;
mod pack;
mod tile;

use std::cell::Cell;
use std::sync::LazyLock;

use half::bf16;
use pulp::{Simd, WithSimd};
use tch::{Device, Kind, Tensor};

use super::FEWEST_ROWS;
use super::simd::dispatch;
use crate::config::Activation;
use crate::host::with_slices_of;
use crate::pool;
use finish::{Activated, Added, Finish, Rounded, Times, WithSlope};
use tile::{COLUMNS, Dots, Left, ROWS};

/// Tiles that go by a panel before the next one: the more, the less often panels come from memory, as long as the rows stay in
/// the second cache.
const TILES: usize = 36;
/// The same of columns that were rearranged for it, which are longer.
const COLUMN_TILES: usize = 16;

static DOTS: LazyLock<Option<Dots>> = LazyLock::new(Dots::find);

/// Whether products of `x` [n, in] with `weight` [out, in] and their gradients belong here.
pub(crate) fn pays(x: &Tensor, weight: &Tensor) -> bool {
    x.size()[0] >= FEWEST_ROWS && is_for(x, weight)
}

fn is_for(x: &Tensor, weight: &Tensor) -> bool {
    x.kind() == Kind::BFloat16
        && x.device() == Device::Cpu
        && weight.size().iter().all(|size| size % 2 == 0)
        && DOTS.is_some()
}

/// `x` Wᵀ + b, [n, out].
pub(crate) fn forward(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Tensor {
    let [inputs, outputs] = sizes(weight);
    check("the input", x, x.size()[0], inputs);
    check_bias(bias, outputs);
    let mut out = new(x, outputs);
    with_slices_of::<bf16, bf16, 3, 1, _>([&x.contiguous(), weight, bias], [&mut out], |[x, weight, bias], [out]| {
        let finish = Rounded { width: outputs, bias: Some(bias) };
        Forward { x, weight, outputs }.run(&finish, |rows| out.chunks_mut(rows * outputs));
    });
    out
}

/// f(`x` Wᵀ + b), [n, out].
pub(crate) fn activated(x: &Tensor, weight: &Tensor, bias: &Tensor, activation: Activation) -> Tensor {
    let [inputs, outputs] = sizes(weight);
    check("the input", x, x.size()[0], inputs);
    check_bias(bias, outputs);
    let mut out = new(x, outputs);
    with_slices_of::<bf16, bf16, 3, 1, _>([&x.contiguous(), weight, bias], [&mut out], |[x, weight, bias], [out]| {
        Forward { x, weight, outputs }.run(&Activated { bias, activation }, |rows| out.chunks_mut(rows * outputs));
    });
    out
}

/// y = f(u) and f′(u) at u = `x` Wᵀ + b, [n, out] both.
pub(crate) fn activated_with_slope(x: &Tensor, weight: &Tensor, bias: &Tensor, f: Activation) -> (Tensor, Tensor) {
    let [inputs, outputs] = sizes(weight);
    check("the input", x, x.size()[0], inputs);
    check_bias(bias, outputs);
    let (mut values, mut slopes) = (new(x, outputs), new(x, outputs));
    with_slices_of::<bf16, bf16, 3, 2, _>(
        [&x.contiguous(), weight, bias],
        [&mut values, &mut slopes],
        |[x, weight, bias], [values, slopes]| {
            Forward { x, weight, outputs }.run(&WithSlope { bias, activation: f }, |rows| {
                values.chunks_mut(rows * outputs).zip(slopes.chunks_mut(rows * outputs))
            });
        },
    );
    (values, slopes)
}

/// dL/dx [n, in] from dL/dy `grad` [n, out].
pub(crate) fn input_grad(grad: &Tensor, weight: &Tensor) -> Tensor {
    let [inputs, outputs] = sizes(weight);
    check("the gradient", grad, grad.size()[0], outputs);
    let mut out = new(grad, inputs);
    with_slices_of::<bf16, bf16, 2, 1, _>([&grad.contiguous(), weight], [&mut out], |[grad, weight], [out]| {
        let finish = Rounded { width: inputs, bias: None };
        Backward { grad, weight, inputs }.run(&finish, |rows| out.chunks_mut(rows * inputs));
    });
    out
}

/// dL/du [n, in] where the layer's input x is f(u), with f′(u) as `slopes` [n, in].
pub(crate) fn input_grad_through(grad: &Tensor, weight: &Tensor, slopes: &Tensor) -> Tensor {
    let [inputs, outputs] = sizes(weight);
    check("the gradient", grad, grad.size()[0], outputs);
    check("the slopes", slopes, grad.size()[0], inputs);
    let mut out = new(grad, inputs);
    with_slices_of::<bf16, bf16, 3, 1, _>(
        [&grad.contiguous(), weight, slopes],
        [&mut out],
        |[grad, weight, slopes], [out]| {
            Backward { grad, weight, inputs }
                .run(&Times { width: inputs }, |rows| slopes.chunks(rows * inputs).zip(out.chunks_mut(rows * inputs)));
        },
    );
    out
}

/// As [`input_grad`], added to `residual` [n, in], f32.
pub(crate) fn add_input_grad(residual: &mut Tensor, grad: &Tensor, weight: &Tensor) {
    let [inputs, outputs] = sizes(weight);
    check("the gradient", grad, grad.size()[0], outputs);
    check("the residual", residual, grad.size()[0], inputs);
    with_slices_of::<bf16, f32, 2, 1, _>([&grad.contiguous(), weight], [residual], |[grad, weight], [out]| {
        Backward { grad, weight, inputs }.run(&Added { width: inputs }, |rows| out.chunks_mut(rows * inputs));
    });
}

/// From dL/dy `grad` [n, out] and the input `x` [n, in] adds dL/dW to `weight_grad` [out, in] and dL/db to `bias_grad` \[out\],
/// f32 both.
pub(crate) fn add_parameter_grads(grad: &Tensor, x: &Tensor, weight_grad: &mut Tensor, bias_grad: &mut Tensor) {
    let [inputs, outputs] = sizes(weight_grad);
    check("the gradient", grad, x.size()[0], outputs);
    check("the input", x, x.size()[0], inputs);
    check_bias(bias_grad, outputs);
    with_slices_of::<bf16, f32, 2, 2, _>(
        [&grad.contiguous(), &x.contiguous()],
        [weight_grad, bias_grad],
        |[grad, x], [weight_grad, bias_grad]| {
            let n = grad.len() / outputs;
            let pack = |index: usize, panel: &mut [bf16]| {
                pack::interleaved(x, inputs, index * COLUMNS, COLUMNS, panel);
            };
            with_panels((n, inputs), pack, |right| {
                let rows = block(outputs, COLUMN_TILES);
                let parts = weight_grad.chunks_mut(rows * inputs).zip(bias_grad.chunks_mut(rows));
                let room = || vec![bf16::ZERO; n.div_ceil(2) * 2 * rows];
                pool::for_each_with(parts.enumerate(), room, |pairs, (part, (out, sums))| {
                    pack::interleaved(grad, outputs, part * rows, rows, pairs);
                    pack::add_sums(grad, outputs, part * rows, sums);
                    let left = Lefts::Columns { pairs, width: rows, count: sums.len() };
                    dispatch(Block { left, right, k: n, finish: &Added { width: inputs }, width: inputs, out });
                });
            });
        },
    );
}

fn dots() -> Dots {
    DOTS.expect("whoever asks for a product has asked whether it pays")
}

/// Inputs and outputs of a weight matrix [out, in].
fn sizes(weight: &Tensor) -> [usize; 2] {
    [weight.size()[1] as usize, weight.size()[0] as usize]
}

/// Refuses what is not [`rows`, `width`].
fn check(what: &str, x: &Tensor, rows: i64, width: usize) {
    assert_eq!(x.size(), [rows, width as i64], "the shape of {what}");
}

fn check_bias(bias: &Tensor, outputs: usize) {
    assert_eq!(bias.size(), [outputs as i64], "the shape of the bias");
}

fn new(x: &Tensor, width: usize) -> Tensor {
    Tensor::empty([x.size()[0], width as i64], (Kind::BFloat16, Device::Cpu))
}

/// How many of so many rows a task takes: whole tiles, `most` of them at most, and so many that threads end together.
fn block(rows: usize, most: usize) -> usize {
    let threads = usize::try_from(tch::get_num_threads()).unwrap_or(1).max(1);
    let tiles = rows.div_ceil(ROWS).max(1);
    let tasks = tiles.div_ceil(most).max(2).next_multiple_of(threads);
    tiles.div_ceil(tasks) * ROWS
}

/// `x` [n, in] · Wᵀ.
struct Forward<'a> {
    x: &'a [bf16],
    weight: &'a [bf16],
    outputs: usize,
}

impl Forward<'_> {
    fn run<'o, F: Finish, I>(&self, finish: &F, parts: impl FnOnce(usize) -> I)
    where
        I: ExactSizeIterator<Item = F::Rows<'o>> + Send,
    {
        let inputs = self.weight.len() / self.outputs;
        let pack = |index: usize, panel: &mut [bf16]| pack::transposed(dots(), self.weight, inputs, index, panel);
        by_rows((self.x, inputs), (pack, self.outputs), finish, parts);
    }
}

/// `grad` [n, out] · W.
struct Backward<'a> {
    grad: &'a [bf16],
    weight: &'a [bf16],
    inputs: usize,
}

impl Backward<'_> {
    fn run<'o, F: Finish, I>(&self, finish: &F, parts: impl FnOnce(usize) -> I)
    where
        I: ExactSizeIterator<Item = F::Rows<'o>> + Send,
    {
        let outputs = self.weight.len() / self.inputs;
        let pack = |index: usize, panel: &mut [bf16]| {
            pack::interleaved(self.weight, self.inputs, index * COLUMNS, COLUMNS, panel);
        };
        by_rows((self.grad, outputs), (pack, self.inputs), finish, parts);
    }
}

/// `left` [n, k] times a matrix of `width` columns, whose panels `pack` fills, some rows at a time: `parts` has the result in
/// parts of as many rows as it is told.
fn by_rows<'o, F: Finish, I>(
    (left, k): (&[bf16], usize),
    (pack, width): (impl Fn(usize, &mut [bf16]) + Sync, usize),
    finish: &F,
    parts: impl FnOnce(usize) -> I,
) where
    I: ExactSizeIterator<Item = F::Rows<'o>> + Send,
{
    with_panels((k, width), pack, |right| {
        let rows = block(left.len() / k, TILES);
        pool::for_each(left.chunks(rows * k).zip(parts(rows)), |(rows, out)| {
            dispatch(Block { left: Lefts::Rows { entries: rows, k }, right, k, finish, width, out });
        });
    });
}

/// Has `pack` fill the panels of a right matrix [k, n], and calls `f` with all of them.
fn with_panels((k, n): (usize, usize), pack: impl Fn(usize, &mut [bf16]) + Sync, f: impl FnOnce(&[bf16])) {
    thread_local! {
        /// Kept, since new memory is zeroed: that takes as long as packing.
        static ROOM: Cell<Vec<bf16>> = const { Cell::new(Vec::new()) };
    }
    // Taken, not borrowed: on a thread that works for others while it waits, another product may come in between.
    let mut room = ROOM.take();
    let len = pack::panels_len(k, n);
    if room.len() < len {
        room.reserve_exact(len - room.len());
        room.resize(len, bf16::ZERO);
    }
    let panels = &mut room[..len];
    if len > 0 {
        pool::for_each(panels.chunks_exact_mut(pack::panel_len(k)).enumerate(), |(index, panel)| pack(index, panel));
    }
    f(panels);
    ROOM.set(room);
}

/// Rows of a left matrix.
#[derive(Debug, Clone, Copy)]
enum Lefts<'a> {
    /// As they lie, `k` entries each, k even.
    Rows { entries: &'a [bf16], k: usize },
    /// The `count` columns by [`pack::interleaved`] of a matrix, of `width` that there is room for.
    Columns { pairs: &'a [bf16], width: usize, count: usize },
}

impl<'a> Lefts<'a> {
    fn rows(self) -> usize {
        match self {
            Self::Rows { entries, k } => entries.len() / k,
            Self::Columns { count, .. } => count,
        }
    }

    /// The tile that begins with row `row`, at a multiple of [`ROWS`].
    fn tile(self, row: usize) -> Left<'a> {
        let rows = ROWS.min(self.rows() - row);
        match self {
            Self::Rows { entries, k } => Left { entries: &entries[row * k..(row + rows) * k], row: k, pair: 2, rows },
            Self::Columns { pairs, width, .. } => Left { entries: &pairs[2 * row..], row: 2, pair: 2 * width, rows },
        }
    }
}

/// Some rows of a product, and where they go.
struct Block<'a, 'o, F: Finish> {
    left: Lefts<'a>,
    right: &'a [bf16],
    k: usize,
    finish: &'a F,
    width: usize,
    out: F::Rows<'o>,
}

impl<F: Finish> WithSimd for Block<'_, '_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let dots = dots();
        let mut sums = [[0.0; COLUMNS]; ROWS];
        let panels = self.right.chunks_exact(pack::panel_len(self.k).max(1));
        for (column, panel) in (0..self.width).step_by(COLUMNS).zip(panels) {
            for row in (0..self.left.rows()).step_by(ROWS) {
                let left = self.left.tile(row);
                (0..left.rows).for_each(|i| self.finish.soon(dots, &self.out, row + i, column));
                dots.tile(left, panel, &mut sums);
                for (i, sums) in sums.iter_mut().take(left.rows).enumerate() {
                    self.finish.row(simd, &mut self.out, row + i, column, sums);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;

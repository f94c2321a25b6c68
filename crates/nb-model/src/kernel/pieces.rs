//! Operations of libtorch and oneDNN on the CPU, split into pieces for the threads of all kernels.
//!
//! Each piece runs on one thread. libtorch's own threads are not used: between two operations they spin, and on a machine with
//! other programs they wait for threads that have no processor.

use nb_kernels::threads;
use tch::{Device, Tensor};

/// Rows or columns of a piece. A constant, so that sums do not depend on the number of threads. A dense layer of BERT has at
/// least four pieces.
const SIZE: i64 = 96;

/// Computes a product [n, `width`] of `x` [n, k] in pieces of its columns: `operands` returns what belongs to a range of columns,
/// given by the first one and their number. Autograd records nothing.
pub(super) fn columns<const N: usize>(
    x: &Tensor,
    width: i64,
    operands: impl Fn(i64, i64) -> [Tensor; N],
    product: impl Fn(&Tensor, &[Tensor; N]) -> Tensor + Sync,
) -> Tensor {
    if !is_split(x, width) {
        return tch::no_grad(|| product(x, &operands(0, width)));
    }
    let out = Tensor::empty([x.size()[0], width], (x.kind(), x.device()));
    let pieces =
        pieces(width).map(|(first, count)| (x.shallow_clone(), out.narrow(1, first, count), operands(first, count)));
    for_each(pieces.collect(), |(x, out, operands)| out.copy_(&product(x, operands)));
    out
}

/// Changes rows of `sum` in place, piece by piece: `add` receives rows of `sum`, the same rows of `x`, and `shared`. Autograd
/// records nothing.
pub(super) fn add_rows(sum: &Tensor, x: &Tensor, shared: &Tensor, add: impl Fn(&mut Tensor, &Tensor, &Tensor) + Sync) {
    let rows = sum.size()[0];
    let piece = |(first, count)| ([sum, x].map(|tensor| tensor.narrow(0, first, count)), shared.shallow_clone());
    let add = |([sum, x], shared): &mut ([Tensor; 2], Tensor)| add(sum, x, shared);
    if is_split(sum, rows) {
        for_each(pieces(rows).map(piece).collect(), add);
    } else {
        tch::no_grad(|| add(&mut piece((0, rows))));
    }
}

/// Computes an operation on `x` and tensors of the same shape, entry by entry, in pieces of their rows.
pub(super) fn map<const N: usize>(
    x: &Tensor,
    others: [&Tensor; N],
    f: impl Fn(&Tensor, &[Tensor; N]) -> Tensor + Sync,
) -> Tensor {
    let rows = x.size()[0];
    if !is_split(x, rows) || x.requires_grad() {
        return f(x, &others.map(Tensor::shallow_clone));
    }
    let out = x.empty_like();
    let piece = |(first, count)| {
        let part = |tensor: &Tensor| tensor.narrow(0, first, count);
        ([part(&out), part(x)], others.map(part))
    };
    for_each(pieces(rows).map(piece).collect(), |([out, x], others)| out.copy_(&f(x, others)));
    out
}

fn is_split(tensor: &Tensor, size: i64) -> bool {
    tensor.device() == Device::Cpu && size > SIZE
}

/// Returns the first row or column, and the number of them, of each piece.
fn pieces(size: i64) -> impl Iterator<Item = (i64, i64)> {
    (0..size).step_by(SIZE as usize).map(move |first| (first, SIZE.min(size - first)))
}

/// Calls `f` with each piece.
fn for_each<P: Send>(pieces: Vec<P>, f: impl Fn(&mut P) + Sync) {
    threads::for_each(pieces.into_iter(), |mut piece| {
        // Each thread has its own number of OpenMP threads and its own switch of autograd.
        if tch::get_num_threads() != 1 {
            tch::set_num_threads(1);
        }
        let _guard = tch::no_grad_guard();
        f(&mut piece);
    });
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;

    /// Small integers, whose sums are exact.
    fn integers(rows: i64, columns: i64, factor: i64) -> Tensor {
        let all = Tensor::arange(rows * columns, (Kind::Int64, Device::Cpu)) * factor;
        (all.remainder(7) - 3).to_kind(Kind::Float).view([rows, columns])
    }

    #[test]
    fn pieces_cover_everything() {
        for size in [1, SIZE, SIZE + 1, 3 * SIZE + 17] {
            let (x, weight) = (integers(50, 40, 2), integers(size, 40, 3));
            let rows = |first, count| [weight.narrow(0, first, count)];
            let y = columns(&x, size, rows, |x, [weight]| x.matmul(&weight.tr()));
            assert!(y.equal(&x.matmul(&weight.tr())), "{size} columns");

            let sum = integers(size, 50, 1);
            let expected = &sum + weight.matmul(&x.tr());
            add_rows(&sum, &weight, &x.tr(), |sum, weight, x| _ = sum.addmm_(weight, x));
            assert!(sum.equal(&expected), "{size} rows");

            let product = map(&weight, [&(&weight * 2.0)], |a, [b]| a * b);
            assert!(product.equal(&(&weight * &weight * 2.0)), "{size} rows");
        }
    }

    #[test]
    fn autograd_records_no_product() {
        for size in [3, 2 * SIZE] {
            let weight = integers(size, 3, 1).set_requires_grad(true);
            let rows = |first, count| [weight.narrow(0, first, count)];
            assert!(!columns(&integers(5, 3, 1), size, rows, |x, [weight]| x.matmul(&weight.tr())).requires_grad());
        }
    }
}

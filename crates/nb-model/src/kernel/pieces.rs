//! Products of libtorch and oneDNN, split into pieces for the threads of all kernels.
//!
//! Each piece runs on one thread. libtorch's own threads are not used: between two products they spin, and on a machine with
//! other programs they wait for threads that have no processor.

use std::cell::Cell;

use nb_kernels::threads;
use tch::{Device, Tensor};

/// Rows of a piece: enough for the full speed of a product. A constant, so that sums do not depend on the number of threads.
const ROWS: i64 = 128;

/// Writes the rows of a product, piece by piece: `product` receives rows of `x` and `shared`, which all pieces use.
pub(super) fn rows<const N: usize>(
    x: &Tensor,
    width: i64,
    shared: [&Tensor; N],
    product: impl Fn(&Tensor, &[Tensor; N]) -> Tensor + Sync,
) -> Tensor {
    if !is_split(x) {
        return product(x, &shared.map(Tensor::shallow_clone));
    }
    let out = Tensor::empty([x.size()[0], width], (x.kind(), x.device()));
    let pieces = pieces(x.size()[0]).map(|(first, count)| {
        let part = |tensor: &Tensor| tensor.narrow(0, first, count);
        ([part(x), part(&out)], shared.map(Tensor::shallow_clone))
    });
    for_each(pieces.collect(), |([x, out], shared)| out.copy_(&product(x, shared)));
    out
}

/// Changes rows of `sum` in place, piece by piece: `add` receives rows of `sum`, the same rows of `x`, and `shared`.
pub(super) fn add_rows(sum: &Tensor, x: &Tensor, shared: &Tensor, add: impl Fn(&mut Tensor, &Tensor, &Tensor) + Sync) {
    let add = |([sum, x], shared): &mut ([Tensor; 2], Tensor)| add(sum, x, shared);
    if !is_split(sum) {
        return add(&mut ([sum, x].map(Tensor::shallow_clone), shared.shallow_clone()));
    }
    let pieces = pieces(sum.size()[0])
        .map(|(first, count)| ([sum, x].map(|tensor| tensor.narrow(0, first, count)), shared.shallow_clone()));
    for_each(pieces.collect(), add);
}

fn is_split(x: &Tensor) -> bool {
    x.device() == Device::Cpu && x.size()[0] > ROWS
}

/// Returns the first row and the number of rows of each piece.
fn pieces(rows: i64) -> impl Iterator<Item = (i64, i64)> {
    (0..rows).step_by(ROWS as usize).map(move |first| (first, ROWS.min(rows - first)))
}

/// Calls `f` with each piece. Autograd records nothing.
fn for_each<P: Send>(pieces: Vec<P>, f: impl Fn(&mut P) + Sync) {
    threads::for_each(pieces.into_iter(), |mut piece| {
        use_one_thread();
        tch::no_grad(|| f(&mut piece));
    });
}

/// Lets libtorch and oneDNN compute on this thread alone. The number of OpenMP's threads belongs to each thread.
fn use_one_thread() {
    thread_local!(static IS_SET: Cell<bool> = const { Cell::new(false) });
    if !IS_SET.replace(true) {
        tch::set_num_threads(1);
    }
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
    fn pieces_cover_all_rows() {
        let (weight, bias) = (integers(24, 40, 3), integers(1, 24, 5).view([24]));
        for n in [1, ROWS, ROWS + 1, 3 * ROWS + 17] {
            let x = integers(n, 40, 2);
            let y = rows(&x, 24, [&weight, &bias], |x, [weight, bias]| x.linear(weight, Some(bias)));
            assert!(y.equal(&x.linear(&weight, Some(&bias))), "{n} rows");

            let sum = integers(n, 24, 1);
            let expected = &sum + x.matmul(&weight.tr());
            add_rows(&sum, &x, &weight.tr(), |sum, x, weight| _ = sum.addmm_(x, weight));
            assert!(sum.equal(&expected), "{n} rows");
        }
    }

    #[test]
    fn autograd_records_nothing() {
        let weight = integers(3, 3, 1).set_requires_grad(true);
        let y = rows(&integers(2 * ROWS, 3, 1), 3, [&weight], |x, [weight]| x.matmul(weight));
        assert!(!y.requires_grad());
    }
}

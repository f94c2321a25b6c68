//! Results in the precision of the products added to f32: gradients of weights, of biases, and of what goes two ways.
//!
//! libtorch makes an f32 copy of bf16 numbers before it adds them. On the CPU they are read here as they lie.

use half::bf16;
use tch::{Device, Kind, Tensor};

use super::simd::dispatch;
use crate::host::{Element, with_slices_of};
use crate::pool;

/// Numbers per parallel piece.
const PIECE: usize = 1 << 14;
/// Columns per parallel piece of a sum over rows. Fixed, so that sums do not depend on the number of threads.
const COLUMNS: usize = 128;

/// `sum` (f32) becomes `sum` + `x`, both of one shape.
pub(crate) fn add(sum: &Tensor, x: &Tensor) {
    assert_eq!(sum.size(), x.size(), "what is added has the shape of the sum");
    let mut sum = sum.shallow_clone();
    if !is_for_host(&sum, x) {
        let _ = sum.g_add_(x);
        return;
    }
    with_slices_of::<bf16, f32, 1, 1, _>([&x.contiguous()], [&mut sum], |[x], [sum]| {
        pool::for_each(sum.chunks_mut(PIECE).zip(x.chunks(PIECE)), |(sum, x)| {
            dispatch(|| sum.iter_mut().zip(x).for_each(|(sum, x)| *sum += Element::to_f32(*x)));
        });
    });
}

/// `sum` \[H\] (f32) becomes `sum` + the sum over the rows of `x` [n, H].
pub(crate) fn add_rows(sum: &Tensor, x: &Tensor) {
    assert_eq!(sum.size()[0], x.size()[1], "rows have the length of the sum");
    let mut sum = sum.shallow_clone();
    if !is_for_host(&sum, x) {
        let _ = sum.g_add_(&x.sum_dim_intlist(0, false, Kind::Float));
        return;
    }
    let width = sum.numel();
    with_slices_of::<bf16, f32, 1, 1, _>([&x.contiguous()], [&mut sum], |[x], [sum]| {
        pool::for_each(sum.chunks_mut(COLUMNS).enumerate(), |(piece, sum)| {
            dispatch(|| add_columns(x.get(piece * COLUMNS..).unwrap_or_default(), width, sum));
        });
    });
}

/// Adds to `sum` the entries of rows that are `width` apart and begin where `x` does.
#[inline(always)]
fn add_columns(x: &[bf16], width: usize, sum: &mut [f32]) {
    let mut own = [0.0_f32; COLUMNS];
    for row in x.chunks(width) {
        own.iter_mut().zip(&row[..sum.len()]).for_each(|(own, x)| *own += Element::to_f32(*x));
    }
    sum.iter_mut().zip(own).for_each(|(sum, own)| *sum += own);
}

fn is_for_host(sum: &Tensor, x: &Tensor) -> bool {
    sum.device() == Device::Cpu && x.kind() == Kind::BFloat16 && sum.is_contiguous()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that bf16 holds exactly, in shapes that no piece divides.
    fn numbers(size: &[i64]) -> Tensor {
        let all = Tensor::arange(size.iter().product::<i64>(), (Kind::Int64, Device::Cpu));
        ((all * 7).remainder(23) - 11).to_kind(Kind::Float).view(size)
    }

    #[test]
    fn bf16_adds_up_in_f32() {
        for size in [[1, 1], [37, 131], [300, 384], [5, 128], [0, 200]] {
            let x = numbers(&size);
            for kind in [Kind::Float, Kind::BFloat16] {
                let (sum, rows) = (numbers(&size) * 0.5 + 1000.0, numbers(&[size[1]]) * 0.25);
                let (expected, expected_rows) = (&sum + &x, &rows + x.sum_dim_intlist(0, false, Kind::Float));
                add(&sum, &x.to_kind(kind));
                add_rows(&rows, &x.to_kind(kind));
                assert!(sum.equal(&expected) && rows.equal(&expected_rows), "{size:?} {kind:?}");
                add(&sum, &x.to_kind(kind).tr().contiguous().tr());
                assert!(sum.equal(&(expected + &x)), "{size:?} {kind:?}, transposed");
            }
        }
    }
}

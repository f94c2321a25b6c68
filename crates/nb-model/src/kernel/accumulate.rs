//! Addition of results in the precision of the products to f32 sums: gradients of weights and biases, and gradients that arrive
//! along two paths.
//!
//! libtorch makes an f32 copy of bf16 numbers before it adds them. On the CPU, [`nb_kernels::accumulate`] reads them in place.

use half::bf16;
use nb_torch::cpu_slices::{read, with_slices, write};
use tch::{Device, Kind, Tensor};

/// Adds `x` to `sum` (f32), both of the same shape.
pub(crate) fn add(sum: &Tensor, x: &Tensor) {
    assert_eq!(sum.size(), x.size(), "shapes of the sum and of x");
    let mut sum = sum.shallow_clone();
    if !is_for_cpu_kernel(&sum, x) {
        let _ = sum.g_add_(x);
        return;
    }
    with_slices((write::<f32>(&mut sum), read::<bf16>(&x.contiguous())), |(sum, x)| {
        nb_kernels::accumulate::add(sum, x);
    });
}

/// Adds the sum over the rows of `x` [n, H] to `sum` \[H\] (f32).
pub(crate) fn add_rows(sum: &Tensor, x: &Tensor) {
    assert_eq!(sum.size()[0], x.size()[1], "entries of the sum and of a row");
    let mut sum = sum.shallow_clone();
    if !is_for_cpu_kernel(&sum, x) {
        let _ = sum.g_add_(&x.sum_dim_intlist(0, false, Kind::Float));
        return;
    }
    with_slices((write::<f32>(&mut sum), read::<bf16>(&x.contiguous())), |(sum, x)| {
        nb_kernels::accumulate::add_rows(sum, x);
    });
}

fn is_for_cpu_kernel(sum: &Tensor, x: &Tensor) -> bool {
    sum.device() == Device::Cpu && x.kind() == Kind::BFloat16 && sum.is_contiguous()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that bf16 represents exactly, for shapes that are not multiples of a piece.
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

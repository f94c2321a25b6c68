//! Sums of squares of gradients.

use nb_kernels::threads;
use pulp::Arch;

use super::piece::PIECE;

/// Σ g², on all cores. The tasks have a fixed size, so the sum does not depend on the number of threads.
pub(super) fn sum_of_squares(grads: &[f32]) -> f64 {
    let mut sums = vec![0.0; grads.len().div_ceil(PIECE)];
    threads::for_each(sums.iter_mut().zip(grads.chunks(PIECE)), |(sum, piece)| {
        *sum = Arch::new().dispatch(|| squares(piece));
    });
    sums.into_iter().sum()
}

/// Σ g² on this thread, in partial sums that fill vector registers.
#[inline(always)]
pub(super) fn squares(grads: &[f32]) -> f64 {
    let (chunks, rest) = grads.as_chunks::<32>();
    let mut sums = [0.0_f64; 32];
    for chunk in chunks {
        sums.iter_mut().zip(chunk).for_each(|(sum, &g)| *sum += f64::from(g) * f64::from(g));
    }
    sums.into_iter().sum::<f64>() + rest.iter().map(|&g| f64::from(g) * f64::from(g)).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squares_of_many_pieces_add_up() {
        let numbers: Vec<f32> = (0..2 * PIECE + 77).map(|i| (i * 7 % 23) as f32 - 11.0).collect();
        let expected: f64 = numbers.iter().map(|&g| f64::from(g).powi(2)).sum();
        assert_eq!(sum_of_squares(&numbers), expected); // integers: exact in any order
        let mut broken = numbers;
        broken[PIECE + 5] = f32::INFINITY;
        assert_eq!(sum_of_squares(&broken), f64::INFINITY);
        broken[3] = f32::NAN;
        assert!(sum_of_squares(&broken).is_nan());
        assert_eq!(sum_of_squares(&[]), 0.0);
    }
}

//! The dot product of two vectors.

/// Computes a·b with sums in lanes that the compiler can keep in vector registers.
///
/// The order of the additions depends on the length alone. Equal vectors therefore have bit-identical scores wherever they
/// are in memory, which a matrix product does not guarantee.
///
/// ```
/// assert_eq!(nb_kernels::dot(&[1.0, 2.0], &[3.0, 4.0]), 11.0);
/// ```
///
/// # Panics
///
/// If the lengths differ.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len(), "entries of the vectors");
    const LANES: usize = 16;
    let mut sums = [0.0_f32; LANES];
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f32 = a.remainder().iter().zip(b.remainder()).map(|(x, y)| x * y).sum();
    for (a, b) in a.zip(b) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f32>() + rest
}

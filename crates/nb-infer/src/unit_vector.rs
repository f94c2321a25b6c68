//! Vectors of length 1.

/// The least norm by which a vector is divided, so that zeros stay zeros.
const MIN_NORM: f32 = 1e-12;

/// Divides a vector by its norm. If the norm is no finite number, the vector becomes NaN: dividing by infinity would hide that.
pub(crate) fn normalise(vector: &mut [f32]) {
    let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    let norm = if norm.is_finite() { norm.max(MIN_NORM) } else { f32::NAN };
    vector.iter_mut().for_each(|x| *x /= norm);
}

//! Vectors of length 1.

use nb_kernels::dot;

/// Divides a vector by its length; zeros stay zeros. If the length is not finite, all entries become NaN: dividing by infinity would
/// hide it.
///
/// ```
/// let mut vector = [3.0, 4.0];
/// nb_rank::normalise(&mut vector);
/// assert_eq!(vector, [0.6, 0.8]);
/// ```
pub fn normalise(vector: &mut [f32]) {
    let length = dot(vector, vector).sqrt();
    if !length.is_finite() {
        vector.fill(f32::NAN);
    } else if length > 0.0 {
        vector.iter_mut().for_each(|value| *value /= length);
    }
}

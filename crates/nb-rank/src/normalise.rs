//! Vectors of length 1.

use nb_kernels::dot;

/// Divides a vector by its length; zeros stay zeros.
///
/// ```
/// let mut vector = [3.0, 4.0];
/// nb_rank::normalise(&mut vector);
/// assert_eq!(vector, [0.6, 0.8]);
/// ```
pub fn normalise(vector: &mut [f32]) {
    let length = dot(vector, vector).sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|value| *value /= length);
    }
}

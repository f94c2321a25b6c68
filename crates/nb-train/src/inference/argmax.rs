//! From the probabilities of a text to its class.

/// Returns the most probable class: the index of the largest of `probabilities`, the last one if several are equally
/// large. Returns 0 if there are none.
///
/// ```
/// use nb_train::inference::argmax;
///
/// assert_eq!(argmax(&[0.2, 0.5, 0.3]), 1);
/// assert_eq!(argmax(&[0.4, 0.2, 0.4]), 2);
/// ```
pub fn argmax(probabilities: &[f32]) -> usize {
    (0..probabilities.len()).max_by(|&a, &b| probabilities[a].total_cmp(&probabilities[b])).unwrap_or(0)
}

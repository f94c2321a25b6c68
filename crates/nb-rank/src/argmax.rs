//! From the probabilities of a text to its class.

/// Returns the most probable class: the index of the largest of `probabilities`, which are finite. If several are equally
/// large, it is the first of them, as in libtorch's `argmax` on the CPU. Returns `None` if there are no classes.
///
/// ```
/// use nb_rank::argmax;
///
/// assert_eq!(argmax(&[0.2, 0.5, 0.3]), Some(1));
/// assert_eq!(argmax(&[0.4, 0.2, 0.4]), Some(0));
/// assert_eq!(argmax(&[]), None);
/// ```
pub fn argmax(probabilities: &[f32]) -> Option<usize> {
    // `max_by` returns the last of several maxima.
    (0..probabilities.len()).rev().max_by(|&a, &b| probabilities[a].total_cmp(&probabilities[b]))
}

//! The significance level and the wording that the table and the notes of a comparison share.

/// A difference is marked as significant if its adjusted p-value is below this level.
pub(super) const SIGNIFICANT: f64 = 0.05;

/// Returns a depth in words: `1 layer`, `2 layers`.
pub(super) fn depth(layers: u64) -> String {
    format!("{layers} {}", if layers == 1 { "layer" } else { "layers" })
}

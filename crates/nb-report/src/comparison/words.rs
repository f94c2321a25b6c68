//! Words and limits that the text and the notes of a comparison share.

/// A difference with an adjusted p-value below this has a mark.
pub(super) const SIGNIFICANT: f64 = 0.05;

/// Returns a depth in words: `1 layer`, `2 layers`.
pub(super) fn depth(layers: u64) -> String {
    format!("{layers} {}", if layers == 1 { "layer" } else { "layers" })
}

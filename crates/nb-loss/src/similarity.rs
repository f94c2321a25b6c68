//! Similarities between the rows of one batch, for the losses that compare them.

use tch::Tensor;

/// The fewest rows that have similarities.
pub(crate) const LEAST_ROWS: i64 = 2;

/// Returns the dot products of each row with all other rows, in order: `[rows, H]` to `[rows, rows − 1]`. There must be
/// at least [`LEAST_ROWS`] rows.
///
/// The products of rows with themselves are removed, not masked, so no gradient can pass through them.
pub(crate) fn similarities(xs: &Tensor) -> Tensor {
    let rows = xs.size()[0];
    let products = xs.matmul(&xs.tr()).flatten(0, 1); // [rows²]
    // After the first entry, which is on the diagonal, every entry at a distance of rows + 1 is on it too.
    let others = products.narrow(0, 1, rows * rows - 1).view([rows - 1, rows + 1]).narrow(1, 0, rows);
    others.reshape([rows, rows - 1])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::values;

    #[test]
    fn each_row_is_compared_with_the_others_in_order() {
        let xs = Tensor::from_slice2(&[[1.0, 0.0], [2.0, 3.0], [-4.0, 5.0]]);
        assert_eq!(values(&similarities(&xs)), [2.0, -4.0, 2.0, 7.0, -4.0, 7.0]);
        assert_eq!(similarities(&xs).size(), [3, 2]);
        assert_eq!(values(&similarities(&xs.narrow(0, 0, 2))), [2.0, 2.0]);
    }
}

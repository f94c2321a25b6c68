//! A random split of a file's rows into training and development rows.

use crate::random::{Stream, mix};

/// Splits rows 0 to `n - 1` randomly into training and development rows, each in ascending order.
///
/// The development part has `dev_fraction · n` rows, rounded to the nearest integer, but at least one row and not all
/// rows if there are two or more. The same `n`, fraction and seed always give the same split.
///
/// ```
/// let (train, dev) = nb_data::read::split(10, 0.2, 0);
/// assert_eq!((train.len(), dev.len()), (8, 2));
/// ```
///
/// # Panics
/// If `dev_fraction` is not between 0 and 1, or `n` exceeds 2^32.
#[must_use]
pub fn split(n: usize, dev_fraction: f64, seed: u64) -> (Vec<u32>, Vec<u32>) {
    assert!((0.0..=1.0).contains(&dev_fraction), "a fraction of {dev_fraction} is not between 0 and 1");
    let mut rows = crate::batch::all_rows(n);
    Stream::new(mix(&[seed, SPLIT])).shuffle(&mut rows);
    let wanted = (dev_fraction * n as f64).round() as usize;
    let mut train = rows.split_off(wanted.clamp(n.min(2) / 2, n.saturating_sub(1)));
    let mut dev = rows;
    train.sort_unstable();
    dev.sort_unstable();
    (train, dev)
}

/// Separates the randomness of splits from other uses of the same seed.
const SPLIT: u64 = 0x73_70_6C_69_74; // "split"

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_takes_each_row_once_and_is_pinned() {
        let (train, dev) = split(10, 0.3, 0);
        assert_eq!(dev, [3, 8, 9]);
        let mut all = [train, dev].concat();
        all.sort_unstable();
        assert_eq!(all, (0..10).collect::<Vec<u32>>());
        assert_ne!(split(100, 0.3, 0).1, split(100, 0.3, 1).1);
    }

    #[test]
    fn a_split_leaves_neither_side_empty() {
        for (n, fraction, sizes) in
            [(2, 0.01, (1, 1)), (2, 1.0, (1, 1)), (1, 0.9, (1, 0)), (0, 0.5, (0, 0)), (5, 0.5, (2, 3))]
        {
            let (train, dev) = split(n, fraction, 0);
            assert_eq!((train.len(), dev.len()), sizes, "{n} rows, {fraction}");
        }
    }
}

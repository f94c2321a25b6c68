//! Counts values that are not finite.

/// The exponent bits of an f32. All of them are set in infinities and NaNs, and in no other value.
const EXPONENT: u32 = 0x7f80_0000;
/// Values per block. A block is tested without a branch, so the loop compiles to vector instructions.
const BLOCK: usize = 4096;

/// Returns the number of f32 values in `bytes`, in native byte order, that are NaN or infinite. Bytes after the last
/// whole value are ignored.
///
/// ```
/// let bytes = [1.0, f32::NAN, -f32::INFINITY].map(f32::to_ne_bytes).concat();
/// assert_eq!(nb_checkpoint::count_non_finite(&bytes), 2);
/// ```
pub fn count_non_finite(bytes: &[u8]) -> usize {
    let values = bytes.as_chunks::<4>().0;
    let blocks = values.chunks(BLOCK).filter(|block| block.iter().fold(false, |any, value| any | is_non_finite(value)));
    blocks.map(|block| block.iter().filter(|value| is_non_finite(value)).count()).sum()
}

fn is_non_finite(value: &[u8; 4]) -> bool {
    u32::from_ne_bytes(*value) & EXPONENT == EXPONENT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_non_finite_value_is_counted() {
        let mut values = vec![f32::MAX; 3 * BLOCK + 5];
        values[1] = f32::MIN_POSITIVE / 2.0;
        values[2] = -0.0;
        let count =
            |values: &[f32]| count_non_finite(&values.iter().flat_map(|value| value.to_ne_bytes()).collect::<Vec<_>>());
        assert_eq!((count(&values), count(&[])), (0, 0));
        values[0] = f32::NAN;
        values[BLOCK] = f32::INFINITY;
        values[3 * BLOCK + 4] = f32::NEG_INFINITY;
        assert_eq!(count(&values), 3);
    }
}

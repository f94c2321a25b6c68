//! Dropout as a pure function of a key.
//!
//! No mask is stored: the backward pass applies the same [`Dropout`] to the gradient. The mask comes from a counter-based
//! generator, so it depends only on the key and the index of an entry, not on the number of threads.

use crate::float::Float;
use crate::simd::dispatch;
use crate::threads;

/// Entries whose masks are drawn together.
pub(crate) const BLOCK: usize = 32;
/// Entries per parallel piece, a multiple of [`BLOCK`].
const PIECE: usize = 1 << 14;

/// Dropout with probability p and a key: each entry becomes 0 with probability p, otherwise it is multiplied by 1/(1−p).
///
/// ```
/// use nb_kernels::dropout::Dropout;
/// let dropout = Dropout::new(0.5, Some(7)).expect("a probability above 0");
/// let mut x = [1.0_f32; 100];
/// dropout.apply(&mut x);
/// assert!(x.contains(&0.0) && x.contains(&2.0));
/// assert!(Dropout::new(0.0, Some(7)).is_none());
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Dropout {
    p: f64,
    key: u64,
}

impl Dropout {
    /// Returns the dropout of one site in a model; `None` without a key or with probability 0, since nothing is dropped then.
    pub fn new(p: f64, key: Option<u64>) -> Option<Self> {
        key.filter(|_| p > 0.0).map(|key| Self { p, key })
    }

    /// Returns the probability p.
    pub fn probability(self) -> f64 {
        self.p
    }

    /// Returns the key, as a seed for other generators.
    pub fn key(self) -> u64 {
        self.key
    }

    /// Returns the dropout of part `index` of a site whose mask is drawn in parts.
    #[inline]
    pub fn part(self, index: usize) -> Self {
        Self { p: self.p, key: mix(self.key.wrapping_add((index as u64 + 1).wrapping_mul(GOLDEN))) }
    }

    /// Drops entries of `x` in place, on all threads.
    pub fn apply<T: Float>(self, x: &mut [T]) {
        threads::for_each(x.chunks_mut(PIECE).enumerate(), |(piece, x)| {
            dispatch(|| self.apply_piece(piece * PIECE / BLOCK, x));
        });
    }

    /// Drops entries of a piece that begins with block number `block`.
    #[inline(always)]
    fn apply_piece<T: Float>(self, block: usize, x: &mut [T]) {
        let (draw, scale) = (Draw::new(self), self.scale());
        for (block, x) in (block as u32..).zip(x.chunks_mut(BLOCK)) {
            let keeps = draw.block(block);
            x.iter_mut().zip(keeps).for_each(|(x, keep)| *x = T::from_f32(if keep { x.to_f32() * scale } else { 0.0 }));
        }
    }

    /// Writes the mask of a part: 0 or 1/(1−p) for each entry.
    #[inline(always)]
    pub(crate) fn mask(self, out: &mut [f32]) {
        let scale = self.scale();
        let draw = Draw::new(self);
        for (block, out) in (0..).zip(out.chunks_mut(BLOCK)) {
            out.iter_mut().zip(draw.block(block)).for_each(|(v, keep)| *v = if keep { scale } else { 0.0 });
        }
    }

    /// Copies `from`, which begins with block number `block` (of [`BLOCK`] entries), to `to` and drops entries.
    #[inline(always)]
    pub(crate) fn copy<T: Float, U: Float>(self, block: usize, from: &[T], to: &mut [U]) {
        let (draw, scale) = (Draw::new(self), self.scale());
        let ((blocks, rest), (to_blocks, to_rest)) = (from.as_chunks::<BLOCK>(), to.as_chunks_mut::<BLOCK>());
        for (i, (from, to)) in blocks.iter().zip(to_blocks).enumerate() {
            let mask = draw.mask((block + i) as u32, scale);
            for j in 0..BLOCK {
                to[j] = U::from_f32(from[j].to_f32() * mask[j]);
            }
        }
        if !rest.is_empty() {
            let mask = draw.mask((block + blocks.len()) as u32, scale);
            for (j, from) in rest.iter().enumerate() {
                to_rest[j] = U::from_f32(from.to_f32() * mask[j]);
            }
        }
    }

    /// Returns the factor of an entry that is not dropped.
    #[inline(always)]
    fn scale(self) -> f32 {
        (1.0 / (1.0 - self.p)) as f32
    }
}

/// The generator of a mask, in blocks of [`BLOCK`] entries: an integer hash of the key and the index of a word, with the
/// multipliers and shifts of Wellons' `lowbias32`. Each entry uses 16 bits.
#[derive(Debug, Clone, Copy)]
struct Draw {
    key: [u32; 2],
    /// The probability in units of 2⁻¹⁶: 0.1 becomes 0.100006.
    drop: u32,
}

impl Draw {
    #[inline(always)]
    fn new(dropout: Dropout) -> Self {
        let key = [dropout.key as u32, (dropout.key >> 32) as u32];
        Self { key, drop: (dropout.p * 65536.0).round() as u32 }
    }

    /// Returns the factors of the entries of block number `block`: 0 or `scale`.
    #[inline(always)]
    fn mask(self, block: u32, scale: f32) -> [f32; BLOCK] {
        self.block(block).map(|keep| if keep { scale } else { 0.0 })
    }

    /// Returns true for each entry of block number `block` that is not dropped. The loops over arrays compile to vector
    /// instructions.
    #[inline(always)]
    fn block(self, block: u32) -> [bool; BLOCK] {
        let mut words = [0_u32; BLOCK / 2];
        for (word, lane) in words.iter_mut().zip(0..) {
            let mut w = (block * (BLOCK as u32 / 2) + lane).wrapping_mul(0x9e37_79b9) ^ self.key[0];
            w = (w ^ (w >> 16)).wrapping_mul(0x7feb_352d);
            w = (w ^ (w >> 15) ^ self.key[1]).wrapping_mul(0x846c_a68b);
            *word = w ^ (w >> 16);
        }
        let mut keeps = [false; BLOCK];
        let (low, high) = keeps.split_at_mut(BLOCK / 2);
        low.iter_mut().zip(words).for_each(|(keep, word)| *keep = word & 0xffff >= self.drop);
        high.iter_mut().zip(words).for_each(|(keep, word)| *keep = word >> 16 >= self.drop);
        keeps
    }
}

/// 2⁶⁴ divided by the golden ratio: the step of the SplitMix64 sequence.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The finaliser of SplitMix64 (Steele, Lea and Flood 2014): every output bit depends on every input bit.
#[inline(always)]
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Returns the key of one dropout site of one layer, from the key of a pass.
pub fn site_key(pass: u64, layer: usize, site: u64) -> u64 {
    mix(mix(pass ^ GOLDEN).wrapping_add((layer as u64) << 32 | site))
}

#[cfg(test)]
mod tests {
    use half::bf16;

    use super::*;

    fn dropped<T: Float>(p: f64, key: u64, count: usize) -> Vec<f32> {
        let mut x = vec![T::from_f32(1.0); count];
        Dropout::new(p, Some(key)).unwrap().apply(&mut x);
        x.into_iter().map(T::to_f32).collect()
    }

    #[test]
    fn the_share_and_the_scale_match_p() {
        for x in [dropped::<f32>(0.1, 7, 1_000_001), dropped::<bf16>(0.1, 7, 1_000_001)] {
            let kept = x.iter().filter(|x| **x != 0.0).count() as f64 / 1_000_001.0;
            // Five standard errors of a share of 0.9 over a million draws.
            assert!((kept - 0.9).abs() < 5.0 * (0.09_f64 / 1e6).sqrt(), "{kept}");
            let largest = f64::from(x.into_iter().fold(0.0, f32::max));
            assert!((largest - 1.0 / 0.9).abs() < 5e-3, "{largest}");
        }
    }

    #[test]
    fn the_mask_depends_only_on_the_key_and_the_index() {
        let first = dropped::<f32>(0.3, 1, 100_003);
        assert_eq!(first, dropped::<f32>(0.3, 1, 100_003));
        assert_eq!(first[..1001], dropped::<f32>(0.3, 1, 1001));
        assert_ne!(first, dropped::<f32>(0.3, 2, 100_003));
    }

    /// Uses a mask in all three ways: in place, as a mask, and in a copy that begins at any block.
    #[test]
    fn a_mask_is_the_same_in_every_use() {
        let dropout = Dropout::new(0.3, Some(5)).unwrap();
        for len in [0, 1, BLOCK, 3 * BLOCK + 7] {
            let x = dropped::<f32>(0.3, 5, len);
            let (mut mask, mut copy) = (vec![9.0; len], vec![9.0; len]);
            dropout.mask(&mut mask);
            dropout.copy(0, &vec![1.0_f32; len], &mut copy);
            assert!(x == mask && x == copy, "{len} entries");
            let rest = len.saturating_sub(BLOCK);
            let mut copy = vec![9.0_f32; rest];
            dropout.copy(1, &vec![1.0_f32; rest], &mut copy);
            assert_eq!(copy, x[len - rest..], "{len} entries");
        }
    }

    #[test]
    fn neighbouring_keys_and_sites_draw_independent_masks() {
        const COUNT: usize = 100_000;
        let first = dropped::<f32>(0.5, site_key(3, 0, 0), COUNT);
        for other in [site_key(3, 0, 1), site_key(3, 1, 0), site_key(4, 0, 0)] {
            let other = dropped::<f32>(0.5, other, COUNT);
            let both = (0..COUNT).filter(|&i| first[i] * other[i] != 0.0).count() as f64 / COUNT as f64;
            assert!((both - 0.25).abs() < 0.01, "{both}");
        }
    }

    #[test]
    fn without_a_key_or_a_probability_nothing_is_dropped() {
        assert!(Dropout::new(0.1, None).is_none() && Dropout::new(0.0, Some(1)).is_none());
    }
}

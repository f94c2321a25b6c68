//! Dropout as a pure function of a key.
//!
//! The mask is never stored: [`Dropout::apply`] on the gradient, with the key of the forward pass, is the backward pass.
//! On the CPU the mask comes from a counter-based generator written here, so it depends on the key and the entry's index
//! alone, not on the number of threads; on other devices libtorch's generator is seeded with the key.

use half::bf16;
use tch::{Device, Kind, Tensor};

use super::simd::dispatch;
use crate::host::{Element, with_slices};
use crate::pool;

/// Entries that are drawn at once.
pub(crate) const BLOCK: usize = 32;
/// Entries per parallel piece; whole blocks.
const PIECE: usize = 1 << 14;

/// Dropout with probability `p` and key `key`: each entry becomes 0 with probability p, else grows by 1/(1−p).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dropout {
    p: f64,
    key: u64,
}

impl Dropout {
    /// The dropout of one site; `None` where nothing is dropped.
    pub(crate) fn new(p: f64, key: Option<u64>) -> Option<Self> {
        key.filter(|_| p > 0.0).map(|key| Self { p, key })
    }

    /// The dropout of part `index` of a site that draws its mask in parts.
    #[inline]
    pub(crate) fn part(self, index: usize) -> Self {
        Self { p: self.p, key: mix(self.key.wrapping_add((index as u64 + 1).wrapping_mul(GOLDEN))) }
    }

    /// Writes the mask of a part: for each entry 0 or 1/(1−p).
    #[inline(always)]
    pub(crate) fn mask(self, out: &mut [f32]) {
        let scale = self.scale();
        let draw = Draw::of(self);
        for (block, out) in (0..).zip(out.chunks_mut(BLOCK)) {
            out.iter_mut().zip(draw.block(block)).for_each(|(v, keep)| *v = if keep { scale } else { 0.0 });
        }
    }

    /// Copies a part of a tensor to `to`, with entries dropped; the part begins with block number `block` of [`BLOCK`] entries.
    #[inline(always)]
    pub(crate) fn copy<T: Element, U: Element>(self, block: usize, from: &[T], to: &mut [U]) {
        let (draw, scale) = (Draw::of(self), self.scale());
        let ((blocks, rest), (to_blocks, to_rest)) = (from.as_chunks::<BLOCK>(), to.as_chunks_mut::<BLOCK>());
        let last = (block + blocks.len()) as u32;
        for ((block, from), to) in (block as u32..).zip(blocks).zip(to_blocks) {
            let mask = draw.mask(block, scale);
            for ((to, from), mask) in to.iter_mut().zip(from).zip(mask) {
                *to = U::from_f32(from.to_f32() * mask);
            }
        }
        if !rest.is_empty() {
            let mask = draw.mask(last, scale);
            to_rest.iter_mut().zip(rest).zip(mask).for_each(|((to, v), mask)| *to = U::from_f32(v.to_f32() * mask));
        }
    }

    /// What a kept entry is multiplied by.
    #[inline(always)]
    fn scale(self) -> f32 {
        (1.0 / (1.0 - self.p)) as f32
    }

    /// Drops entries of a contiguous `x` in place.
    pub(crate) fn apply(self, x: &mut Tensor) {
        match (x.device(), x.kind()) {
            (Device::Cpu, Kind::Float) => with_slices::<f32, 0, 1, _>([], [x], |_, [x]| self.run(x)),
            (Device::Cpu, Kind::BFloat16) => with_slices::<bf16, 0, 1, _>([], [x], |_, [x]| self.run(x)),
            _ => {
                let p = self.seed();
                let mask = x.empty_like().bernoulli_float_(1.0 - p);
                let _ = x.g_mul_(&mask).g_mul_scalar_(1.0 / (1.0 - self.p));
            }
        }
    }

    /// Lets libtorch's generators begin from the key, for what draws from them next; returns p.
    pub(crate) fn seed(self) -> f64 {
        tch::manual_seed(self.key as i64);
        self.p
    }

    fn run<T: Element>(self, x: &mut [T]) {
        let (draw, scale) = (Draw::of(self), self.scale());
        pool::for_each(x.chunks_mut(PIECE).enumerate(), |(piece, values)| {
            dispatch(|| {
                let first = (piece * PIECE / BLOCK) as u32;
                for (block, values) in (first..).zip(values.chunks_mut(BLOCK)) {
                    let keeps = draw.block(block);
                    values
                        .iter_mut()
                        .zip(keeps)
                        .for_each(|(v, keep)| *v = T::from_f32(if keep { v.to_f32() * scale } else { 0.0 }));
                }
            });
        });
    }
}

/// Draws a mask by blocks of [`BLOCK`] entries: an integer hash of key and word number (the multipliers and shifts are
/// those of Wellons' `lowbias32`), 16 bits for each entry.
#[derive(Debug, Clone, Copy)]
struct Draw {
    key: [u32; 2],
    /// The probability in steps of 2⁻¹⁶: 0.1 becomes 0.100006.
    drop: u32,
}

impl Draw {
    #[inline(always)]
    fn of(dropout: Dropout) -> Self {
        let key = [dropout.key as u32, (dropout.key >> 32) as u32];
        Self { key, drop: (dropout.p * 65536.0).round() as u32 }
    }

    /// What the entries from `block`·[`BLOCK`] on are multiplied by: 0 or `scale`.
    #[inline(always)]
    fn mask(self, block: u32, scale: f32) -> [f32; BLOCK] {
        self.block(block).map(|keep| if keep { scale } else { 0.0 })
    }

    /// Which entries from `block`·[`BLOCK`] on are kept. Loops over arrays, so that they become vector instructions.
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

/// The key of one site of one layer under the key of a pass.
pub(crate) fn site_key(pass: u64, layer: usize, site: u64) -> u64 {
    mix(mix(pass ^ GOLDEN).wrapping_add((layer as u64) << 32 | site))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ones(n: i64, kind: Kind) -> Tensor {
        Tensor::ones([n], (kind, Device::Cpu))
    }

    #[test]
    fn the_share_and_the_scale_are_those_of_p() {
        for kind in [Kind::Float, Kind::BFloat16] {
            let mut x = ones(1_000_001, kind);
            Dropout::new(0.1, Some(7)).unwrap().apply(&mut x);
            let x = x.to_kind(Kind::Float);
            let kept = x.count_nonzero(None).int64_value(&[]) as f64 / 1_000_001.0;
            // Five standard errors of a share of 0.9 over a million draws.
            assert!((kept - 0.9).abs() < 5.0 * (0.09_f64 / 1e6).sqrt(), "{kept}");
            let largest = x.max().double_value(&[]);
            assert!((largest - 1.0 / 0.9).abs() < 5e-3, "{largest}");
        }
    }

    #[test]
    fn the_mask_is_a_function_of_the_key_alone() {
        let draw = |key, threads| {
            tch::set_num_threads(threads);
            let mut x = ones(100_003, Kind::Float);
            Dropout::new(0.3, Some(key)).unwrap().apply(&mut x);
            x
        };
        assert!(draw(1, 1).equal(&draw(1, 3)));
        assert!(!draw(1, 1).equal(&draw(2, 1)));
    }

    #[test]
    fn neighbouring_keys_and_sites_draw_independent_masks() {
        let draw = |key| {
            let mut x = ones(100_000, Kind::Float);
            Dropout::new(0.5, Some(key)).unwrap().apply(&mut x);
            x * 0.5
        };
        for other in [site_key(3, 0, 1), site_key(3, 1, 0), site_key(4, 0, 0)] {
            let both = (draw(site_key(3, 0, 0)) * draw(other)).mean(Kind::Double).double_value(&[]);
            assert!((both - 0.25).abs() < 0.01, "{both}");
        }
    }

    #[test]
    fn without_a_key_or_a_probability_nothing_is_dropped() {
        assert!(Dropout::new(0.1, None).is_none() && Dropout::new(0.0, Some(1)).is_none());
    }
}

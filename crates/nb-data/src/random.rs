//! Random numbers that never change.
//!
//! The draws of a run (order of rows, splits, negatives) must be the same after an interruption, on another machine and
//! with a later version of this crate. So the numbers are part of the contract: tests pin them, and an algorithm with
//! other numbers gets a new name. [`mix`] makes the seed of a stream from its purpose; there is no global state:
//!
//! ```
//! use nb_data::random::{Stream, mix};
//! let (seed, epoch) = (7, 2);
//! let mut stream = Stream::new(mix(&[seed, epoch]));
//! assert!(stream.below(10) < 10);
//! ```
//!
//! Not suitable for cryptography.

/// The step of SplitMix64 (Steele, Lea and Flood 2014): 2^64 divided by the golden ratio, odd.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// The output function of SplitMix64: a bijection of 64 bits in which every input bit reaches every output bit.
fn scramble(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// Hashes a list of numbers into one: h ← scramble((h + GOLDEN) xor x) for each x, from h = the length of the list.
///
/// The order counts, and so does the length: `[1]` and `[1, 0]` differ.
///
/// ```
/// assert_ne!(nb_data::random::mix(&[1, 2]), nb_data::random::mix(&[2, 1]));
/// ```
#[must_use]
pub fn mix(parts: &[u64]) -> u64 {
    parts.iter().fold(parts.len() as u64, |hash, &part| scramble(hash.wrapping_add(GOLDEN) ^ part))
}

/// A stream of random numbers: xoshiro256++ (Blackman and Vigna 2019), seeded by SplitMix64 as its authors advise.
#[derive(Clone, Debug)]
pub struct Stream {
    state: [u64; 4],
}

impl Stream {
    /// Creates the stream of a seed. Seeds that differ in one bit give unrelated streams.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let state = std::array::from_fn(|i| scramble(seed.wrapping_add(GOLDEN.wrapping_mul(i as u64 + 1))));
        Self { state }
    }

    /// Returns the next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let out = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let (c, d) = (c ^ a, d ^ b);
        self.state = [a ^ d, b ^ c, c ^ (b << 17), d.rotate_left(45)];
        out
    }

    /// Returns a number from 0 to `bound - 1`, each equally likely (Lemire 2019: the high half of a product, few
    /// rejections).
    ///
    /// # Panics
    /// If `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "cannot draw a number below 0");
        // A uniform draw must reject 2^64 mod bound of the products: those below this threshold.
        let threshold = bound.wrapping_neg() % bound;
        loop {
            let product = u128::from(self.next_u64()) * u128::from(bound);
            if product as u64 >= threshold {
                return (product >> 64) as u64;
            }
        }
    }

    /// Returns a number in [0, 1), a multiple of 2^-53.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Returns one of `items`, each equally likely.
    ///
    /// # Panics
    /// If `items` is empty.
    pub fn choose<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len() as u64) as usize]
    }

    /// Shuffles `items`, each order equally likely (Fisher and Yates, from the last item down).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i as u64 + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_pinned() {
        assert_eq!(mix(&[]), 0);
        assert_eq!([mix(&[0]), mix(&[1, 2, 3])], [10_451_216_379_200_822_465, 2_711_551_329_624_082_386]);
        let mut stream = Stream::new(0);
        assert_eq!(
            [stream.next_u64(), stream.next_u64(), stream.next_u64()],
            [5_987_356_902_031_041_503, 7_051_070_477_665_621_255, 6_633_766_593_972_829_180]
        );
        let mut items: Vec<u32> = (0..10).collect();
        Stream::new(1).shuffle(&mut items);
        assert_eq!(items, [4, 7, 9, 3, 2, 1, 5, 0, 6, 8]);
    }

    /// The first state is that of the published SplitMix64 with seed 0.
    #[test]
    fn seeding_is_splitmix64() {
        assert_eq!(Stream::new(0).state[..2], [0xE220_A839_7B1D_CDAF, 0x6E78_9E6A_A1B9_65F4]);
    }

    #[test]
    fn below_is_uniform() {
        let mut stream = Stream::new(3);
        let mut counts = [0_u32; 7];
        for _ in 0..70_000 {
            counts[stream.below(7) as usize] += 1;
        }
        // The limit is five standard deviations of a count, 93 each.
        assert!(counts.iter().all(|count| count.abs_diff(10_000) < 465), "{counts:?}");
    }

    #[test]
    fn unit_is_below_one_and_averages_one_half() {
        let mut stream = Stream::new(4);
        let draws: Vec<f64> = (0..10_000).map(|_| stream.unit()).collect();
        assert!(draws.iter().all(|draw| (0.0..1.0).contains(draw)));
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        assert!((mean - 0.5).abs() < 0.015, "{mean}");
    }
}

//! Repeatable draws with replacement, for the interval and for the paired test.

use rayon::prelude::*;

use crate::Error;

/// Settings of a bootstrap. The default has 10,000 resamples, a level of 95 % and seed 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bootstrap {
    /// Number of resamples, at least 1.
    pub resamples: usize,
    /// Share of the distribution inside the interval, strictly between 0 and 1.
    pub level: f64,
    /// The same seed gives the same resamples, on any machine and any number of threads.
    pub seed: u64,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self { resamples: 10_000, level: 0.95, seed: 0 }
    }
}

impl Bootstrap {
    pub(crate) fn check(&self) -> Result<(), Error> {
        let bad = |name, found, expected| Err(Error::Bootstrap { name, found, expected });
        if self.resamples == 0 {
            return bad("the number of resamples", 0.0, "at least 1");
        }
        if !(self.level > 0.0 && self.level < 1.0) {
            return bad("the level", self.level, "a number between 0 and 1");
        }
        Ok(())
    }

    /// The mean of each resample of `values` (not empty), in the order of the resamples.
    pub(crate) fn means(&self, values: &[f64]) -> Vec<f64> {
        let n = values.len();
        let mean_of = |resample: usize| {
            let mut draws = Draws::new(self.seed, resample as u64);
            (0..n).map(|_| values[draws.below(n)]).sum::<f64>() / n as f64
        };
        (0..self.resamples).into_par_iter().map(mean_of).collect()
    }

    /// The ends of the middle `level` of `means`: the quantiles (1 ∓ level)/2.
    pub(crate) fn middle(&self, mut means: Vec<f64>) -> (f64, f64) {
        means.sort_by(f64::total_cmp);
        (quantile(&means, 0.5 - self.level / 2.0), quantile(&means, 0.5 + self.level / 2.0))
    }
}

/// The plain mean, summed in order.
pub(crate) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Returns the q-quantile, linear between order statistics: for n sorted values it is at position q·(n − 1), as in
/// NumPy's default.
fn quantile(sorted: &[f64], q: f64) -> f64 {
    let position = q.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
    let below = position.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (position - below as f64) * (sorted[above] - sorted[below])
}

/// SplitMix64 (Steele, Lea and Flood 2014): a counter and a mixing function. Every resample has a separate stream,
/// which does not depend on threads.
struct Draws {
    state: u64,
}

impl Draws {
    const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

    /// The stream of one resample. Seed and resample number are mixed in turn, so that neighbouring values of either
    /// start far apart.
    fn new(seed: u64, resample: u64) -> Self {
        Self { state: mix(mix(seed ^ Self::STEP).wrapping_add(resample)) }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(Self::STEP);
        mix(self.state)
    }

    /// An integer in 0..n: the high half of a product; its bias is below n/2⁶⁴.
    fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next()) * n as u128) >> 64) as usize
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_splitmix64() {
        // First outputs of the published C code for state 1234567.
        let mut draws = Draws { state: 1_234_567 };
        let expected = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!([draws.next(), draws.next(), draws.next()], expected);
    }

    #[test]
    fn draws_are_uniform() {
        // 60,000 draws over 6 values: the chi-square statistic with 5 degrees of freedom exceeds 20.5 once in 1,000.
        let mut counts = [0.0f64; 6];
        let mut draws = Draws::new(3, 5);
        for _ in 0..60_000 {
            counts[draws.below(6)] += 1.0;
        }
        let chi_square: f64 = counts.iter().map(|count| (count - 1e4).powi(2) / 1e4).sum();
        assert!(chi_square < 20.5, "{counts:?}");
    }

    #[test]
    fn quantiles_are_linear_between_order_statistics() {
        let sorted = [1.0, 2.0, 4.0, 8.0];
        assert_eq!([0.0, 0.5, 0.75, 1.0].map(|q| quantile(&sorted, q)), [1.0, 3.0, 5.0, 8.0]);
        assert_eq!(quantile(&[5.0], 0.3), 5.0);
    }

    #[test]
    fn settings_without_an_interval_are_refused() {
        let message = |bootstrap: Bootstrap| bootstrap.check().unwrap_err().to_string();
        assert_eq!(
            message(Bootstrap { resamples: 0, ..Bootstrap::default() }),
            "the number of resamples of the bootstrap is 0, expected at least 1"
        );
        for level in [0.0, 1.0, -1.0, f64::NAN] {
            assert!(message(Bootstrap { level, ..Bootstrap::default() }).contains("expected a number between 0 and 1"));
        }
    }
}

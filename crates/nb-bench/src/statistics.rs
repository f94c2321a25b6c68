//! Statistics over rounds: medians, percentiles, ranges, and ratios between sides.

/// The direction in which a number is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Rates.
    HigherIsBetter,
    /// Times.
    LowerIsBetter,
}

/// Returns the middle value, or the mean of the two middle values.
///
/// # Panics
/// If there are no values.
pub fn median(values: &[f64]) -> f64 {
    let sorted = sorted(values);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 }
}

/// Returns the smallest value that is at least as large as the fraction `fraction` of all values (nearest rank).
///
/// ```
/// use nb_bench::statistics::percentile;
/// let values: Vec<f64> = (1..=200).map(f64::from).collect();
/// assert_eq!((percentile(&values, 0.99), percentile(&values, 0.5), percentile(&values, 1.0)), (198.0, 100.0, 200.0));
/// ```
///
/// # Panics
/// If there are no values.
pub fn percentile(values: &[f64], fraction: f64) -> f64 {
    let sorted = sorted(values);
    let rank = (fraction * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

/// Returns the lowest and the highest value.
///
/// # Panics
/// If there are no values.
pub fn range(values: &[f64]) -> [f64; 2] {
    let sorted = sorted(values);
    [sorted[0], sorted[sorted.len() - 1]]
}

fn sorted(values: &[f64]) -> Vec<f64> {
    assert!(!values.is_empty(), "expected at least one value");
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// The ratio of ours to the best peer. Above 1 means that ours is faster.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio {
    /// Median over rounds.
    pub median: f64,
    /// Lowest and highest round.
    pub spread: [f64; 2],
}

/// Returns the ratio of ours to the best peer of each round: ours ÷ peer for rates, peer ÷ ours for times. Returns `None`
/// without peers.
///
/// # Panics
/// If a side has no rounds, or a different number of rounds.
pub fn ratio_to_best(ours: &[f64], peers: &[Vec<f64>], direction: Direction) -> Option<Ratio> {
    assert!(peers.iter().all(|peer| peer.len() == ours.len()), "every side must take part in every round");
    let ratio = |round: usize| {
        let values = peers.iter().map(|peer| peer[round]);
        match direction {
            Direction::HigherIsBetter => values.reduce(f64::max).map(|best| ours[round] / best),
            Direction::LowerIsBetter => values.reduce(f64::min).map(|best| best / ours[round]),
        }
    };
    let ratios = (0..ours.len()).map(ratio).collect::<Option<Vec<f64>>>()?;
    Some(Ratio { median: median(&ratios), spread: range(&ratios) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_ranges_do_not_depend_on_the_order() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), 2.5);
        assert_eq!(range(&[3.0, 1.0, 2.0]), [1.0, 3.0]);
        assert_eq!(percentile(&[7.0], 0.99), 7.0);
        assert_eq!(percentile(&[4.0, 1.0, 3.0, 2.0], 0.75), 3.0);
    }

    #[test]
    fn the_best_peer_is_chosen_for_each_round() {
        let ratio =
            ratio_to_best(&[10.0, 12.0, 9.0], &[vec![5.0, 4.0, 3.0], vec![4.0, 6.0, 2.0]], Direction::HigherIsBetter);
        assert_eq!(ratio, Some(Ratio { median: 2.0, spread: [2.0, 3.0] }));
        assert_eq!(ratio_to_best(&[1.0], &[], Direction::HigherIsBetter), None);
    }

    #[test]
    fn the_ratio_of_times_is_inverted() {
        // In both rounds ours takes half the time of the fastest peer.
        let ratio = ratio_to_best(&[2.0, 3.0], &[vec![4.0, 9.0], vec![8.0, 6.0]], Direction::LowerIsBetter);
        assert_eq!(ratio, Some(Ratio { median: 2.0, spread: [2.0, 2.0] }));
        let slower = ratio_to_best(&[4.0], &[vec![2.0]], Direction::LowerIsBetter).unwrap();
        assert_eq!(slower.median, 0.5);
    }
}

//! Few numbers of few rounds: medians, percentiles, ranges, and ratios between sides that took turns.

/// Which way a number is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// Rates.
    Higher,
    /// Times.
    Lower,
}

/// The middle value; the mean of the two middle ones of an even number.
///
/// # Panics
/// If there is none.
pub fn median(values: &[f64]) -> f64 {
    let sorted = sorted(values);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 }
}

/// The smallest value that at least the share `share` of all values does not exceed (nearest rank).
///
/// ```
/// use nb_bench::statistics::percentile;
/// let values: Vec<f64> = (1..=200).map(f64::from).collect();
/// assert_eq!((percentile(&values, 0.99), percentile(&values, 0.5), percentile(&values, 1.0)), (198.0, 100.0, 200.0));
/// ```
///
/// # Panics
/// If there is none.
pub fn percentile(values: &[f64], share: f64) -> f64 {
    let sorted = sorted(values);
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

/// The lowest and the highest value.
///
/// # Panics
/// If there is none.
pub fn range(values: &[f64]) -> [f64; 2] {
    let sorted = sorted(values);
    [sorted[0], sorted[sorted.len() - 1]]
}

fn sorted(values: &[f64]) -> Vec<f64> {
    assert!(!values.is_empty(), "statistics of no value");
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// Ours against the best peer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio {
    /// Median over rounds; above 1 is ours ahead.
    pub median: f64,
    /// Lowest and highest round.
    pub spread: [f64; 2],
}

/// Ours against the best peer of each round: ours ÷ theirs of rates, theirs ÷ ours of times. None without a peer.
///
/// # Panics
/// If a side has another number of rounds, or none.
pub fn against(ours: &[f64], peers: &[Vec<f64>], better: Better) -> Option<Ratio> {
    assert!(peers.iter().all(|peer| peer.len() == ours.len()), "every side takes part in every round");
    let ratio = |(round, own): (usize, &f64)| {
        let theirs = peers.iter().map(|peer| peer[round]);
        match better {
            Better::Higher => theirs.reduce(f64::max).map(|best| own / best),
            Better::Lower => theirs.reduce(f64::min).map(|best| best / own),
        }
    };
    let ratios = ours.iter().enumerate().map(ratio).collect::<Option<Vec<f64>>>()?;
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
    fn each_round_is_compared_with_its_own_best_peer() {
        let ratio = against(&[10.0, 12.0, 9.0], &[vec![5.0, 4.0, 3.0], vec![4.0, 6.0, 2.0]], Better::Higher);
        assert_eq!(ratio, Some(Ratio { median: 2.0, spread: [2.0, 3.0] }));
        assert_eq!(against(&[1.0], &[], Better::Higher), None);
    }

    #[test]
    fn of_times_the_inverse_is_taken() {
        // In both rounds ours takes half of what the fastest peer takes.
        let ratio = against(&[2.0, 3.0], &[vec![4.0, 9.0], vec![8.0, 6.0]], Better::Lower);
        assert_eq!(ratio, Some(Ratio { median: 2.0, spread: [2.0, 2.0] }));
        let slower = against(&[4.0], &[vec![2.0]], Better::Lower).unwrap();
        assert_eq!(slower.median, 0.5);
    }
}

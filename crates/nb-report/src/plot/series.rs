//! Numbers over steps, with gaps; they can be smoothed, and thinned to as many points as a plot can show.

use std::ops::Range;

/// Steps with their values, in order; `None` for a step without a number.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Series(pub(crate) Vec<(f64, Option<f64>)>);

/// The number of stretches of a long series; a plot shows the lowest and the highest value of each.
pub(super) const STRETCHES: usize = 150;

impl Series {
    /// Returns the finite values.
    pub(crate) fn values(&self) -> impl Iterator<Item = f64> + '_ {
        self.0.iter().filter_map(|(_, value)| *value).filter(|value| value.is_finite())
    }

    /// Returns whether there is nothing to draw.
    pub(crate) fn is_empty(&self) -> bool {
        self.values().next().is_none()
    }

    /// Returns whether all values are equal.
    pub(crate) fn is_constant(&self) -> bool {
        let first = self.values().next();
        self.values().all(|value| Some(value) == first)
    }

    /// Returns the last value.
    pub(crate) fn last(&self) -> Option<f64> {
        self.values().last()
    }

    /// Returns whether [`Series::thinned`] skips points.
    pub(crate) fn is_long(&self) -> bool {
        self.0.len() > 2 * STRETCHES
    }

    /// Returns the moving average over a window that reaches a fiftieth of the length to either side. Gaps stay gaps.
    pub(super) fn smoothed(&self) -> Self {
        let reach = (self.0.len() / 50).max(1);
        let mean = |at: usize| {
            let near = &self.0[at.saturating_sub(reach)..(at + reach + 1).min(self.0.len())];
            let (sum, n) = near.iter().filter_map(|(_, v)| *v).fold((0.0, 0u32), |(sum, n), v| (sum + v, n + 1));
            sum / f64::from(n)
        };
        Self((0..self.0.len()).map(|at| (self.0[at].0, self.0[at].1.map(|_| mean(at)))).collect())
    }

    /// Returns at most two points for each of [`STRETCHES`] stretches: the lowest and the highest, in the order of their
    /// steps. A stretch without numbers is a gap.
    pub(super) fn thinned(&self) -> Self {
        if !self.is_long() {
            return self.clone();
        }
        Self(self.stretches().flat_map(|stretch| ends(&self.0[stretch])).collect())
    }

    /// Returns the middle point of each stretch, and the first and the last point of the series.
    pub(super) fn sampled(&self) -> Self {
        if !self.is_long() {
            return self.clone();
        }
        let middle = |stretch: Range<usize>| {
            let with = stretch.clone().filter(|at| self.0[*at].1.is_some());
            let at = with.min_by_key(|at| at.abs_diff((stretch.start + stretch.end) / 2));
            self.0[at.unwrap_or(stretch.start)]
        };
        // With the first and the last point, a curve starts and ends where its numbers do.
        let ends = [self.0.first().copied(), self.0.last().copied()];
        let [first, last] = ends.map(|end| end.into_iter());
        Self(first.chain(self.stretches().map(middle)).chain(last).collect())
    }

    /// Returns the parts between gaps.
    pub(super) fn pieces(&self) -> Vec<Vec<(f64, f64)>> {
        let number = |point: &(f64, Option<f64>)| point.1.filter(|value| value.is_finite()).map(|y| (point.0, y));
        let pieces = self.0.split(|point| number(point).is_none());
        pieces.filter(|piece| !piece.is_empty()).map(|piece| piece.iter().filter_map(number).collect()).collect()
    }

    fn stretches(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        let n = self.0.len();
        (0..STRETCHES).map(move |i| i * n / STRETCHES..(i + 1) * n / STRETCHES)
    }
}

fn ends(points: &[(f64, Option<f64>)]) -> Vec<(f64, Option<f64>)> {
    let order =
        |a: &&(f64, Option<f64>), b: &&(f64, Option<f64>)| a.1.partial_cmp(&b.1).unwrap_or(std::cmp::Ordering::Equal);
    let numbers = || points.iter().filter(|(_, value)| value.is_some());
    match (numbers().min_by(order), numbers().max_by(order)) {
        (Some(low), Some(high)) if low.0 < high.0 => vec![*low, *high],
        (Some(low), Some(high)) if low.0 > high.0 => vec![*high, *low],
        (Some(only), _) => vec![*only],
        _ => points.first().map(|(step, _)| (*step, None)).into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(n: usize, value: impl Fn(usize) -> Option<f64>) -> Series {
        Series((0..n).map(|i| (i as f64, value(i))).collect())
    }

    #[test]
    fn a_single_spike_survives_thinning() {
        let long = series(100_000, |i| Some(if i == 77_777 { 9.0 } else { (i as f64).sin() }));
        let thin = long.thinned();
        assert!(thin.0.len() <= 300 && thin.0.contains(&(77_777.0, Some(9.0))));
        assert!(thin.0.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert!(long.sampled().0.len() <= 152);
    }

    #[test]
    fn gaps_split_a_curve_into_pieces() {
        let gappy = series(6, |i| (i != 2 && i != 3).then_some(i as f64));
        assert_eq!(gappy.pieces(), [vec![(0.0, 0.0), (1.0, 1.0)], vec![(4.0, 4.0), (5.0, 5.0)]]);
        assert_eq!(gappy.smoothed().pieces().len(), 2);
        let wide = series(3000, |i| (!(1000..2000).contains(&i)).then_some(1.0));
        assert_eq!((wide.thinned().pieces().len(), wide.sampled().pieces().len()), (2, 2));
    }

    #[test]
    fn smoothing_does_not_change_a_straight_line() {
        let line = series(501, |i| Some(i as f64));
        assert_eq!(line.smoothed().0[250], (250.0, Some(250.0)));
        assert!(series(3, |_| None).smoothed().is_empty());
    }
}

//! An axis with round ticks, linear or logarithmic.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

/// A range of numbers with its ticks.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    log: bool,
    ticks: Vec<f64>,
}

/// The range of values that are possible in a plot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Bounds {
    /// Lower end.
    pub(crate) low: f64,
    /// Upper end.
    pub(crate) high: f64,
}

impl Bounds {
    /// Any number.
    pub(crate) const NONE: Self = Self { low: f64::MIN, high: f64::MAX };
    /// Any number from 0 upwards.
    pub(crate) const POSITIVE: Self = Self { low: 0.0, high: f64::MAX };
}

impl Axis {
    /// Returns a linear axis from `low` to `high` with about `ticks` ticks; an empty range is widened.
    pub(super) fn linear(low: f64, high: f64, ticks: usize) -> Self {
        let (low, high) = widened(low, high);
        Self { low, high, log: false, ticks: round_ticks(low, high, ticks) }
    }

    /// Returns a logarithmic axis from `low` to `high`, both above 0.
    pub(super) fn log(low: f64, high: f64, ticks: usize) -> Self {
        let (low, high) = if high > low { (low, high) } else { (low / 1.5, low * 1.5) };
        let powers = || (low.log10().floor() as i32)..=(high.log10().ceil() as i32);
        let inside = |factors: &[f64]| -> Vec<f64> {
            let all = powers().flat_map(|power| factors.iter().map(move |f| f * 10f64.powi(power)));
            all.filter(|tick| (low..=high).contains(tick)).collect()
        };
        let thin = |all: Vec<f64>| -> Vec<f64> {
            let every = all.len().div_ceil(ticks + 1).max(1);
            all.into_iter().step_by(every).collect()
        };
        let ticks = match inside(&[1.0]) {
            decades if decades.len() > 2 => thin(decades),
            _ => match inside(&[1.0, 2.0, 5.0]) {
                some if some.len() > 1 => some,
                _ => round_ticks(low, high, ticks),
            },
        };
        Self { low, high, log: true, ticks }
    }

    /// Returns a linear axis around `values` with a margin; the ends of the axis are inside `bounds`.
    pub(super) fn around(values: impl Iterator<Item = f64>, bounds: Bounds, ticks: usize) -> Self {
        let (low, high) = extent(values).unwrap_or((0.0, 1.0));
        let (low, high) = widened(low, high);
        let margin = 0.06 * (high - low);
        Self::linear((low - margin).max(bounds.low), (high + margin).min(bounds.high), ticks)
    }

    pub(super) fn ticks(&self) -> &[f64] {
        &self.ticks
    }

    /// Returns the relative position of `value` on the axis: 0 at the lower end, 1 at the upper end.
    pub(super) fn share(&self, value: f64) -> f64 {
        if self.log {
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        }
    }

    /// Formats `value` like the ticks.
    pub(super) fn written(&self, value: f64) -> String {
        let step = self.ticks.windows(2).map(|pair| pair[1] - pair[0]).fold(f64::INFINITY, f64::min);
        let step = if step.is_finite() { step } else { value.abs().max(1e-9) };
        written(value, step, self.low.abs().max(self.high.abs()))
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let share = self.share(*value).clamp(-0.05, 1.05);
        limit.0 + (share * f64::from(limit.1 - limit.0)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.low..self.high
    }
}

impl ValueFormatter<f64> for Axis {
    fn format(value: &f64) -> String {
        format!("{value}")
    }

    fn format_ext(&self, value: &f64) -> String {
        self.written(*value)
    }
}

/// Returns the lowest and the highest of the finite values.
pub(super) fn extent(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.filter(|value| value.is_finite()).fold(None, |ends, value| {
        let (low, high) = ends.unwrap_or((value, value));
        Some((low.min(value), high.max(value)))
    })
}

fn widened(low: f64, high: f64) -> (f64, f64) {
    // On a narrower range the tick labels would be equal.
    let least = (low.abs().max(high.abs()) * 1e-6).max(1e-12);
    if high - low > least {
        (low, high)
    } else {
        let margin = if low == 0.0 { 0.5 } else { 0.1 * low.abs() };
        (low - margin, high + margin)
    }
}

/// Returns multiples of 1, 2 or 5 times a power of ten between `low` and `high`, about `wanted` in number.
fn round_ticks(low: f64, high: f64, wanted: usize) -> Vec<f64> {
    let raw = (high - low) / wanted.max(1) as f64;
    let power = 10f64.powf(raw.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|factor| factor * power >= 0.75 * raw).unwrap_or(10.0);
    let step = factor * power;
    let first = (low / step - 1e-9).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    (first..=last).take(50).map(|n| n as f64 * step).collect()
}

/// Formats `value` with as many digits as a scale with steps of `step` up to `largest` needs.
fn written(value: f64, step: f64, largest: f64) -> String {
    let size = value.abs();
    let decimals = |step: f64| (-(step * 1.001).log10().floor()).clamp(0.0, 6.0) as usize;
    match size {
        _ if size < step * 1e-6 => "0".to_owned(),
        1e6.. => format!("{:.*}M", decimals(step / 1e6).min(2), value / 1e6),
        1e4.. => format!("{:.*}k", decimals(step / 1e3).min(2), value / 1e3),
        _ if largest < 2e-3 => exponential(value, step),
        _ => format!("{value:.*}", decimals(step)),
    }
    .replace('-', "−")
}

/// Formats `value` with the fewest digits that distinguish it from its neighbours.
fn exponential(value: f64, step: f64) -> String {
    let texts = (0..6).map(|digits| format!("{value:.digits$e}"));
    let exact = |text: &String| text.parse::<f64>().is_ok_and(|read| (read - value).abs() < step / 100.0);
    texts.into_iter().find(exact).unwrap_or_else(|| format!("{value:.6e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<String> {
        axis.ticks().iter().map(|tick| axis.written(*tick)).collect()
    }

    #[test]
    fn ticks_are_round_and_formatted_alike() {
        assert_eq!(labels(&Axis::linear(0.871, 0.934, 4)), ["0.88", "0.90", "0.92"]);
        assert_eq!(labels(&Axis::linear(-0.03, 0.02, 5)), ["−0.03", "−0.02", "−0.01", "0", "0.01", "0.02"]);
        assert_eq!(labels(&Axis::linear(0.0, 12_000.0, 3)), ["0", "5000", "10k"]);
        assert_eq!(labels(&Axis::linear(0.0, 1e-4, 2)), ["0", "5e−5", "1e−4"]);
        assert_eq!(labels(&Axis::linear(0.0, 1.6e-3, 3)), ["0", "5e−4", "1e−3", "1.5e−3"]);
        assert_eq!(labels(&Axis::linear(0.0, 2.5e-3, 5)), ["0", "0.0005", "0.0010", "0.0015", "0.0020", "0.0025"]);
    }

    #[test]
    fn logarithmic_ticks_fit_the_range() {
        assert_eq!(labels(&Axis::log(0.5, 2000.0, 4)), ["1", "10", "100", "1000"]);
        assert_eq!(Axis::log(3.0, 40.0, 4).ticks(), [5.0, 10.0, 20.0]);
        assert_eq!(Axis::log(2.1, 2.9, 4).ticks().len(), 4);
        assert!((Axis::log(1.0, 100.0, 4).share(10.0) - 0.5).abs() < 1e-12);
    }

    #[test]
    fn an_empty_range_is_widened() {
        for value in [0.0, 1.0, -3.0, 1e-9, 1e12] {
            let axis = Axis::linear(value, value, 4);
            assert!(axis.share(value) > 0.0 && axis.share(value) < 1.0, "{axis:?}");
            assert!(!Axis::around([value].into_iter(), Bounds::NONE, 4).ticks().is_empty());
        }
    }
}

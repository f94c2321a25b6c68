//! Results against those of an earlier call: what became slower by more than the noise.

use std::fmt;

use crate::report::{Outcome, Report, Unit};
use crate::statistics::Better;

/// A case that became slower.
#[derive(Debug, Clone, PartialEq)]
pub struct Slower {
    /// Bench, case and precision.
    pub what: String,
    /// What the numbers are in.
    pub unit: Unit,
    /// Median of the earlier call, and of this one.
    pub medians: (f64, f64),
}

impl fmt::Display for Slower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, unit, medians: (before, now) } = self;
        write!(f, "{what}: {now:.3} {unit}, {before:.3} before ({:+.1} %)", 100.0 * (now / before - 1.0))
    }
}

/// The cases of `now` that are slower than in `before` by more than the noise: the best round now is worse than the worst
/// one then. Cases that only one of them has are left out.
pub fn slower(before: &Report, now: &Report) -> Vec<Slower> {
    let earlier = |own: &Outcome| before.results.iter().find(|it| it.key() == own.key() && it.unit == own.unit);
    let pairs = now.results.iter().filter_map(|own| Some((earlier(own)?, own)));
    let worse = pairs.filter(|(before, now)| is_beyond_noise(before, now));
    let slower = worse.map(|(before, now)| Slower {
        what: now.key().join(" "),
        unit: now.unit,
        medians: (before.ours, now.ours),
    });
    slower.collect()
}

fn is_beyond_noise(before: &Outcome, now: &Outcome) -> bool {
    match now.unit.better() {
        Better::Higher => now.range[1] < before.range[0],
        Better::Lower => now.range[0] > before.range[1],
    }
}

/// How many cases of `now` the earlier call has too.
pub fn in_common(before: &Report, now: &Report) -> usize {
    now.results
        .iter()
        .filter(|own| before.results.iter().any(|it| it.key() == own.key() && it.unit == own.unit))
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Host;
    use crate::report::outcome;

    fn report(results: Vec<Outcome>) -> Report {
        Report { host: Host::here(1, tch::Device::Cpu), commit: None, teacher: String::new(), results }
    }

    #[test]
    fn only_what_lies_beyond_both_spreads_is_slower() {
        let rate = |ours, range| outcome("ag-64", Unit::Sequences, ours, range);
        let before = report(vec![rate(20.0, [19.0, 21.0])]);
        let is_slower = |now| !slower(&before, &report(vec![now])).is_empty();
        assert!(is_slower(rate(17.0, [16.0, 18.9])));
        assert!(!is_slower(rate(18.0, [17.0, 19.1])), "the spreads touch");
        assert!(!is_slower(rate(30.0, [29.0, 31.0])), "faster");
    }

    #[test]
    fn of_times_more_is_slower() {
        let time = |ours, range| outcome("one-title", Unit::Milliseconds, ours, range);
        let before = report(vec![time(2.0, [1.9, 2.2])]);
        let found = slower(&before, &report(vec![time(3.0, [2.5, 3.5])]));
        assert_eq!(found[0].to_string(), "train one-title f32: 3.000 ms, 2.000 before (+50.0 %)");
        assert_eq!(slower(&before, &report(vec![time(1.0, [0.9, 1.1])])), []);
    }

    #[test]
    fn a_case_that_only_one_call_has_is_no_news() {
        let before = report(vec![outcome("ag-64", Unit::Sequences, 20.0, [19.0, 21.0])]);
        let mut other = outcome("ag-64", Unit::Sequences, 1.0, [1.0, 1.0]);
        other.precision = "bf16".to_owned();
        let now = report(vec![other, outcome("ag-titles", Unit::Sequences, 1.0, [1.0, 1.0])]);
        assert_eq!(slower(&before, &now), []);
        assert_eq!((in_common(&before, &now), in_common(&before, &before)), (0, 1));
    }
}

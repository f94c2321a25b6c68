//! Comparison with the results of an earlier call: the cases that became slower by more than the noise.

use std::fmt;

use crate::report::{CaseOutcome, Report, Unit};
use crate::statistics::Direction;

/// A case that became slower.
#[derive(Debug, Clone, PartialEq)]
pub struct Regression {
    /// Bench, case and precision.
    pub case: String,
    /// Unit of both medians.
    pub unit: Unit,
    /// Median of the earlier call.
    pub before: f64,
    /// Median of this call.
    pub now: f64,
}

impl fmt::Display for Regression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { case, unit, before, now } = self;
        write!(f, "{case}: {now:.3} {unit}, {before:.3} before ({:+.1} %)", 100.0 * (now / before - 1.0))
    }
}

/// Returns the cases of `now` that are slower than in `before` by more than the noise: the best round now is worse than
/// the worst round before. Cases that only one of the reports contains are skipped.
pub fn regressions(before: &Report, now: &Report) -> Vec<Regression> {
    let mut regressions = Vec::new();
    for outcome in &now.results {
        let Some(earlier) = find(before, outcome).filter(|earlier| is_beyond_noise(earlier, outcome)) else { continue };
        let (case, unit) = (outcome.key().join(" "), outcome.unit);
        regressions.push(Regression { case, unit, before: earlier.ours, now: outcome.ours });
    }
    regressions
}

/// Returns the result of a report for the same case, precision and unit.
fn find<'a>(report: &'a Report, outcome: &CaseOutcome) -> Option<&'a CaseOutcome> {
    report.results.iter().find(|other| other.key() == outcome.key() && other.unit == outcome.unit)
}

fn is_beyond_noise(before: &CaseOutcome, now: &CaseOutcome) -> bool {
    match now.unit.direction() {
        Direction::HigherIsBetter => now.range[1] < before.range[0],
        Direction::LowerIsBetter => now.range[0] > before.range[1],
    }
}

/// Returns the number of cases of `now` that `before` also contains.
pub fn shared_cases(before: &Report, now: &Report) -> usize {
    now.results.iter().filter(|outcome| find(before, outcome).is_some()).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{Conditions, Host};
    use crate::report::test_outcome;

    fn report(results: Vec<CaseOutcome>) -> Report {
        Report {
            host: Host::detect(Conditions { threads: 1, busy_threads: 0 }, tch::Device::Cpu),
            commit: None,
            teacher: String::new(),
            results,
        }
    }

    #[test]
    fn a_case_is_slower_only_if_the_ranges_do_not_overlap() {
        let rate = |ours, range| test_outcome("ag-64", Unit::Sequences, ours, range);
        let before = report(vec![rate(20.0, [19.0, 21.0])]);
        let is_slower = |now| !regressions(&before, &report(vec![now])).is_empty();
        assert!(is_slower(rate(17.0, [16.0, 18.9])));
        assert!(!is_slower(rate(18.0, [17.0, 19.1])), "the ranges overlap");
        assert!(!is_slower(rate(30.0, [29.0, 31.0])), "faster");
    }

    #[test]
    fn a_longer_time_is_slower() {
        let time = |ours, range| test_outcome("one-title", Unit::Milliseconds, ours, range);
        let before = report(vec![time(2.0, [1.9, 2.2])]);
        let found = regressions(&before, &report(vec![time(3.0, [2.5, 3.5])]));
        assert_eq!(found[0].to_string(), "train one-title f32: 3.000 ms, 2.000 before (+50.0 %)");
        assert_eq!(regressions(&before, &report(vec![time(1.0, [0.9, 1.1])])), []);
    }

    #[test]
    fn cases_of_only_one_call_are_not_compared() {
        let before = report(vec![test_outcome("ag-64", Unit::Sequences, 20.0, [19.0, 21.0])]);
        let mut other = test_outcome("ag-64", Unit::Sequences, 1.0, [1.0, 1.0]);
        other.precision = "bf16".to_owned();
        let now = report(vec![other, test_outcome("ag-titles", Unit::Sequences, 1.0, [1.0, 1.0])]);
        assert_eq!(regressions(&before, &now), []);
        assert_eq!((shared_cases(&before, &now), shared_cases(&before, &before)), (0, 1));
    }
}

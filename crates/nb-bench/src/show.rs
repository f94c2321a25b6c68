//! Results as text, a few lines each.

use std::fmt::Write as _;

use serde_json::Value;

use crate::report::{Outcome, Unit};

/// Formats a result.
pub fn outcome(outcome: &Outcome) -> String {
    let Outcome { bench, case, precision, unit, ours, range: [low, high], details, .. } = outcome;
    let digits = if *unit == Unit::Milliseconds { 3 } else { 1 };
    let mut text = format!("{bench} {case} {precision}: {ours:.digits$} {unit} [{low:.digits$}, {high:.digits$}]");
    let number = |key: &str| details.get(key).and_then(Value::as_f64);
    let mut add = |part: Option<String>| part.into_iter().for_each(|part| text += &part);
    add(number("p99").map(|ms| format!(", p99 {ms:.3} ms")));
    add(number("tokens_per_second").map(|n| format!(", {n:.0} tokens/s")));
    add(number("megabytes_per_second").map(|n| format!(", {n:.1} MB/s")));
    add(number("second_start_ms").map(|ms| format!(", second start {ms:.1} ms")));
    add(number("peak_bytes").map(|bytes| format!(", peak {}", gigabytes(bytes))));
    add(operations(&number));
    add(details.get("phases_ms").and_then(Value::as_object).map(phases));
    add(peers(outcome));
    for (mode, reason) in &outcome.skipped {
        add(Some(format!("\n    {mode} is unavailable: {}", reason.lines().next().unwrap_or_default())));
    }
    text
}

fn gigabytes(bytes: f64) -> String {
    format!("{:.2} GB", bytes / 1e9)
}

fn operations(number: &dyn Fn(&str) -> Option<f64>) -> Option<String> {
    let share = |key| Some(100.0 * number(key)?);
    Some(format!(
        "\n    {:.1} GFLOP/s useful: {:.0} % of {:.0} (1024³), {:.0} % of {:.0} (the products of a layer)",
        number("gflops")?,
        share("share_of_peak")?,
        number("peak_gflops")?,
        share("share_of_peak_at_shapes")?,
        number("peak_gflops_at_shapes")?,
    ))
}

fn phases(phases: &serde_json::Map<String, Value>) -> String {
    let times: Vec<(&String, f64)> = phases.iter().map(|(name, time)| (name, time.as_f64().unwrap_or(0.0))).collect();
    let total: f64 = times.iter().map(|(_, time)| time).sum();
    let parts: Vec<String> = times
        .iter()
        .filter(|(_, time)| *time > 0.0)
        .map(|(name, time)| format!("{name} {:.0} %", 100.0 * time / total))
        .collect();
    format!("\n    profiled step: {total:.1} ms: {}", parts.join(", "))
}

fn peers(outcome: &Outcome) -> Option<String> {
    let ([low, high], ratio) = (outcome.spread?, outcome.ratio?);
    let mut text = String::from("\n    ");
    let peer_detail = |key: &str, mode: &str| outcome.details.get(key)?.get(mode)?.as_f64();
    for (mode, value) in &outcome.peers {
        let peak = peer_detail("peak_bytes_of_peers", mode).map(|bytes| format!(" ({})", gigabytes(bytes)));
        _ = write!(text, "{mode} {value:.2}{}, ", peak.unwrap_or_default()); // writing to a String cannot fail
    }
    _ = write!(text, "ours is {ratio:.2} times the best peer [{low:.2}, {high:.2}]");
    Some(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::report::test_outcome;

    #[test]
    fn a_result_is_shown_with_its_known_details() {
        let mut result = test_outcome("ag-64", Unit::Sequences, 30.0, [29.0, 31.0]);
        assert_eq!(outcome(&result), "train ag-64 f32: 30.0 sequences/s [29.0, 31.0]");
        result.peers.insert("torch-eager".to_owned(), 15.0);
        (result.ratio, result.spread) = (Some(2.0), Some([1.9, 2.1]));
        for (key, value) in [
            ("peak_bytes", json!(1_500_000_000_u64)),
            ("gflops", json!(90.0)),
            ("peak_gflops", json!(180.0)),
            ("share_of_peak", json!(0.5)),
            ("peak_gflops_at_shapes", json!(150.0)),
            ("share_of_peak_at_shapes", json!(0.6)),
            ("phases_ms", json!({"data": 1.0, "losses": 0.0, "other": 3.0})),
        ] {
            result.details.insert(key.to_owned(), value);
        }
        result.skipped.insert("torch-compile".to_owned(), "no compiler\nfound".to_owned());
        let expected = "\
train ag-64 f32: 30.0 sequences/s [29.0, 31.0], peak 1.50 GB
    90.0 GFLOP/s useful: 50 % of 180 (1024³), 60 % of 150 (the products of a layer)
    profiled step: 4.0 ms: data 25 %, other 75 %
    torch-eager 15.00, ours is 2.00 times the best peer [1.90, 2.10]
    torch-compile is unavailable: no compiler";
        assert_eq!(outcome(&result), expected);
    }
}

//! Results as text, a few lines each.

use std::fmt::Write as _;

use crate::details::{Agreement, ByName, Details, TrainingDetails};
use crate::report::{CaseOutcome, Unit};

/// Formats a result.
pub fn outcome(outcome: &CaseOutcome) -> String {
    let CaseOutcome { bench, case, precision, unit, ours, range: [low, high], details, .. } = outcome;
    let digits = if *unit == Unit::Milliseconds { 3 } else { 1 };
    let mut text = format!("{bench} {case} {precision}: {ours:.digits$} {unit} [{low:.digits$}, {high:.digits$}]");
    let mut add = |part: Option<String>| part.into_iter().for_each(|part| text += &part);
    add(details.p99.map(|ms| format!(", p99 {ms:.3} ms")));
    add(details.tokens_per_second.map(|n| format!(", {n:.0} tokens/s")));
    add(details.megabytes_per_second.map(|n| format!(", {n:.1} MB/s")));
    add(details.second_start_ms.map(|ms| format!(", second start {ms:.1} ms")));
    add(details.peak_bytes.map(|bytes| format!(", peak {}", gigabytes(bytes))));
    add(details.training.as_ref().map(operations));
    add(details.training.as_ref().map(|training| phases(&training.phases_ms)));
    add(peers(outcome));
    add(agreement(details));
    add((!details.settings_of_peers.is_empty()).then(|| settings(details)));
    for (mode, reason) in &outcome.skipped {
        add(Some(format!("\n    {mode} is unavailable: {}", reason.lines().next().unwrap_or_default())));
    }
    text
}

fn gigabytes(bytes: u64) -> String {
    format!("{:.2} GB", bytes as f64 / 1e9)
}

fn operations(training: &TrainingDetails) -> String {
    format!(
        "\n    {:.1} GFLOP/s useful: {:.0} % of {:.0} (1024³), {:.0} % of {:.0} (the products of a layer)",
        training.gflops,
        100.0 * training.share_of_peak,
        training.peak_gflops,
        100.0 * training.share_of_peak_at_shapes,
        training.peak_gflops_at_shapes,
    )
}

fn phases(phases: &ByName<f64>) -> String {
    let total: f64 = phases.iter().map(|(_, time)| time).sum();
    let parts: Vec<String> = phases
        .iter()
        .filter(|(_, time)| *time > 0.0)
        .map(|(name, time)| format!("{name} {:.0} %", 100.0 * time / total))
        .collect();
    format!("\n    profiled step: {total:.1} ms: {}", parts.join(", "))
}

fn peers(outcome: &CaseOutcome) -> Option<String> {
    let ([low, high], ratio) = (outcome.spread?, outcome.ratio?);
    let digits = if outcome.unit == Unit::Milliseconds { 3 } else { 2 };
    let mut text = String::from("\n    ");
    for (mode, value) in &outcome.peers {
        let p99 = outcome.details.p99_of_peers.get(mode).map(|ms| format!("p99 {ms:.3} ms"));
        let peak = outcome.details.peak_bytes_of_peers.get(mode).map(gigabytes);
        let further: Vec<String> = p99.into_iter().chain(peak).collect();
        let further = if further.is_empty() { String::new() } else { format!(" ({})", further.join(", ")) };
        _ = write!(text, "{mode} {value:.digits$}{further}, "); // writing to a String cannot fail
    }
    _ = write!(text, "ours is {ratio:.2} times the best peer [{low:.2}, {high:.2}]");
    Some(text)
}

/// Formats the agreement of all sides with themselves in f32.
fn agreement(details: &Details) -> Option<String> {
    let ours = details.agreement.map(|agreement| ("ours", agreement));
    let sides: Vec<String> = ours
        .into_iter()
        .chain(details.agreement_of_peers.iter())
        .map(|(side, Agreement { labels, cosine, lowest_cosine })| {
            format!("{side} {:.1} % of labels, cosine {cosine:.5} (lowest {lowest_cosine:.5})", 100.0 * labels)
        })
        .collect();
    (!sides.is_empty()).then(|| format!("\n    agreement with f32: {}", sides.join("; ")))
}

fn settings(details: &Details) -> String {
    let peers: Vec<String> = details.settings_of_peers.iter().map(|(mode, text)| format!("{mode}: {text}")).collect();
    format!("\n    settings: {}", peers.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::details::test_training;
    use crate::report::test_outcome;

    #[test]
    fn a_result_is_shown_with_its_known_details() {
        let mut result = test_outcome("ag-64", Unit::Sequences, 30.0, [29.0, 31.0]);
        assert_eq!(outcome(&result), "train ag-64 f32: 30.0 sequences/s [29.0, 31.0]");
        result.peers.insert("torch-eager".to_owned(), 15.0);
        (result.ratio, result.spread) = (Some(2.0), Some([1.9, 2.1]));
        let phases = [("data", 1.0), ("losses", 0.0), ("other", 3.0)].map(|(name, time)| (name.to_owned(), time));
        result.details.peak_bytes = Some(1_500_000_000);
        result.details.training = Some(test_training(phases));
        result.skipped.insert("torch-compile".to_owned(), "no compiler\nfound".to_owned());
        let expected = "\
train ag-64 f32: 30.0 sequences/s [29.0, 31.0], peak 1.50 GB
    90.0 GFLOP/s useful: 50 % of 180 (1024³), 60 % of 150 (the products of a layer)
    profiled step: 4.0 ms: data 25 %, other 75 %
    torch-eager 15.00, ours is 2.00 times the best peer [1.90, 2.10]
    torch-compile is unavailable: no compiler";
        assert_eq!(outcome(&result), expected);
    }

    #[test]
    fn single_calls_are_shown_with_the_late_ones_and_the_agreement() {
        let mut result = test_outcome("one-title", Unit::Milliseconds, 0.25, [0.2, 0.3]);
        result.peers.insert("onnx-int8".to_owned(), 0.5);
        (result.ratio, result.spread) = (Some(2.0), Some([1.9, 2.1]));
        let mode = || "onnx-int8".to_owned();
        let agreement = Agreement { labels: 0.998, cosine: 0.99981, lowest_cosine: 0.99 };
        result.details = Details {
            p99: Some(0.75),
            p99_of_peers: [(mode(), 1.5)].into_iter().collect(),
            agreement: Some(agreement),
            agreement_of_peers: [(mode(), Agreement { labels: 1.0, ..agreement })].into_iter().collect(),
            settings_of_peers: [(mode(), "fused".to_owned())].into(),
            ..Details::default()
        };
        let expected = "\
train one-title f32: 0.250 ms [0.200, 0.300], p99 0.750 ms
    onnx-int8 0.500 (p99 1.500 ms), ours is 2.00 times the best peer [1.90, 2.10]
    agreement with f32: ours 99.8 % of labels, cosine 0.99981 (lowest 0.99000); \
onnx-int8 100.0 % of labels, cosine 0.99981 (lowest 0.99000)
    settings: onnx-int8: fused";
        assert_eq!(outcome(&result), expected);
    }
}

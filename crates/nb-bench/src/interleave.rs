//! Interleaved rounds, A B A B: other load on the machine affects every side equally.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Result, bail};

use crate::details::{ByName, Details};
use crate::load::Load;
use crate::peer::{Peer, PeerFacts, Round};
use crate::report::{CaseOutcome, Unit};
use crate::statistics::{median, percentile, range, ratio_to_best};

/// The identity and the unit of a measurement.
#[derive(Debug, Clone, Copy)]
pub struct Measurement<'a> {
    /// `train`, `infer` or `data`.
    pub bench: &'a str,
    /// The name of the case.
    pub case: &'a str,
    /// The name of the number format.
    pub precision: &'a str,
    /// The unit of the result.
    pub unit: Unit,
}

/// The peers of a case.
#[derive(Debug, Default)]
pub struct Peers {
    /// The peers that take part.
    pub ready: Vec<Peer>,
    /// Peers inside this process. Their memory is part of ours.
    pub in_process: Vec<InProcessPeer>,
    /// Unavailable peers, each with the reason.
    pub skipped: BTreeMap<String, String>,
}

/// A peer inside this process.
pub struct InProcessPeer {
    /// Its name in results.
    pub mode: String,
    /// Runs one round.
    pub round: Box<dyn FnMut() -> Result<Round>>,
}

impl fmt::Debug for InProcessPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InProcessPeer").field("mode", &self.mode).finish_non_exhaustive()
    }
}

impl Peers {
    /// Returns the rounds of each peer, of which there are none yet: first those of processes.
    fn no_rounds(&self) -> Vec<PeerRounds> {
        let rounds = |mode: &str, facts: PeerFacts| PeerRounds { mode: mode.to_owned(), rounds: Vec::new(), facts };
        let processes = self.ready.iter().map(|peer| rounds(peer.mode(), peer.facts().clone()));
        let in_process = self.in_process.iter().map(|peer| rounds(&peer.mode, PeerFacts::default()));
        processes.chain(in_process).collect()
    }

    /// Runs one round of each peer, in the order of [`Peers::no_rounds`].
    fn round(&mut self) -> impl Iterator<Item = Result<Round>> {
        let processes = self.ready.iter_mut().map(Peer::round);
        processes.chain(self.in_process.iter_mut().map(|peer| (peer.round)()))
    }
}

/// The rounds of all sides.
#[derive(Debug)]
pub struct InterleavedRounds {
    /// Our rounds.
    pub ours: Vec<Round>,
    peers: Vec<PeerRounds>,
    skipped: BTreeMap<String, String>,
}

/// The rounds of a peer.
#[derive(Debug)]
struct PeerRounds {
    mode: String,
    rounds: Vec<Round>,
    facts: PeerFacts,
}

/// The rounds of a case.
#[derive(Debug, Clone, Copy)]
pub struct Rounds {
    /// Number of rounds.
    pub count: usize,
    /// Number of busy threads beside them.
    pub busy_threads: usize,
}

/// Runs all rounds. In each round, our side runs first, then every peer.
///
/// # Errors
/// If a side fails, or if the work of a peer differs from ours.
pub fn run_interleaved(
    measurement: &Measurement<'_>,
    rounds: Rounds,
    ours: &mut dyn FnMut() -> Result<Round>,
    mut peers: Peers,
) -> Result<InterleavedRounds> {
    let skipped = std::mem::take(&mut peers.skipped);
    let mut all = InterleavedRounds { ours: Vec::new(), peers: peers.no_rounds(), skipped };
    let unit = measurement.unit;
    let count = rounds.count;
    let _load = Load::start(rounds.busy_threads);
    for number in 1..=count {
        let our_round = ours()?;
        let mut line = format!("ours {:.2}", value(unit, &our_round));
        for (round, PeerRounds { mode, rounds, .. }) in peers.round().zip(&mut all.peers) {
            let round = round?;
            check_same_work(mode, unit, &round, &our_round)?;
            line += &format!(", {mode} {:.2}", value(unit, &round));
            rounds.push(round);
        }
        all.ours.push(our_round);
        let Measurement { bench, case, precision, .. } = measurement;
        tracing::info!("{bench} {case} {precision}: round {number} of {count}: {line} {unit}");
    }
    Ok(all)
}

/// Fails unless a peer processed as many sequences and tokens as ours.
fn check_same_work(mode: &str, unit: Unit, peer: &Round, ours: &Round) -> Result<()> {
    if (peer.sequences, peer.tokens) == (ours.sequences, ours.tokens) {
        return Ok(());
    }
    bail!(
        "the rounds are not comparable: the peer {mode} processed {} {} with {} tokens, expected {} with {} tokens",
        peer.sequences,
        unit.to_string().trim_end_matches("/s"),
        peer.tokens,
        ours.sequences,
        ours.tokens
    )
}

/// Returns the value of a round in `unit`.
fn value(unit: Unit, round: &Round) -> f64 {
    match unit {
        Unit::Milliseconds => median(&round.latencies),
        _ => round.sequences as f64 / round.seconds,
    }
}

/// Returns the value of each round in `unit`.
fn values(unit: Unit, rounds: &[Round]) -> Vec<f64> {
    rounds.iter().map(|round| value(unit, round)).collect()
}

impl InterleavedRounds {
    /// Returns the result, with the details that all benches share: tokens per second, peak memory, 99th percentiles.
    pub fn outcome(self, measurement: &Measurement<'_>) -> CaseOutcome {
        let unit = measurement.unit;
        let ours = values(unit, &self.ours);
        let peers: Vec<Vec<f64>> = self.peers.iter().map(|peer| values(unit, &peer.rounds)).collect();
        let ratio = ratio_to_best(&ours, &peers, unit.direction());
        let details = Details {
            peak_bytes_of_peers: self.by_mode(peak_bytes),
            p99_of_peers: self.by_mode(p99),
            agreement_of_peers: self.facts_by_mode(|facts| facts.agreement).collect(),
            settings_of_peers: self.facts_by_mode(|facts| facts.settings.clone()).collect(),
            ..details(&self.ours)
        };
        let modes = self.peers.into_iter().map(|peer| peer.mode);
        CaseOutcome {
            bench: measurement.bench.to_owned(),
            case: measurement.case.to_owned(),
            precision: measurement.precision.to_owned(),
            unit,
            ours: median(&ours),
            range: range(&ours),
            peers: modes.zip(peers.iter().map(|values| median(values))).collect(),
            ratio: ratio.map(|ratio| ratio.median),
            spread: ratio.map(|ratio| ratio.spread),
            skipped: self.skipped,
            details,
        }
    }

    /// Returns a value of each peer's rounds, by mode, without the peers that do not have it.
    fn by_mode<T>(&self, value: fn(&[Round]) -> Option<T>) -> ByName<T> {
        let value = |peer: &PeerRounds| Some((peer.mode.clone(), value(&peer.rounds)?));
        self.peers.iter().filter_map(value).collect()
    }

    /// Returns what each peer told about itself, by mode, without the peers that did not tell it.
    fn facts_by_mode<T>(&self, fact: fn(&PeerFacts) -> Option<T>) -> impl Iterator<Item = (String, T)> {
        self.peers.iter().filter_map(move |peer| Some((peer.mode.clone(), fact(&peer.facts)?)))
    }

    /// Returns the median time of our rounds in seconds.
    pub fn median_seconds(&self) -> f64 {
        median(&self.ours.iter().map(|round| round.seconds).collect::<Vec<_>>())
    }
}

/// Returns the details of our rounds that all benches share.
fn details(rounds: &[Round]) -> Details {
    let calls = rounds.iter().map(|round| round.latencies.len()).sum();
    Details {
        tokens_per_second: tokens_per_second(rounds),
        peak_bytes: peak_bytes(rounds),
        p99: p99(rounds),
        calls: (calls > 0).then_some(calls),
        rounds: Some(rounds.len()),
        ..Details::default()
    }
}

/// Returns the median over rounds, unless a round has no tokens.
fn tokens_per_second(rounds: &[Round]) -> Option<f64> {
    let speeds: Vec<f64> = rounds.iter().map(|round| round.tokens as f64 / round.seconds).collect();
    rounds.iter().all(|round| round.tokens > 0).then(|| median(&speeds))
}

fn peak_bytes(rounds: &[Round]) -> Option<u64> {
    rounds.iter().filter_map(|round| round.peak_bytes).max()
}

/// Returns the 99th percentile of the single calls of all rounds, if there are any.
fn p99(rounds: &[Round]) -> Option<f64> {
    let calls: Vec<f64> = rounds.iter().flat_map(|round| round.latencies.iter().copied()).collect();
    (!calls.is_empty()).then(|| percentile(&calls, 0.99))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(seconds: f64, peak_bytes: Option<u64>) -> Vec<Round> {
        vec![Round { seconds, sequences: 32, tokens: 500, peak_bytes, latencies: vec![2.0, 4.0, 8.5] }]
    }

    /// Other programs read the file, so the keys, their order and the formats of numbers are fixed.
    #[test]
    fn the_json_of_a_measurement_is_fixed() {
        let peer = |mode: &str, peak| PeerRounds {
            mode: mode.to_owned(),
            rounds: rounds(4.0, peak),
            facts: PeerFacts::default(),
        };
        let all = InterleavedRounds {
            ours: rounds(2.0, Some(3_000_000_000)),
            peers: vec![peer("torch-eager", Some(7)), peer("torch-compile", Some(5)), peer("onnx-f32", None)],
            skipped: BTreeMap::from([("jax".to_owned(), "no jax".to_owned())]),
        };
        let measurement = Measurement { bench: "infer", case: "ag-64", precision: "f32", unit: Unit::Texts };
        let expected = concat!(
            r#"{"bench":"infer","case":"ag-64","precision":"f32","unit":"texts/s","ours":16.0,"range":[16.0,16.0],"#,
            r#""peers":{"onnx-f32":8.0,"torch-compile":8.0,"torch-eager":8.0},"ratio":2.0,"spread":[2.0,2.0],"#,
            r#""skipped":{"jax":"no jax"},"tokens_per_second":250.0,"peak_bytes":3000000000,"p99":8.5,"calls":3,"#,
            r#""rounds":1,"peak_bytes_of_peers":{"torch-eager":7,"torch-compile":5},"#,
            r#""p99_of_peers":{"torch-eager":8.5,"torch-compile":8.5,"onnx-f32":8.5}}"#
        );
        assert_eq!(serde_json::to_string(&all.outcome(&measurement)).unwrap(), expected);
    }
}

//! Interleaved rounds, A B A B: other load on the machine affects every side equally.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use serde_json::{Map, Value, json};

use crate::peer::{Peer, Round};
use crate::report::{Outcome, Unit};
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
    /// Unavailable peers, each with the reason.
    pub skipped: BTreeMap<String, String>,
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
}

/// Runs `rounds` rounds. In each round, our side runs first, then every peer.
///
/// # Errors
/// If a side fails, or if the work of a peer differs from ours.
pub fn run_interleaved(
    measurement: &Measurement<'_>,
    rounds: usize,
    ours: &mut dyn FnMut() -> Result<Round>,
    mut peers: Peers,
) -> Result<InterleavedRounds> {
    let peer_rounds = |peer: &Peer| PeerRounds { mode: peer.mode().to_owned(), rounds: Vec::new() };
    let mut all = InterleavedRounds {
        ours: Vec::new(),
        peers: peers.ready.iter().map(peer_rounds).collect(),
        skipped: peers.skipped,
    };
    let unit = measurement.unit;
    for number in 1..=rounds {
        let our_round = ours()?;
        let mut line = format!("ours {:.2}", value(unit, &our_round));
        for (peer, PeerRounds { mode, rounds }) in peers.ready.iter_mut().zip(&mut all.peers) {
            let round = peer.round()?;
            check_same_work(mode, unit, &round, &our_round)?;
            line += &format!(", {mode} {:.2}", value(unit, &round));
            rounds.push(round);
        }
        all.ours.push(our_round);
        let Measurement { bench, case, precision, .. } = measurement;
        tracing::info!("{bench} {case} {precision}: round {number} of {rounds}: {line} {unit}");
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
    pub fn outcome(self, measurement: &Measurement<'_>) -> Outcome {
        let unit = measurement.unit;
        let ours = values(unit, &self.ours);
        let peers: Vec<Vec<f64>> = self.peers.iter().map(|peer| values(unit, &peer.rounds)).collect();
        let ratio = ratio_to_best(&ours, &peers, unit.direction());
        let mut all_details = details(&self.ours);
        for key in ["peak_bytes", "p99"] {
            let known = self.peer_details(key);
            if !known.is_empty() {
                all_details.insert(format!("{key}_of_peers"), known.into());
            }
        }
        let modes = self.peers.into_iter().map(|peer| peer.mode);
        Outcome {
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
            details: all_details,
        }
    }

    /// Returns one detail of each peer that has it, by mode.
    fn peer_details(&self, key: &str) -> Map<String, Value> {
        let detail = |peer: &PeerRounds| Some((peer.mode.clone(), details(&peer.rounds).remove(key)?));
        self.peers.iter().filter_map(detail).collect()
    }

    /// Returns the median time of our rounds in seconds.
    pub fn median_seconds(&self) -> f64 {
        median(&self.ours.iter().map(|round| round.seconds).collect::<Vec<_>>())
    }
}

/// Returns the details of one side, without its value.
fn details(rounds: &[Round]) -> Map<String, Value> {
    let mut details = Map::new();
    if rounds.iter().all(|round| round.tokens > 0) {
        let speeds: Vec<f64> = rounds.iter().map(|round| round.tokens as f64 / round.seconds).collect();
        details.insert("tokens_per_second".to_owned(), json!(median(&speeds)));
    }
    if let Some(peak) = rounds.iter().filter_map(|round| round.peak_bytes).max() {
        details.insert("peak_bytes".to_owned(), json!(peak));
    }
    let calls: Vec<f64> = rounds.iter().flat_map(|round| round.latencies.iter().copied()).collect();
    if !calls.is_empty() {
        details.insert("p99".to_owned(), json!(percentile(&calls, 0.99)));
        details.insert("calls".to_owned(), json!(calls.len()));
    }
    details.insert("rounds".to_owned(), json!(rounds.len()));
    details
}

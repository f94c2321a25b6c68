//! Both sides in turns, A B A B: what the machine does beside meets each of them alike.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use serde_json::{Map, Value, json};

use crate::peer::{Peer, Round};
use crate::report::{Outcome, Unit};
use crate::statistics::{against, median, percentile, range};

/// What is measured.
#[derive(Debug, Clone, Copy)]
pub struct Work<'a> {
    /// `train`, `infer` or `data`.
    pub bench: &'a str,
    /// The case's name.
    pub case: &'a str,
    /// The number format's name.
    pub precision: &'a str,
    /// What is counted.
    pub unit: Unit,
}

/// The peers of a case.
#[derive(Debug, Default)]
pub struct Peers {
    /// Those that take part.
    pub ready: Vec<Peer>,
    /// Those that do not work here, and why.
    pub skipped: BTreeMap<String, String>,
}

/// The rounds of all sides.
#[derive(Debug)]
pub struct Turns {
    /// Ours.
    pub ours: Vec<Round>,
    peers: Vec<(String, Vec<Round>)>,
    skipped: BTreeMap<String, String>,
}

/// Lets ours and every peer work `rounds` rounds, one after the other in each.
///
/// # Errors
/// If a side fails, or if a peer did other work than ours.
pub fn take_turns(
    work: &Work<'_>,
    rounds: usize,
    ours: &mut dyn FnMut() -> Result<Round>,
    mut peers: Peers,
) -> Result<Turns> {
    let mut turns = Turns {
        ours: Vec::new(),
        peers: peers.ready.iter().map(|peer| (peer.mode().to_owned(), Vec::new())).collect(),
        skipped: peers.skipped,
    };
    for number in 1..=rounds {
        let own = ours()?;
        let mut line = format!("ours {:.2}", value(work.unit, &own));
        for (peer, (mode, found)) in peers.ready.iter_mut().zip(&mut turns.peers) {
            let round = peer.round()?;
            if (round.sequences, round.tokens) != (own.sequences, own.tokens) {
                bail!(
                    "the peer {mode} did {} {} with {} tokens, ours {} with {}: they are not comparable",
                    round.sequences,
                    work.unit.to_string().trim_end_matches("/s"),
                    round.tokens,
                    own.sequences,
                    own.tokens
                );
            }
            line += &format!(", {mode} {:.2}", value(work.unit, &round));
            found.push(round);
        }
        turns.ours.push(own);
        tracing::info!(
            "{} {} {}: round {number} of {rounds}: {line} {}",
            work.bench,
            work.case,
            work.precision,
            work.unit
        );
    }
    Ok(turns)
}

/// What a round comes to in `unit`.
fn value(unit: Unit, round: &Round) -> f64 {
    match unit {
        Unit::Milliseconds => median(&round.latencies),
        _ => round.sequences as f64 / round.seconds,
    }
}

impl Turns {
    /// The result, with what all benches tell of both sides: tokens per second, peak memory, 99th percentiles.
    pub fn outcome(self, work: &Work<'_>) -> Outcome {
        let values = |rounds: &[Round]| -> Vec<f64> { rounds.iter().map(|round| value(work.unit, round)).collect() };
        let ours = values(&self.ours);
        let peers: Vec<Vec<f64>> = self.peers.iter().map(|(_, rounds)| values(rounds)).collect();
        let ratio = against(&ours, &peers, work.unit.better());
        let mut details = details(&self.ours);
        for key in ["peak_bytes", "p99"] {
            let of = |rounds: &[Round]| details_of_peer(rounds, key);
            let known: Map<String, Value> =
                self.peers.iter().filter_map(|(mode, rounds)| Some((mode.clone(), of(rounds)?))).collect();
            if !known.is_empty() {
                details.insert(format!("{key}_of_peers"), known.into());
            }
        }
        Outcome {
            bench: work.bench.to_owned(),
            case: work.case.to_owned(),
            precision: work.precision.to_owned(),
            unit: work.unit,
            ours: median(&ours),
            range: range(&ours),
            peers: self.peers.iter().zip(&peers).map(|((mode, _), values)| (mode.clone(), median(values))).collect(),
            ratio: ratio.map(|ratio| ratio.median),
            spread: ratio.map(|ratio| ratio.spread),
            skipped: self.skipped,
            details,
        }
    }

    /// Median time of one of our rounds.
    pub fn seconds(&self) -> f64 {
        median(&self.ours.iter().map(|round| round.seconds).collect::<Vec<_>>())
    }
}

/// What the rounds of one side tell beside the value.
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

fn details_of_peer(rounds: &[Round], key: &str) -> Option<Value> {
    details(rounds).remove(key)
}

//! Measures how fast NewsBERT trains, predicts and reads on this machine, compared with the tools a user would choose
//! instead.
//!
//! ```text
//! options ─ cases ─ per case and precision: ours and peers ─ interleaved rounds (A B A B) ─ CaseOutcome ─ text, JSON, baseline
//! ```
//!
//! * "Ours" is what `nb` runs: plans, tasks and the training step come from `nb_train`, inference from `nb_infer`; nothing is
//!   reimplemented here.
//! * A peer is a Python program (`peer/`) in its own process. It receives the same texts and answers round by round; see
//!   [`peer`] for the protocol.
//! * Warm-up, loading and compilation are not timed; each module says what it excludes.
//!
//! The binary `nb-bench` is a thin layer over this library; `cargo xtask bench` builds and starts it.

pub mod baseline;
pub mod cases;
pub mod cli;
pub mod context;
pub mod data;
pub mod details;
pub mod device;
pub mod flops;
pub mod host;
pub mod infer;
pub mod interleave;
pub mod load;
pub mod memory;
pub mod options;
pub mod peak;
pub mod peer;
pub mod random;
pub mod report;
mod run_config;
pub mod show;
pub mod statistics;
pub mod train;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

//! How fast NewsBERT trains, answers and reads on this machine, and how that compares with what a user would take
//! instead.
//!
//! ```text
//! options ─ cases ─ for each case and precision: ours, peers ─ rounds in turns (A B A B) ─ Outcome ─ table, JSON, baseline
//! ```
//!
//! * Ours is what `nb` does: plans, tasks, the step and saved models come from `nb_train`, nothing is rewritten here.
//! * A peer is a Python program (`peer/`) in a process of its own, which is given the same texts and answers round by
//!   round; see [`peer`] for the protocol.
//! * What is not timed is said where it is left out: warm-up, loading, compiling.
//!
//! The binary `nb-bench` is a thin layer over this library; `cargo xtask bench` builds and starts it.

pub mod baseline;
pub mod cases;
pub mod cli;
pub mod data;
pub mod device;
pub mod flops;
pub mod host;
pub mod infer;
pub mod memory;
pub mod peak;
pub mod peer;
pub mod random;
pub mod report;
pub mod setting;
pub mod show;
pub mod statistics;
pub mod train;
pub mod turns;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

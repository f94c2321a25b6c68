//! Trains a small news BERT together with a large one.
//!
//! ```text
//! config.yaml ─ config::read ─ RunConfig ─ Plan::new ─ Plan ─ run ─ models, summary
//! step: batch ─ teacher, student encode ─ head (shared) ─ terms ─ backward ─ blend ─ clip ─ AdamW ─ StepReport
//! ```
//!
//! * A method is data: [`method::Method`]. The step interprets it and never asks for its name.
//! * A task is one file behind [`task::Task`].
//!
//! The binary `nb` is a thin layer of commands over this library.

pub mod compare;
pub mod config;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod inference;
pub mod method;
pub mod model;
pub mod optim;
pub mod plan;
pub mod run;
pub mod run_folder;
pub mod step;
pub mod task;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

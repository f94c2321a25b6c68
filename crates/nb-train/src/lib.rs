//! Trains a small news BERT together with a large one.
//!
//! ```text
//! config.yaml ─ config::read ─ RunConfig ─ Plan::new ─ Plan ─ run::run ─ models, summary
//! step: batches ─ teacher, student ─ heads ─ terms ─ backward ─ all-reduce ─ blend ─ clip ─ AdamW ─ StepOutput
//! ```
//!
//! The folders, from the ground up: [`config`] is the YAML as typed; [`method`] is a method as data; [`plan`] is everything decided
//! before anything is loaded; [`model`] builds teacher and student and saves them; [`task`] has a folder per task; [`optim`] is
//! AdamW with lazily updated rows; [`step`] is one training step; [`run_folder`] is the folder of a run with its checkpoints;
//! [`run`] is a whole run. [`compare`] makes many runs, and [`inference`] loads what a run saved.
//!
//! * A method is data: [`method::Method`]. The step interprets it and never asks for its name.
//! * A task is a folder behind [`task::Task`].
//!
//! The library knows no command line, no signals and no environment; the crate `nb` does.

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

//! Trains a small news BERT together with a large one.
//!
//! ```text
//! config.yaml ─ config::read ─ RunConfig ─ Plan::new ─ Plan ─ run::run ─ models, summary
//! step: batches ─ teacher, student ─ heads ─ terms ─ backward ─ all-reduce ─ blend ─ clip ─ AdamW ─ StepOutput
//! ```
//!
//! The modules, bottom up: [`config`] reads the YAML; [`method`] describes methods as data; [`plan`] checks a configuration and
//! derives all settings before anything is loaded; [`model`] builds and saves teacher and student; [`task`] has a folder per
//! task; [`optim`] is AdamW with lazily updated rows; [`step`] is one training step; [`run_folder`] is the folder of a run with
//! its checkpoints; [`run`] is a whole run. [`compare`] performs many runs, and [`inference`] loads the models of a run.
//!
//! * A method is data: [`method::Method`]. The step interprets it and does not depend on its name.
//! * A task is a folder with an implementation of [`task::Task`].
//!
//! The crate `nb` handles the command line and signals; this library does not.

mod atomic_file;
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

//! Trains a small news BERT together with a large one.
//!
//! ```text
//! config.yaml ─ config::read ─ RunConfig ─ Plan::new ─ Plan ─ run ─ models, summary
//! step: batch ─ teacher, student encode ─ top (shared) ─ terms ─ backward ─ blend ─ clip ─ AdamW ─ StepReport
//! ```
//!
//! * A method is data: [`method::Method`]. The step interprets it and never asks for its name.
//! * A task is one file behind [`task::Task`].
//!
//! The binary `nb` is a thin layer of commands over this library.

pub mod adamw;
pub mod assemble;
pub mod best;
pub mod card;
mod checkpoint;
pub mod cli;
mod clock;
pub mod compare;
pub mod config;
pub mod evaluation;
mod finish;
pub mod folder;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod inference;
pub mod kept;
mod lock;
pub mod method;
pub mod models;
mod origin;
mod outcomes;
pub mod plan;
pub mod prepare;

mod progress;
pub mod report;
mod resume;
pub mod run;
pub mod schedule;
pub mod setup;
pub mod step;
pub mod surroundings;
pub mod task;
pub mod terms;
mod together;
mod tokenizer;
pub mod vector_file;
pub mod watch;
mod whole;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

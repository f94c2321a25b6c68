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
pub mod best;
pub mod card;
pub mod cli;
pub mod config;
pub mod cuda;
pub mod evaluation;
pub mod folder;
pub mod inference;
pub mod method;
pub mod models;
pub mod plan;
mod progress;
pub mod report;
pub mod run;
pub mod schedule;
pub mod step;
pub mod task;
pub mod terms;
pub mod vector_file;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

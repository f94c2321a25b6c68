//! One table from the runs of several methods, depths and seeds: [`compare`] builds a
//! [`Comparison`](crate::Comparison), the contents of `compare.json`, and `render` formats it as text, CSV and JSON.
//!
//! This module neither starts runs nor chooses settings. Sweeps pass through it unchanged.

mod compare;
mod cost;
mod csv;
mod measured;
mod notes;
mod render;
mod teachers;
mod words;

pub use compare::{Entry, Header, compare};

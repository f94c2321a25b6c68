//! The HTML pages, and reading the run folders that they are made from.

#![allow(clippy::unwrap_used)] // allowed in test helpers, as in tests

mod comparison;
mod record;
mod run;
mod support;

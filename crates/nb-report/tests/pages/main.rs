//! The HTML pages, and the reading of what they are made from.

#![allow(clippy::unwrap_used)] // helpers of tests, as tests themselves may

mod comparison;
mod record;
mod run;
mod support;

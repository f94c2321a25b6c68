//! Self-contained HTML pages for light and dark mode, without scripts and external resources.
//!
//! `maud` escapes all text from files. A page omits what a record lacks.

mod compare;
mod page;
mod run;
mod series;

pub use compare::{comparison_picture, comparison_report};
pub use run::run_report;

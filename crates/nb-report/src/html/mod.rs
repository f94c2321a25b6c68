//! Self-contained HTML pages: no script, nothing loaded from elsewhere, light and dark.
//!
//! `maud` escapes all text from files. A page skips what a record lacks.

mod compare;
mod page;
mod run;
mod series;

pub use compare::{comparison_picture, comparison_report};
pub use run::run_report;

//! Self-contained HTML pages: no script, nothing loaded from elsewhere, light and dark.
//!
//! Everything from a file is escaped by `maud`; whatever a file lacks is left out of the page.

mod compare;
mod page;
mod run;
mod series;

pub use compare::{comparison_picture, comparison_report};
pub use run::run_report;

//! Reports of training runs: self-contained HTML pages, TensorBoard events, and tables that compare runs with paired tests.
//!
//! * [`record`]: the files of a run folder as types for writing and reading; [`RunRecord`] reads a complete folder.
//! * [`run_report`], [`comparison_report`]: the HTML page of a run, and of a comparison.
//! * [`compare`]: one [`Comparison`] of the runs of several methods, depths and seeds, as text, CSV and JSON.
//! * [`comparison_picture`]: the plots of a comparison as an SVG file.
//! * [`EventWriter`]: scalars over steps for TensorBoard.
//!
//! The crate handles files and numbers only; it contains nothing about libtorch, models or training.

mod comparison;
mod error;
mod events;
mod format;
mod html;
mod plot;
pub mod record;

pub use comparison::{Entry, Header, compare};
pub use error::ReportError;
pub use events::EventWriter;
pub use html::{comparison_picture, comparison_report, run_report};
pub use record::{Against, Comparison, Row, RunRecord, Spread, Sweep, TeacherRow, TotalCost, Try};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

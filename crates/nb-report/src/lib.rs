//! Reports of training runs: self-contained HTML pages, TensorBoard events, and tables that compare runs with paired tests.
//!
//! * [`record`]: the files of a run folder as types, for writing and for reading; [`RunRecord`] reads a whole folder.
//! * [`run_report`], [`comparison_report`]: the HTML page of a run, and of a comparison.
//! * [`compare`]: from the runs of several methods, depths and seeds to one [`Comparison`], as text, CSV and JSON.
//! * [`comparison_picture`]: the plots of a comparison as an SVG file.
//! * [`EventWriter`]: numbers over steps, for TensorBoard.
//!
//! The crate knows files and numbers, but nothing about libtorch, models or training.

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
pub use record::{Against, Comparison, Row, RunRecord, Spread, Sweep, TeacherRow, Try};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

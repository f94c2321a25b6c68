//! What became of training runs, for people: a self-contained HTML report, TensorBoard events, and tables that compare
//! runs with paired tests.
//!
//! * [`RunRecord`]: a run folder, read.
//! * [`run_report`], [`comparison_report`]: the page of a run, and of a comparison.
//! * [`compare`]: runs of several methods, depths and seeds to one [`Comparison`], as text, CSV and JSON.
//! * [`EventWriter`]: numbers over steps, for TensorBoard.
//!
//! It knows files and numbers; nothing of libtorch, models or how a run is made.

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

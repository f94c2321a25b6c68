//! Writes a trained model in a form that other programs load.

mod error;

pub use error::ExportError;

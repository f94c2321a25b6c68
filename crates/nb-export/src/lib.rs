//! Writes a trained model in a form that other programs load.
//!
//! * [`onnx`]: encoder, pooling and head as one ONNX file, in f32 or int8.
//! * [`onnx_reader`]: the reader model of recommendation as an ONNX file.

mod error;
mod onnx;

pub use error::ExportError;
pub use onnx::{Calibration, InputRange, LayerInputs, OnnxPrecision, onnx, onnx_reader};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

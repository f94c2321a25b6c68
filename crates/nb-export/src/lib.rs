//! Writes a trained model in a form that other programs load.
//!
//! * [`onnx`]: encoder, pooling and head as one ONNX file, in f32 or int8.
//! * [`onnx_reader`]: the reader model of recommendation as an ONNX file.
//! * [`sentence_transformers`]: a folder for sentence-transformers.
//! * [`hugging_face`]: a topic model as a classifier of transformers.
//! * [`int8`]: a folder with weights in 8 bits, for `nb-infer`.

mod error;
mod hugging_face;
mod int8;
mod model_folder;
mod onnx;
mod sentence_transformers;
#[cfg(test)]
mod testing;

pub use error::ExportError;
pub use hugging_face::{ClassifierClass, hugging_face};
pub use int8::int8;
pub use onnx::{Calibration, InputRange, LayerInputs, OnnxPrecision, onnx, onnx_reader};
pub use sentence_transformers::sentence_transformers;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

//! Writes a trained model in a form that other programs load.

mod error;
mod hugging_face;
mod model_folder;
mod sentence_transformers;
#[cfg(test)]
mod testing;

pub use error::ExportError;
pub use hugging_face::{ClassifierClass, hugging_face};
pub use sentence_transformers::sentence_transformers;

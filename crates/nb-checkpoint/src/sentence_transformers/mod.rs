//! The files by which sentence-transformers computes a vector from an encoder's states, read and written.

mod dense;
mod json;
mod library;
mod list;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub use dense::{DenseActivation, SentenceDense};
pub use list::{ModuleFiles, module_files};
pub use read::SentenceModules;
pub use write::write_sentence_modules;

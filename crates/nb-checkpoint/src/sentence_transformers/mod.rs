//! The files by which sentence-transformers computes a vector from an encoder's states, read and written.

mod read;
mod write;

pub use read::{SentenceModules, module_configs};
pub use write::write_sentence_modules;

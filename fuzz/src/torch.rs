//! A model for the targets that need libtorch.

use nb_model::{Bert, BertConfig, Precision};
use tch::Device;
use tempfile::TempDir;

/// Creates a folder with a BERT encoder of one layer and eight words, whose weights are only a few kilobytes.
pub fn small_bert() -> TempDir {
    let folder = crate::folder(&[]);
    let mut config = BertConfig::new(8, 4, 1, 2);
    (config.intermediate_size, config.max_position_embeddings) = (4, 8);
    let mut bert = Bert::zeros(config, Device::Cpu, Precision::F32).expect("a small model");
    bert.randomise(1);
    bert.save(folder.path()).expect("room for a small model");
    folder
}

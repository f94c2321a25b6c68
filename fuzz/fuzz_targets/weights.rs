//! Weights in a safetensors file, read as plain tensors and as the weights of a small BERT.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use nb_checkpoint::WEIGHTS_FILE;
use nb_fuzz::torch::small_bert;
use nb_fuzz::write;
use nb_model::{Bert, Precision, read_tensors};
use tch::Device;
use tempfile::TempDir;

static FOLDER: LazyLock<TempDir> = LazyLock::new(small_bert);

fuzz_target!(|data: &[u8]| {
    let folder = FOLDER.path();
    write(folder, WEIGHTS_FILE, data);
    if let Ok(tensors) = read_tensors(&folder.join(WEIGHTS_FILE)) {
        let entries: usize = tensors.values().map(|tensor| tensor.numel()).sum();
        assert!(entries <= data.len(), "{entries} entries from {} bytes", data.len());
    }
    let _ = Bert::load(folder, Device::Cpu, Precision::F32);
});

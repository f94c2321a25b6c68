//! The files of a saved model besides a small BERT: `vocab.txt`, `newsbert.json` and `head.safetensors`, in this order.
//! A model that loads must work.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use nb_checkpoint::{DESCRIPTION_FILE, HEAD_FILE};
use nb_data::read::{Format, LabelRule};
use nb_fuzz::torch::small_bert;
use nb_fuzz::{parts, read, write};
use nb_infer::{Model, Options, Precision};
use nb_train::inference::{SavedModel, VectorKind};
use tch::Device;
use tempfile::TempDir;

static FOLDER: LazyLock<TempDir> = LazyLock::new(small_bert);

fuzz_target!(|data: &[u8]| {
    let [vocab, description, head] = parts(data);
    let folder = FOLDER.path();
    for (name, bytes) in [("vocab.txt", vocab), (DESCRIPTION_FILE, description), (HEAD_FILE, head)] {
        write(folder, name, bytes);
    }
    for precision in [Precision::F32, Precision::Bf16, Precision::Int8] {
        if let Ok(model) = Model::open(folder, &Options { precision, ..Options::default() }) {
            let texts = ["A goal in Paris".into(), ("\u{c4}rger", "goal").into()];
            let _ = (model.probabilities(&texts), model.warnings());
            if let Ok(vectors) = model.vectors(&texts) {
                assert!(vectors.iter().all(|vector| Some(vector.len()) == model.width()));
            }
        }
    }
    let Ok(model) = SavedModel::load(folder, Device::Cpu, nb_model::Precision::F32) else { return };
    let texts = read(b"A goal in Paris\n\xC3\x84rger\n", &Format::Lines, LabelRule::Optional);
    let _ = (model.probabilities(&texts), model.read_fields(), model.settings());
    for kind in [VectorKind::Head, VectorKind::Mean, VectorKind::Cls] {
        if let Ok(vectors) = model.vectors(&texts, kind) {
            assert!(vectors.iter().all(|vector| vector.len() == model.vector_width(kind)));
        }
    }
});

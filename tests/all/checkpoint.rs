//! Hugging Face folders: a saved model loads bit for bit, and an invalid folder is refused with the names of the file and of
//! every bad tensor.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use nb_checkpoint::{BertConfig, CONFIG_FILE, WEIGHTS_FILE};
use nb_model::{Bert, Capture, ModelError, Pass, Precision, read_tensors, write_tensors};
use nb_train::task::Objective;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use tch::{Device, Kind, Tensor};
use tempfile::TempDir;

use crate::support::{TOPIC, encoder, max_abs, sentences, small_bert};

const SEGMENTS: &str = "embeddings.token_type_embeddings.weight";

/// A saved model in a temporary folder, whose files can be damaged.
struct ModelFolder {
    folder: TempDir,
    saved: Bert,
}

impl ModelFolder {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let saved = encoder(&small_bert(8, 2), Precision::F32, 21);
        saved.save(folder.path()).unwrap();
        Self { folder, saved }
    }

    fn weights(&self) -> PathBuf {
        self.folder.path().join(WEIGHTS_FILE)
    }

    fn load(&self) -> Result<Bert, ModelError> {
        Bert::load(self.folder.path(), Device::Cpu, Precision::F32)
    }

    /// Rewrites the weights with changed names or tensors.
    fn change(&self, f: impl FnOnce(&mut BTreeMap<String, Tensor>)) {
        let mut tensors = read_tensors(&self.weights()).unwrap().into_iter().collect();
        f(&mut tensors);
        write_tensors(&self.weights(), &tensors.into_iter().collect::<Vec<_>>()).unwrap();
    }

    /// Rewrites one key of `config.json`.
    fn configure(&self, key: &str, value: serde_json::Value) {
        let path = self.folder.path().join(CONFIG_FILE);
        let mut json: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        json[key] = value;
        std::fs::write(path, json.to_string()).unwrap();
    }

    /// Fails unless the saved model loads.
    #[track_caller]
    fn assert_loads(&self) {
        let loaded = self.load().unwrap_or_else(|e| panic!("{e}"));
        assert!(loaded.arena().values().equal(&self.saved.arena().values()));
    }

    /// Fails unless loading fails with a message that contains the path of `file` and all `parts`.
    #[track_caller]
    fn assert_refused(&self, file: &str, parts: &[&str]) {
        let error = self.load().expect_err("the folder is invalid");
        let message = chain(&error);
        let path = self.folder.path().join(file).display().to_string();
        for part in parts.iter().copied().chain([path.as_str()]) {
            assert!(message.contains(part), "`{part}` is not in: {message}");
        }
    }
}

/// Returns an error with its causes, as the binary prints it.
fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", chain(cause)),
        None => error.to_string(),
    }
}

fn rename(tensors: &mut BTreeMap<String, Tensor>, f: impl Fn(&str) -> String) {
    *tensors = std::mem::take(tensors).into_iter().map(|(name, tensor)| (f(&name), tensor)).collect();
}

fn zeros(shape: &[i64]) -> Tensor {
    Tensor::zeros(shape, (Kind::Float, Device::Cpu))
}

#[test]
fn a_loaded_model_is_saved_bit_for_bit() {
    let model = ModelFolder::new();
    model.configure("custom_key", "value".into());
    let loaded = model.load().unwrap();
    let copy = TempDir::new().unwrap();
    loaded.save(copy.path()).unwrap();
    for file in [CONFIG_FILE, WEIGHTS_FILE] {
        let read = |folder: &Path| std::fs::read(folder.join(file)).unwrap();
        let (first, second) = (read(model.folder.path()), read(copy.path()));
        match file {
            WEIGHTS_FILE => assert!(first == second, "{file} differs"),
            _ => assert_eq!(json(&first), json(&second)),
        }
    }
    let files = std::fs::read_dir(copy.path()).unwrap().count();
    assert_eq!(files, 2, "no temporary file remains");

    let packed = TOPIC.packed(&sentences(&[5, 3], 1));
    let states = |bert: &Bert| bert.encode(&packed, Pass::Inference, Capture::Last).last().copy();
    assert!(states(&loaded).equal(&states(&model.saved)));
}

fn json(bytes: &[u8]) -> serde_json::Value {
    serde_json::from_slice(bytes).unwrap()
}

#[test]
fn saved_files_have_the_metadata_of_hugging_face() {
    let model = ModelFolder::new();
    let bytes = std::fs::read(model.weights()).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    assert_eq!(header.metadata().as_ref().unwrap()["format"], "pt");
    let config = json(&std::fs::read(model.folder.path().join(CONFIG_FILE)).unwrap());
    assert_eq!(config["architectures"], serde_json::json!(["BertModel"]));
    assert_eq!((&config["model_type"], &config["num_hidden_layers"]), (&"bert".into(), &2.into()));
}

#[test]
fn legacy_parameter_names_load() {
    for prefix in ["", "bert."] {
        let model = ModelFolder::new();
        model.change(|tensors| {
            rename(tensors, |name| {
                let old =
                    name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta");
                format!("{prefix}{old}")
            });
            assert!(tensors.contains_key(&format!("{prefix}embeddings.LayerNorm.gamma")));
        });
        model.assert_loads();
    }
}

#[test]
fn tensors_outside_the_encoder_are_ignored() {
    let model = ModelFolder::new();
    model.change(|tensors| {
        rename(tensors, |name| format!("bert.{name}"));
        for name in [
            "bert.pooler.dense.weight",
            "cls.predictions.bias",
            "classifier.weight",
            "bert.embeddings.position_ids",
            "linear.weight",
            "crf.transitions",
            "score.weight",
            "mlp.dense.bias",
        ] {
            tensors.insert(name.into(), zeros(&[3]));
        }
    });
    model.assert_loads();
}

/// Also without the prefix, and with any type.
#[test]
fn buffers_of_any_type_outside_the_encoder_are_ignored() {
    let model = ModelFolder::new();
    let bytes = std::fs::read(model.weights()).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let (mask, small) = ([1_u8, 0, 1], [7_u8; 2]);
    let buffers = [
        ("mask".to_owned(), TensorView::new(Dtype::BOOL, vec![3], &mask).unwrap()),
        ("linear.zero_point".to_owned(), TensorView::new(Dtype::U8, vec![2], &small).unwrap()),
    ];
    let changed = safetensors::serialize(file.tensors().into_iter().chain(buffers), None).unwrap();
    std::fs::write(model.weights(), changed).unwrap();
    model.assert_loads();
}

#[test]
fn missing_segment_embeddings_are_zeros() {
    let model = ModelFolder::new();
    model.change(|tensors| drop(tensors.remove(SEGMENTS)));
    let loaded = model.load().unwrap();
    assert_eq!(max_abs(&loaded.arena().value(SEGMENTS)), 0.0);
    let word = "embeddings.word_embeddings.weight";
    assert!(loaded.arena().value(word).equal(&model.saved.arena().value(word)));
}

#[test]
fn a_model_without_segment_types_has_no_segment_embeddings() {
    let model = ModelFolder::new();
    model.configure("type_vocab_size", 0.into());
    model.change(|tensors| drop(tensors.remove(SEGMENTS)));
    let loaded = model.load().unwrap();
    assert!(loaded.arena().layout().slot(SEGMENTS).is_none());
    // It ignores the segment ids of a second text.
    let packed = TOPIC.packed(&sentences(&[6, 6], 1));
    assert!(max_abs(loaded.encode(&packed, Pass::Inference, Capture::Last).last()).is_finite());
}

#[test]
fn a_bf16_file_loads_as_f32() {
    let model = ModelFolder::new();
    let bytes = std::fs::read(model.weights()).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    // The upper half of an f32 is its truncated bf16.
    let halves: Vec<(String, Vec<usize>, Vec<u8>)> = file
        .iter()
        .map(|(name, view)| {
            let data = view.data().chunks(4).flat_map(|c| [c[2], c[3]]).collect();
            (name.to_owned(), view.shape().to_vec(), data)
        })
        .collect();
    let views =
        halves.iter().map(|(name, shape, data)| (name, TensorView::new(Dtype::BF16, shape.clone(), data).unwrap()));
    std::fs::write(model.weights(), safetensors::serialize(views, None).unwrap()).unwrap();
    let loaded = model.load().unwrap().arena().values();
    assert_eq!(loaded.kind(), Kind::Float);
    let off = max_abs(&(&loaded - model.saved.arena().values()));
    assert!(off > 0.0 && off < 2.0_f64.powi(-7) * 1.3, "{off}");
}

#[test]
fn truncated_weights_are_refused() {
    let model = ModelFolder::new();
    let bytes = std::fs::read(model.weights()).unwrap();
    for length in [0, 4, 200, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(model.weights(), &bytes[..length]).unwrap();
        model.assert_refused(WEIGHTS_FILE, &["not a complete safetensors file"]);
    }
}

#[test]
fn a_header_with_a_wrong_length_is_refused() {
    let model = ModelFolder::new();
    let mut bytes = std::fs::read(model.weights()).unwrap();
    bytes[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    std::fs::write(model.weights(), &bytes).unwrap();
    model.assert_refused(WEIGHTS_FILE, &["not a complete safetensors file"]);
}

/// The tensor is empty, but one of its dimensions exceeds libtorch's integers.
#[test]
fn an_overflowing_dimension_is_refused() {
    let model = ModelFolder::new();
    let header = r#"{"encoder.w":{"dtype":"F32","shape":[9223372036854775808,0],"data_offsets":[0,0]}}"#;
    let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat();
    std::fs::write(model.weights(), bytes).unwrap();
    model.assert_refused(
        WEIGHTS_FILE,
        &["tensor encoder.w is of shape [9223372036854775808, 0]", "expected dimensions below"],
    );
}

/// A model of a petabyte is refused before its memory is allocated. So is a gigabyte of segment embeddings, which a file may
/// omit.
#[test]
fn a_configuration_far_larger_than_its_weights_is_refused() {
    let model = ModelFolder::new();
    model.configure("hidden_size", (1 << 24).into());
    model.configure("vocab_size", (1 << 24).into());
    model.assert_refused(WEIGHTS_FILE, &["bytes, but its config.json asks for", "parameters"]);

    let model = ModelFolder::new();
    model.change(|tensors| drop(tensors.remove(SEGMENTS)));
    model.configure("hidden_size", 4096.into());
    model.configure("type_vocab_size", (1 << 16).into());
    model.assert_refused(WEIGHTS_FILE, &["bytes, but its config.json asks for", "parameters"]);
}

#[test]
fn missing_unknown_and_misshaped_tensors_are_all_listed() {
    let model = ModelFolder::new();
    model.change(|tensors| {
        tensors.remove("encoder.layer.1.output.dense.bias");
        tensors.remove("embeddings.position_embeddings.weight");
        tensors.insert("encoder.layer.0.adapter.weight".into(), zeros(&[2, 5]));
        tensors.insert("encoder.layer.0.attention.self.query.weight".into(), zeros(&[8, 9]));
    });
    model.assert_refused(
        WEIGHTS_FILE,
        &[
            "missing    encoder.layer.1.output.dense.bias [8]",
            "missing    embeddings.position_embeddings.weight [24, 8]",
            "unknown    encoder.layer.0.adapter.weight [2, 5]",
            "mis-shaped encoder.layer.0.attention.self.query.weight: found [8, 9], expected [8, 8]",
        ],
    );
}

#[test]
fn a_configuration_of_a_different_size_is_refused() {
    let model = ModelFolder::new();
    model.configure("vocab_size", 31.into());
    model.assert_refused(
        WEIGHTS_FILE,
        &["mis-shaped embeddings.word_embeddings.weight: found [30, 8], expected [31, 8]"],
    );

    let model = ModelFolder::new();
    model.configure("num_hidden_layers", 3.into());
    model.assert_refused(WEIGHTS_FILE, &["missing    encoder.layer.2.attention.self.key.weight [8, 8]"]);

    let model = ModelFolder::new();
    model.configure("num_hidden_layers", 1.into());
    model.assert_refused(WEIGHTS_FILE, &["unknown    encoder.layer.1.output.LayerNorm.weight [8]"]);
}

#[test]
fn missing_files_are_named() {
    let model = ModelFolder::new();
    std::fs::rename(model.weights(), model.folder.path().join("pytorch_model.bin")).unwrap();
    model.assert_refused("pytorch_model.bin", &["it has the format safetensors", "rename it to model.safetensors"]);
    std::fs::remove_file(model.folder.path().join("pytorch_model.bin")).unwrap();
    model.assert_refused(WEIGHTS_FILE, &["cannot read", "No such file"]);
    std::fs::remove_file(model.folder.path().join(CONFIG_FILE)).unwrap();
    model.assert_refused(CONFIG_FILE, &["cannot read", "No such file"]);
}

#[test]
fn other_architectures_are_refused() {
    let model = ModelFolder::new();
    model.configure("model_type", "gpt2".into());
    model.assert_refused(CONFIG_FILE, &["`model_type` is gpt2", "`bert`"]);

    let model = ModelFolder::new();
    model.configure("position_embedding_type", "relative_key_query".into());
    model.assert_refused(CONFIG_FILE, &["`position_embedding_type` is relative_key_query"]);

    let model = ModelFolder::new();
    std::fs::write(model.folder.path().join(CONFIG_FILE), "{\"model_type\": \"bert\",").unwrap();
    model.assert_refused(CONFIG_FILE, &["line 1"]);
}

#[test]
fn an_invalid_configuration_built_in_code_is_refused() {
    let mut config = BertConfig::new(30, 8, 2, 2);
    config.num_attention_heads = 3;
    let error = Bert::zeros(config, Device::Cpu, Precision::F32).expect_err("3 heads do not divide 8 units");
    assert!(error.to_string().contains("`num_attention_heads` is 3"), "{error}");
}

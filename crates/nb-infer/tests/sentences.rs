//! Folders that sentence-transformers wrote, against the vectors that it computes with them. `data/make_sentences.py` makes both.

#![allow(clippy::unwrap_used)] // allowed in test helpers, as in tests

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use nb_checkpoint::{HEAD_FILE, serialize};
use nb_infer::{InferError, Model, Options, PoolingKind, ScoreKind, Text};
use serde_json::{Value, json};

/// Largest difference from the library.
const TOLERANCE: f32 = 1e-5;
/// Width of the encoders.
const HIDDEN: usize = 8;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// The texts, and the library's vectors by the name of the folder.
fn golden() -> (Vec<String>, BTreeMap<String, Vec<Vec<f32>>>) {
    let golden: Value = serde_json::from_str(&fs::read_to_string(data("sentences.json")).unwrap()).unwrap();
    (
        serde_json::from_value(golden["texts"].clone()).unwrap(),
        serde_json::from_value(golden["vectors"].clone()).unwrap(),
    )
}

fn open(folder: impl AsRef<Path>) -> Model {
    Model::open(folder, &Options::default()).unwrap()
}

/// A copy of a folder, to be changed.
fn copy(name: &str) -> tempfile::TempDir {
    fn copy_all(from: &Path, to: &Path) {
        for entry in fs::read_dir(from).unwrap() {
            let (from, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
            if from.is_dir() {
                fs::create_dir(&to).unwrap();
                copy_all(&from, &to);
            } else {
                fs::copy(from, to).unwrap();
            }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    copy_all(&data(name), folder.path());
    folder
}

fn change(folder: &Path, file: &str, key: &str, value: Value) {
    let path = folder.join(file);
    let mut config: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    config[key] = value;
    fs::write(path, config.to_string()).unwrap();
}

fn largest_difference(found: &[Vec<f32>], expected: &[Vec<f32>]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let pairs = found.iter().zip(expected).flat_map(|(a, b)| {
        assert_eq!(a.len(), b.len());
        a.iter().zip(b)
    });
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn vectors_are_those_of_the_library() {
    let (texts, vectors) = golden();
    let texts: Vec<Text<'_>> = texts.iter().map(|text| text.as_str().into()).collect();
    assert_eq!((vectors.len(), texts.len()), (4, 13));
    for (name, expected) in &vectors {
        let model = open(data(&format!("sentences_{name}")));
        assert_eq!(model.width(), Some(expected[0].len()), "{name}");
        let off = largest_difference(&model.vectors(&texts).unwrap(), expected);
        assert!(off <= TOLERANCE, "{name}: off by {off:e}");
    }
}

#[test]
fn settings_differ_with_the_modules() {
    let (folder, without) = (copy("sentences_cls_tanh_normalize"), copy("sentences_cls_tanh_normalize"));
    change(folder.path(), "2_Dense/config.json", "activation_function", json!("torch.nn.modules.activation.ReLU"));
    let list = fs::read_to_string(without.path().join("modules.json")).unwrap();
    fs::write(without.path().join("modules.json"), list.replace(".Dense\"", ".Dropout\"")).unwrap();
    let keys = [data("sentences_cls_tanh_normalize").as_path(), folder.path(), without.path()]
        .map(|path| open(path).settings());
    assert_eq!(keys.iter().collect::<HashSet<_>>().len(), 3, "{keys:?}");
}

#[test]
fn another_pooling_replaces_all_modules() {
    let model =
        open(data("sentences_mean_identity_without_bias")).with_pooling(PoolingKind::Cls, ScoreKind::Cosine).unwrap();
    assert_eq!(model.width(), Some(HIDDEN));
    let vector = &model.vectors(&["storm".into()]).unwrap()[0];
    assert!((vector.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-5);
}

#[test]
fn the_teacher_of_a_student_is_its_encoder_without_dense_modules() {
    let (folder, texts) = (copy("sentences_mean_identity_without_bias"), ["storm and rain".into()]);
    let description =
        json!({"task": "retrieve", "max_tokens": 20, "texts": 1, "head": {"pooling": "mean", "score": "cosine"}});
    fs::write(folder.path().join("newsbert.json"), description.to_string()).unwrap();
    let path = folder.path().join(HEAD_FILE);
    fs::write(&path, serialize(&path, &BTreeMap::new(), vec![]).unwrap()).unwrap();
    let (student, teacher) = (open(folder.path()), open(data("sentences_mean_identity_without_bias")));
    // The description of a run counts, whatever the modules say.
    assert_eq!((student.width(), teacher.width()), (Some(HIDDEN), Some(5)));
    let teacher = teacher.with_head_of(&student);
    assert_eq!(teacher.vectors(&texts).unwrap(), student.vectors(&texts).unwrap());
    // A folder that no run trained has no head for others.
    let (first, second) = (open(data("sentences_mean_two_dropout")), open(data("sentences_cls_tanh_normalize")));
    assert_eq!(first.with_head_of(&second).width(), Some(3));
}

#[test]
fn modules_that_cannot_be_used_leave_the_encoder() {
    let check = |break_it: &dyn Fn(&Path), message: &str| {
        let folder = copy("sentences_cls_tanh_normalize");
        break_it(folder.path());
        let model = open(folder.path());
        let error = model.vectors(&["storm".into()]).unwrap_err();
        assert!(matches!(error, InferError::NoPooling { .. }));
        let error = error.to_string();
        assert!(error.contains("it has modules that cannot be used: ") && error.contains(message), "{error}");
        assert_eq!(model.width(), None);
        assert_eq!(model.with_pooling(PoolingKind::Mean, ScoreKind::Dot).unwrap().width(), Some(HIDDEN));
    };
    check(
        &|folder| fs::remove_file(folder.join("2_Dense/model.safetensors")).unwrap(),
        "2_Dense: found neither model.safetensors",
    );
    check(
        &|folder| change(folder, "2_Dense/config.json", "in_features", json!(9)),
        "2_Dense/config.json: found `in_features`: 9",
    );
    check(
        &|folder| change(folder, "2_Dense/config.json", "out_features", json!(1_u64 << 60)),
        "tensor linear.weight has the shape",
    );
    let nan = |folder: &Path| {
        let path = folder.join("2_Dense/model.safetensors");
        let mut bytes = fs::read(&path).unwrap();
        let end = bytes.len();
        bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
        fs::write(path, bytes).unwrap();
    };
    check(&nan, "1 of the 64 values of tensor linear.weight are NaN or infinite");
    let prompt = |folder: &Path| {
        change(folder, "config_sentence_transformers.json", "default_prompt_name", json!("query"));
        change(folder, "config_sentence_transformers.json", "prompts", json!({"query": "query: "}));
    };
    check(&prompt, "config_sentence_transformers.json: found `default_prompt_name`: \"query\", the prompt \"query: \"");
}

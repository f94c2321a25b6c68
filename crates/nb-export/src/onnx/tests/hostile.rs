//! Folders that cannot be exported: each gives an error with the file and the difference, and leaves the output as it was.

use std::fs;

use nb_checkpoint::{Description, HEAD_FILE, HeadDescription, PoolingKind, ScaleKind, WEIGHTS_FILE};

use super::folder::{Folder, description, head_tensors, tensor};
use crate::error::ExportError;
use crate::onnx::{Calibration, LayerInputs, OnnxPrecision, onnx, onnx_reader};

fn topic() -> Description {
    description("topic", &["a", "b"], HeadDescription::default())
}

/// Returns the message of exporting a folder, whose output must stay as it was.
fn error(folder: &Folder, precision: &OnnxPrecision) -> String {
    fs::write(folder.output(), "before").unwrap();
    let error = onnx(&folder.model(), &folder.output(), precision).unwrap_err().to_string();
    assert_eq!(
        (fs::read_to_string(folder.output()).unwrap().as_str(), folder.files_beside()),
        ("before", 1),
        "{error}"
    );
    error
}

#[test]
fn tensors_that_do_not_fit_are_named() {
    let (folder, f32) = (Folder::new(&topic()), OnnxPrecision::F32);
    let mut tensors = folder.encoder_tensors();
    let (missing, ..) = tensors.remove(7);
    folder.write_tensors(WEIGHTS_FILE, &tensors);
    let found = error(&folder, &f32);
    assert!(found.contains("model.safetensors") && found.contains(&format!("missing    {missing}")), "{found}");
    tensors.push(tensor(&missing, &[3]));
    folder.write_tensors(WEIGHTS_FILE, &tensors);
    let found = error(&folder, &f32);
    assert!(found.contains(&format!("mis-shaped {missing}: found [3]")), "{found}");
    let mut tensors = folder.encoder_tensors();
    tensors[3].2[1] = f32::NAN;
    folder.write_tensors(WEIGHTS_FILE, &tensors);
    let found = error(&folder, &f32);
    assert!(found.contains(&tensors[3].0) && found.contains("NaN"), "{found}");
    fs::write(folder.path(WEIGHTS_FILE), "no tensors").unwrap();
    assert!(error(&folder, &f32).contains("is not a complete safetensors file"));
}

#[test]
fn heads_that_do_not_fit_are_named() {
    let (folder, f32) = (Folder::new(&topic()), OnnxPrecision::F32);
    let with = |change: &dyn Fn(&mut super::folder::Tensors)| {
        let mut tensors = head_tensors(&topic());
        change(&mut tensors);
        folder.write_tensors(HEAD_FILE, &tensors);
        error(&folder, &f32)
    };
    let found = with(&|tensors| tensors.retain(|(name, ..)| name != "dense.bias"));
    assert!(found.ends_with("head.safetensors: tensor dense.bias is missing, expected shape [2]"), "{found}");
    let found = with(&|tensors| tensors.push(tensor("vector.weight", &[8, 8])));
    assert!(
        found.contains("tensor vector.weight is unknown, expected names that begin with pooling., dense."),
        "{found}"
    );
    let found =
        with(&|tensors| tensors.iter_mut().filter(|(name, ..)| name == "dense.weight").for_each(|t| t.1 = vec![8, 2]));
    assert!(found.contains("tensor dense.weight has the shape [8, 2], expected [2, 8]"), "{found}");
    fs::remove_file(folder.path(HEAD_FILE)).unwrap();
    assert!(error(&folder, &f32).contains("cannot read"));
}

#[test]
fn descriptions_of_impossible_models_are_refused() {
    let message = |description: &Description| error(&Folder::new(description), &OnnxPrecision::F32);
    let found = message(&description("topic", &[], HeadDescription::default()));
    assert!(
        found.ends_with("newsbert.json: labels is empty, expected the label names of a model for topics"),
        "{found}"
    );
    for width in [0, -3] {
        let folder = Folder::new(&topic());
        let head = HeadDescription { projection: Some(width), ..HeadDescription::default() };
        fs::write(folder.path("newsbert.json"), description("retrieve", &[], head).to_json()).unwrap();
        let found = error(&folder, &OnnxPrecision::F32);
        assert!(found.ends_with(&format!("newsbert.json: head.projection is {width}, expected 1 or more")), "{found}");
    }
    let found = error(&Folder::of_encoder(), &OnnxPrecision::F32);
    assert!(found.ends_with("has neither newsbert.json nor modules.json, which define its vectors"), "{found}");
}

#[test]
fn a_learned_scale_is_no_part_of_vectors_and_no_error() {
    let head = HeadDescription { scale: ScaleKind::Learned, pooling: PoolingKind::Mean, ..HeadDescription::default() };
    let description = description("retrieve", &[], head);
    let folder = Folder::new(&description);
    folder.write_tensors(HEAD_FILE, &vec![tensor("score.scale", &[1])]);
    onnx(&folder.model(), &folder.output(), &OnnxPrecision::F32).unwrap();
}

#[test]
fn a_calibration_of_another_model_is_refused() {
    let folder = Folder::new(&topic());
    let inputs = LayerInputs::default();
    let found = error(&folder, &OnnxPrecision::Int8(Calibration { layers: vec![inputs; 3] }));
    assert!(found.contains("the number of layers is 3, expected 2"), "{found}");
}

#[test]
fn paths_that_are_no_folder_or_no_file_are_refused() {
    let folder = Folder::new(&topic());
    let f32 = OnnxPrecision::F32;
    let found = onnx(&folder.path("config.json"), &folder.output(), &f32).unwrap_err();
    assert!(matches!(found, ExportError::NotAFolder { .. }), "{found}");
    for found in [onnx(&folder.model(), &folder.model(), &f32), onnx_reader(&folder.model(), &folder.model())] {
        let found = found.unwrap_err();
        let source = std::error::Error::source(&found).unwrap().to_string();
        assert!(
            found.to_string().starts_with("cannot write") && source.contains("it is a folder"),
            "{found}: {source}"
        );
    }
    let found = onnx(&folder.model(), &folder.path("missing/x.onnx"), &f32).unwrap_err();
    assert!(matches!(found, ExportError::Write { .. }), "{found}");
}

#[test]
fn models_without_a_usable_reader_model_are_refused() {
    let message = |folder: &Folder| onnx_reader(&folder.model(), &folder.output()).unwrap_err().to_string();
    assert!(
        message(&Folder::new(&topic())).ends_with("has no reader model: it was trained for topic, expected recommend")
    );
    assert!(message(&Folder::of_encoder()).ends_with("it is an encoder without a head"));
    let cls = HeadDescription { reader: PoolingKind::Cls, ..HeadDescription::default() };
    let found = message(&Folder::new(&description("recommend", &[], cls)));
    assert!(found.ends_with("head.reader is cls, expected attentive or mean"), "{found}");
    for heads in [0, -2, 3] {
        let mut description = description("recommend", &[], HeadDescription::default());
        description.self_attention = Some(heads);
        let found = message(&Folder::new(&description));
        assert!(
            found.ends_with(&format!("self_attention is {heads}, expected a divisor of 8, the width of vectors")),
            "{found}"
        );
    }
    let folder = Folder::new(&description("recommend", &[], HeadDescription::default()));
    folder.write_tensors(HEAD_FILE, &vec![tensor("reader.cold", &[8])]);
    assert!(message(&folder).contains("tensor reader.proj.weight is missing"));
    assert_eq!(folder.files_beside(), 0);
}

#[test]
fn dense_modules_that_do_not_fit_are_named() {
    let (folder, f32) = (Folder::of_modules(&["torch.nn.modules.activation.Tanh"]), OnnxPrecision::F32);
    folder.write_tensors("0_Dense/model.safetensors", &vec![tensor("linear.weight", &[6, 8])]);
    let found = error(&folder, &f32);
    assert!(found.ends_with("0_Dense/model.safetensors: tensor linear.bias is missing, expected shape [6]"), "{found}");
    let config = r#"{"in_features": 7, "out_features": 6}"#;
    fs::write(folder.path("0_Dense/config.json"), config).unwrap();
    let found = error(&folder, &f32);
    assert!(found.contains("0_Dense/config.json: found `in_features`: 7, expected 8"), "{found}");
}

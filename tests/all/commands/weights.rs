//! Unusable weights are an error when they are loaded.

use super::place::{Place, tensors};

const TEACHER: &str = "made/teacher";

fn place() -> Place {
    let place = Place::new();
    place.train(&["method.name=teacher", "output=made"]).done();
    place
}

/// Fails unless training and embedding with the teacher fail with errors that contain all of `parts`.
#[track_caller]
fn assert_refused(place: &Place, parts: &[&str]) {
    place.train(&["teacher={checkpoint: made/teacher}", "output=other"]).failed(parts);
    place.nb(&["embed", "--model", TEACHER, "--input", "dev.tsv", "--output", "v.safetensors"]).failed(parts);
    assert!(!place.exists("other") && !place.exists("v.safetensors"));
}

#[test]
fn weights_with_nan_or_infinity_are_refused() {
    let place = place();
    for (file, name) in
        [("model.safetensors", "encoder.layer.2.output.dense.weight"), ("head.safetensors", "dense.weight")]
    {
        let path = place.path(&format!("{TEACHER}/{file}"));
        let intact = std::fs::read(&path).unwrap();
        let all = tensors(&path);
        let tensor = &all.iter().find(|(found, _)| found == name).unwrap().1;
        let _ = tensor.narrow(0, 0, 1).narrow(1, 0, 1).fill_(f64::NAN);
        let _ = tensor.narrow(0, 2, 1).narrow(1, 1, 1).fill_(f64::NEG_INFINITY);
        nb_model::write_tensors(&path, &all).unwrap();
        let message = format!("2 of the {} values of tensor {name} are NaN or infinite", tensor.numel());
        let embed = ["embed", "--model", TEACHER, "--input", "dev.tsv", "--output", "v.safetensors"];
        let ended = place.nb(&embed).failed(&[file, &message]);
        assert!(!ended.err.contains("train.lr"), "{}", ended.err);
        if file == "model.safetensors" {
            assert_refused(&place, &[file, &message]);
        }
        std::fs::write(path, intact).unwrap();
    }
}

#[test]
fn sharded_weights_are_refused() {
    let place = place();
    let path = |name: &str| place.path(&format!("{TEACHER}/{name}"));
    std::fs::rename(path("model.safetensors"), path("model-00001-of-00001.safetensors")).unwrap();
    place.write(&format!("{TEACHER}/model.safetensors.index.json"), r#"{"weight_map": {}}"#);
    assert_refused(
        &place,
        &["model.safetensors.index.json", "sharded over several files", "save_pretrained", "max_shard_size"],
    );
}

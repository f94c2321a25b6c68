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
fn shards_are_loaded_and_incomplete_ones_are_refused() {
    let place = place();
    let path = |name: &str| place.path(&format!("{TEACHER}/{name}"));
    let all = tensors(&path("model.safetensors"));
    let index = |shard: &str| {
        let entries: Vec<String> = all.iter().map(|(name, _)| format!(r#""{name}": "{shard}""#)).collect();
        format!(r#"{{"metadata": {{}}, "weight_map": {{{}}}}}"#, entries.join(", "))
    };
    std::fs::rename(path("model.safetensors"), path("model-00001-of-00001.safetensors")).unwrap();
    for (json, parts) in [
        (r#"{"weight_map": {}}"#.to_owned(), &["model.safetensors.index.json", "missing    embeddings"][..]),
        (index("model-00002-of-00002.safetensors"), &["model-00002-of-00002.safetensors", "no such file"]),
        (index("../model-00001-of-00001.safetensors"), &["in the same folder"]),
    ] {
        place.write(&format!("{TEACHER}/model.safetensors.index.json"), json);
        assert_refused(&place, parts);
    }
    place.write(&format!("{TEACHER}/model.safetensors.index.json"), index("model-00001-of-00001.safetensors"));
    place.nb(&["embed", "--model", TEACHER, "--input", "dev.tsv", "--output", "v.safetensors"]).done();
}

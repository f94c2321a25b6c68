//! `nb export`.

use nb_infer::{Model, Options, Text};
use serde_json::Value;

use super::place::{Ended, FINETUNE, Place, STUDENT};

/// Exports the student.
fn export(place: &Place, to: &str, output: &str, rest: &[&str]) -> Ended {
    place.nb(&[&["export", "--model", STUDENT, "--to", to, "--output", output], rest].concat())
}

/// Trains a student, and writes texts to predict.
fn trained() -> Place {
    let place = Place::new();
    place.train(&["train.epochs=2", FINETUNE]).done();
    place.write("texts.txt", "bank shares profit\nthe big match today\nrain and snow\n".repeat(20));
    place
}

fn predict(place: &Place, model: &str, rest: &[&str]) -> Vec<Value> {
    place.nb(&[&["predict", "--model", model, "--input", "texts.txt"], rest].concat()).done().json_lines()
}

#[test]
fn a_folder_in_int8_is_smaller_and_predicts_the_same() {
    let place = trained();
    export(&place, "int8", "small", &[]).done();
    assert!(!place.exists("small/model.safetensors"), "other tools would read it");
    let (exact, found) = (predict(&place, STUDENT, &[]), predict(&place, "small", &[]));
    let opened = predict(&place, STUDENT, &["--precision", "int8"]);
    for ((exact, found), opened) in exact.iter().zip(&found).zip(&opened) {
        assert_eq!((&exact["label"], &exact["line"]), (&found["label"], &found["line"]));
        let probability = |line: &Value| line["probability"].as_f64().unwrap();
        assert!((probability(exact) - probability(found)).abs() < 0.03, "{exact} {found}");
        assert!((probability(opened) - probability(found)).abs() < 0.03, "{opened} {found}");
    }
    // As it is saved, unless another precision is asked for.
    assert_ne!(found, predict(&place, "small", &["--precision", "f32"]));
    assert_eq!(found, predict(&place, "small", &["--precision", "int8"]));

    let again = place.nb(&["export", "--model", "small", "--to", "int8", "--output", "smaller"]);
    again.failed(&["model.int8.safetensors", "its weights are in 8 bits"]);
    assert!(!place.exists("smaller"));
    place.train(&["output=runs/again", "teacher={checkpoint: small}", FINETUNE]).failed(&["its weights are in 8 bits"]);
}

#[test]
fn a_corpus_is_searched_with_a_folder_in_int8() {
    let place = Place::searches();
    place.train(&["method={name: finetune}"]).done();
    export(&place, "int8", "small", &[]).done();
    let search =
        ["search", "--model", "small", "--corpus", "beir", "--query", "storm in snow", "--output-format", "json"];
    assert_eq!(place.nb(&search).done().json_lines().len(), 10);
    let eval = ["eval", "--model", "small", "--input", "beir", "--split", "dev"];
    assert!(place.nb(&eval).done().out.contains("ndcg@10"));
}

#[test]
fn int8_needs_a_quarter_of_the_bytes() {
    let place = Place::new();
    place.train(&["teacher.random={layers: 2, hidden: 128, heads: 2, tokenizer: tokenizer}", FINETUNE]).done();
    export(&place, "int8", "small", &[]).done();
    let size = |path: &str| place.read(path).len() as f64;
    let share = size("small/model.int8.safetensors") / size(&format!("{STUDENT}/model.safetensors"));
    assert!(share < 0.5, "{share}"); // most of this model's embeddings are of positions, which stay in f32
}

#[test]
fn onnx_is_written_in_each_precision() {
    let place = trained();
    export(&place, "onnx", "f32.onnx", &[]).done();
    export(&place, "onnx", "weights.onnx", &["--precision", "int8"]).done();
    export(&place, "onnx", "int8.onnx", &["--precision", "int8", "--input", "texts.txt"]).done();
    export(&place, "onnx", "symmetric.onnx", &["--precision", "int8-symmetric", "--input", "texts.txt"]).done();
    let contains = |file: &str, word: &str| {
        let bytes = place.read(file);
        bytes.windows(word.len()).any(|window| window == word.as_bytes())
    };
    for (file, has_8_bits) in
        [("f32.onnx", false), ("weights.onnx", true), ("int8.onnx", true), ("symmetric.onnx", true)]
    {
        assert!(contains(file, "probabilities") && contains(file, "finance"), "{file}");
        assert_eq!(contains(file, "DequantizeLinear"), has_8_bits, "{file}");
    }
    assert!(contains("int8.onnx", "QuantizeLinear") && place.read("int8.onnx") != place.read("symmetric.onnx"));

    export(&place, "onnx", "a.onnx", &["--input", "texts.txt"]).failed(&["--precision is f32, which needs no texts"]);
    let without_texts = export(&place, "onnx", "a.onnx", &["--precision", "int8-symmetric"]);
    without_texts.failed(&["--input is missing"]);
    export(&place, "int8", "a", &["--precision", "f32"]).failed(&["--to is not onnx"]);
    export(&place, "onnx", "runs", &[]).failed(&["runs"]);
    place.write("none.txt", "");
    let no_text = export(&place, "onnx", "a.onnx", &["--precision", "int8", "--input", "none.txt"]);
    no_text.failed(&["none.txt: no usable text"]);
    assert!(!place.exists("a.onnx") && !place.exists("a"));
}

#[test]
fn folders_for_other_programs_are_written() {
    let place = trained();
    export(&place, "sentence-transformers", "vectors", &[]).done();
    assert!(place.exists("vectors/modules.json") && place.exists("vectors/newsbert.json"));
    let ended = export(&place, "hf", "classifier", &[]).done();
    assert!(ended.err.contains("trust_remote_code=True"), "{}", ended.err); // attentive pooling
    assert_eq!(place.json("classifier/config.json")["id2label"]["1"], "sports");
    export(&place, "hf", "classifier", &[]).failed(&["classifier exists and is not an empty folder"]);
    let missing = place.nb(&["export", "--model", "nowhere", "--to", "hf", "--output", "a"]);
    missing.failed(&["--model is nowhere, but there is no such folder"]);

    // The copy is a model of its own.
    let texts: [Text<'_>; 2] = ["rain".into(), ("bank", "shares").into()];
    let vectors = |folder: &str| Model::open(place.path(folder), &Options::default()).unwrap().vectors(&texts).unwrap();
    assert_eq!(vectors("vectors"), vectors(STUDENT));
}

#[test]
fn a_model_for_readers_has_two_onnx_files_and_no_classifier() {
    let place = Place::readers();
    place.train(&[FINETUNE]).done();
    export(&place, "onnx", "news.onnx", &[]).done();
    assert!(place.exists("news.onnx") && place.exists("news.reader.onnx"));
    let error = export(&place, "hf", "classifier", &[]);
    error.failed(&["was trained for recommend and has no labels", "--to sentence-transformers"]);
}

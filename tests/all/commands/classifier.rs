//! A classifier that was fine-tuned elsewhere: predictions with it, and students of it.

use serde_json::{Value, json};

use super::place::{Place, TOPICS, tensors};

/// A folder of `BertForSequenceClassification`.
const CLASSIFIER: &str = "classifier";
/// The model of a run with the same weights.
const SAME: &str = "made/teacher";

/// Trains a model that reads `[CLS]`, and exports it as a class of transformers, so that nothing of the run is left.
fn place() -> Place {
    let place = Place::new();
    place.train(&["method.name=teacher", "output=made", "head.pooling=cls", "train.epochs=3"]).done();
    place.nb(&["export", "--model", SAME, "--to", "hf", "--output", CLASSIFIER]).done();
    place
}

/// Gives the classifier other labels, in another order of its classes.
fn relabel(place: &Place, labels: &[&str]) {
    let mut config: Value = place.json(&format!("{CLASSIFIER}/config.json"));
    config["id2label"] = labels.iter().enumerate().map(|(id, label)| (id.to_string(), json!(label))).collect();
    place.write(&format!("{CLASSIFIER}/config.json"), config.to_string());
}

#[test]
fn a_classifier_predicts_as_the_model_of_the_run_that_it_was() {
    let place = place();
    let predict = |model| place.nb(&["predict", "--model", model, "--input", "dev.tsv"]).done().json_lines();
    let (expected, found) = (predict(SAME), predict(CLASSIFIER));
    assert_eq!(expected.len(), found.len());
    for (expected, found) in expected.iter().zip(&found) {
        assert_eq!(expected["label"], found["label"]);
        let probability = |line: &Value| line["probability"].as_f64().unwrap();
        assert!((probability(expected) - probability(found)).abs() < 1e-5, "{expected} {found}");
    }
    let eval = |model| place.nb(&["eval", "--model", model, "--input", "dev.tsv"]).done().out;
    assert_eq!(eval(SAME), eval(CLASSIFIER));
    let search = ["search", "--model", CLASSIFIER, "--corpus", "dev.tsv", "--query", "rain"];
    place.nb(&search).failed(&["classifier, expected one for retrieval"]);
}

#[test]
fn a_frozen_classifier_teaches_as_it_is_with_its_classes_in_any_order() {
    let place = place();
    let plan = |sets: &[&str]| {
        let sets: Vec<String> = sets.iter().map(|set| format!("--set={set}")).collect();
        let arguments: Vec<&str> =
            ["plan", "--config", "tiny.yaml"].into_iter().chain(sets.iter().map(String::as_str)).collect();
        place.nb(&arguments).done().out
    };
    let checkpoint = "teacher={checkpoint: classifier}";
    let out = plan(&["method.name=kd", checkpoint]);
    assert!(out.contains("its own, of BertForSequenceClassification; 3 labels: finance, sports, weather"), "{out}");
    assert!(plan(&["method.name=newsbert", checkpoint]).contains("trained along with the student"));
    assert!(plan(&["method.name=kd", checkpoint, "teacher.train.epochs=1"]).contains("will be trained first"));

    let accuracy = |run: &str| place.summary(run)["teacher"]["accuracy"].clone();
    let teach = |output: &str, method: &str| {
        place.train(&[&format!("output={output}"), &format!("method.name={method}"), checkpoint]).done();
        assert!(!place.exists(&format!("{output}-teacher")));
        assert!(place.summary(output)["student"]["accuracy"].is_f64());
        accuracy(output)
    };
    let expected = accuracy("made");
    for method in ["kd", "distiller", "pkd", "distilbert", "tinybert"] {
        assert_eq!(teach(&format!("runs/{method}"), method), expected, "{method}");
    }

    // The same classifier with its classes in another order.
    let path = place.path(&format!("{CLASSIFIER}/model.safetensors"));
    let rows = tch::Tensor::from_slice(&[2_i64, 0, 1]);
    let reordered = |(name, tensor): (String, tch::Tensor)| match name.starts_with("classifier.") {
        true => (name, tensor.index_select(0, &rows)),
        false => (name, tensor),
    };
    let all: Vec<(String, tch::Tensor)> = tensors(&path).into_iter().map(reordered).collect();
    nb_model::write_tensors(&path, &all).unwrap();
    relabel(&place, &["weather", "finance", "sports"]);
    assert_eq!(teach("runs/reordered", "kd"), expected);
    let predict = |model| place.nb(&["predict", "--model", model, "--input", "dev.tsv"]).done().json_lines();
    for (expected, found) in predict(SAME).iter().zip(predict(CLASSIFIER)) {
        assert_eq!(expected["label"], found["label"]);
    }
}

#[test]
fn a_classifier_with_other_labels_is_refused_with_both_lists() {
    let place = place();
    let topics = TOPICS.map(|(topic, _)| topic).join(", ");
    for labels in [&["NEG", "NEU", "POS"][..], &["finance", "sports"], &["finance", "sports", "weather", "more"]] {
        relabel(&place, labels);
        let train = |set: &str| place.train(&["method.name=kd", set, "output=other"]);
        let found = format!("the labels of its classifier are {}", labels.join(", "));
        train("teacher={checkpoint: classifier}").failed(&[&found, &topics, "id2label", "teacher.train.epochs"]);
    }
    assert!(!place.exists("other-teacher"));
    // A regression is no classifier: its encoder is trained with a new head, as any other checkpoint.
    relabel(&place, &["LABEL_0"]);
    place.train(&["method.name=kd", "teacher={checkpoint: classifier}", "output=scored"]).done();
    assert!(place.exists("scored-teacher"));
    relabel(&place, &["NEG", "NEU", "POS"]);
    // Its encoder can be trained for other topics.
    let sets = ["method.name=kd", "teacher={checkpoint: classifier, train: {epochs: 1}}", "output=other"];
    place.train(&sets).done();
}

#[test]
fn a_classifier_without_its_last_layer_is_refused() {
    let place = place();
    let path = place.path(&format!("{CLASSIFIER}/model.safetensors"));
    let all: Vec<_> = tensors(&path).into_iter().filter(|(name, _)| name != "classifier.bias").collect();
    nb_model::write_tensors(&path, &all).unwrap();
    let parts = ["model.safetensors", "classifier.bias is missing"];
    place.train(&["method.name=kd", "teacher={checkpoint: classifier}", "output=other"]).failed(&parts);
    place.nb(&["predict", "--model", CLASSIFIER, "--input", "dev.tsv"]).failed(&parts);
}

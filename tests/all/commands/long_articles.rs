//! Articles of several columns and of many tokens, in training and in the commands that use a model.

use std::fmt::Write as _;

use nb_data::read::Article;
use nb_infer::{Model, Options, Text};
use nb_model::Precision;
use nb_train::inference::{SavedModel, VectorKind};
use serde_json::{Value, json};
use tch::Device;

use super::cards::{interpreter, run_cards};
use super::place::{DEV_ROWS, FINETUNE, Place, STUDENT, TRAIN_ROWS, articles};

/// Writes `train3.csv` and `dev3.csv`: the rows of `train.csv` and `dev.csv` with the abstract in two columns, of which some
/// are empty.
fn three_columns(place: &Place) {
    for (name, count, seed) in [("train", TRAIN_ROWS, 1), ("dev", DEV_ROWS, 2)] {
        let (mut two, mut three) = (String::new(), String::new());
        for (row, [label, title, text]) in articles(count, seed).iter().enumerate() {
            let cut = text.find(' ').filter(|_| row % 3 > 0).unwrap_or(text.len());
            let (lead, body) = (&text[..cut], text[cut..].trim_start());
            writeln!(two, "{label},{title},{text}").unwrap();
            writeln!(three, "{label},{title}, {lead} ,{body}").unwrap();
        }
        place.write(&format!("{name}2.csv"), two);
        place.write(&format!("{name}3.csv"), three);
    }
}

/// Returns the setting that reads the files of this number of columns.
fn data(columns: usize, text: &str) -> String {
    let files = format!("train: train{columns}.csv, dev: dev{columns}.csv");
    format!("data={{format: csv, {files}, columns: {{label: 0, text: {text}}}, max_tokens: 16}}")
}

#[test]
fn the_second_to_the_last_column_are_one_text_in_every_command() {
    let place = Place::new();
    three_columns(&place);
    place.train(&[FINETUNE, &data(2, "[1, 2]"), "output=runs/two"]).done();
    place.train(&[FINETUNE, &data(3, "[1, 2, 3]")]).done();
    assert_eq!(place.read("runs/two/student/model.safetensors"), place.read(&format!("{STUDENT}/model.safetensors")));
    let description = place.json(&format!("{STUDENT}/newsbert.json"));
    assert_eq!(description["texts"], json!(2));

    let run = |command: &[&str], columns: usize| {
        let (input, list) = (format!("dev{columns}.csv"), if columns == 2 { "1,2" } else { "1,2,3" });
        place.nb(&[command, &["--model", STUDENT, "--input", &input, "--columns", list]].concat()).done()
    };
    let predict = ["predict", "--probabilities", "all"];
    let expected = run(&predict, 2);
    assert_eq!(run(&predict, 3).out, expected.out);
    assert_eq!(run(&["eval", "--label", "0"], 3).out.replace("dev3", "dev2"), run(&["eval", "--label", "0"], 2).out);
    let embed = |columns: usize, output: &str| {
        run(&["embed", "--output", output], columns);
        place.read(output)
    };
    assert!(embed(3, "three.npy") == embed(2, "two.npy"));

    let card = place.text(&format!("{STUDENT}/README.md"));
    assert!(card.contains("texts 2 to 3, joined by single spaces"), "{card}");
    let Some(python) = interpreter() else { return };
    let rows: Vec<Vec<String>> =
        place.text("dev3.csv").lines().map(|line| line.split(',').skip(1).map(str::to_owned).collect()).collect();
    let job = json!({"folder": place.path(STUDENT), "rows": rows});
    let theirs: Vec<Vec<f64>> = serde_json::from_str(&run_cards(&python, &place, &format!("{job}\n"))).unwrap();
    check_probabilities(&theirs, &expected.json_lines());
}

/// Compares probabilities of a card's code with those of `predict`.
fn check_probabilities(theirs: &[Vec<f64>], ours: &[Value]) {
    assert_eq!(theirs.len(), ours.len());
    for (row, (theirs, ours)) in theirs.iter().zip(ours).enumerate() {
        for (p, label) in theirs.iter().zip(["finance", "sports", "weather"]) {
            let off = (p - ours["probabilities"][label].as_f64().unwrap()).abs();
            assert!(off <= 1e-6, "row {row}, {label}: {p} in Python, {ours}");
        }
    }
}

#[test]
fn beginning_and_end_are_kept_alike_in_training_and_afterwards() {
    let place = Place::new();
    let short = [FINETUNE, "data.max_tokens=10"];
    place.train(&[short[0], short[1], "output=runs/head"]).done();
    let sets = [short[0], short[1], "data.truncate=head_tail", "train.epochs=3"];
    let plan = [&["plan", "--config", "tiny.yaml", "--set", sets[0], "--set", sets[1], "--set", sets[2]][..]].concat();
    assert!(place.nb(&plan).done().out.contains("keep their beginning (a quarter) and their end, 10 tokens in total"));
    place.train(&sets).done();
    assert!(place.text("runs/tiny/config.yaml").contains("truncate: head_tail\n"));
    assert!(place.text("runs/head/config.yaml").contains("truncate: head\n"));
    assert_eq!(place.json(&format!("{STUDENT}/newsbert.json"))["truncate"], json!("head_tail"));
    assert_eq!(place.json("runs/head/student/newsbert.json")["truncate"], Value::Null);

    // The metrics of the run are those of the saved model, with its own truncation.
    let eval = ["eval", "--model", STUDENT, "--input", "dev.csv", "--label", "0", "--columns", "1,2"];
    let found: Value = serde_json::from_str(&place.nb(&eval).done().out).unwrap();
    assert_eq!(found["accuracy"], place.summary("runs/tiny")["student"]["accuracy"], "{found}");

    let predict = |model: &str| {
        let columns = ["--input", "dev.csv", "--columns", "1,2", "--probabilities", "all"];
        place.nb(&[&["predict", "--model", model], &columns[..]].concat()).done()
    };
    let expected = predict(STUDENT);
    let description = place.json(&format!("{STUDENT}/newsbert.json"));
    let mut without = description.clone();
    without.as_object_mut().unwrap().remove("truncate");
    place.write(&format!("{STUDENT}/newsbert.json"), without.to_string());
    assert_ne!(predict(STUDENT).out, expected.out);
    place.write(&format!("{STUDENT}/newsbert.json"), description.to_string());

    let export = ["export", "--model", STUDENT, "--to", "onnx", "--output", "student.onnx"];
    let exported = place.nb(&export).done();
    assert!(exported.err.contains("keep the beginning of texts of more than 10 tokens"), "{}", exported.err);

    let Some(python) = interpreter() else { return };
    let fields = |line: &str| line.split(',').skip(1).map(|it| it.trim_matches('"').to_owned()).collect();
    let rows: Vec<Vec<String>> = place.text("dev.csv").lines().map(fields).collect();
    let job = json!({"folder": place.path(STUDENT), "rows": rows});
    let theirs: Vec<Vec<f64>> = serde_json::from_str(&run_cards(&python, &place, &format!("{job}\n"))).unwrap();
    check_probabilities(&theirs, &expected.json_lines());
}

/// Articles of up to about 25 tokens in windows of 10.
const WINDOWS: [&str; 2] = ["data.max_tokens=600", "data.windows={size: 10, stride: 4}"];

#[test]
fn windows_are_read_alike_in_training_and_afterwards() {
    let place = Place::new();
    place.train(&[FINETUNE, WINDOWS[0], WINDOWS[1], "train.epochs=3"]).done();
    let description = place.json(&format!("{STUDENT}/newsbert.json"));
    assert_eq!((&description["max_tokens"], &description["windows"]), (&json!(600), &json!({"size": 10, "stride": 4})));
    assert_eq!(place.json(&format!("{STUDENT}/tokenizer_config.json"))["model_max_length"], json!(10));
    let plan = ["plan", "--config", "tiny.yaml", "--set", WINDOWS[0], "--set", WINDOWS[1]];
    assert!(place.nb(&plan).done().out.contains("of 10 tokens that start 4 apart, up to 600 tokens of an article"));

    let eval = ["eval", "--model", STUDENT, "--input", "dev.csv", "--label", "0", "--columns", "1,2"];
    let found: Value = serde_json::from_str(&place.nb(&eval).done().out).unwrap();
    assert_eq!(found["accuracy"], place.summary("runs/tiny")["student"]["accuracy"], "{found}");

    let articles: Vec<Article> = articles(DEV_ROWS, 2)
        .into_iter()
        .map(|[_, first, second]| Article { first, second: Some(second), ..Article::default() })
        .collect();
    let theirs = SavedModel::load(&place.path(STUDENT), Device::Cpu, Precision::F32).unwrap();
    let ours = Model::open(place.path(STUDENT), &Options::default()).unwrap();
    let texts: Vec<Text<'_>> = articles.iter().map(Text::from).collect();
    let count = |tokens: Vec<nb_data::Tokens>| tokens.iter().map(|tokens| tokens.windows().count()).collect::<Vec<_>>();
    assert_eq!(count(ours.tokens(&texts).unwrap()), count(theirs.tokens(&articles).unwrap()));
    assert!(count(ours.tokens(&texts).unwrap()).into_iter().any(|windows| windows > 1));
    let compare = |ours: Vec<Vec<f32>>, theirs: Vec<Vec<f32>>| {
        for (ours, theirs) in ours.iter().flatten().zip(theirs.iter().flatten()) {
            assert!((ours - theirs).abs() < 1e-5, "{ours} {theirs}");
        }
    };
    compare(ours.probabilities(&texts).unwrap(), theirs.probabilities(&articles).unwrap());
    compare(ours.vectors(&texts).unwrap(), theirs.vectors(&articles, VectorKind::Head).unwrap());
    // A text alone has the same vector as among others.
    let alone: Vec<Vec<f32>> = texts.iter().map(|text| ours.vectors(&[*text]).unwrap().remove(0)).collect();
    compare(alone, ours.vectors(&texts).unwrap());

    let export = ["export", "--model", STUDENT, "--to", "hf", "--output", "classifier"];
    let exported = place.nb(&export).done();
    assert!(exported.err.contains("trained on the mean of their windows"), "{}", exported.err);

    let Some(python) = interpreter() else { return };
    for (run, set) in [("runs/tiny", ""), ("runs/ends", "data.truncate=head_tail")] {
        if !set.is_empty() {
            let short = "data.max_tokens=17";
            place.train(&[FINETUNE, short, WINDOWS[1], set, "output=runs/ends"]).done();
        }
        let model = format!("{run}/student");
        let predict = ["--input", "dev.csv", "--columns", "1,2", "--probabilities", "all"];
        let expected = place.nb(&[&["predict", "--model", &model], &predict[..]].concat()).done().json_lines();
        let rows: Vec<[&str; 2]> =
            articles.iter().map(|article| [&*article.first, article.second.as_deref().unwrap_or_default()]).collect();
        let job = json!({"folder": place.path(&model), "rows": rows});
        let theirs: Vec<Vec<f64>> = serde_json::from_str(&run_cards(&python, &place, &format!("{job}\n"))).unwrap();
        check_probabilities(&theirs, &expected);
    }
}

#[test]
fn articles_that_fit_give_the_run_without_windows_bit_for_bit() {
    let place = Place::new();
    let sets = ["method.name=newsbert", "data.max_tokens=100", "train.epochs=2"];
    place.train(&sets).done();
    place.train(&[sets[0], sets[1], sets[2], "data.windows={size: 99, stride: 50}", "output=runs/cut"]).done();
    super::resuming::assert_same_run(&place, "runs/tiny", "runs/cut");
}

#[test]
fn a_resumed_run_with_windows_is_bitwise_equal() {
    super::resuming::assert_resumes_exactly(&Place::new(), &WINDOWS);
}

#[test]
fn cached_outputs_of_windows_give_the_losses_of_computed_ones() {
    let place = Place::new();
    let method = "method={teacher: frozen, weights: {embedding: 1, hidden: 1, pooled: 1, cosine: 1, vector: 1, \
                  similarity: 1, similarity_kl: 1, soft: 1, hard: 1}}";
    let run = |outputs: &str| {
        let output = format!("output=runs/{outputs}");
        let outputs = format!("teacher.outputs={outputs}");
        place
            .train(&[method, WINDOWS[0], WINDOWS[1], &outputs, &output, "teacher.train.epochs=1", "train.epochs=2"])
            .done();
        let line = |line: &str| serde_json::from_str::<Value>(line).unwrap()["loss"].as_f64();
        let run = output.trim_start_matches("output=");
        place.text(&format!("{run}/metrics.jsonl")).lines().filter_map(line).collect::<Vec<f64>>()
    };
    let (cached, computed) = (run("f32"), run("compute"));
    assert!(cached.len() == computed.len() && cached.len() > 3, "{cached:?}");
    for (cached, computed) in cached.iter().zip(&computed) {
        assert!((cached - computed).abs() < 1e-4 * computed.abs(), "{cached} {computed}");
    }
}

#[test]
fn rankings_are_measured_with_the_windows_of_training() {
    for (place, input) in
        [(Place::readers(), &["--input", "mind/dev"][..]), (Place::searches(), &["--input", "beir", "--split", "dev"])]
    {
        place.train(&["method={name: finetune}", "data.max_tokens=60", "data.windows={size: 8, stride: 3}"]).done();
        let ended = place.nb(&[&["eval", "--model", STUDENT], input].concat()).done();
        let found: Value = serde_json::from_str(&ended.out).unwrap();
        let expected = &place.summary("runs/tiny")["student"];
        let metric = if expected["auc"].is_number() { "auc" } else { "mrr@10" };
        let (found, expected) = (found[metric].as_f64().unwrap(), expected[metric].as_f64().unwrap());
        assert!((found - expected).abs() < 1e-9, "{metric}: {found}, {expected}");
    }
}

#[test]
fn windows_that_cannot_be_used_are_errors() {
    let place = Place::new();
    let fails = |sets: &[&str], parts: &[&str]| drop(place.train(&[&[FINETUNE], sets].concat()).failed(parts));
    let windows = |value: &str| format!("data.windows={value}");
    fails(&[&windows("{size: 16, stride: 4}")], &["data.windows.size is 16", "data.max_tokens is 16"]);
    fails(&[&windows("{size: 5, stride: 4}")], &["data.windows.size is 5", "at least 8"]);
    fails(&[&windows("{size: 10, stride: 0}")], &["data.windows.stride is 0", "1 to 8"]);
    fails(&[&windows("{size: 10, stride: 9}")], &["data.windows.stride is 9", "1 to 8"]);
    fails(&[&windows("{size: 600, stride: 9}"), "data.max_tokens=900"], &["data.windows.size is 600", "512 positions"]);
    let patience = ["method={name: pkd}", WINDOWS[0], WINDOWS[1]];
    place.train(&patience).failed(&["data.windows is given", "patience"]);
}

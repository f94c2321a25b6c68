//! `nb predict`, `nb embed` and `nb eval` with a trained model.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use nb_data::read::Article;
use nb_model::Precision;
use nb_train::inference::{SavedModel, VectorKind};
use serde_json::Value;
use tch::{Device, Tensor};

use super::place::{FINETUNE, Place, STUDENT, TOPICS, article, tensors};

/// Returns a folder with a trained student.
fn trained() -> Place {
    let place = Place::new();
    place.train(&["train.epochs=2", FINETUNE]).done();
    place
}

/// Parses title and abstract (columns 3 and 4) of MIND's rows.
fn articles(mind: &str) -> Vec<Article> {
    let row = |line: &str| {
        let columns: Vec<&str> = line.split('\t').collect();
        article(columns[3], Some(columns[4]))
    };
    mind.lines().map(row).collect()
}

fn numbers(value: &Value) -> Vec<f32> {
    value.as_object().unwrap().values().map(|p| p.as_f64().unwrap() as f32).collect()
}

/// Fails unless the lines contain the probabilities of these articles, in this order.
#[track_caller]
fn assert_predictions(place: &Place, lines: &[Value], articles: &[Article]) {
    let model = SavedModel::load(&place.path(STUDENT), Device::Cpu, Precision::F32).unwrap();
    let expected = model.probabilities(articles).unwrap();
    assert_eq!(lines.len(), expected.len(), "one line per text");
    for (i, (line, expected)) in lines.iter().zip(&expected).enumerate() {
        let found = numbers(&line["probabilities"]);
        assert!((found.iter().sum::<f32>() - 1.0).abs() < 1e-5, "line {i} sums to 1: {line}");
        let off = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(off < 1e-5, "line {i}: {found:?}, expected {expected:?}");
        let best = (0..3).max_by(|&a, &b| found[a].total_cmp(&found[b])).unwrap();
        assert_eq!(line["label"], TOPICS[best].0, "line {i}");
        assert_eq!(line["probability"], line["probabilities"][TOPICS[best].0], "line {i}");
    }
}

#[test]
fn predictions_are_in_the_order_of_the_input() {
    let place = trained();
    let all = ["predict", "--model", STUDENT, "--probabilities", "all", "--input"];
    let mind = place.text("dev.tsv");
    let articles = articles(&mind);

    let from_mind = place.nb(&[&all[..], &["dev.tsv"]].concat()).done().json_lines();
    assert_predictions(&place, &from_mind, &articles);
    let ids: Vec<&str> = from_mind.iter().map(|line| line["id"].as_str().unwrap()).collect();
    let expected: Vec<String> = (0..articles.len()).map(|i| format!("N{i}")).collect();
    assert_eq!(ids, expected);

    let from_csv = place.nb(&[&all[..], &["dev.csv", "--columns", "1,2"]].concat()).done().json_lines();
    assert_predictions(&place, &from_csv, &articles);
    assert!(from_csv.iter().all(|line| line.get("id").is_none()));

    let from_pipe = place.nb_with_input(&[&all[..], &["-", "--format", "mind"]].concat(), &mind).done().json_lines();
    assert_eq!(from_pipe, from_mind);
}

/// Lengths in no particular order, an empty line, and a text longer than the model reads.
#[test]
fn predict_reads_lines_from_standard_input() {
    let place = trained();
    let long = "goal ".repeat(400);
    let texts = ["rain", long.trim(), "", "bank shares profit today", "the big match", "unheard words"];
    let arguments = ["predict", "--model", STUDENT, "--probabilities", "all", "--input", "-"];
    place.nb_with_input(&arguments, &texts.join("\r\n")).failed(&["1 of 6 rows", "--allow-unusable"]);
    let ended = [&arguments[..], &["--allow-unusable", "0.2"]].concat();
    let ended = place.nb_with_input(&ended, &texts.join("\r\n")).done();
    let lines = ended.json_lines();
    let usable: Vec<Article> = texts.iter().filter(|text| !text.is_empty()).map(|text| article(text, None)).collect();
    assert_predictions(&place, &lines, &usable);
    let numbers: Vec<u64> = lines.iter().map(|line| line["line"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [1, 2, 4, 5, 6], "the line of the input");
    assert!(ended.err.contains("1 without text, first on line 3"), "{}", ended.err);

    let without_input = place.nb_with_input(&arguments[..3], "").code;
    assert_eq!(without_input, Some(2), "an input is required");
    let short = place.nb_with_input(&["predict", "--model", STUDENT, "--input", "-"], "rain\n").done().json_lines();
    assert!(short[0].get("probabilities").is_none() && short[0]["probability"].is_number());
}

#[test]
fn a_closed_output_pipe_is_not_an_error() {
    let place = trained();
    place.write("many.txt", "rain in the storm\n".repeat(30_000));
    let arguments = ["predict", "--model", STUDENT, "--input", "many.txt"];
    let mut child = place.command().args(arguments).stdout(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.contains("\"label\""), "{first}");
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(0), "{}", String::from_utf8_lossy(&ended.stderr));
}

#[test]
fn embed_writes_the_same_vectors_as_the_library() {
    let place = trained();
    let articles = articles(&place.text("dev.tsv"));
    let model = SavedModel::load(&place.path(STUDENT), Device::Cpu, Precision::F32).unwrap();
    for (name, pooling) in [
        ("head", VectorKind::Head),
        ("attention", VectorKind::Head),
        ("mean", VectorKind::Mean),
        ("cls", VectorKind::Cls),
    ] {
        let output = format!("{name}.safetensors");
        place.nb(&["embed", "--model", STUDENT, "--input", "dev.tsv", "--output", &output, "--pooling", name]).done();
        let found = tensors(&place.path(&output));
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].0.as_str(), found[0].1.size()), ("lines", vec![articles.len() as i64]));
        assert_eq!(found[0].1.int64_value(&[-1]), articles.len() as i64);
        let (label, vectors) = &found[1];
        assert_eq!((label.as_str(), vectors.size()), ("vectors", vec![articles.len() as i64, 16]));
        let expected: Vec<f32> = model.vectors(&articles, pooling).unwrap().concat();
        let off = (vectors.view(-1) - Tensor::from_slice(&expected)).abs().max().double_value(&[]);
        assert!(off < 1e-5, "{name}: {off}");
    }
}

#[test]
fn a_failed_embed_does_not_change_the_output_file() {
    let place = trained();
    place.write("vectors.safetensors", "good");
    place.write("empty.txt", "");
    let embed =
        |input: &str, output: &str| place.nb(&["embed", "--model", STUDENT, "--input", input, "--output", output]);
    let before = place.names("");
    embed("empty.txt", "vectors.safetensors").failed(&["empty.txt", "no usable text"]);
    embed("nowhere.txt", "vectors.safetensors").failed(&["nowhere.txt"]);
    embed("dev.tsv", "nowhere/vectors.safetensors").failed(&["nowhere"]);
    assert_eq!(place.text("vectors.safetensors"), "good");
    assert_eq!(place.names(""), before, "no temporary file remains");
}

/// A Hugging Face folder without top layers has vectors, but no topics.
#[test]
fn an_encoder_without_top_layers_can_embed() {
    let place = trained();
    for file in ["head.safetensors", "newsbert.json", "modules.json", "README.md"] {
        std::fs::remove_file(place.path(STUDENT).join(file)).unwrap();
    }
    let embed = ["embed", "--model", STUDENT, "--input", "dev.tsv", "--output", "v.safetensors"];
    place.nb(&embed).failed(&["--pooling", "mean"]);
    place.nb(&[&embed[..], &["--pooling", "mean"]].concat()).done();
    assert_eq!(tensors(&place.path("v.safetensors"))[1].1.size()[1], 16);
    place.nb(&["predict", "--model", STUDENT, "--input", "dev.tsv"]).failed(&["newsbert.json"]);
}

#[test]
fn eval_reproduces_the_metrics_of_the_summary() {
    let place = trained();
    let expected = &place.summary("runs/tiny")["student"];
    let inputs: [&[&str]; 2] = [&["dev.tsv"], &["dev.csv", "--label", "0", "--columns", "1,2"]];
    for input in inputs {
        let ended = place.nb(&[&["eval", "--model", STUDENT, "--input"], input].concat()).done();
        let found: Value = serde_json::from_str(&ended.out).unwrap();
        assert_eq!(found["texts"], super::place::DEV_ROWS);
        for metric in ["accuracy", "macro_f1"] {
            let off = found[metric].as_f64().unwrap() - expected[metric].as_f64().unwrap();
            assert!(off.abs() < 1e-12, "{metric}: {found} against {expected}");
        }
    }
}

#[test]
fn bad_input_is_an_error_that_names_it() {
    let place = trained();
    place.write("strange.tsv", "N1\tgardening\tall\train\tsnow\n");
    place.write("unlabelled.txt", "rain\n");
    let with = |command: &str, rest: &[&str]| place.nb(&[&[command, "--model", STUDENT, "--input"], rest].concat());
    let strict = ["strange.tsv", "--unknown-labels", "error"];
    with("eval", &strict).failed(&["strange.tsv:1", "gardening", "finance"]);
    with("eval", &["strange.tsv"])
        .failed(&["strange.tsv: no usable text (skipped 1 with a label that no training row"]);
    with("eval", &["unlabelled.txt"]).failed(&["label"]);
    with("predict", &["dev.csv"]).failed(&["--columns"]);
    with("predict", &["dev.csv", "--columns", "title"]).failed(&["dev.csv", "\"title\"", "header"]);
    with("predict", &["dev.tsv", "--columns", "1"]).failed(&["--columns", "csv"]);
    with("predict", &["nowhere.txt"]).failed(&["nowhere.txt"]);
    place.nb(&["predict", "--model", "nowhere", "--input", "dev.tsv"]).failed(&[
        "--model",
        "nowhere",
        "no such folder",
    ]);
    place.write("runs/tiny/student/head.safetensors", "");
    with("predict", &["dev.tsv"]).failed(&["head.safetensors", "not a complete safetensors file"]);
}

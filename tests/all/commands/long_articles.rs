//! Articles of several columns and of many tokens, in training and in the commands that use a model.

use std::fmt::Write as _;

use serde_json::{Value, json};

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

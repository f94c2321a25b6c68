//! Texts with any number of labels, from the data to predictions.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::place::{DEV_ROWS, FINETUNE, Place, STUDENT, TOPICS, TRAIN_ROWS, articles, assert_within_interval, tensors};

/// The labels of a text: its topics, by the words in it; some texts have two, some none.
fn labels_of(text: &str) -> Vec<&'static str> {
    let has = |words: &[&str]| text.split(' ').filter(|word| words.contains(word)).count() > 1;
    TOPICS.iter().filter(|(_, words)| has(words)).map(|(topic, _)| *topic).collect()
}

/// A text with its labels.
struct Row {
    text: String,
    labels: Vec<&'static str>,
}

/// Joins each of the texts of [`Place::new`] with the one after it, or with itself.
fn rows(count: usize, seed: u64) -> Vec<Row> {
    let articles = articles(count + 1, seed);
    let text = |i: usize| {
        let other = &articles[if i.is_multiple_of(3) { i } else { i + 1 }];
        format!("{} {}", articles[i][1], other[2])
    };
    let row = |text: String| Row { labels: labels_of(&text), text };
    (0..count).map(|i| if i % 8 == 7 { row("the new in big".to_owned()) } else { row(text(i)) }).collect()
}

fn place() -> Place {
    let place = Place::new();
    for (name, count, seed) in [("train", TRAIN_ROWS, 1), ("dev", DEV_ROWS, 2), ("test", DEV_ROWS, 3)] {
        let rows = rows(count, seed);
        let lines = |line: &dyn Fn(&Row) -> String| rows.iter().map(|row| line(row) + "\n").collect::<String>();
        let flag = |row: &Row, topic: &str| i32::from(row.labels.contains(&topic));
        let column = |row: &Row, i: usize| row.labels.get(i).copied().unwrap_or_default();
        place.write(&format!("{name}.bars.csv"), lines(&|row| format!("{},{}", row.labels.join("|"), row.text)));
        place.write(&format!("{name}.jsonl"), lines(&|row| json!({"tags": row.labels, "text": row.text}).to_string()));
        place.write(
            &format!("{name}.columns.tsv"),
            lines(&|row| format!("{}\t{}\t{}\t{}", column(row, 2), row.text, column(row, 0), column(row, 1))),
        );
        let flags = |row: &Row| {
            let [finance, sports, weather] = TOPICS.map(|(topic, _)| flag(row, topic));
            format!("{weather},{finance},{},{sports}", row.text)
        };
        place.write(&format!("{name}.flags.csv"), format!("weather,finance,text,sports\n{}", lines(&flags)));
    }
    place
}

const BARS: &str = "data={format: csv, train: train.bars.csv, dev: dev.bars.csv, test: test.bars.csv, max_tokens: 16, \
                    columns: {labels: 0, label_separator: '|', text: [1]}}";

fn result(place: &Place, run: &str) -> (Value, Value) {
    let description = place.json(&format!("{run}/student/newsbert.json"));
    (place.summary(run)["student"]["test"].clone(), description["thresholds"].clone())
}

#[test]
fn labels_in_any_layout_give_the_same_run() {
    let place = place();
    place.train(&["output=runs/bars", BARS]).done();
    let expected = result(&place, "runs/bars");
    assert_within_interval(&expected.0, "micro_f1");
    assert!(expected.0["micro_f1"].as_f64().unwrap() > 0.0 && expected.0["map"].is_f64(), "{expected:?}");
    let thresholds = expected.1.as_array().unwrap();
    assert!(thresholds.len() == 3 && thresholds.iter().all(|t| (0.0..1.0).contains(&t.as_f64().unwrap())));
    for (name, format, columns) in [
        ("jsonl", "jsonl", "{labels: tags, text: [text]}"),
        ("columns.tsv", "tsv", "{labels: [2, 3, 0], text: [1]}"),
        ("flags.csv", "csv", "{label_flags: [finance, sports, weather], text: [text]}, header: true"),
    ] {
        let data = format!(
            "data={{format: {format}, train: train.{name}, dev: dev.{name}, test: test.{name}, max_tokens: 16, columns: {columns}}}"
        );
        let output = format!("runs/{name}");
        place.train(&[&format!("output={output}"), &data]).done();
        assert_eq!(result(&place, &output), expected, "{name}");
    }
    let plan = place.nb(&["plan", "--config", "runs/bars/config.yaml"]).done().out;
    assert!(plan.contains("3 labels (") && plan.contains("texts with none)"), "{plan}");
}

#[test]
fn a_model_decides_by_its_thresholds_in_every_command() {
    let place = place();
    place.train(&[BARS]).done();
    let input = ["--model", STUDENT, "--input", "test.bars.csv", "--columns", "1"];
    let predict = |more: &[&str]| place.nb(&[&["predict"], &input[..], more].concat()).done().json_lines();
    let lines = predict(&["--probabilities", "all"]);
    let description = place.json(&format!("{STUDENT}/newsbert.json"));
    let threshold = |label: &str| {
        let place = description["labels"].as_array().unwrap().iter().position(|known| known == label).unwrap();
        description["thresholds"][place].as_f64().unwrap()
    };
    let (mut right, mut sum) = (0, 0);
    for (line, row) in lines.iter().zip(rows(DEV_ROWS, 3)) {
        let probabilities = line["probabilities"].as_object().unwrap();
        let above = |(label, probability): (&String, &Value)| {
            (probability.as_f64().unwrap() >= threshold(label)).then(|| label.clone())
        };
        let expected: BTreeSet<String> = probabilities.iter().filter_map(above).collect();
        let found: Vec<&str> = line["labels"].as_array().unwrap().iter().map(|label| label.as_str().unwrap()).collect();
        assert_eq!(found.iter().map(|label| (*label).to_owned()).collect::<BTreeSet<_>>(), expected);
        let order: Vec<f64> = found.iter().map(|label| probabilities[*label].as_f64().unwrap()).collect();
        assert!(order.is_sorted_by(|a, b| a >= b), "the most probable first: {line}");
        right += row.labels.iter().filter(|label| found.contains(label)).count();
        sum += row.labels.len() + found.len();
    }
    let library = nb_infer::Model::open(place.path(STUDENT), &nb_infer::Options::default()).unwrap();
    let texts: Vec<String> = rows(DEV_ROWS, 3).into_iter().map(|row| row.text).collect();
    let texts: Vec<nb_infer::Text<'_>> = texts.iter().map(|text| text.as_str().into()).collect();
    for (set, line) in library.label_sets(&texts).unwrap().into_iter().zip(&lines) {
        assert_eq!(json!(set.iter().map(|topic| topic.label).collect::<Vec<_>>()), line["labels"]);
    }
    let best = predict(&[]);
    assert!(best.iter().zip(&lines).all(|(best, all)| best["labels"] == all["labels"]));
    assert!(
        best.iter()
            .all(|line| line["probabilities"].as_object().unwrap().len() == line["labels"].as_array().unwrap().len())
    );

    let eval = |options: &[&str]| place.nb(&[&["eval"], &input[..4], options].concat());
    let bars = ["--columns", "1", "--label", "0", "--label-separator", "|"];
    let metrics: Value = serde_json::from_str(&eval(&bars).done().out).unwrap();
    let micro_f1 = metrics["micro_f1"].as_f64().unwrap();
    assert!((micro_f1 - 2.0 * right as f64 / sum as f64).abs() < 1e-12, "{micro_f1} {right} {sum}");
    let test = &place.summary("runs/tiny")["student"]["test"];
    for metric in ["micro_f1", "macro_f1", "map"] {
        let (found, expected) = (metrics[metric].as_f64().unwrap(), test[metric].as_f64().unwrap());
        assert!((found - expected).abs() < 1e-9, "{metric}: {found} {expected}");
    }
    let flags = ["--model", STUDENT, "--input", "test.flags.csv", "--header", "present", "--columns", "text"];
    let flags = place.nb(&[&["eval"], &flags[..], &["--label-flags", "finance,sports,weather"]].concat());
    assert_eq!(serde_json::from_str::<Value>(&flags.done().out).unwrap()["micro_f1"], metrics["micro_f1"]);
    eval(&bars[..2]).failed(&["no text has a label", "--label"]);
    eval(&["--columns", "1", "--label", "9"]).failed(&["with too few columns"]);
}

/// Without training, the bias of a label is the logarithm of its odds, times its weight in the hard loss.
#[test]
fn the_dense_layer_starts_with_the_odds_of_the_labels() {
    let place = place();
    let biases = |weights: &str, output: &str| -> Vec<f32> {
        let weights = format!("data.class_weights={weights}");
        let output = format!("output={output}");
        place.train(&[BARS, FINETUNE, &weights, &output, "train.lr=1e-12", "train.head_lr=1e-12"]).done();
        let head = tensors(&place.path(&format!("{}/student/head.safetensors", output.split_once('=').unwrap().1)));
        let bias = head.into_iter().find(|(name, _)| name == "dense.bias").unwrap().1;
        Vec::try_from(bias).unwrap()
    };
    let train = rows(TRAIN_ROWS, 1);
    let with = |topic: &str| train.iter().filter(|row| row.labels.contains(&topic)).count() as f64;
    let close = |found: Vec<f32>, weight: &dyn Fn(f64) -> f64| {
        for (found, (topic, _)) in found.into_iter().zip(TOPICS) {
            let with = with(topic);
            let without = TRAIN_ROWS as f64 - with;
            let expected = (weight(with) * (with + 0.5) / (without + 0.5)).ln();
            assert!((f64::from(found) - expected).abs() < 1e-5, "{topic}: {found}, expected {expected}");
        }
    };
    close(biases("none", "runs/none"), &|_| 1.0);
    close(biases("balanced", "runs/balanced"), &|with| (TRAIN_ROWS as f64 - with) / with);
}

#[test]
fn a_label_that_training_never_had_is_skipped_wrong_or_an_error() {
    let place = place();
    let rows = place.text("test.bars.csv");
    place.write("test.bars.csv", rows.replacen("sports", "golf", 2));
    let train = |choice: &str| {
        let data = BARS.replace("format: csv", &format!("format: csv, allow_unusable: 0.5, unknown_labels: {choice}"));
        let ended = place.train(&[&format!("output=runs/{choice}"), &data]);
        (choice != "error").then(|| place.summary(&format!("runs/{choice}"))["student"]["test"].clone()).ok_or(ended)
    };
    let (skipped, wrong) = (train("skip").unwrap(), train("wrong").unwrap());
    let texts = |evaluation: &Value| evaluation["texts"].as_u64().unwrap();
    assert!(texts(&skipped) < texts(&wrong) && texts(&wrong) == DEV_ROWS as u64, "{skipped} {wrong}");
    train("error").unwrap_err().failed(&["test.bars.csv:", "unknown label \"golf\""]);
}

#[test]
fn every_method_learns_label_sets() {
    let place = place();
    place.train(&[BARS, "method.name=teacher", "output=made"]).done();
    let teacher = "teacher={checkpoint: made/teacher}";
    for method in ["newsbert", "kd", "distiller", "pkd", "distilbert", "tinybert", "finetune"] {
        let output = format!("runs/{method}");
        place
            .train(&[BARS, &format!("method.name={method}"), teacher, "student.layers=2", &format!("output={output}")])
            .done();
        let summary = place.summary(&output);
        assert_eq!(summary["primary"], "micro_f1");
        assert!(summary["student"]["map"].is_f64(), "{method}");
    }
    // A frozen teacher is measured on test rows with the thresholds of the development rows, as it was saved with them.
    let eval = ["eval", "--model", "made/teacher", "--input", "test.bars.csv", "--columns", "1", "--label", "0"];
    let metrics: Value =
        serde_json::from_str(&place.nb(&[&eval[..], &["--label-separator", "|"]].concat()).done().out).unwrap();
    for run in ["runs/kd", "runs/pkd"] {
        let found = &place.summary(run)["teacher"]["test"]["micro_f1"];
        assert!(
            (found.as_f64().unwrap() - metrics["micro_f1"].as_f64().unwrap()).abs() < 1e-9,
            "{run}: {found} {metrics}"
        );
    }
    place.train(&[BARS, "method={name: kd, temperature: {rule: cwsm, base: 2, beta: 1}}", teacher]).failed(&[
        "method.temperature.rule",
        "cwsm",
        "any number of labels",
    ]);
    place.train(&[BARS, "data.class_weights=balanced", "output=runs/balanced"]).done();
    place.train(&[BARS, "data.class_weights={sports: 3}", "output=runs/given"]).done();
}

/// A classifier of transformers with `problem_type: multi_label_classification` teaches and predicts as it is.
#[test]
fn a_classifier_of_label_sets_is_a_teacher_as_it_is() {
    let place = place();
    place.train(&[BARS, "method.name=teacher", "output=made", "head.pooling=cls", "train.epochs=3"]).done();
    place.nb(&["export", "--model", "made/teacher", "--to", "hf", "--output", "classifier"]).done();
    let config = place.json("classifier/config.json");
    assert_eq!(config["problem_type"], "multi_label_classification");
    assert_eq!(config["newsbert_thresholds"], place.json("made/teacher/newsbert.json")["thresholds"]);
    let predict = |model| {
        let input = ["--input", "dev.bars.csv", "--columns", "1", "--probabilities", "all"];
        place.nb(&[&["predict", "--model", model], &input[..]].concat()).done().json_lines()
    };
    for (expected, found) in predict("made/teacher").iter().zip(predict("classifier")) {
        for (label, probability) in expected["probabilities"].as_object().unwrap() {
            let found = found["probabilities"][label].as_f64().unwrap();
            assert!((probability.as_f64().unwrap() - found).abs() < 1e-5, "{label}");
        }
        assert_eq!(expected["labels"], found["labels"]);
    }
    let checkpoint = "teacher={checkpoint: classifier}";
    place.train(&[BARS, "method.name=kd", checkpoint, "output=runs/kd"]).done();
    assert!(!place.exists("runs/kd-teacher"));
    let teacher = |run: &str| place.summary(run)["teacher"]["map"].as_f64().unwrap();
    assert!((teacher("runs/kd") - teacher("made")).abs() < 1e-6);
    // Texts with one label need another classifier.
    place.train(&["method.name=kd", checkpoint, "output=runs/single"]).failed(&[
        "multi_label_classification",
        "single_label_classification",
        "teacher.train.epochs",
    ]);
    let options = ["eval", "--model", "classifier", "--input", "dev.bars.csv", "--columns", "1", "--label", "0"];
    place.nb(&[&options[..], &["--label-separator", "|"]].concat()).done();
}

#[test]
fn rows_to_measure_on_need_a_label_and_a_flag_without_rows_is_named() {
    let place = place();
    place.write("none.csv", ",the new\n,in big\n");
    place
        .train(&[&BARS.replace("dev: dev.bars.csv", "dev: none.csv")])
        .failed(&["none.csv: none of the 2 evaluation rows"]);
    let rows = place.text("train.flags.csv").replace("text,", "text,unused,");
    let (header, rest) = rows.split_once('\n').unwrap();
    let rest: String = rest
        .lines()
        .map(|line| {
            let (a, b) = line.rsplit_once(',').unwrap();
            format!("{a},0,{b}\n")
        })
        .collect();
    place.write("train.more.csv", format!("{header}\n{rest}"));
    let columns = "{label_flags: [finance, sports, weather, unused], text: [text]}";
    let data = format!("data={{format: csv, header: true, train: train.more.csv, max_tokens: 16, columns: {columns}}}");
    let ended = place.train(&[&data]).done();
    assert!(ended.err.contains("label unused has no training row"), "{}", ended.err);
}

#[test]
fn columns_of_labels_that_contradict_are_refused() {
    let place = place();
    let train = |columns: &str| {
        let data = format!("data={{format: csv, train: train.bars.csv, max_tokens: 16, columns: {columns}}}");
        place.train(&[&data])
    };
    train("{label: 0, labels: [0], text: [1]}").failed(&["data.columns.labels", "data.columns.label"]);
    train("{label: 0, label_separator: '|', text: [1]}").failed(&["data.columns.label_separator"]);
    train("{text: [1]}").failed(&["data.columns.label", "missing"]);
    train("{label_flags: [0], text: [1]}").failed(&["with a label column that is neither 0 nor 1"]);
    place.train(&[]).done();
    let eval = ["eval", "--model", STUDENT, "--input", "dev.csv", "--columns", "1,2", "--label", "0"];
    place.nb(&[&eval[..], &["--label-separator", "|"]].concat()).failed(&["trained for texts with one label"]);
    place.nb(&[&eval[..8], &["0,1"]].concat()).failed(&["--label has 2 columns", "one label"]);
}

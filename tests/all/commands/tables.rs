//! Tables as users write them: TSV without quoting, and labels that do not occur in training.

use serde_json::Value;

use super::place::{DEV_ROWS, Place, STUDENT, TRAIN_ROWS};

const TSV: [&str; 2] = ["data.format=tsv", "data.columns={label: 0, text: [1]}"];

/// Writes a TSV copy of a CSV file without quoting. Two titles contain a quote: one starts with it, and one 14 rows further
/// down ends with it.
fn write_unquoted(place: &Place, name: &str) {
    let title = |i: usize, title: &str| match i {
        2 => format!("\"{title}"),
        16 => format!("{title}\""),
        _ => title.to_owned(),
    };
    let row = |(i, line): (usize, &str)| {
        let [label, text, _]: [&str; 3] =
            line.split("\",\"").flat_map(|part| part.splitn(2, ",\"")).collect::<Vec<_>>()[..].try_into().unwrap();
        format!("{label}\t{}\n", title(i, text))
    };
    let rows = place.text(&format!("{name}.csv")).lines().enumerate().map(row).collect::<String>();
    place.write(&format!("{name}.txt"), rows);
}

#[test]
fn a_tsv_without_quoting_loses_no_row() {
    let place = Place::new();
    write_unquoted(&place, "train");
    write_unquoted(&place, "dev");
    let files = ["data.train=train.txt", "data.dev=dev.txt"];
    let ended = place.train(&[&TSV[..], &files].concat()).done();
    assert_eq!(place.summary("runs/tiny")["train"]["samples"], TRAIN_ROWS);
    for file in ["train.txt", "dev.txt"] {
        let message = format!("{file}: the quotes on line 3 do not pair up");
        assert!(ended.err.contains(&message), "{}", ended.err);
    }
    assert!(place.text("runs/tiny/config.yaml").contains("quoting: auto"));

    let predict = |options: &[&str]| {
        let input = ["predict", "--model", STUDENT, "--input", "dev.txt", "--format", "tsv", "--columns", "1"];
        place.nb(&[&input[..], options].concat())
    };
    let auto = predict(&[]).done();
    assert_eq!(auto.json_lines().len(), DEV_ROWS);
    assert!(auto.err.contains("dev.txt: the quotes on line 3 do not pair up"), "{}", auto.err);
    let none = predict(&["--quoting", "none"]).done();
    assert_eq!((none.out, none.err.contains("pair up")), (auto.out.clone(), false));
    let lines = |ended: &super::place::Ended| -> Vec<u64> {
        ended.json_lines().iter().map(|line| line["line"].as_u64().unwrap()).collect()
    };
    assert_eq!(lines(&predict(&["--quoting", "csv"]).done())[1..4], [2, 3, 18], "lines 3 to 17 are one row");
    // Standard input gives the same result.
    let input = ["predict", "--model", STUDENT, "--input", "-", "--format", "tsv", "--columns", "1"];
    let piped = place.nb_with_input(&input, &place.text("dev.txt")).done();
    assert_eq!(piped.out, auto.out);

    // Each quoting has its own token store.
    let quoted = [&TSV[..], &files, &["data.quoting=csv", "output=runs/quoted"]].concat();
    place.train(&quoted).done();
    assert_eq!(place.summary("runs/quoted")["train"]["samples"], TRAIN_ROWS - 14);
    let none = [&TSV[..], &files, &["data.quoting=none", "output=runs/none"]].concat();
    let ended = place.train(&none).done();
    assert!(ended.err.contains("read from the token store") || !ended.err.contains("tokenised"), "{}", ended.err);
    place.train(&["data.quoting=none"]).failed(&["data.quoting is given", "it applies only to csv, tsv"]);
}

#[test]
fn a_csv_can_lack_quoting_and_quoted_line_breaks_stay_in_one_row() {
    let place = Place::new();
    let csv = place.text("train.csv");
    let (first, rest) = csv.split_once('\n').unwrap();
    place.write("lines.csv", format!("{}\n{rest}", first.replacen(' ', "\n", 1)));
    let columns = ["data.format=csv", "data.columns={label: 0, text: [1, 2]}", "data.dev=dev.csv"];
    place.train(&[&columns[..], &["data.train=lines.csv"]].concat()).done();
    assert_eq!(place.summary("runs/tiny")["train"]["samples"], TRAIN_ROWS);

    let open = format!("{}sports,\"goal in the match,x\n", csv.replace('"', ""));
    place.write("open.csv", &open);
    place.write("dev.csv", place.text("dev.csv").replace('"', ""));
    let files = [&columns[..], &["data.train=open.csv"]].concat();
    place.train(&files).failed(&["open.csv:49", "a quote is opened here and never closed", "quoting: none"]);
    place.train(&[&files[..], &["data.quoting=none", "output=runs/none"]].concat()).done();
    assert_eq!(place.summary("runs/none")["train"]["samples"], TRAIN_ROWS + 1);
}

#[test]
fn unknown_labels_are_skipped_or_an_error() {
    let place = Place::new();
    place.write("dev.tsv", place.text("dev.tsv") + "N99\ttravel\tx\tA trip\tto the sea\n");
    let ended = place.train(&[]).done();
    let message = format!("dev.tsv: skipped 1 with a label that no training row has, first on line {}", DEV_ROWS + 1);
    assert!(ended.err.contains(&message), "{}", ended.err);
    let expected = &place.summary("runs/tiny")["student"];
    assert_eq!(expected["texts"], DEV_ROWS);

    let eval = |options: &[&str]| place.nb(&[&["eval", "--model", STUDENT, "--input", "dev.tsv"], options].concat());
    let ended = eval(&[]).done();
    let found: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!((&found["texts"], &found["unknown_labels"]), (&DEV_ROWS.into(), &1.into()));
    assert_eq!(found["accuracy"], expected["accuracy"]);
    assert!(ended.err.contains("1 with a label that no training row has, first on line 19"), "{}", ended.err);

    // Each counts as a wrong prediction, and its label as a class that is never right.
    let ended = place.train(&["data.unknown_labels=wrong", "output=runs/wrong"]).done();
    assert!(ended.err.contains("1 rows with a label that no training row has count as wrong: travel"), "{}", ended.err);
    let wrong = &place.summary("runs/wrong")["student"];
    let of = |found: &Value, key: &str| found[key].as_f64().unwrap();
    let (rows, right) = (DEV_ROWS as f64, of(expected, "accuracy") * DEV_ROWS as f64);
    assert_eq!(wrong["texts"], DEV_ROWS + 1);
    assert!((of(wrong, "accuracy") - right / (rows + 1.0)).abs() < 1e-12);
    assert!((of(wrong, "macro_f1") - 3.0 * of(expected, "macro_f1") / 4.0).abs() < 0.1);
    let found: Value = serde_json::from_str(&eval(&["--unknown-labels", "wrong"]).done().out).unwrap();
    assert_eq!((&found["texts"], &found["unknown_labels"]), (&(DEV_ROWS + 1).into(), &1.into()));
    assert_eq!((&found["accuracy"], &found["macro_f1"]), (&wrong["accuracy"], &wrong["macro_f1"]));

    let parts = ["dev.tsv:19", "unknown label \"travel\"", "finance"];
    eval(&["--unknown-labels", "error"]).failed(&parts);
    place.train(&["data.unknown_labels=error"]).failed(&parts);
    // Too many of them are an error.
    place.write("dev.tsv", place.text("dev.tsv").replace("\tsports\t", "\ttravel\t"));
    let parts = ["dev.tsv: 7 of 19 rows cannot be used", "7 with a label that no training row has, first on line 2"];
    eval(&[]).failed(&parts);
    place.train(&[]).failed(&parts);
    eval(&["--allow-unusable", "0.4"]).done();
}

#[test]
fn class_weights_change_the_hard_loss_and_are_shown() {
    let place = Place::new();
    // A rare class: most rows on sports go.
    let rows = place.text("train.tsv");
    let is_kept = |(i, row): &(usize, &str)| !row.contains("\tsports\t") || i % 4 == 0;
    let kept: Vec<&str> = rows.lines().enumerate().filter(is_kept).map(|(_, row)| row).collect();
    let count = |topic: &str| kept.iter().filter(|row| row.contains(&format!("\t{topic}\t"))).count();
    place.write("train.tsv", kept.join("\n") + "\n");
    let plan = |set: &str| place.nb(&["plan", "--config", "tiny.yaml", "--set", set]);
    let weight = |topic: &str| format!("{topic} {:.3}", kept.len() as f64 / (3 * count(topic)) as f64);
    let out = plan("data.class_weights=balanced").done().out;
    assert!(
        out.contains("class weights") && ["finance", "sports", "weather"].iter().all(|it| out.contains(&weight(it))),
        "{out}"
    );
    assert!(plan("data.class_weights={sports: 2.5}").done().out.contains("sports 2.500, finance 1.000, weather 1.000"));
    assert!(!plan("data.class_weights=none").done().out.contains("class weights"));
    plan("data.class_weights={golf: 2}").failed(&["data.class_weights", "label `golf`", "finance, sports, weather"]);
    plan("data.class_weights={sports: 0}").failed(&["data.class_weights", "weights above 0 by label"]);

    let first_loss = |output: &str, set: &str| {
        place.train(&[&format!("output={output}"), "method.name=finetune", set]).done();
        let first: Value =
            serde_json::from_str(place.text(&format!("{output}/metrics.jsonl")).lines().next().unwrap()).unwrap();
        first["losses"]["hard"].as_f64().or(first["loss"].as_f64()).unwrap()
    };
    let plain = first_loss("runs/plain", "data.class_weights=none");
    assert_eq!(first_loss("runs/ones", "data.class_weights={sports: 1}"), plain);
    let doubled = first_loss("runs/doubled", "data.class_weights={sports: 2, finance: 2, weather: 2}");
    assert!((doubled - 2.0 * plain).abs() < 1e-5 * plain, "{doubled} {plain}");
}

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
    place.train(&["data.quoting=none"]).failed(&["data.quoting is given", "no quoting"]);
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

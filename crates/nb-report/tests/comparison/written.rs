//! The table as text, CSV, JSON and files.

use nb_report::{Comparison, compare};

use super::{as_teacher, compared, entry, first_right, header, records, run, sweep};

/// Returns a comparison with everything that a table can contain.
fn full() -> Comparison {
    let plain = [run("finetune", 1, 0, &first_right(20, 40))];
    let kd = [run("kd", 1, 0, &first_right(30, 40)), run("kd", 1, 1, &first_right(32, 40))];
    let teacher = as_teacher(run("teacher", 6, 0, &first_right(35, 40)));
    let mut lines = [entry("finetune", &plain), entry("kd, T = 2", &kd)];
    lines[1].settings.insert("train.lr".to_owned(), "3e-4".to_owned());
    compare(header(), &lines, Some(&teacher), vec![sweep(&[(0.5, true)])]).unwrap()
}

#[test]
fn the_text_starts_with_the_teacher_and_marks_significant_differences() {
    let text = full().text();
    let row = |label: &str| text.lines().find(|line| line.contains(label)).unwrap().split('┆').collect::<Vec<_>>();
    assert!(text.starts_with("all, accuracy of 40 rows\n"));
    let at = |label| text.find(label).unwrap();
    assert!(at("│ teacher") < at("│ finetune") && at("│ finetune") < at("│ kd"));
    let kd = row("│ kd, T = 2");
    assert_eq!(kd[3].trim(), "0.7750 ± 0.0354");
    assert_eq!(kd[4].trim(), "88.6 %");
    assert!(kd[5].contains("+0.2750 [") && kd[5].trim().ends_with('*'), "{}", kd[5]);
    assert_eq!(row("│ finetune")[3].trim(), "0.5000");
    assert_eq!(row("│ finetune")[5].trim(), "–");
    assert!(text.contains("\n* p (Holm) < 0.05\n"));
    let widths: Vec<usize> = text
        .lines()
        .filter(|line| "┌╞│└".contains(line.chars().next().unwrap_or(' ')))
        .map(|line| line.chars().count())
        .collect();
    assert!(widths.windows(2).all(|pair| pair[0] == pair[1]), "{text}");
}

#[test]
fn columns_without_values_are_skipped() {
    let mut kd = run("kd", 1, 0, &[1.0]);
    kd.summary.student.as_mut().unwrap().milliseconds_per_text = None;
    let text = compared(&[entry("kd", [&kd])], None).text();
    assert!(
        !text.contains("kept") && !text.contains("against finetune") && !text.contains("ms for one text"),
        "{text}"
    );
    assert!(text.contains("texts per second"));
}

#[test]
fn csv_has_a_line_for_each_row_and_numbers_in_full_precision() {
    let found = full();
    let records = records(&found.csv());
    assert_eq!(records.iter().map(|r| r["label"].as_str()).collect::<Vec<_>>(), ["teacher", "finetune", "kd, T = 2"]);
    assert_eq!((records[0]["mean"].as_str(), records[0]["parameters"].as_str()), ("0.875", "3000000"));
    assert_eq!(records[0]["texts_per_second"], "100");
    let (kd, row) = (&records[2], &found.rows[1]);
    assert_eq!(kd["mean"].parse::<f64>().unwrap(), row.mean);
    assert_eq!(kd["p_holm"].parse::<f64>().unwrap(), row.against.as_ref().unwrap().p_holm);
    assert_eq!(kd["macro_f1 mean"].parse::<f64>().unwrap(), row.metrics["macro_f1"].mean);
    assert_eq!((kd["seeds"].as_str(), kd["settings"].as_str()), ("0 1", "train.lr=3e-4"));
    assert_eq!((records[1]["spread"].as_str(), records[1]["p"].as_str()), ("", ""));
}

#[test]
fn json_has_the_documented_keys() {
    let found = full();
    let value: serde_json::Value = serde_json::from_str(&found.json()).unwrap();
    let keys = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    assert_eq!(keys(&value), "name task metric baseline teacher rows sweeps rows_compared notes");
    assert_eq!(keys(&value["teacher"]), "score layers parameters milliseconds_per_text texts_per_second");
    assert_eq!(
        keys(&value["rows"][1]),
        "label method layers seeds scores mean spread kept metrics parameters megabytes milliseconds_per_text \
         texts_per_second against settings runs"
    );
    assert_eq!(keys(&value["rows"][1]["against"]), "label difference low high p p_holm");
    assert_eq!(keys(&value["rows"][1]["metrics"]["macro_f1"]), "mean spread");
    assert_eq!(keys(&value["sweeps"][0]), "label layers tries");
    assert_eq!(keys(&value["sweeps"][0]["tries"][0]), "settings score chosen");
    assert!(value["rows"][0]["against"].is_null() && value["rows"][0]["spread"].is_null());
}

#[test]
fn written_files_read_back_equal_and_output_is_reproducible() {
    let folder = tempfile::tempdir().unwrap();
    let found = full();
    found.write(folder.path()).unwrap();
    found.write(folder.path()).unwrap();
    let mut names: Vec<_> = folder.path().read_dir().unwrap().map(|file| file.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["compare.csv", "compare.json", "compare.txt"]);
    let back = Comparison::read(&folder.path().join("compare.json")).unwrap();
    assert_eq!(back.text(), found.text());
    assert_eq!(full().json(), found.json());

    let path = folder.path().join("bad.json");
    std::fs::write(&path, "{\n\"name\": 3}").unwrap();
    let error = Comparison::read(&path).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{}:2: invalid type", path.display())), "{error}");
    let error = found.write(&folder.path().join("missing")).unwrap_err().to_string();
    assert!(error.contains("missing/compare.json"), "{error}");
}

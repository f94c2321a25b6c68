//! The formats of a newsroom's data: the same rows in any of them give the same run.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::place::{DEV_ROWS, FINETUNE, Place, STUDENT, TRAIN_ROWS, articles};

/// Small files that pyarrow, polars and datasets wrote.
fn written_by_libraries() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/nb-data/tests/data")
}

/// The accuracy and the losses of a run.
fn results(place: &Place, output: &str) -> (Value, String) {
    let losses = place.text(&format!("{output}/metrics.jsonl"));
    let loss = |line: &str| serde_json::from_str::<Value>(line).map(|line| line["loss"].to_string()).unwrap();
    (place.summary(output)["student"]["accuracy"].clone(), losses.lines().map(loss).collect::<Vec<_>>().join(" "))
}

/// The rows of [`Place::new`], each in the form that `row` gives it.
fn rows(count: usize, seed: u64, row: impl Fn(&[String; 3]) -> String) -> String {
    articles(count, seed).iter().map(|article| row(article) + "\n").collect()
}

#[test]
fn rows_in_any_format_give_the_same_run() {
    let place = Place::new();
    let csv = "data={format: csv, train: train.csv, dev: dev.csv, columns: {label: 0, text: [1, 2]}, max_tokens: 16}";
    place.train(&[FINETUNE, csv, "output=runs/csv"]).done();
    let expected = results(&place, "runs/csv");

    let json_row = |[label, title, text]: &[String; 3]| {
        json!({"id": 7, "meta": {"topic": label}, "title": title, "body.text": text, "body": {"text": 1}}).to_string()
    };
    let long_row = |[label, title, text]: &[String; 3]| format!("{label}_!_{title}_!_\"{text}");
    let wide_row = |[label, title, text]: &[String; 3]| format!("{label};{title};{text}");
    for (name, count, seed) in [("train", TRAIN_ROWS, 1), ("dev", DEV_ROWS, 2)] {
        place.write(&format!("{name}.jsonl"), rows(count, seed, json_row));
        place.write(&format!("{name}.txt"), rows(count, seed, long_row).replace("_!_\"", "_!_"));
        let wide: Vec<u8> = rows(count, seed, wide_row).encode_utf16().flat_map(u16::to_le_bytes).collect();
        place.write(&format!("{name}.dat"), [&[0xFF, 0xFE][..], &wide].concat());
    }
    // A data set in a folder: its training rows are in two files.
    let lines = place.text("train.jsonl");
    let half = lines.lines().count() / 2;
    let part = |skip: usize, take: usize| {
        lines.lines().skip(skip).take(take).map(|line| format!("{line}\n")).collect::<String>()
    };
    place.write("set/data/train-00000-of-00002.jsonl", part(0, half));
    place.write("set/data/train-00001-of-00002.jsonl", part(half, usize::MAX));
    place.write("set/data/validation-00000-of-00001.jsonl", place.read("dev.jsonl"));

    let keys = "columns: {label: meta.topic, text: [title, body.text]}, max_tokens: 16}";
    let numbers = "columns: {label: 0, text: [1, 2]}, max_tokens: 16}";
    for (name, data) in [
        ("json", format!("data={{format: jsonl, train: train.jsonl, dev: dev.jsonl, {keys}")),
        ("set", format!("data={{format: jsonl, train: set, dev: set, {keys}")),
        ("long", format!("data={{format: csv, delimiter: _!_, train: train.txt, dev: dev.txt, {numbers}")),
        (
            "wide",
            format!("data={{format: csv, delimiter: ';', encoding: utf-16, train: train.dat, dev: dev.dat, {numbers}"),
        ),
    ] {
        let output = format!("runs/{name}");
        place.train(&[FINETUNE, &data, &format!("output={output}")]).done();
        assert_eq!(results(&place, &output), expected, "{name}");
    }
    let eval = |options: &[&str]| place.nb(&[&["eval", "--model", "runs/csv/student"], options].concat()).done().out;
    let of_csv = eval(&["--input", "dev.csv", "--columns", "1,2", "--label", "0"]);
    assert_eq!(eval(&["--input", "dev.jsonl", "--columns", "title,body.text", "--label", "meta.topic"]), of_csv);
    let long = ["--input", "dev.txt", "--format", "csv", "--delimiter", "_!_", "--columns", "1,2", "--label", "0"];
    assert_eq!(eval(&long), of_csv);
}

#[test]
fn parquet_is_read_in_training_and_in_use() {
    let place = Place::new();
    let file = written_by_libraries().join("variant-zstd-v2-dictionary.parquet");
    let data = format!(
        "data={{format: parquet, train: {}, columns: {{label: topic, text: [title, body]}}, allow_unusable: 0.5, max_tokens: 16}}",
        file.display()
    );
    place.train(&[FINETUNE, &data]).done();
    let input = ["--input", file.to_str().unwrap(), "--columns", "title,body", "--allow-unusable", "0.5"];
    let lines = place.nb(&[&["predict", "--model", STUDENT][..], &input].concat()).done().json_lines();
    assert!(lines.len() > 15 && lines.iter().all(|line| line["label"].is_string()), "{lines:?}");
    let eval = [&["eval", "--model", STUDENT, "--label", "tags"][..], &input[..4]].concat(); // a tenth may be unusable
    place.nb(&eval).failed(&["with several labels"]);
    // A list of labels is several labels, and this task has one.
    let several = data.replace("label: topic", "label: tags");
    place.train(&[FINETUNE, &several, "output=other"]).failed(&["with several labels"]);
    let missing = data.replace("label: topic", "label: category");
    place.train(&[FINETUNE, &missing, "output=other"]).failed(&["parquet", "category"]);
    place.write("cut.parquet", &std::fs::read(&file).unwrap()[..700]);
    let cut = data.replace(file.to_str().unwrap(), "cut.parquet");
    place.train(&[FINETUNE, &cut, "output=other"]).failed(&["cut.parquet"]);
}

#[test]
fn a_model_is_trained_measured_and_used_on_ebnerd() {
    let place = Place::new();
    let folder = written_by_libraries().join("ebnerd");
    let path = |name: &str| folder.join(name).display().to_string();
    let data = format!(
        "data={{format: ebnerd, train: {0}, dev: {0}, max_tokens: 16, allow_unusable: 0.6, history: 5, negatives: 2}}",
        path("train")
    );
    place.train(&["task=recommend", FINETUNE, &data]).done();
    let auc = place.summary("runs/tiny")["student"]["auc"].clone();
    assert!(auc.is_f64());
    let eval = ["eval", "--model", STUDENT, "--input", &path("train"), "--allow-unusable", "0.6"];
    let found: Value = serde_json::from_str(&place.nb(&eval).done().out).unwrap();
    assert!((found["auc"].as_f64().unwrap() - auc.as_f64().unwrap()).abs() < 1e-6, "{found} {auc}");

    // The test set has no clicks. EB-NeRD's predictions have MIND's form: an impression, and the ranks of its articles.
    std::fs::create_dir(place.path("test")).unwrap();
    for (from, to) in [("test/behaviors.parquet", "behaviors"), ("train/history.parquet", "history")] {
        std::fs::copy(path(from), place.path(&format!("test/{to}.parquet"))).unwrap();
    }
    let rank =
        ["rank", "--model", STUDENT, "--news", &path("articles.parquet"), "--behaviors", "test/behaviors.parquet"];
    place.nb(&[&rank[..], &["--output", "predictions.txt", "--allow-unusable", "0.6"]].concat()).done();
    let lines = place.text("predictions.txt");
    for line in lines.lines() {
        let (id, ranks) = line.split_once(' ').unwrap();
        let mut ranks: Vec<usize> = serde_json::from_str(ranks).unwrap();
        ranks.sort_unstable();
        assert!(id.parse::<u32>().is_ok() && ranks == (1..=ranks.len()).collect::<Vec<_>>(), "{line}");
    }
    assert!(lines.lines().count() > 10);
    place
        .train(&["task=recommend", FINETUNE, &data.replace("ebnerd,", "mind,"), "output=other"])
        .failed(&["data.format to ebnerd"]);
}

#[test]
fn keys_that_describe_another_format_are_refused() {
    let place = Place::new();
    let data = |rest: &str| format!("data={{train: train.csv, dev: dev.csv, max_tokens: 16, {rest}}}");
    for (rest, parts) in [
        ("format: jsonl, columns: {label: 0, text: [a]}", &["data.columns.label is 0", "expected a name"][..]),
        ("format: jsonl", &["data.columns is missing", "{label: category, text: [title, abstract]}"]),
        (
            "format: parquet, encoding: gbk, columns: {label: a, text: [b]}",
            &["data.encoding is given", "csv, tsv, jsonl, mind"],
        ),
        ("format: csv, encoding: klingon, columns: {label: 0, text: [1]}", &["data.encoding", "klingon"]),
        ("format: csv, delimiter: '', columns: {label: 0, text: [1]}", &["data.delimiter"]),
        ("format: mind, delimiter: ';'", &["data.delimiter is given", "it applies only to csv, tsv"]),
        ("format: csv, translations: x.tsv, columns: {label: 0, text: [1]}", &["data.translations is given", "mind"]),
        ("format: mind, translations: missing.tsv", &["data.translations is missing.tsv", "no such file"]),
    ] {
        place.train(&[FINETUNE, &data(rest), "output=other"]).failed(parts);
    }
    let predict = |options: &[&str]| place.nb(&[&["predict", "--model", "x", "--input", "dev.csv"], options].concat());
    assert_eq!(predict(&["--encoding", "klingon"]).code, Some(2));
}

#[test]
fn translated_articles_are_read_in_place_of_the_originals() {
    let place = Place::new();
    let translation: String = (0..TRAIN_ROWS).map(|i| format!("N{i}\tsnow in the wind {i}\train\n")).collect();
    place.write("translated.tsv", "nid\ttitle\tabstract\n".to_owned() + &translation);
    place.train(&[FINETUNE, "output=runs/plain"]).done();
    place.train(&[FINETUNE, "data.translations=translated.tsv", "output=runs/translated"]).done();
    assert_ne!(results(&place, "runs/plain").1, results(&place, "runs/translated").1);
    assert!(place.text("runs/translated/config.yaml").contains("translated.tsv"));

    place.write("some.tsv", translation.lines().take(5).map(|line| format!("{line}\n")).collect::<String>());
    let ended = place.train(&[FINETUNE, "data.translations=some.tsv", "output=runs/some"]).done();
    assert!(ended.err.contains("43 of 48 articles have no translation and keep their text"), "{}", ended.err);
    place.write("others.tsv", "X1\tsnow\train\n");
    let parts = ["others.tsv: no id of", "expected translations of its articles"];
    place.train(&[FINETUNE, "data.translations=others.tsv", "output=runs/others"]).failed(&parts);
}

#[test]
fn texts_that_were_split_into_words_need_no_program() {
    let place = Place::new();
    let class = r#"{"tokenizer_class": "BertJapaneseTokenizer", "word_tokenizer_type": "mecab", "subword_tokenizer_type": "wordpiece"}"#;
    place.write("tokenizer/tokenizer_config.json", class);
    place.train(&[FINETUNE]).failed(&["BertJapaneseTokenizer", "data.pretokenized"]);
    place.train(&[FINETUNE, "data.pretokenized=true"]).done();
    // The student's tokenizer splits at white space by itself.
    place.nb(&["predict", "--model", STUDENT, "--input", "dev.tsv"]).done();
}

//! Files that pyarrow, polars, `datasets` and Python's own modules wrote, compared row by row with what these read back.
//! `data/make.py` made them.

use std::fs;
use std::path::{Path, PathBuf};

use nb_data::read::{Article, Format, KeyLayout, KeyPath, LabelRule, Reason, Row, SkippedRow, Source, dataset_files};
use serde_json::Value;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// The rows that the library read.
fn rows(name: &str) -> Vec<Value> {
    let text = fs::read_to_string(data(name)).expect("a file of rows");
    serde_json::from_str(&text).expect("a list of rows")
}

fn path(text: &str) -> KeyPath {
    text.parse().expect("a path")
}

fn layout(label: &str, text: &[&str]) -> KeyLayout {
    KeyLayout { label: Some(path(label).into()), text: text.iter().map(|it| path(it)).collect(), id: None }
}

/// The value at a path whose names contain no dots.
fn at<'a>(row: &'a Value, path: &KeyPath) -> &'a Value {
    path.as_str().split('.').fold(row, |value, name| &value[name])
}

fn label(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

/// The article that a row should become.
fn expected(row: &Value, layout: &KeyLayout, line: u64) -> Row {
    let Some(nb_data::read::LabelLayout::One(key)) = &layout.label else { panic!("one label") };
    let mut labels = match at(row, key) {
        Value::Array(entries) => entries.iter().filter_map(label).collect(),
        value => label(value).into_iter().collect::<Vec<_>>(),
    };
    let texts =
        layout.text.iter().filter_map(|key| at(row, key).as_str()).map(str::trim).filter(|text| !text.is_empty());
    let mut texts = texts.map(str::to_owned);
    let reason = match (labels.is_empty(), texts.next()) {
        (true, _) => Reason::NoLabel,
        (false, None) => Reason::NoText,
        (false, Some(first)) => {
            let id = layout.id.as_ref().and_then(|key| label(at(row, key)));
            let more_labels = labels.split_off(1);
            return Row::Article(Article { line, id, label: labels.pop(), more_labels, first, second: texts.next() });
        }
    };
    Row::Skipped(SkippedRow { line, reason })
}

/// Compares the rows of a file with the expected ones; `line` returns the line of a row.
fn check(file: &str, format: Format, layout: &KeyLayout, expected_rows: &[Value], labels: LabelRule) {
    let source = Source { labels, ..Source::labelled(data(file), format) };
    let found: Vec<Row> = source.open().and_then(Iterator::collect).unwrap_or_else(|error| panic!("{file}: {error:?}"));
    assert_eq!(found.len(), expected_rows.len(), "{file}");
    for (i, (found, row)) in found.iter().zip(expected_rows).enumerate() {
        assert_eq!(found, &expected(row, layout, i as u64 + 1), "{file}, {layout:?}");
    }
}

/// Layouts that cover every column of the rows.
fn layouts() -> Vec<KeyLayout> {
    let mut layouts = vec![
        layout("topic", &["title", "body"]),
        layout("number", &["body", "title"]),
        layout("flag", &["meta.title"]),
        layout("tags", &["title"]),
        layout("meta.lang", &["meta.title", "body"]),
        layout("id", &["body"]),
    ];
    layouts[0].id = Some(path("id"));
    layouts
}

#[test]
fn json_lines_of_python_polars_and_datasets() {
    let once = rows("python.json");
    let twice = [once.clone(), once.clone()].concat();
    for layout in layouts() {
        for (file, rows) in [
            ("python.jsonl.gz", &once),
            ("python.jsonl.zst", &twice),
            ("polars.jsonl", &once),
            ("datasets.jsonl", &once),
        ] {
            check(file, Format::JsonLines(layout.clone()), &layout, rows, LabelRule::Required);
        }
    }
}

#[test]
fn encodings_of_python() {
    for (encoding, words) in [
        ("gbk", "新闻"),
        ("gb18030", "新闻 😀"),
        ("utf-16", "é新😀"),
        ("utf-16-be", "é新😀"),
        ("shift_jis", "東京"),
        ("latin-1", "é£"),
        ("cp1252", "é£"),
        ("big5", "臺灣"),
        ("koi8-r", "Новости"),
    ] {
        let source = Source {
            labels: LabelRule::Optional,
            encoding: Some(encoding.parse().expect("an encoding")),
            ..Source::labelled(data(&format!("text-{encoding}.txt")), Format::Lines)
        };
        let corpus = nb_data::read::read(&source).unwrap();
        let found: Vec<&str> = corpus.articles.iter().map(|article| article.first.as_str()).collect();
        assert_eq!(found, [words, "plain", &format!("{words} {words}")], "{encoding}");
    }
}

#[test]
fn the_files_of_a_split_are_those_of_datasets() {
    let cases = rows("folders.json");
    assert_eq!(cases.len(), 11);
    for case in &cases {
        let folder = tempfile::tempdir().unwrap();
        for file in case["files"].as_array().unwrap() {
            let path = folder.path().join(file.as_str().unwrap());
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let is_card = path.ends_with("README.md");
            fs::write(path, if is_card { case["card"].as_str().unwrap() } else { "" }).unwrap();
        }
        for (split, files) in case["splits"].as_object().unwrap() {
            let mut expected: Vec<PathBuf> = Vec::new();
            for file in files.as_array().unwrap() {
                let path = folder.path().join(file.as_str().unwrap());
                // `datasets` reads a file twice if two patterns match it.
                if !expected.contains(&path) {
                    expected.push(path);
                }
            }
            // A folder of the configuration is joined as it stands.
            let found = dataset_files(folder.path(), split).unwrap();
            assert_eq!(found, expected, "{}, {split}", case["name"]);
        }
        let error = dataset_files(folder.path(), "absent").unwrap_err().to_string();
        assert!(error.contains("no file of the split \"absent\" found, expected one of the splits [\""), "{error}");
    }
}

#[test]
fn headers_that_are_no_configuration_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.csv"), "").unwrap();
    let check = |header: &str, part: Option<&str>| {
        fs::write(folder.path().join("README.md"), header).unwrap();
        let found = dataset_files(folder.path(), "train").map_err(|error| error.to_string());
        match part {
            None => assert_eq!(found, Ok(vec![folder.path().join("a.csv")]), "{header}"),
            Some(part) => assert!(found.as_ref().is_err_and(|error| error.contains(part)), "{header}: {found:?}"),
        }
    };
    let empty = [
        "",
        "no header",
        "---\nlicense: mit\n---\n",
        "---\nconfigs: []\n---",
        "---\nopen: 1\n",
        "\u{feff}---\r\na: 1\r\n---\r\n",
    ];
    for header in empty {
        check(header, None);
    }
    check("---\nconfigs: 3\n---\n", Some("README.md: the header is not a valid configuration of a data set"));
    check("---\n[\n---\n", Some("not a valid configuration"));
    let two = "---\nconfigs:\n- config_name: a\n- config_name: b\n---\n";
    check(two, Some("configurations [\"a\", \"b\"] found, expected one of them to be the default"));
    check("---\nconfigs:\n- config_name: a\n  data_files: x.csv\n---\n", Some("README.md: the header is not"));
    let card = |files: &str| format!("---\nconfigs:\n- config_name: a\n  data_files:\n{files}---\n");
    let split = |name: &str, path: &str| format!("  - split: {name}\n    path: {path}\n");
    let names = card(&[split("train", "a.csv"), split("test", "x.csv")].concat());
    check(&names, Some("no data file \"x.csv\" found, expected one for the split \"test\""));
    let patterns = card(&[split("train", "a.csv"), split("test", "x*.csv")].concat());
    check(&patterns, Some("no data file that matches [\"x*.csv\"] found, expected one for the split \"test\""));
    check(&card(&split("train", "[a.csv, x.csv]")), Some("no data file \"x.csv\" found"));
    // `datasets` ignores a pattern beside others that match.
    check(&card(&split("train", "[a.csv, x*.csv]")), None);
    for inside in ["/elsewhere", "..", "a/../..", "/"] {
        let header = format!("---\nconfigs:\n- config_name: a\n  data_dir: {inside}\n---\n");
        check(&header, Some(&format!("data_dir \"{inside}\" found, expected a folder inside that of the data set")));
    }
    check("---\nconfigs:\n- config_name: a\n  data_dir: ./\n---\n", None);
}

#[cfg(feature = "parquet")]
mod parquet {
    use super::*;

    fn files(prefix: &str) -> Vec<String> {
        let entries = fs::read_dir(data("")).expect("the folder of the files");
        let names = entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"));
        names.filter(|name| name.starts_with(prefix) && name.ends_with(".parquet")).collect()
    }

    #[test]
    fn every_codec_page_version_and_encoding_of_pyarrow() {
        let (expected, files) = (rows("variants.json"), files("variant-"));
        assert_eq!((expected.len(), files.len()), (23, 29));
        for file in &files {
            for layout in layouts() {
                check(file, Format::Parquet(layout.clone()), &layout, &expected, LabelRule::Required);
            }
        }
    }

    #[test]
    fn files_of_polars() {
        let (expected, files) = (rows("polars.json"), files("polars-"));
        assert_eq!((expected.len(), files.len()), (23, 4));
        for file in &files {
            for layout in layouts() {
                check(file, Format::Parquet(layout.clone()), &layout, &expected, LabelRule::Required);
            }
        }
    }

    #[test]
    fn types_that_arrow_knows_and_parquet_does_not() {
        let expected = rows("types.json");
        for (label, text) in
            [("large_list", "view"), ("dictionary", "binary"), ("fixed", "dictionary"), ("null", "view")]
        {
            let layout = layout(label, &[text]);
            check("types.parquet", Format::Parquet(layout.clone()), &layout, &expected, LabelRule::Required);
        }
        let layout = layout("fixed", &["null", "binary"]);
        check("types.parquet", Format::Parquet(layout.clone()), &layout, &expected, LabelRule::Required);
    }

    #[test]
    fn class_labels_are_named() {
        let expected = rows("class-label.json");
        for label in ["label", "labels", "meta.label"] {
            let layout = layout(label, &["text"]);
            check("class-label.parquet", Format::Parquet(layout.clone()), &layout, &expected, LabelRule::Required);
        }
    }

    #[test]
    fn an_empty_file_has_no_rows() {
        let layout = layout("topic", &["title"]);
        check("empty.parquet", Format::Parquet(layout.clone()), &layout, &[], LabelRule::Required);
    }

    #[test]
    fn missing_and_unsuitable_columns_are_errors() {
        let error = |file: &str, layout: KeyLayout| {
            let error = Source::labelled(data(file), Format::Parquet(layout)).open().unwrap_err().to_string();
            error.rsplit('/').next().expect("a file name").to_owned()
        };
        assert_eq!(
            error("class-label.parquet", layout("topic", &["text"])),
            "class-label.parquet: no column \"topic\" found, expected one of [\"text\", \"label\", \"labels\", \"meta.label\"]"
        );
        assert_eq!(
            error("class-label.parquet", layout("label", &["meta.label"])),
            "class-label.parquet: column \"meta.label\" has the type Int64, expected text"
        );
        assert_eq!(
            error("class-label.parquet", layout("meta", &["text"])),
            "class-label.parquet: column \"meta\" has the type struct, expected texts, numbers, truth values or lists of them"
        );
    }
}

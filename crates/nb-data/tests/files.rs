//! Files as people have them: compressed, in other encodings, with other delimiters, as JSON lines, in several parts.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use nb_data::read::{
    Article, Column, CsvLayout, Delimiter, Field, Format, Header, KeyLayout, KeyPath, LabelLayout, LabelRule, Quoting,
    Row, SkippedRow, Source, articles,
};
use proptest::prelude::*;
use tempfile::TempDir;

fn file(folder: &TempDir, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, content).expect("a temporary folder can be written");
    path
}

fn path(text: &str) -> KeyPath {
    text.parse().expect("a path")
}

fn csv(delimiter: &str) -> CsvLayout {
    CsvLayout {
        label: Some(Column::Number(0).into()),
        text: vec![Column::Number(1)],
        header: Header::Absent,
        delimiter: delimiter.parse().expect("a delimiter"),
        quoting: Quoting::Auto,
    }
}

fn show(row: Row) -> String {
    match row {
        Row::Article(article) => {
            let labels: Vec<&str> = article.labels().collect();
            let Article { line, id, first, second, .. } = &article;
            let id = id.as_ref().map_or(String::new(), |id| format!(" #{id}"));
            format!("{line}{id} {}|{first}|{}", labels.join("+"), second.as_deref().unwrap_or_default())
        }
        Row::Skipped(SkippedRow { line, reason }) => format!("{line} {reason}"),
    }
}

/// All rows of a source, or its first error.
fn rows(source: &Source) -> Result<Vec<String>, String> {
    let rows = source.open().map_err(|error| error.to_string())?;
    rows.map(|row| row.map(show).map_err(|error| format!("{error}"))).collect()
}

fn check(source: &Source, expected: &[&str]) {
    assert_eq!(rows(source).expect("rows"), expected);
}

/// An error and its causes.
fn chain(source: &Source) -> String {
    let error = source.open().and_then(|rows| rows.collect::<Result<Vec<_>, _>>()).expect_err("an error");
    let (mut text, mut cause) = (error.to_string(), std::error::Error::source(&error));
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).expect("memory");
    encoder.finish().expect("memory")
}

fn json(layout: KeyLayout) -> Format {
    Format::JsonLines(layout)
}

#[test]
fn delimiters_of_one_and_of_several_characters() {
    let folder = tempfile::tempdir().unwrap();
    for (name, delimiter) in [("a", "|"), ("b", ";"), ("c", "_!_"), ("d", "¦"), ("e", ", ")] {
        let text = format!("sports{delimiter}A goal\nworld{delimiter}Rain\n\nshort\n");
        let source = Source::labelled(file(&folder, name, text), Format::Csv(csv(delimiter)));
        check(&source, &["1 sports|A goal|", "2 world|Rain|", "4 with too few columns"]);
    }
    let quoted = "1_!_\"Rain_!_x\n2_!_\"a\"_!_y\n";
    let source = Source::labelled(file(&folder, "f", quoted), Format::Csv(csv("_!_")));
    check(&source, &["1 1|\"Rain|", "2 2|\"a\"|"]);
    for delimiter in ["_!_", "¦"] {
        let layout = CsvLayout { quoting: Quoting::Csv, ..csv(delimiter) };
        let error = rows(&Source { format: Format::Csv(layout), ..source.clone() }).unwrap_err();
        assert!(error.ends_with("expected another delimiter or no quoting"), "{error}");
        let auto = Source { format: Format::Csv(csv(delimiter)), ..source.clone() };
        let none = Format::Csv(CsvLayout { quoting: Quoting::None, ..csv(delimiter) });
        assert_eq!(auto.decided().unwrap().format, none);
    }
    let quoted = Source::labelled(file(&folder, "g", "1;\"a;b\"\n"), Format::Csv(csv(";")));
    check(&quoted, &["1 1|a;b|"]);
    let plain = CsvLayout { quoting: Quoting::None, ..csv(";") };
    check(&Source { format: Format::Csv(plain), ..quoted }, &["1 1|\"a|"]);
    let named = CsvLayout {
        label: Some(Column::Name("topic".into()).into()),
        text: vec![Column::Name("title".into())],
        header: Header::Present,
        ..csv("||")
    };
    let source = Source::labelled(file(&folder, "h", "title||id||topic\nRain||7||world\n"), Format::Csv(named));
    check(&source, &["2 world|Rain|"]);
}

#[test]
fn a_byte_order_mark_has_precedence() {
    let folder = tempfile::tempdir().unwrap();
    let utf16: Vec<u8> = "\u{feff}1,é\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for encoding in [None, Some("utf-8"), Some("latin1"), Some("utf-16be")] {
        let encoding = encoding.map(|name| name.parse().unwrap());
        for (name, bytes) in [("a", &utf16[..]), ("b", "\u{feff}1,é\n".as_bytes())] {
            let source = Source { encoding, ..Source::labelled(file(&folder, name, bytes), Format::Csv(csv(","))) };
            check(&source, &["1 1|é|"]);
        }
    }
}

#[test]
fn encodings_are_decoded_and_malformed_rows_counted() {
    let folder = tempfile::tempdir().unwrap();
    let gbk = b"1,\xd0\xc2\xce\xc5\n2,\xd0\n3,ok \xff\n4,\xd0\xc2\n";
    let source = Source {
        encoding: Some("gbk".parse().unwrap()),
        ..Source::labelled(file(&folder, "gbk.csv", gbk), Format::Csv(csv(",")))
    };
    check(
        &source,
        &[
            "1 1|新闻|",
            "2 that are not valid text in their encoding",
            "3 that are not valid text in their encoding",
            "4 4|新|",
        ],
    );
}

#[test]
fn utf16_is_detected_by_its_byte_order_mark() {
    let folder = tempfile::tempdir().unwrap();
    let text = "\u{feff}1\tÄrger\n2\tnew\u{2028}line\n";
    let units: Vec<u16> = text.encode_utf16().collect();
    let little: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
    let big: Vec<u8> = units.iter().flat_map(|unit| unit.to_be_bytes()).collect();
    for (name, bytes) in [("le.tsv", &little), ("be.tsv", &big), ("le.tsv.gz", &gzip(&little))] {
        let source = Source::labelled(file(&folder, name, bytes), Format::Csv(csv("\t")));
        check(&source, &["1 1|Ärger|", "2 2|new\u{2028}line|"]);
        // The mark has precedence over the name.
        check(
            &Source { encoding: Some("utf-16be".parse().unwrap()), ..source },
            &["1 1|Ärger|", "2 2|new\u{2028}line|"],
        );
    }
    let source = Source {
        encoding: Some("utf-16".parse().unwrap()),
        ..Source::labelled(file(&folder, "plain.tsv", &little[2..]), Format::Csv(csv("\t")))
    };
    check(&source, &["1 1|Ärger|", "2 2|new\u{2028}line|"]);
    let odd = Source { path: file(&folder, "odd.tsv", &little[..little.len() - 1]), ..source };
    check(&odd, &["1 1|Ärger|", "2 that are not valid text in their encoding"]);
}

#[test]
fn compressed_files_of_several_members_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let text = "sports,A goal\nworld,Rain\n";
    let expected = ["1 sports|A goal|", "2 world|Rain|"];
    let (first, second) = text.as_bytes().split_at(17);
    let members = [gzip(first), gzip(b""), gzip(second)].concat();
    let padded = [&members[..], &[0; 1000]].concat();
    for (name, bytes) in [("a.csv.gz", gzip(text.as_bytes())), ("b.csv.gz", members), ("c.csv.gz", padded)] {
        let source = Source::labelled(file(&folder, name, bytes), Format::Csv(csv(",")));
        check(&source, &expected);
    }
    check(&Source::labelled(file(&folder, "empty.csv.gz", b""), Format::Csv(csv(","))), &[]);
    // A TSV is read twice, because its content decides the meaning of its quotes.
    let quotes = "sports\t\"We never\nworld\tscreens of 27\"\n";
    let source = Source::labelled(file(&folder, "d.tsv.gz", gzip(quotes.as_bytes())), Format::Csv(csv("\t")));
    check(&source, &["1 sports|\"We never|", "2 world|screens of 27\"|"]);
    assert_eq!(source.open().unwrap().unquoted_line(), Some(1));
}

#[test]
fn damaged_compressed_files_name_file_line_and_position() {
    let folder = tempfile::tempdir().unwrap();
    let text = (0..20_000).map(|i| format!("sports,A goal {i}\n")).collect::<String>();
    let whole = gzip(text.as_bytes());
    let source = |name: &str, bytes: &[u8]| Source::labelled(file(&folder, name, bytes), Format::Csv(csv(",")));
    let error = chain(&source("cut.csv.gz", &whole[..whole.len() / 2]));
    assert!(error.contains("cut.csv.gz after line "), "{error}");
    let position = format!("damaged gzip data near byte {}: the file ends in the middle of its data", whole.len() / 2);
    assert!(error.ends_with(&position), "{error}");
    let tail = [&whole[..], b"garbage"].concat();
    let error = chain(&source("tail.csv.gz", &tail));
    assert!(error.contains("after line 20000: damaged gzip data near byte"), "{error}");
    let mut flipped = whole.clone();
    let crc = flipped.len() - 8;
    flipped[crc] ^= 1;
    let error = chain(&source("crc.csv.gz", &flipped));
    assert!(error.contains("after line 20000: damaged gzip data"), "{error}");
    let error = chain(&source("text.csv.gz", text.as_bytes()));
    assert!(error.contains("text.csv.gz after line 0: damaged gzip data near byte"), "{error}");
    let error = chain(&source("text.csv.zst", text.as_bytes()));
    assert!(error.contains("text.csv.zst after line 0: damaged zstd data near byte"), "{error}");
}

#[test]
fn json_lines_with_nested_keys_labels_and_ids() {
    let folder = tempfile::tempdir().unwrap();
    let lines = [
        r#"{"id": 7, "topic": "sports", "meta": {"title": " A goal ", "x": [1, {"title": "no"}]}, "body": "at last"}"#,
        r#"{"id": "n8", "topic": 3, "meta": {"title": "Rain"}}"#,
        r#"{"topic": true, "meta.title": "literal", "meta": {"title": "nested"}}"#,
        r#"{"topic": ["a", "b", null, "c"], "meta": {"title": "several"}}"#,
        "",
        r#"{"topic": 1.5, "meta": {"title": "a fraction"}}"#,
        r#"{"topic": "x", "meta": {"title": 3}, "body": null}"#,
        r#"{"topic": "x", "meta": {"title": "cut""#,
        r#"["a list"]"#,
        r#"{"topic": " ", "body": "no label"}"#,
        r#"{"topic": "x", "body": "only a body"}"#,
    ];
    let layout = KeyLayout {
        label: Some(path("topic").into()),
        text: vec![path("meta.title"), path("body")],
        id: Some(path("id")),
    };
    let source = Source::labelled(file(&folder, "a.jsonl", lines.join("\r\n")), json(layout.clone()));
    check(
        &source,
        &[
            "1 #7 sports|A goal|at last",
            "2 #n8 3|Rain|",
            "3 true|literal|",
            "4 a+b+c|several|",
            "6 without a label",
            "7 without text",
            "8 that are not JSON objects",
            "9 that are not JSON objects",
            "10 without a label",
            "11 x|only a body|",
        ],
    );
    let source = Source { format: json(KeyLayout { label: None, ..layout.clone() }), ..source };
    assert_eq!(
        rows(&source).unwrap_err(),
        format!("{}: no label column found, expected one because labels are required", source.path.display())
    );
    let three = KeyLayout { text: vec![path("meta.title"), path("body"), path("topic")], label: None, id: None };
    let lines = lines.map(|line| line.replace("[\"a\", \"b\", null, \"c\"]", "\"fine\""));
    let several =
        Source { format: json(three), ..Source::labelled(file(&folder, "b.jsonl", lines.join("\n")), Format::Lines) };
    let found = rows(&Source { labels: LabelRule::Optional, allowed_unusable: 1.0, ..several }).unwrap();
    assert_eq!(found[..4], ["1 |A goal|at last sports", "2 |Rain|", "3 |literal|", "4 |several|fine"]);
    let twice = KeyLayout { text: vec![path("a"), path("a")], ..layout };
    let error = rows(&Source { format: json(twice), ..source }).unwrap_err();
    assert!(error.ends_with("the text columns are [a, a], expected one or more different columns"), "{error}");
    assert!("".parse::<KeyPath>().is_err() && ".".repeat(33).parse::<KeyPath>().is_err());
}

#[test]
fn labels_in_separated_columns_and_flags() {
    let folder = tempfile::tempdir().unwrap();
    let separated = LabelLayout::Several { columns: vec![Column::Number(0)], separator: Some("|".into()) };
    let layout = CsvLayout { label: Some(separated), ..csv(",") };
    let text = "sport|world,a\n world | ,b\n|,c\nsport,d\n";
    let source = Source::labelled(file(&folder, "a.csv", text), Format::Csv(layout.clone()));
    check(&source, &["1 sport+world|a|", "2 world|b|", "3 without a label", "4 sport|d|"]);
    let nothing = LabelLayout::Several { columns: vec![Column::Number(0)], separator: Some(String::new()) };
    let error = rows(&Source { format: Format::Csv(CsvLayout { label: Some(nothing), ..layout }), ..source.clone() });
    assert!(error.unwrap_err().ends_with("the separator of the labels is empty, expected one or more characters"));
    for format in [
        Format::Csv(CsvLayout { label: Some(LabelLayout::Flags(vec![])), ..csv(",") }),
        Format::Csv(CsvLayout { label: Some(LabelLayout::Several { columns: vec![], separator: None }), ..csv(",") }),
        json(KeyLayout { label: Some(LabelLayout::Flags(vec![])), ..KeyLayout::text("a").unwrap() }),
    ] {
        let error = rows_error(&Source { format, ..source.clone() });
        assert!(error.ends_with("no column of a label found, expected one or more"), "{error}");
    }

    let names = ["sport", "world"].map(|name| Column::Name(name.into()));
    let layout = CsvLayout {
        label: Some(LabelLayout::Flags(names.to_vec())),
        text: vec![Column::Name("title".into())],
        header: Header::Present,
        ..csv(",")
    };
    let text = "title,world,sport\na,1,1\nb,0,TRUE\nc,1.0,\nd,0,0\ne,2,0\nf,yes,0\ng,1\n";
    let source = Source::labelled(file(&folder, "b.csv", text), Format::Csv(layout));
    let mut expected = [
        "2 sport+world|a|",
        "3 sport|b|",
        "4 world|c|",
        "5 without a label",
        "6 with a label column that is neither 0 nor 1",
        "7 with a label column that is neither 0 nor 1",
        "8 with too few columns",
    ];
    check(&source, &expected);
    expected[3] = "5 |d|";
    expected[6] = "8 world|g|";
    check(&Source { labels: LabelRule::Optional, ..source.clone() }, &expected);
    expected[6] = "8 with too few columns";
    check(&Source { labels: LabelRule::AnyNumber, ..source }, &expected);

    let lines = "{\"t\": \"a\", \"s\": 1, \"w\": true}\n{\"t\": \"b\", \"s\": 0.0}\n{\"t\": \"c\", \"s\": [1]}\n";
    let layout =
        KeyLayout { label: Some(LabelLayout::Flags(vec![path("s"), path("w")])), ..KeyLayout::text("t").unwrap() };
    let source = Source::labelled(file(&folder, "c.jsonl", lines), json(layout));
    check(&source, &["1 s+w|a|", "2 without a label", "3 with a label column that is neither 0 nor 1"]);
    let separated = LabelLayout::Several { columns: vec![path("l")], separator: Some("/".into()) };
    let layout = KeyLayout { label: Some(separated), ..KeyLayout::text("t").unwrap() };
    let lines = "{\"t\": \"a\", \"l\": \"x/y\"}\n{\"t\": \"b\", \"l\": [\"x/y\", 3]}\n";
    check(&Source::labelled(file(&folder, "d.jsonl", lines), json(layout)), &["1 x+y|a|", "2 x+y+3|b|"]);
}

/// A value that is not a label makes its row unusable, so that no label is lost silently.
#[test]
fn values_that_are_no_labels_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let label = Some(LabelLayout::Several { columns: vec![path("l")], separator: None });
    let lines = r#"{"t": "a", "l": [["x", "y"]]}
{"t": "b", "l": {"name": "x"}}
{"t": "c", "l": [2.5, "x"]}
{"t": "d", "l": ["x", null, true, 3, ""]}
{"t": "e", "l": null}
{"t": "f"}"#;
    let layout = KeyLayout { label, ..KeyLayout::text("t").unwrap() };
    let source = Source::labelled(file(&folder, "a.jsonl", lines), json(layout));
    let no_label = "with a label that is neither a text nor a whole number";
    let line = |line: usize| format!("{line} {no_label}");
    let source = Source { labels: LabelRule::AnyNumber, ..source };
    check(&source, &[&line(1), &line(2), &line(3), "4 x+true+3|d|", "5 |e|", "6 |f|"]);
}

#[test]
fn flags_have_the_names_of_the_header() {
    let folder = tempfile::tempdir().unwrap();
    let flags = |columns: &[usize]| LabelLayout::Flags(columns.iter().map(|&column| Column::Number(column)).collect());
    let layout = |columns: &[usize]| CsvLayout {
        label: Some(flags(columns)),
        text: vec![Column::Number(0)],
        header: Header::Present,
        ..csv(",")
    };
    let text = file(&folder, "a.csv", "title,\"comma, label\",world\na,1,0\nb,1,1\n");
    let source = Source::labelled(text, Format::Csv(layout(&[1, 2])));
    check(&source, &["2 comma, label|a|", "3 comma, label+world|b|"]);
    let twice = Source { format: Format::Csv(layout(&[1, 2, 1])), ..source };
    assert!(rows(&twice).unwrap_err().ends_with("a column of labels is named twice, expected different columns"));
}

/// A label in each column, as MIND's category and subcategory; a label that a row repeats counts once.
#[test]
fn labels_in_several_columns() {
    let folder = tempfile::tempdir().unwrap();
    let several = |separator: Option<&str>| LabelLayout::Several {
        columns: vec![Column::Number(0), Column::Number(2)],
        separator: separator.map(str::to_owned),
    };
    let layout = |separator| CsvLayout { label: Some(several(separator)), text: vec![Column::Number(1)], ..csv(",") };
    let text = "sport,a,golf\nsport,b,\n,c,golf;sport\nsport,d,sport\n,e,\nf\n";
    let source = Source::labelled(file(&folder, "a.csv", text), Format::Csv(layout(None)));
    let source = Source { labels: LabelRule::AnyNumber, ..source };
    let expected =
        ["1 sport+golf|a|", "2 sport|b|", "3 golf;sport|c|", "4 sport|d|", "5 |e|", "6 with too few columns"];
    check(&source, &expected);
    let separated = Source { format: Format::Csv(layout(Some(";"))), ..source.clone() };
    assert_eq!(rows(&separated).unwrap()[2], "3 golf+sport|c|");
    let required = Source { labels: LabelRule::Required, ..source.clone() };
    assert_eq!(rows(&required).unwrap()[4], "5 without a label");
    let none = Source { format: Format::Csv(CsvLayout { label: None, ..layout(None) }), ..source };
    assert!(rows(&none).unwrap_err().contains("no label column found"));
}

#[test]
fn several_files_are_one_source() {
    let folder = tempfile::tempdir().unwrap();
    let layout = CsvLayout { header: Header::Present, ..csv(",") };
    let parts = vec![
        file(&folder, "a.csv", "label,text\nsports,one\nworld,\n"),
        file(&folder, "b.csv.gz", gzip(b"label,text\nworld,two\n")),
        file(&folder, "c.csv", ""),
        file(&folder, "d.csv", "label,text\nworld,three"),
    ];
    let mut source = Source { parts, ..Source::labelled(folder.path(), Format::Csv(layout)) };
    check(&source, &["2 sports|one|", "3 without text", "5 world|two|", "7 world|three|"]);
    let corpus = nb_data::read::read(&Source { allowed_unusable: 0.5, ..source.clone() }).unwrap();
    assert_eq!((corpus.articles.len(), corpus.source.as_path()), (3, folder.path()));
    source.parts[3] = folder.path().join("missing.csv");
    let found: Vec<_> = source.open().unwrap().collect();
    assert_eq!(found.len(), 4);
    assert!(found[3].as_ref().unwrap_err().to_string().ends_with("missing.csv"));
    // An error names its own file and line.
    source.parts[3] = file(&folder, "open.csv", "label,text\nx,\"open\n");
    let error = rows(&source).unwrap_err();
    assert!(error.contains("open.csv:2: a quote is opened here"), "{error}");
}

#[test]
fn a_bomb_costs_time_but_no_memory() {
    let folder = tempfile::tempdir().unwrap();
    // 300 MB of lines, from 300 kB.
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let block = "sports,aaaaaaaaaaaaaaaaaaaaaaaaa\n".repeat(30_000);
    (0..100).for_each(|_| encoder.write_all(block.as_bytes()).unwrap());
    let bomb = encoder.finish().unwrap();
    let mut lines = Source::labelled(file(&folder, "bomb.csv.gz", &bomb), Format::Csv(csv(","))).open().unwrap();
    assert_eq!(lines.by_ref().map(|row| row.unwrap()).filter(|row| matches!(row, Row::Article(_))).count(), 3_000_000);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let block = vec![b'a'; 1 << 20];
    (0..70).for_each(|_| encoder.write_all(&block).unwrap());
    let line = encoder.finish().unwrap();
    let error = rows(&Source::labelled(file(&folder, "line.csv.gz", line), Format::Csv(csv(",")))).unwrap_err();
    assert!(
        error.ends_with("line.csv.gz:1: a line of more than 67108864 bytes found, expected a shorter one"),
        "{error}"
    );
}

#[test]
fn compressed_impressions_are_read() {
    use nb_data::behaviors::{BehaviorSource, Behaviors, ClickRule};
    let folder = tempfile::tempdir().unwrap();
    let text = "1\tU1\t\tN3 N1\tN2-0 N1-1\n".repeat(1000);
    let news = nb_data::IdIndex::new(["N1", "N2", "N3"].map(Some));
    let read = |path| {
        let source = BehaviorSource { path, history: 5, clicks: ClickRule::Required, allowed_unusable: 0.0 };
        Behaviors::read(&source, &news)
    };
    let plain = read(file(&folder, "behaviors.tsv", &text)).unwrap();
    let whole = gzip(text.as_bytes());
    assert_eq!(read(file(&folder, "behaviors.tsv.gz", &whole)).unwrap(), plain);
    let error = read(file(&folder, "cut.tsv.gz", &whole[..whole.len() - 9])).unwrap_err().to_string();
    assert!(error.contains("cut.tsv.gz after line"), "{error}");
}

#[test]
fn translations_replace_the_texts_of_their_articles() {
    let folder = tempfile::tempdir().unwrap();
    let news =
        file(&folder, "news.tsv", "N1\tsports\tx\tA goal\tat last\nN2\tworld\tx\tRain\t\nN3\tworld\tx\tSun\tin Rome\n");
    let rows = "N1\tTor\tendlich\nN2\tRegen\t\nN9\tx\ty\nN1\tzweites\t\nN3\t \t\n";
    for header in ["", "nid\ttitle\tabstract\n"] {
        let translations = Some(file(&folder, "de.tsv", format!("{header}{rows}")));
        let format = Format::MindNews { fields: vec![Field::Title, Field::Abstract] };
        let source = Source { translations, ..Source::labelled(&news, format) };
        check(&source, &["1 #N1 sports|Tor|endlich", "2 #N2 world|Regen|", "3 #N3 world|Sun|in Rome"]);
        let mut rows = source.open().unwrap();
        assert_eq!((rows.by_ref().count(), rows.untranslated()), (3, 1));
        let format = Format::MindNews { fields: vec![Field::Abstract] };
        check(&Source { format, ..source }, &["1 #N1 sports|endlich|", "2 without text", "3 #N3 world|in Rome|"]);
    }
    // A part that is not translated stays.
    let partial = Some(file(&folder, "partial.tsv", "N1\tTor\nN2\t\tnass\nN3\t\tin Rom\n"));
    let format = Format::MindNews { fields: vec![Field::Abstract, Field::Title] };
    let source = Source { translations: partial.clone(), ..Source::labelled(&news, format) };
    check(&source, &["1 #N1 sports|at last|Tor", "2 #N2 world|nass|", "3 #N3 world|in Rom|Sun"]);
    let text = Source { translations: partial, ..Source::labelled(&news, Format::Csv(csv("\t"))) };
    assert!(
        rows_error(&text)
            .ends_with("translations of articles in another format than MIND's found, expected MIND's articles")
    );
    // The encoding holds for the translations too, and their unusable rows are counted.
    let bytes = b"N1\t\xd0\xc2\nN2\t\xff\n\t\xd0\xc2\n";
    let translations = Some(file(&folder, "gbk.tsv", bytes));
    let encoding = Some("gbk".parse().unwrap());
    let source = Source { translations, encoding, allowed_unusable: 0.7, ..source };
    check(&source, &["1 #N1 sports|at last|新", "2 #N2 world|Rain|", "3 #N3 world|in Rome|Sun"]);
    let skipped = source.open().unwrap().skipped_translations().unwrap().to_string();
    assert_eq!(
        skipped,
        "1 that are not valid text in their encoding, first on line 2; 1 without an id, first on line 3"
    );
    let error = rows_error(&Source { allowed_unusable: 0.6, ..source });
    assert!(error.contains("gbk.tsv: 2 of 3 rows cannot be used"), "{error}");
    let translations = Some(file(&folder, "empty.tsv", "nid\ttitle\tabstract\n"));
    let source = Source { translations, ..Source::labelled(&news, Format::MindNews { fields: vec![Field::Title] }) };
    let error = rows_error(&source);
    assert!(
        error.ends_with("empty.tsv: no translation found, expected tab-separated ids, titles and abstracts"),
        "{error}"
    );
}

fn rows_error(source: &Source) -> String {
    rows(source).expect_err("an error")
}

#[test]
fn parquet_needs_a_file() {
    let format = Format::Parquet(KeyLayout::text("text").unwrap());
    let error = articles(&b""[..], "-", &format, LabelRule::Optional).unwrap_err().to_string();
    assert_eq!(error, "-: cannot read Parquet from a stream, expected a file");
}

/// Reads bytes as a file of this name; the outcome does not matter.
fn read_any(folder: &Path, name: &str, bytes: &[u8]) {
    let path = folder.join(name);
    fs::write(&path, bytes).expect("a temporary folder can be written");
    let format = Format::MindNews { fields: vec![Field::Title] };
    let source = Source { labels: LabelRule::Optional, ..Source::labelled(path, format) };
    if let Ok(rows) = source.open() {
        assert!(rows.take(100_000).count() <= 100_000);
    }
}

proptest! {
    #[test]
    fn no_bytes_cause_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), at in any::<prop::sample::Index>(), with in any::<u8>()) {
        let folder = tempfile::tempdir().unwrap();
        let zstd = [&b"\x28\xb5\x2f\xfd"[..], &bytes].concat();
        let mut damaged = gzip(&bytes);
        let at = at.index(damaged.len());
        damaged[at] = with;
        for (name, bytes) in [("a.gz", &bytes), ("b.gz", &damaged), ("a.zst", &zstd)] {
            read_any(folder.path(), name, bytes);
        }
    }

    /// Any division into members is read as one file.
    #[test]
    fn members_are_concatenated(text in "[ab,\n]{0,60}", cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4)) {
        let folder = tempfile::tempdir().unwrap();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let members: Vec<u8> = cuts.windows(2).flat_map(|pair| gzip(&text.as_bytes()[pair[0]..pair[1]])).collect();
        let format = Format::Csv(CsvLayout { label: None, text: vec![Column::Number(0)], ..csv(",") });
        let optional = |path| Source { labels: LabelRule::Optional, ..Source::labelled(path, format.clone()) };
        let plain = rows(&optional(file(&folder, "a.csv", &text)));
        prop_assert_eq!(rows(&optional(file(&folder, "a.csv.gz", members))), plain);
    }
}

#[test]
fn a_delimiter_is_compared_by_its_text() {
    assert_eq!("\t".parse::<Delimiter>().unwrap(), Delimiter::TAB);
    assert_ne!(",,".parse::<Delimiter>().unwrap(), Delimiter::COMMA);
}

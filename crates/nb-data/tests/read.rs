//! The readers with hostile and unusual input.

use std::fs;
use std::io::{self, BufReader, Read};

use nb_data::DataError;
use nb_data::read::{
    Article, Column, CsvLayout, Delimiter, Field, Format, Header, LabelRule, Quoting, Reason, ReasonCount, Row,
    SkippedRow, Source, articles, read,
};
use proptest::prelude::*;

fn csv(header: Header) -> CsvLayout {
    CsvLayout {
        label: Some(Column::Number(0).into()),
        text: vec![Column::Number(1), Column::Number(2)],
        header,
        delimiter: Delimiter::COMMA,
        quoting: Quoting::Auto,
    }
}

fn named(label: &str, text: &[&str]) -> Format {
    let text = text.iter().map(|name| name.parse().expect("a column")).collect();
    Format::Csv(CsvLayout {
        label: Some(label.parse::<Column>().expect("a column").into()),
        text,
        header: Header::Present,
        delimiter: Delimiter::COMMA,
        quoting: Quoting::Auto,
    })
}

fn mind() -> Format {
    Format::MindNews { fields: vec![Field::Title, Field::Abstract] }
}

/// Reads all rows of a text and formats them: `line label|first|second`, or `line reason`.
fn rows(text: impl AsRef<[u8]>, format: &Format, labels: LabelRule) -> Result<Vec<String>, String> {
    let rows = articles(text.as_ref(), "in", format, labels).map_err(|err| err.to_string())?;
    let show = |row: Row| match row {
        Row::Article(Article { line, label, first, second, .. }) => {
            format!("{line} {}|{first}|{}", label.unwrap_or_default(), second.unwrap_or_default())
        }
        Row::Skipped(SkippedRow { line, reason }) => format!("{line} {reason}"),
    };
    rows.map(|row| row.map(show).map_err(|err| err.to_string())).collect()
}

fn check(text: impl AsRef<[u8]>, format: &Format, labels: LabelRule, expected: &[&str]) {
    assert_eq!(rows(text, format, labels).expect("rows"), expected);
}

#[test]
fn csv_with_and_without_a_header() {
    let absent = Format::Csv(csv(Header::Absent));
    check("\"3\",\"A, b\",\"c\"\n1,d,e", &absent, LabelRule::Required, &["1 3|A, b|c", "2 1|d|e"]);
    let present = Format::Csv(csv(Header::Present));
    check("class,title,text\n1,d,e\n", &present, LabelRule::Required, &["2 1|d|e"]);
    let format = named("class", &["text", "title"]);
    check("title, class ,text\nd,1,e\n", &format, LabelRule::Required, &["2 1|e|d"]);
    check("title,class,text\n", &format, LabelRule::Required, &[]);
    let tabs = Format::Csv(CsvLayout { delimiter: Delimiter::TAB, ..csv(Header::Absent) });
    check("1\t\"d\te\"\tf\n", &tabs, LabelRule::Required, &["1 1|d\te|f"]);
    let alone = CsvLayout { label: None, text: vec![Column::Number(1)], ..csv(Header::Absent) };
    check("1,d\n", &Format::Csv(alone), LabelRule::Optional, &["1 |d|"]);
}

#[test]
fn the_texts_after_the_first_are_joined_by_spaces() {
    let text = [3, 1, 2, 4].map(Column::Number).to_vec();
    let format = Format::Csv(CsvLayout { text, ..csv(Header::Absent) });
    check(
        "1, at last ,over,A goal,end\n2,\t, b ,A,\n3,,,A,\n4,a,,,b\n5,,,,\n6,a,b,c\n",
        &format,
        LabelRule::Required,
        &[
            "1 1|A goal|at last over end",
            "2 2|A|b",
            "3 3|A|",
            "4 4|a b|", // as with two texts, the second becomes the first
            "5 without text",
            "6 with too few columns",
        ],
    );
    assert_eq!((format.texts(), format.text_columns()), (2, 4));
    let format = named("class", &["title", "lead", "body"]);
    check("class,body,lead,title\n1,c,b,a\n", &format, LabelRule::Required, &["2 1|a|b c"]);
}

#[test]
fn missing_columns_are_errors_that_name_them() {
    let error = |text: &str, format: &Format| rows(text, format, LabelRule::Required).unwrap_err();
    assert_eq!(
        error("title,class\n", &named("topic", &["title"])),
        "in:1: no column \"topic\" found, expected one of [\"title\", \"class\"]"
    );
    let by_name = CsvLayout { label: Some(Column::Name("topic".into()).into()), ..csv(Header::Absent) };
    assert_eq!(
        error("1,a,b\n", &Format::Csv(by_name)),
        "in: column \"topic\" is given by name, but the file is read without a header, expected a number counted from 0"
    );
    let twice = CsvLayout { text: vec![Column::Number(1); 2], ..csv(Header::Absent) };
    assert_eq!(
        error("1,a,b\n", &Format::Csv(twice)),
        "in: the text columns are [1, 1], expected one or more different columns"
    );
    let again = CsvLayout { text: [1, 2, 1].map(Column::Number).to_vec(), ..csv(Header::Absent) };
    assert_eq!(
        error("1,a,b\n", &Format::Csv(again)),
        "in: the text columns are [1, 2, 1], expected one or more different columns"
    );
    assert_eq!(
        error("x", &Format::MindNews { fields: vec![] }),
        "in: the text columns are [], expected one or more different columns"
    );
    assert_eq!(error("x", &Format::Lines), "in: no label column found, expected one because labels are required");
    assert_eq!(
        "".parse::<Column>().unwrap_err().to_string(),
        "invalid column \"\", expected a name or a number counted from 0"
    );
}

#[test]
fn unusable_rows_are_reported_by_reason() {
    let text = b"N1\tsports\tx\tA goal\tat last\tu\t[]\t[]\n\
        N2\tsports\tx\tA goal\n\
        N3\t \tx\tA goal\tat last\n\
        N4\tsports\tx\t\0 \t\x01\n\
        N5\tsports\tx\tA go\xffal\tat last\n\
        \n\
        N6\tsports\tx\t\tonly an abstract\n\
        N7\tsports\tx\tonly a title\t\n";
    check(
        text,
        &mind(),
        LabelRule::Required,
        &[
            "1 sports|A goal|at last",
            "2 with too few columns",
            "3 without a label",
            "4 without text",
            "5 that are not valid text in their encoding",
            "7 sports|only an abstract|",
            "8 sports|only a title|",
        ],
    );
    assert_eq!(rows(text, &mind(), LabelRule::Optional).unwrap()[2], "3 |A goal|at last");
    // A title needs no fifth column.
    check(
        "N2\tsports\tx\tA goal\n",
        &Format::MindNews { fields: vec![Field::Title] },
        LabelRule::Required,
        &["1 sports|A goal|"],
    );
}

#[test]
fn the_largest_column_number_is_in_no_row() {
    let layout = CsvLayout { text: vec![Column::Number(usize::MAX)], ..csv(Header::Absent) };
    check("sports,A goal\n", &Format::Csv(layout), LabelRule::Required, &["1 with too few columns"]);
}

#[test]
fn fields_that_are_utf8_only_when_joined_are_rejected() {
    let layout = CsvLayout { label: None, text: vec![Column::Number(0)], ..csv(Header::Absent) };
    check(
        b"a\xc3,\xa9b\n",
        &Format::Csv(layout),
        LabelRule::Optional,
        &["1 that are not valid text in their encoding"],
    );
}

#[test]
fn nul_bytes_and_megabytes_are_text() {
    let title = "word ".repeat(210_000);
    let text = format!("1,{title},x\n2,a\0b,c\n");
    let found = rows(text, &Format::Csv(csv(Header::Absent)), LabelRule::Required).unwrap();
    assert_eq!(found[0].len(), "1 1||x".len() + title.trim().len());
    assert_eq!(found[1], "2 2|a\0b|c");
}

#[test]
fn lines_keep_their_numbers() {
    check(
        "\u{feff}one\r\n\r\n two \nthree",
        &Format::Lines,
        LabelRule::Optional,
        &["1 |one|", "2 without text", "3 |two|", "4 |three|"],
    );
    check("", &Format::Lines, LabelRule::Optional, &[]);
}

#[test]
fn an_open_quote_ends_the_stream_and_names_its_line() {
    let format = Format::Csv(csv(Header::Absent));
    let mut stream = articles(&b"1,a,b\n2,\"c,d\n3,e,f\n"[..], "in.csv", &format, LabelRule::Required).unwrap();
    assert!(matches!(stream.next(), Some(Ok(Row::Article(_)))));
    assert_eq!(
        stream.next().unwrap().unwrap_err().to_string(),
        "in.csv:2: a quote is opened here and never closed, expected a closing quote before a delimiter or the end of a \
         line; set `quoting: none` if the file was written without quoting"
    );
    assert!(stream.next().is_none());
}

#[test]
fn a_read_failure_names_the_last_line() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("cable pulled"))
        }
    }
    let reader = BufReader::new(b"one\ntwo\n".chain(Broken));
    let found: Vec<_> = articles(reader, "-", &Format::Lines, LabelRule::Optional).unwrap().collect();
    assert_eq!(found.len(), 3);
    assert_eq!(found[2].as_ref().unwrap_err().to_string(), "cannot read - after line 2");
}

fn source(folder: &tempfile::TempDir, text: &str) -> Source {
    let path = folder.path().join("news.tsv");
    fs::write(&path, text).expect("a temporary folder can be written");
    Source::labelled(path, mind())
}

#[test]
fn files_that_are_missing_empty_or_folders_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let missing = Source::labelled(folder.path().join("no.tsv"), mind());
    let error = read(&missing).unwrap_err();
    assert!(matches!(&error, DataError::Open { source, .. } if source.kind() == io::ErrorKind::NotFound));
    assert!(error.to_string().starts_with("cannot open "), "{error}");
    assert!(matches!(read(&Source::labelled(folder.path(), mind())), Err(DataError::Open { .. })));
    let error = read(&source(&folder, "")).unwrap_err().to_string();
    assert!(error.ends_with("news.tsv: no usable row found (none skipped), expected at least one"), "{error}");
}

#[test]
fn too_large_a_share_of_unusable_rows_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let good = "N1\tsports\tx\tA goal\tat last\n";
    let at_the_limit = source(&folder, &(good.repeat(9) + "N2\n"));
    let corpus = read(&at_the_limit).unwrap();
    assert_eq!(
        (corpus.articles.len(), corpus.skipped.by_reason(Reason::TooFewColumns)),
        (9, Some(ReasonCount { rows: 1, first_line: 10 }))
    );
    assert_eq!(corpus.source, at_the_limit.path);

    let mut over = source(&folder, &(good.repeat(8) + "N2\n"));
    let error = read(&over).unwrap_err().to_string();
    let tail =
        "news.tsv: 1 of 9 rows cannot be used (1 with too few columns, first on line 9), expected at most 10.0000 %";
    assert!(error.ends_with(tail), "{error}");
    over.allowed_unusable = 0.2;
    assert_eq!(read(&over).unwrap().articles.len(), 8);

    over = source(&folder, "N2\nN3\n");
    over.allowed_unusable = 1.0;
    assert!(matches!(read(&over), Err(DataError::NoRows { .. })));
}

proptest! {
    #[test]
    fn crlf_and_a_byte_order_mark_change_nothing(text in "[a-c,\"\t\n ]{0,80}") {
        for format in [Format::Csv(csv(Header::Absent)), mind(), Format::Lines] {
            let plain = rows(&text, &format, LabelRule::Optional);
            let crlf = rows(text.replace('\n', "\r\n"), &format, LabelRule::Optional);
            prop_assert_eq!(&plain, &crlf);
            let marked = rows(format!("\u{feff}{text}"), &format, LabelRule::Optional);
            prop_assert_eq!(&plain, &marked);
        }
    }
}

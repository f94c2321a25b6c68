//! Impressions from Parquet files that polars and pyarrow wrote; `data/make.py` made them.

use std::fs;
use std::path::{Path, PathBuf};

use nb_data::behaviors::{
    BehaviorSource, Behaviors, CandidateColumns, ClickRule, EbnerdFiles, HistoryColumns, ImpressionLayout, NO_LABEL,
    UNKNOWN,
};
use nb_data::read::{Format, KeyLayout, KeyPath, LabelRule, Reason, ReasonCount, Row, Source, read};
use nb_data::{DataError, IdIndex};
use serde_json::Value;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn source(path: PathBuf, history: usize) -> BehaviorSource {
    BehaviorSource { path, history, clicks: ClickRule::Required, allowed_unusable: 0.1 }
}

fn path(text: &str) -> KeyPath {
    text.parse().expect("a path")
}

/// The numbers of a list in a row of the expected impressions.
fn numbers(row: &Value, key: &str) -> Vec<i64> {
    row[key].as_array().into_iter().flatten().map(|it| it.as_i64().expect("a number")).collect()
}

fn ebnerd() -> (EbnerdFiles, IdIndex, Vec<i64>) {
    let files = EbnerdFiles::find(&data("ebnerd/train")).expect("a split");
    let articles = read(&files.articles(&["title", "body"]).expect("a source")).expect("articles").articles;
    let ids = IdIndex::new(articles.iter().map(|article| article.id.as_deref()));
    assert_eq!((articles[3].label.as_deref(), articles[3].first.as_str()), (Some("penge"), "Titel 3"));
    assert_eq!((articles[3].second.as_deref(), articles[3].id.as_deref()), (Some("Brødtekst 3"), Some("9000021")));
    let three = read(&files.articles(&["title", "subtitle", "body"]).expect("a source")).expect("articles").articles;
    assert_eq!(three[3].second.as_deref(), Some("Undertitel 3 Brødtekst 3"));
    assert_eq!(three[4].second.as_deref(), Some("Brødtekst 4"));
    (
        files,
        ids,
        articles.iter().map(|article| article.id.as_ref().expect("an id").parse().expect("a number")).collect(),
    )
}

#[test]
fn ebnerd_is_read_as_polars_reads_it() {
    let (files, ids, articles) = ebnerd();
    let expected: Vec<Value> = serde_json::from_str(&fs::read_to_string(data("ebnerd.json")).unwrap()).unwrap();
    let row = |id: &i64| articles.iter().position(|it| it == id).map_or(UNKNOWN, |row| row as u32);
    for most in [0, 3, 100] {
        let behaviors = Behaviors::read_parquet(&source(files.behaviors.clone(), most), &files.layout(), &ids).unwrap();
        let mut i = 0;
        for (line, expected) in expected.iter().enumerate() {
            // One has no candidate, one no list of clicks.
            if [7, 8].contains(&line) {
                continue;
            }
            let (shown, clicked) = (numbers(expected, "article_ids_inview"), numbers(expected, "article_ids_clicked"));
            assert_eq!(behaviors.id(i), expected["impression_id"].to_string());
            assert_eq!(behaviors.line(i), line as u64 + 1);
            assert_eq!(behaviors.candidates(i), shown.iter().map(row).collect::<Vec<_>>(), "line {line}");
            let clicks: Vec<u8> = shown.iter().map(|id| u8::from(clicked.contains(id))).collect();
            assert_eq!(behaviors.clicked(i), clicks, "line {line}");
            let history = numbers(expected, "history");
            let known: Vec<u32> = history.iter().map(row).filter(|&row| row != UNKNOWN).collect();
            assert_eq!(behaviors.history(i), &known[known.len().saturating_sub(most)..], "line {line}");
            assert_eq!(behaviors.history_length(i), history.len());
            i += 1;
        }
        assert_eq!((behaviors.len(), i), (38, 38));
        let report = behaviors.report();
        assert_eq!(
            report.skipped.to_string(),
            "1 without a candidate, first on line 8; 1 with a candidate without a click label, first on line 9"
        );
        assert!(report.unknown_history > 0 && report.unknown_candidates > 0 && report.repeated_candidates > 0);
        let samples = behaviors.samples(&(0..38).collect::<Vec<_>>());
        assert!(samples.samples.iter().all(|&sample| behaviors.negatives(sample, 4, 0, 0).len() == 4));
        assert!(!samples.samples.is_empty());
    }
}

#[test]
fn a_test_set_needs_no_clicks() {
    let (files, ids, _) = ebnerd();
    let mut test = source(data("ebnerd/test/behaviors.parquet"), 50);
    let error = Behaviors::read_parquet(&test, &files.layout(), &ids).unwrap_err();
    assert!(matches!(&error, DataError::UnknownColumn { name, .. } if name == "article_ids_clicked"), "{error}");
    test.clicks = ClickRule::Optional;
    let behaviors = Behaviors::read_parquet(&test, &files.layout(), &ids).unwrap();
    assert_eq!(behaviors.len(), 39);
    assert!((0..39).all(|i| behaviors.clicked(i).iter().all(|&click| click == NO_LABEL)));
    // The same file with clicks has labels wherever its list is not null.
    test.path = files.behaviors.clone();
    let behaviors = Behaviors::read_parquet(&test, &files.layout(), &ids).unwrap();
    let unlabelled = (0..39).filter(|&i| behaviors.clicked(i).contains(&NO_LABEL)).count();
    assert_eq!((behaviors.len(), unlabelled), (39, 1));
}

#[test]
fn minds_columns_are_read_as_its_lines() {
    // Every tenth article is unknown.
    let known: Vec<String> = (0..40).filter(|i| i % 10 != 0).map(|i| format!("N{i}")).collect();
    let ids = IdIndex::new(known.iter().map(|id| Some(id.as_str())));
    let separate = CandidateColumns::ShownAndClicked { shown: path("shown"), clicked: path("clicked") };
    for most in [2, 50] {
        let lines = Behaviors::read(&source(data("mind.tsv"), most), &ids).unwrap();
        for file in ["mind-text.parquet", "mind-list.parquet"] {
            let parquet = source(data(file), most);
            let labelled = Behaviors::read_parquet(&parquet, &ImpressionLayout::mind(), &ids).unwrap();
            assert_eq!(labelled, lines, "{file}");
            let layout = ImpressionLayout { candidates: separate.clone(), ..ImpressionLayout::mind() };
            let separate = Behaviors::read_parquet(&parquet, &layout, &ids).unwrap();
            for i in 0..lines.len() {
                assert_eq!((separate.candidates(i), separate.history(i)), (lines.candidates(i), lines.history(i)));
                // A repeated candidate is clicked everywhere if it is clicked somewhere.
                let clicked: Vec<u8> = (0..lines.candidates(i).len())
                    .map(|place| {
                        let same = |other: &usize| lines.candidates(i)[*other] == lines.candidates(i)[place];
                        (0..lines.candidates(i).len()).filter(same).map(|it| lines.clicked(i)[it]).max().unwrap()
                    })
                    .collect();
                let known = lines.candidates(i).iter().all(|&row| row != UNKNOWN);
                assert!(!known || separate.clicked(i) == clicked, "{file}, {i}");
            }
        }
    }
}

#[test]
fn unsuitable_columns_are_errors() {
    let (files, ids, _) = ebnerd();
    let error = |layout: ImpressionLayout| {
        let error =
            Behaviors::read_parquet(&source(files.behaviors.clone(), 5), &layout, &ids).unwrap_err().to_string();
        error.rsplit('/').next().unwrap().to_owned()
    };
    let good = files.layout();
    assert_eq!(
        error(ImpressionLayout { id: path("article_ids_inview"), ..good.clone() }),
        "behaviors.parquet: column \"article_ids_inview\" has the type list of Int32, expected texts or whole numbers"
    );
    assert_eq!(
        error(ImpressionLayout { history: HistoryColumns::Column(path("user_id")), ..good.clone() }),
        "behaviors.parquet: column \"user_id\" has the type UInt32, expected lists of ids, or texts with ids between spaces"
    );
    let readers = HistoryColumns::Readers {
        path: files.history.clone(),
        reader: path("user_id"),
        articles: path("scroll_percentage_fixed"),
    };
    assert!(
        error(ImpressionLayout { history: readers, ..good.clone() }).starts_with("history.parquet: column \"scroll")
    );
    let missing = ImpressionLayout { history: HistoryColumns::Absent, id: path("x"), ..good };
    assert!(
        error(missing).starts_with("behaviors.parquet: no column \"x\" found, expected one of [\"impression_id\",")
    );
    // None of the articles is shown.
    let found =
        Behaviors::read_parquet(&source(files.behaviors.clone(), 5), &files.layout(), &IdIndex::new([Some("x")]));
    assert!(matches!(found, Err(DataError::NoKnownCandidate { .. })), "{found:?}");
}

/// Reads a column of a file whose texts are not UTF-8: the second texts, or the reasons.
fn rows_of(file: &str, column: &str) -> Vec<String> {
    let layout = KeyLayout { label: Some(path(column).into()), ..KeyLayout::text("text").expect("a path") };
    let labelled = Source::labelled(data(file), Format::Parquet(layout));
    let show = |row: Row| match row {
        Row::Article(article) => article.label.unwrap_or_default(),
        Row::Skipped(row) => row.reason.to_string(),
    };
    labelled.open().expect("rows").map(|row| show(row.expect("a row"))).collect()
}

#[test]
fn bytes_that_are_not_utf8_never_become_texts() {
    let invalid = Reason::InvalidUtf8.to_string();
    for file in ["not-utf8-true.parquet", "not-utf8-false.parquet"] {
        for column in ["binary", "json"] {
            assert_eq!(rows_of(file, column), [invalid.as_str(), "good", "without a label", "é"], "{file}, {column}");
            let bytes = Source {
                labels: LabelRule::Optional,
                allowed_unusable: 1.0,
                ..Source::labelled(data(file), Format::Parquet(KeyLayout::text(column).unwrap()))
            };
            let corpus = read(&bytes).unwrap();
            let texts: Vec<&str> = corpus.articles.iter().map(|article| article.first.as_str()).collect();
            assert_eq!(texts, ["good", "é"], "{file}, {column}");
            assert_eq!(corpus.skipped.by_reason(Reason::InvalidUtf8), Some(ReasonCount { rows: 1, first_line: 1 }));
        }
        assert_eq!(rows_of(file, "lists"), ["a", invalid.as_str(), "without a label", "é"], "{file}");
        // Ids that are not UTF-8 are missing.
        let ids = IdIndex::new(["a", "é", "good"].map(Some));
        for (shown, id, expected) in [
            ("lists", "binary", "1: 0;2:good 0;4:é 1"),
            ("words", "json", "2:good 2;4:é 1"),
            ("binary", "binary", "2:good 2;4:é 1"),
            ("json", "text", "2:b 2;4:d 1"),
        ] {
            let columns = CandidateColumns::ShownAndClicked { shown: path(shown), clicked: path("none") };
            let layout = ImpressionLayout { id: path(id), candidates: columns, history: HistoryColumns::Absent };
            let source = BehaviorSource { clicks: ClickRule::Optional, allowed_unusable: 1.0, ..source(data(file), 5) };
            let behaviors = Behaviors::read_parquet(&source, &layout, &ids).unwrap();
            let shown: Vec<String> = (0..behaviors.len())
                .map(|i| format!("{}:{} {}", behaviors.line(i), behaviors.id(i), behaviors.candidates(i)[0]))
                .collect();
            assert_eq!(shown.join(";"), expected, "{file}, {shown:?}, {id}");
        }
    }
}

#[test]
fn ids_match_whatever_their_types() {
    let high = (1_u64 << 63) + 5;
    let ids = IdIndex::new(["10", "11", &high.to_string()].map(Some));
    for clicked in ["clicked", "clicked_numbers"] {
        let (file, reader, articles) = (data("mixed-ids-history.parquet"), path("user"), path("read"));
        let columns = CandidateColumns::ShownAndClicked { shown: path("shown"), clicked: path(clicked) };
        let layout = ImpressionLayout {
            id: path("id"),
            candidates: columns,
            history: HistoryColumns::Readers { path: file, reader, articles },
        };
        let source = source(data("mixed-ids.parquet"), 5);
        let behaviors = Behaviors::read_parquet(&source, &layout, &ids).unwrap();
        let all = |i: usize| (behaviors.candidates(i), behaviors.clicked(i), behaviors.history(i));
        assert_eq!(all(0), (&[0, 2][..], &[1, 0][..], &[1, 0][..]), "{clicked}");
        assert_eq!(all(1), (&[2, 1][..], &[1, 0][..], &[2][..]), "{clicked}");
        assert_eq!(all(2), (&[0, 1][..], &[0, 0][..], &[][..]), "{clicked}");
        assert_eq!(all(3), (&[1][..], &[0][..], &[][..]), "{clicked}");
        let report = behaviors.report();
        assert_eq!((report.readers_without_history, report.repeated_readers), (2, 1));
        assert_eq!(report.clicks_not_shown, if clicked == "clicked" { 4 } else { 2 });
        let shown = "impressions of readers without a history: 2; rows of histories with a repeated reader: 1; clicked";
        assert!(report.to_string().starts_with(shown), "{report}");
        // The histories of other readers.
        let other = HistoryColumns::Readers {
            path: data("mixed-ids-history.parquet"),
            reader: path("id"),
            articles: path("read"),
        };
        let error = Behaviors::read_parquet(&source, &ImpressionLayout { history: other, ..layout }, &ids).unwrap_err();
        let expected = "none of the readers of the impressions found, expected histories of the same readers";
        assert!(error.to_string().ends_with(expected), "{error}");
    }
}

#[test]
fn whole_fractions_are_labels_and_ids() {
    let layout = |label: &str, id: &str| KeyLayout {
        label: Some(path(label).into()),
        id: Some(path(id)),
        ..KeyLayout::text("text").expect("a path")
    };
    let all = |layout: KeyLayout| {
        let labels = LabelRule::Optional;
        read(&Source { labels, ..Source::labelled(data("fractions.parquet"), Format::Parquet(layout)) })
    };
    let articles = all(layout("label", "id")).unwrap().articles;
    let found: Vec<_> = articles.iter().map(|it| (it.label.as_deref(), it.id.as_deref())).collect();
    assert_eq!(found, [(Some("1"), Some("7")), (None, Some("8")), (None, None)]);
    let articles = all(layout("labels", "id")).unwrap().articles;
    let found: Vec<_> = articles.iter().map(|it| (it.label.as_deref(), it.more_labels.join(" "))).collect();
    assert_eq!(found, [(Some("1"), String::new()), (Some("2"), String::new()), (Some("3"), "4".into())]);
    for (label, id, column) in
        [("nested", "id", "nested"), ("label", "labels", "labels"), ("label", "nested", "nested")]
    {
        let error = all(layout(label, id)).unwrap_err();
        assert!(matches!(&error, DataError::ColumnType { name, .. } if name == column), "{error}");
    }
}

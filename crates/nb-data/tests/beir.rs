//! BEIR folders: reading unusual folders, batches, and the conversion of articles.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use nb_data::beir::{Conversion, Folder, Judged, Pair, Qrels, QueryBatch, ReadReport, Split, Written, from_news};
use nb_data::read::{
    Article, Column, CsvLayout, Delimiter, Field, Format, Header, LabelRule, Quoting, Reason, ReasonCount, Row,
    SkippedRow, Source, articles, read,
};
use nb_data::{DataError, IdIndex};
use proptest::prelude::*;
use tempfile::TempDir;

fn corpus() -> Format {
    Format::BeirCorpus { fields: vec![Field::Title, Field::Abstract] }
}

/// Reads all rows of a text and formats them: `line id|first|second`, or `line reason`.
fn rows(text: impl AsRef<[u8]>, format: &Format) -> Vec<String> {
    let show = |row| match row {
        Row::Article(Article { line, id, label, first, second, .. }) => {
            assert_eq!(label, None);
            format!("{line} {}|{first}|{}", id.expect("an id"), second.unwrap_or_default())
        }
        Row::Skipped(SkippedRow { line, reason }) => format!("{line} {reason}"),
    };
    let rows = articles(text.as_ref(), "in", format, LabelRule::Optional).expect("a stream");
    rows.map(|row| show(row.expect("a row"))).collect()
}

#[test]
fn a_corpus_and_its_queries_are_read() {
    let text = "\u{feff}{\"_id\": \"d1\", \"title\": \" A goal \", \"text\": \"at \\\"last\\\"\\n\", \"metadata\": {\"n\": [1]}}\r\n\
        \r\n\
        {\"text\":\"only a text\",\"title\":\"\",\"_id\":\"d2\"}\n\
        {\"_id\":\"d3\",\"title\":\"only a title\"}\n\
        {\"_id\":31,\"title\":null,\"text\":\"a number for an id\"}";
    let expected = ["1 d1|A goal|at \"last\"", "3 d2|only a text|", "4 d3|only a title|", "5 31|a number for an id|"];
    assert_eq!(rows(text, &corpus()), expected);
    let title = Format::BeirCorpus { fields: vec![Field::Title] };
    assert_eq!(rows(text, &title)[..2], ["1 d1|A goal|", "3 without text"]);
    let swapped = Format::BeirCorpus { fields: vec![Field::Abstract, Field::Title] };
    assert_eq!(rows(text, &swapped)[0], "1 d1|at \"last\"|A goal");
    assert_eq!(rows(text, &Format::BeirQueries)[..3], ["1 d1|at \"last\"|", "3 d2|only a text|", "4 without text"]);
    assert!(rows("", &corpus()).is_empty());
}

#[test]
fn unusable_lines_are_reported_by_reason() {
    let nested = format!("{{\"_id\":\"a\",\"text\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
    let lines: [&[u8]; 11] = [
        b"not json",
        b"[\"_id\"]",
        b"{\"_id\":\"a\",\"text\":\"open",
        b"{\"text\":\"x\"}",
        b"{\"_id\":\" \",\"text\":\"x\"}",
        b"{\"_id\":1.5,\"text\":\"x\"}",
        b"{\"_id\":\"a\",\"text\":[\"x\"]}",
        b"{\"_id\":\"a\",\"text\":\"\\u0000 \"}",
        b"{\"_id\":\"a\",\"text\":\"\xff\"}",
        nested.as_bytes(),
        b"{\"_id\":\"a\",\"text\":\"\\ud800\"}",
    ];
    let expected = [
        "1 that are not JSON objects",
        "2 that are not JSON objects",
        "3 that are not JSON objects",
        "4 without an id",
        "5 without an id",
        "6 without an id",
        "7 without text",
        "8 without text",
        "9 that are not valid text in their encoding",
        "10 without text",
        "11 that are not JSON objects",
    ];
    assert_eq!(rows(lines.join(&b'\n'), &Format::BeirQueries), expected);
}

#[test]
fn megabytes_are_text_and_labels_cannot_be_required() {
    let text = "word ".repeat(210_000);
    let found = rows(format!("{{\"_id\":\"a\",\"text\":\"{text}\"}}"), &Format::BeirQueries);
    assert_eq!(found[0].len(), "1 a||".len() + text.trim().len());
    let error = articles(&b""[..], "in", &corpus(), LabelRule::Required).unwrap_err().to_string();
    assert_eq!(error, "in: no label column found, expected one because labels are required");
    let none = Format::BeirCorpus { fields: vec![] };
    assert!(matches!(articles(&b""[..], "in", &none, LabelRule::Optional), Err(DataError::TextColumns { .. })));
}

#[test]
fn too_many_unusable_lines_are_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("corpus.jsonl");
    fs::write(&path, "{\"_id\":\"a\",\"text\":\"x\"}\n{}\n{\n").unwrap();
    let mut source = Source { labels: LabelRule::Optional, ..Source::labelled(path, corpus()) };
    let error = read(&source).unwrap_err().to_string();
    let tail = "2 of 3 rows cannot be used (1 that are not JSON objects, first on line 3; 1 without an id, first on \
                line 2), expected at most 10.0000 %";
    assert!(error.ends_with(tail), "{error}");
    source.allowed_unusable = 0.7;
    assert_eq!(read(&source).unwrap().skipped.by_reason(Reason::NoId), Some(ReasonCount { rows: 1, first_line: 2 }));
}

/// Reads a qrels file whose queries are q0 to q9 and whose documents are d0 to d99.
fn qrels(text: impl AsRef<[u8]>, allowed: f64) -> Result<Qrels, String> {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    fs::write(file.path(), text).expect("it can be written");
    let ids = |letter: char, n: usize| (0..n).map(|i| format!("{letter}{i}")).collect::<Vec<_>>();
    let (queries, documents) = (ids('q', 10), ids('d', 100));
    let index = |ids: &[String]| IdIndex::new(ids.iter().map(|id| Some(id.as_str())));
    Qrels::read(file.path(), &index(&queries), &index(&documents), allowed)
        .map_err(|error| error.to_string().replace(&file.path().display().to_string(), "FILE"))
}

fn judged(query: u32, relevant: &[(u32, u32)], negatives: &[u32]) -> Judged {
    Judged { query, relevant: relevant.to_vec(), negatives: negatives.to_vec(), missing: Vec::new() }
}

#[test]
fn judgements_are_joined_in_the_order_of_the_file() {
    let text = "\u{feff}query-id\tcorpus-id\tscore\r\n\
        q3\td7\t1\r\n\
        q1\td2\t0\r\n\
        q3\td5\t-1\r\n\
        \r\n\
        q1\t d9 \t2.0\t\r\n\
        q3\td1\t999\r\n";
    let expected = vec![judged(3, &[(7, 1), (1, 999)], &[5]), judged(1, &[(9, 2)], &[2])];
    let found = qrels(text, 0.0).unwrap();
    assert_eq!((found.queries, found.report.to_string().as_str()), (expected, "nothing skipped"));
    // Without a header the first row is a judgement like any other.
    assert_eq!(qrels("q0\td0\t1\n", 0.0).unwrap().queries, [judged(0, &[(0, 1)], &[])]);
}

#[test]
fn trecs_layout_is_detected_by_its_four_columns() {
    let expected = vec![judged(7, &[(1, 1)], &[2]), judged(8, &[(0, 3)], &[])];
    // The ids are numbers, so the iteration and the document could be mistaken for a document and a score.
    let numbers = |text: &str| {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        fs::write(file.path(), text).expect("it can be written");
        let ids: Vec<String> = (0..10).map(|i| i.to_string()).collect();
        let index = || IdIndex::new(ids.iter().map(|id| Some(id.as_str())));
        Qrels::read(file.path(), &index(), &index(), 0.2).expect("judgements").queries
    };
    let text = "7\t0\t1\t1\n7\t0\t2\t0\n8\t0\t0\t3\n";
    assert_eq!(numbers(text), expected);
    assert_eq!(numbers(&text.replace('\t', " ")), expected);
    assert_eq!(numbers(&text.replace('\t', "  \t ").replace('\n', " \r\n")), expected);
    assert_eq!(numbers(&format!("query-id\titeration\tcorpus-id\tscore\n{text}")), expected);
    assert_eq!(numbers(&format!("query Q0 document relevance\n{}", text.replace('\t', " "))), expected);
    // Three columns separated by spaces are BEIR's layout.
    assert_eq!(numbers("7 1 1\n7 2 0\n8 0 3\n"), expected);
}

#[test]
fn rows_with_another_number_of_columns_are_counted() {
    let three = "q0\td0\t1\n".repeat(9);
    let found = qrels(format!("{three}q0\t0\td1\t1\n"), 0.1).unwrap();
    assert_eq!(found.report.skipped.to_string(), "1 with too many columns, first on line 10");
    let four = "q0 0 d0 1\n".repeat(9);
    let found = qrels(format!("{four}q0 d1 1\n"), 0.1).unwrap();
    assert_eq!(found.report.skipped.to_string(), "1 with too few columns, first on line 10");
    // A header of three columns above rows of four, and TREC run files.
    assert!(qrels("query\tdocument\tscore\nq0\t0\td0\t1\n", 0.1).unwrap_err().contains("1 with too many columns"));
    assert!(qrels("q0 Q0 d0 1 9.5 bm25\n", 0.1).unwrap_err().contains("1 with too few columns"));
    assert!(qrels("q0\tQ0\td0\t1\t9.5\tbm25\n", 0.1).unwrap_err().contains("1 with too many columns"));
    // An id may contain a space if columns are separated by tabs.
    assert_eq!(qrels("q 0\td0\t1\nq0\td0\t1\n", 0.1).unwrap().report.no_query, 1);
}

#[test]
fn unused_judgements_are_counted() {
    let text = "q0\td0\t1\nq0\td0\t0\nq0\td0\t2\nq77\td0\t1\nq1\td100\t1\nq2\td3\t0\nq0\td1\nq0\td1\t0.5\nq0\td1\tx\n";
    let found = qrels(text, 0.4).unwrap();
    let lacking = Judged { missing: vec![1], ..judged(1, &[], &[]) };
    assert_eq!(found.queries, [judged(0, &[(0, 2)], &[]), lacking, judged(2, &[], &[3])]);
    assert_eq!(
        found.report.unused().to_string(),
        "rows 1 with too few columns, first on line 7; 2 whose score is not a whole number, first on line 8; judgements \
         for unknown queries: 1; repeated judgements: 2"
    );
    let ReadReport { no_query, no_document, repeated, none_relevant, ref skipped } = found.report;
    assert_eq!((no_query, no_document, repeated, none_relevant, skipped.count()), (1, 1, 2, 2, 3));
    assert_eq!(
        found.report.to_string(),
        "rows 1 with too few columns, first on line 7; 2 whose score is not a whole number, first on line 8; judgements \
         for unknown queries: 1; judgements of unknown documents: 1; repeated judgements: 2; queries without a relevant \
         document: 2"
    );
    assert_eq!(
        qrels(text, 0.3).unwrap_err(),
        "FILE: 3 of 9 rows cannot be used (1 with too few columns, first on line 7; 2 whose score is not a whole \
         number, first on line 8), expected at most 30.0000 %"
    );
}

#[test]
fn judgements_without_a_usable_query_are_an_error() {
    let none = "no usable row found (none skipped), expected at least one";
    assert_eq!(qrels("", 0.1).unwrap_err(), format!("FILE: {none}"));
    assert_eq!(qrels("query-id\tcorpus-id\tscore\n", 0.1).unwrap_err(), format!("FILE: {none}"));
    assert_eq!(
        qrels("a\td1\t1\n", 0.1).unwrap_err(),
        "FILE: no query with a judgement found (judgements for unknown queries: 1), expected at least one"
    );
    let zero = qrels("a\td1\t1\nq1\td1\t0\n", 0.1).unwrap();
    assert_eq!(zero.queries, [judged(1, &[], &[1])]);
    assert_eq!(
        zero.check_relevant(Path::new("dev.tsv")).unwrap_err().to_string(),
        "dev.tsv: no query with a relevant document found (judgements for unknown queries: 1; queries without a relevant \
         document: 1), expected at least one"
    );
    // The first row is a header at most once, and only if its score is not a number.
    assert!(qrels("a\tb\tc\na\tb\tc\n", 1.0).unwrap_err().contains("1 whose score"), "the second row is not a header");
    assert!(qrels("q1\td1\t0.5\n", 1.0).unwrap_err().contains("1 whose score"), "a row with a number is not a header");
    let missing = Qrels::read(Path::new("no.tsv"), &IdIndex::default(), &IdIndex::default(), 0.1);
    assert_eq!(missing.unwrap_err().to_string(), "cannot open no.tsv");
}

fn some_qrels() -> Qrels {
    let queries = vec![
        judged(4, &[(10, 1), (11, 3)], &[20, 21, 22, 23, 24]),
        judged(2, &[(12, 1)], &[]),
        judged(9, &[(10, 2), (13, 1), (14, 1)], &[11, 20]),
    ];
    Qrels { queries, report: ReadReport::default() }
}

#[test]
fn batches_are_pinned() {
    let qrels = some_qrels();
    let pairs = qrels.pairs(&[2, 0]);
    let pair = |judged, relevant| Pair { judged, relevant };
    assert_eq!(pairs, [pair(2, 0), pair(2, 1), pair(2, 2), pair(0, 0), pair(0, 1)]);
    let batch = |pairs: &[Pair], seed, epoch| QueryBatch::new(&qrels, pairs, 2, seed, epoch, |row| row as usize / 4);
    let found = batch(&[pair(0, 1), pair(1, 0)], 0, 0);
    assert_eq!((found.queries.as_slice(), found.documents.as_slice()), (&[4, 2][..], &[20, 23, 12, 11][..]));
    assert_eq!((found.targets.as_slice(), found.masked.as_slice()), (&[3, 2][..], &[false; 8][..]));
    let different: BTreeSet<_> = (0..20).map(|epoch| batch(&[pair(0, 1)], 0, epoch).documents).collect();
    assert!(different.len() > 5, "each epoch draws different negatives: {different:?}");
    assert_ne!(
        (0..9).map(|epoch| batch(&[pair(0, 1)], 1, epoch)).collect::<Vec<_>>(),
        (0..9).map(|epoch| batch(&[pair(0, 1)], 0, epoch)).collect::<Vec<_>>()
    );
    let empty = batch(&[], 0, 0);
    assert_eq!((empty.documents.len(), empty.masked.len()), (0, 0));
}

#[test]
fn draws_are_uniform() {
    let qrels = some_qrels();
    let mut counts = BTreeMap::new();
    for epoch in 0..5000 {
        let batch = QueryBatch::new(&qrels, &[Pair { judged: 0, relevant: 0 }], 2, 0, epoch, |_| 1);
        for &document in &batch.documents {
            *counts.entry(document).or_insert(0_u32) += 1;
        }
    }
    assert_eq!(counts.remove(&10), Some(5000));
    // Two of five, 5,000 times: mean 2,000, standard deviation 35.
    assert!(counts.len() == 5 && counts.values().all(|count| count.abs_diff(2000) < 175), "{counts:?}");
}

/// Up to four queries over 30 documents.
fn any_qrels() -> impl Strategy<Value = Qrels> {
    let judged = (prop::collection::btree_set(0_u32..30, 1..4), prop::collection::btree_set(0_u32..30, 0..8));
    prop::collection::vec(judged, 1..5).prop_map(|lists| {
        let queries = (0..).zip(lists).map(|(query, (relevant, negatives))| Judged {
            query: 50 - query,
            negatives: negatives.difference(&relevant).copied().collect(),
            relevant: relevant.into_iter().map(|row| (row, 1)).collect(),
            missing: Vec::new(),
        });
        Qrels { queries: queries.collect(), report: ReadReport::default() }
    })
}

proptest! {
    #[test]
    fn a_batch_matches_its_pairs(qrels in any_qrels(), negatives in 0_usize..6, seed in 0_u64..5, epoch in 0_u64..5) {
        let places: Vec<u32> = (0..qrels.queries.len() as u32).rev().collect();
        let pairs = qrels.pairs(&places);
        let length = |row: u32| (row % 7) as usize;
        let batch = QueryBatch::new(&qrels, &pairs, negatives, seed, epoch, length);
        let mut sorted = batch.documents.clone();
        sorted.sort_by_key(|&row| (std::cmp::Reverse(length(row)), row));
        sorted.dedup();
        prop_assert_eq!(&sorted, &batch.documents);
        prop_assert_eq!((batch.queries.len(), batch.targets.len()), (pairs.len(), pairs.len()));

        let mut expected = HashSet::new();
        for (i, pair) in pairs.iter().enumerate() {
            let judged = &qrels.queries[pair.judged as usize];
            let target = judged.relevant[pair.relevant as usize].0;
            prop_assert_eq!(batch.queries[i], judged.query);
            prop_assert_eq!(batch.documents[batch.targets[i] as usize], target);
            for (place, &document) in batch.documents.iter().enumerate() {
                let relevant = judged.relevant.iter().any(|&(row, _)| row == document);
                prop_assert_eq!(batch.masked[i * batch.documents.len() + place], relevant && document != target);
            }
            // A pair draws the same documents in any batch.
            let alone = QueryBatch::new(&qrels, &[*pair], negatives, seed, epoch, length);
            prop_assert_eq!(alone.documents.len(), 1 + negatives.min(judged.negatives.len()));
            prop_assert!(alone.documents.iter().all(|row| *row == target || judged.negatives.contains(row)));
            expected.extend(alone.documents);
        }
        prop_assert_eq!(batch.documents.into_iter().collect::<HashSet<_>>(), expected);
    }

    /// Any text gives judgements or an error; CRLF and a byte-order mark change nothing.
    #[test]
    fn any_judgements_are_read(text in "[qd0-3\t.\n -]{0,80}") {
        let plain = qrels(&text, 1.0);
        prop_assert_eq!(&plain, &qrels(text.replace('\n', "\r\n"), 1.0));
        prop_assert_eq!(&plain, &qrels(format!("\u{feff}{text}"), 1.0));
    }

    /// Any bytes give rows, usable or skipped.
    #[test]
    fn any_lines_are_read(text in prop::collection::vec(prop::sample::select(b"{}[]\":,_id\\u\n\xff0".to_vec()), 0..60)) {
        rows(&text, &corpus());
    }
}

fn mind(path: PathBuf) -> Source {
    let format = Format::MindNews { fields: vec![Field::Title, Field::Abstract] };
    Source { labels: LabelRule::Optional, ..Source::labelled(path, format) }
}

fn csv(path: PathBuf) -> Source {
    let layout = CsvLayout {
        label: None,
        text: vec![Column::Number(0), Column::Number(1)],
        header: Header::Absent,
        delimiter: Delimiter::COMMA,
        quoting: Quoting::Auto,
    };
    Source { labels: LabelRule::Optional, ..Source::labelled(path, Format::Csv(layout)) }
}

fn convert(folder: &TempDir, inputs: &[Source], seed: u64) -> Written {
    from_news(inputs, &folder.path().join("beir"), Conversion { seed }).expect("the conversion")
}

/// Everything that was written, as pairs of query and document texts for each split.
fn contents(folder: &Folder) -> [Vec<(String, String)>; 3] {
    let load = |path: PathBuf, format| read(&Source { labels: LabelRule::Optional, ..Source::labelled(path, format) });
    let queries = load(folder.queries(), Format::BeirQueries).expect("queries").articles;
    let corpus =
        load(folder.corpus(), Format::BeirCorpus { fields: vec![Field::Abstract] }).expect("a corpus").articles;
    let index = |articles: &[Article]| IdIndex::new(articles.iter().map(|article| article.id.as_deref()));
    let (by_query, by_document) = (index(&queries), index(&corpus));
    assert_eq!((by_query.len(), by_document.len()), (queries.len(), corpus.len()), "ids are unique");
    Split::ALL.map(|split| match Qrels::read(&folder.qrels(split), &by_query, &by_document, 0.0) {
        Ok(qrels) => {
            assert_eq!(qrels.report, ReadReport::default());
            let pair = |query: u32, document: u32| {
                (queries[query as usize].first.clone(), corpus[document as usize].first.clone())
            };
            let pairs = |judged: Judged| {
                judged.relevant.into_iter().map(move |(row, _)| pair(judged.query, row)).collect::<Vec<_>>()
            };
            qrels.queries.into_iter().flat_map(pairs).collect()
        }
        Err(error) => panic!("{error}"),
    })
}

#[test]
fn titles_become_queries_for_their_texts() {
    let folder = tempfile::tempdir().unwrap();
    let news = folder.path().join("news.tsv");
    let line = |i: usize| format!("N{i}\tsports\tx\tTitle \"{i}\"\tText number {i}.\tu\t[]\t[]\n");
    fs::write(&news, (0..2000).map(line).collect::<String>()).unwrap();
    let written = convert(&folder, &[mind(news.clone())], 0);
    assert_eq!((written.documents, written.incomplete, written.repeated), (2000, 0, 0));
    assert_eq!(written.queries.iter().sum::<usize>(), 2000);
    // Binomial(2000, 0.8) has a standard deviation of 18, Binomial(2000, 0.1) of 13.
    assert!((1530..1670).contains(&written.queries[0]), "{:?}", written.queries);
    assert!(written.queries[1..].iter().all(|n| (145..255).contains(n)), "{:?}", written.queries);

    let found = contents(&written.folder);
    assert_eq!(found.each_ref().map(Vec::len), written.queries);
    let all: BTreeSet<_> = found.into_iter().flatten().collect();
    let expected = (0..2000).map(|i| (format!("Title \"{i}\""), format!("Text number {i}.")));
    assert_eq!(all, expected.collect());
    let corpus = fs::read_to_string(written.folder.corpus()).unwrap();
    assert!(
        corpus.starts_with("{\"_id\":\"N0\",\"title\":\"\",\"text\":\"Text number 0.\"}\n"),
        "no title in a document"
    );

    let train = || fs::read(written.folder.qrels(Split::Train)).unwrap();
    let first = train();
    convert(&folder, &[mind(news.clone())], 0);
    assert_eq!(train(), first, "the same seed gives the same split");
    convert(&folder, &[mind(news)], 1);
    assert_ne!(train(), first);
}

#[test]
fn repeated_articles_share_a_document_and_incomplete_articles_have_none() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("a.tsv"), folder.path().join("b.csv"));
    let text = "N1\tx\tx\tFirst\tSame text\n\
        N2\tx\tx\tSecond\tSame text\n\
        N1\tx\tx\tThird\tAnother text, which is not looked at\n\
        N1\tx\tx\tFirst\tSame text\n\
        d2-1\tx\tx\tFirst\tOther text\n\
        N3\tx\tx\tNo text\t\n\
        N4\tx\tx\t\tNo title\n\
        N5\n";
    fs::write(&one, text).unwrap();
    fs::write(&two, "Fourth,\"Text\nof two lines\"\nFifth,Same text\n").unwrap();
    let one = Source { allowed_unusable: 0.2, ..mind(one) };
    let written = convert(&folder, &[one, csv(two)], 0);
    assert_eq!((written.documents, written.incomplete, written.repeated), (3, 2, 4));
    assert_eq!(written.skipped.iter().map(|skipped| skipped.count()).collect::<Vec<_>>(), [1, 0]);
    let lines = |path: PathBuf| fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(
        lines(written.folder.corpus()),
        [
            "{\"_id\":\"N1\",\"title\":\"\",\"text\":\"Same text\"}",
            "{\"_id\":\"d2-1\",\"title\":\"\",\"text\":\"Other text\"}",
            "{\"_id\":\"d2-1-2\",\"title\":\"\",\"text\":\"Text\\nof two lines\"}"
        ]
    );
    assert_eq!(
        lines(written.folder.queries()),
        [
            "{\"_id\":\"q-N1\",\"text\":\"First\"}",
            "{\"_id\":\"q-N1-2\",\"text\":\"Second\"}",
            "{\"_id\":\"q-N1-3\",\"text\":\"Third\"}",
            "{\"_id\":\"q-d2-1-2\",\"text\":\"Fourth\"}",
            "{\"_id\":\"q-N1-4\",\"text\":\"Fifth\"}"
        ]
    );
    let judgements: BTreeSet<_> = Split::ALL.iter().flat_map(|split| lines(written.folder.qrels(*split))).collect();
    let expected = [
        "q-N1\tN1\t1",
        "q-N1\td2-1\t1",
        "q-N1-2\tN1\t1",
        "q-N1-3\tN1\t1",
        "q-N1-4\tN1\t1",
        "q-d2-1-2\td2-1-2\t1",
        "query-id\tcorpus-id\tscore",
    ];
    assert_eq!(judgements, expected.map(str::to_owned).into());
}

#[test]
fn inputs_that_cannot_be_converted_leave_no_files() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let good = mind(file("good.tsv", "N1\tx\tx\tTitle\tText\n"));
    let bad = mind(file("bad.tsv", "N1\tx\tx\tTitle\tText\nN2\nN3\n"));
    let titles = Source { format: Format::MindNews { fields: vec![Field::Title] }, ..good.clone() };
    let half = mind(file("half.tsv", "N1\tx\tx\tTitle\t\n"));
    let output = folder.path().join("beir");
    let error = |inputs: &[Source]| {
        let error = from_news(inputs, &output, Conversion::default()).unwrap_err().to_string();
        assert!(!output.exists(), "{error}");
        error.replace(&format!("{}/", folder.path().display()), "")
    };
    assert!(error(&[good, bad]).starts_with("bad.tsv: 2 of 3 rows cannot be used"));
    assert_eq!(
        error(&[titles]),
        "good.tsv: 1 text column(s) found, expected two: a title for the query and a text to find"
    );
    assert_eq!(
        error(&[half]),
        "half.tsv: no article has both a title and a text (1 have only one), expected at least one"
    );
    assert!(error(&[]).ends_with("no article has both a title and a text (0 have only one), expected at least one"));
}

/// As in training, a token store reads both files unchanged, and the judgements are joined with its rows.
#[cfg(feature = "tokenize")]
#[test]
fn a_token_store_takes_queries_and_corpus() {
    use nb_data::{TokenStore, Tokenizer};

    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    file("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\nrain\nsun\ntoday\n");
    file(
        "corpus.jsonl",
        "{\"_id\":\"a\",\"title\":\"rain\",\"text\":\"rain today\"}\n{}\n{\"_id\":7,\"text\":\"sun\"}\n",
    );
    file("queries.jsonl", "{\"_id\":\"q\",\"text\":\"sun today\"}\n");
    file("test.tsv", "q\t7\t1\nq\ta\t0\n");
    let tokenizer = Tokenizer::from_folder(folder.path()).unwrap();
    let open = |name: &str, format| {
        let source = Source::labelled(folder.path().join(name), format);
        let source = Source { labels: LabelRule::Optional, allowed_unusable: 0.5, ..source };
        TokenStore::open_or_build(&folder.path().join("cache"), &source, &tokenizer, 16).unwrap()
    };
    let (documents, queries) = (open("corpus.jsonl", corpus()), open("queries.jsonl", Format::BeirQueries));
    // A reopened store still reports the skipped rows.
    assert_eq!(
        open("corpus.jsonl", corpus()).skipped().by_reason(Reason::NoId),
        Some(ReasonCount { rows: 1, first_line: 2 })
    );
    assert_eq!(documents.batch(&[0, 1]).ids, [2, 4, 3, 4, 6, 3, 2, 5, 3]);
    let index = |store: &TokenStore| IdIndex::new((0..store.len()).map(|row| store.id(row)));
    let qrels = Qrels::read(&folder.path().join("test.tsv"), &index(&queries), &index(&documents), 0.0).unwrap();
    assert_eq!(qrels.queries, [judged(0, &[(1, 1)], &[0])]);
}

//! Invalid impressions, searches and models of the ranking tasks, and unusual ones that are valid.

use super::bad_input::assert_refused;
use super::corpora::{CLICKS, DOCUMENTS, QUERIES, READERS};
use super::place::{Ended, FINETUNE, Place, STUDENT};

const BEHAVIORS: &str = "mind/train/behaviors.tsv";
const CORPUS: &str = "beir/corpus.jsonl";
const QUERY_FILE: &str = "beir/queries.jsonl";
const TRAIN: &str = "beir/qrels/train.tsv";

fn samples(place: &Place) -> usize {
    place.summary("runs/tiny")["train"]["samples"].as_u64().unwrap() as usize
}

/// Replaces each line of a file.
fn each_line(place: &Place, name: &str, f: impl Fn(usize, &str) -> String) {
    let text = place.text(name);
    place.write(name, text.lines().enumerate().map(|(i, line)| f(i, line) + "\n").collect::<String>());
}

#[test]
fn settings_of_other_tasks_are_refused() {
    let place = Place::readers();
    let refused: [(&str, &[&str]); 8] = [
        ("data.negatives=0", &["data.negatives is 0", "expected 1"]),
        ("data.history=0", &["data.history is 0", "at least 1"]),
        ("reader.self_attention=3", &["reader.self_attention is 3", "16 hidden units"]),
        ("reader.self_attention=0", &["reader.self_attention is 0"]),
        ("data.format=csv", &["data.format is csv", "task: recommend reads only mind or ebnerd"]),
        (
            "data.columns={label: 0, text: [1]}",
            &["data.columns is given", "it applies only to csv, tsv, jsonl, parquet"],
        ),
        ("data.train=nowhere", &["data.train is", "nowhere, but there is no such", "news.tsv and behaviors.tsv"]),
        ("data.dev=tokenizer", &["data.dev is", "tokenizer/behaviors.tsv does not exist"]),
    ];
    for (set, parts) in refused {
        assert_refused(&place, &[set], parts);
    }
    std::fs::remove_file(place.path("mind/dev/news.tsv")).unwrap();
    assert_refused(&place, &[], &["data.dev is", "mind/dev/news.tsv"]);

    let place = Place::searches();
    let refused: [(&str, &[&str]); 6] = [
        ("train.batch=1", &["train.batch is 1", "at least 2"]),
        ("data.format=mind", &["data.format is mind", "task: retrieve reads only beir"]),
        ("data.history=5", &["data.history is given"]),
        ("reader.self_attention=2", &["reader.self_attention is 2", "task: retrieve has no readers"]),
        ("data.train=tokenizer", &["data.train is", "tokenizer/corpus.jsonl"]),
        ("data.dev=nowhere", &["data.dev is", "nowhere/corpus.jsonl"]),
    ];
    for (set, parts) in refused {
        assert_refused(&place, &[set], parts);
    }
}

#[test]
fn invalid_impressions_are_refused() {
    let place = Place::readers();
    let good = place.text(BEHAVIORS);
    let no_clicks = good.replace("-0", "").replace("-1", "");
    let refused: [(&str, &[&str]); 6] = [
        ("", &["behaviors.tsv", "no usable row"]),
        (&no_clicks, &["behaviors.tsv:1", "60 of 60 impressions", "N1-0 or N1-1"]),
        (&good.replace("-1", "-0"), &["behaviors.tsv", "none of 60 impressions", "both a clicked article and"]),
        (&good.replace("-0", "-1"), &["behaviors.tsv", "none of 60 impressions", "both a clicked article and"]),
        (&good.replace('N', "M"), &["behaviors.tsv", "none of the 60 impressions", "any of the 36 known articles"]),
        (&good.replacen('\t', " ", 40), &["behaviors.tsv", "10 of 60 rows", "too few columns, first on line 1"]),
    ];
    for (content, parts) in refused {
        place.write(BEHAVIORS, content);
        assert_refused(&place, &[], parts);
    }
    place.write(BEHAVIORS, &good);
    // Development impressions without usable rows are refused before training.
    let dev = "mind/dev/behaviors.tsv";
    let refused: [(&str, &[&str]); 2] = [
        ("1\tU\tt\tN1\tN2-0 N3-0\n", &["mind/dev/behaviors.tsv", "none of 1 impressions"]),
        ("1\tU\tt\tN1\tN2 N3\n", &["mind/dev/behaviors.tsv:1", "1 of 1 impressions", "N1-0 or N1-1"]),
    ];
    for (content, parts) in refused {
        place.write(dev, content);
        assert_refused(&place, &[], parts);
    }
}

#[test]
fn unusual_impressions_are_accepted() {
    let place = Place::readers();
    each_line(&place, BEHAVIORS, |_, line| format!("{line}\r"));
    let ids = |n: usize, end: &str| (0..n).map(|i| format!("N{}{end}", i % 36)).collect::<Vec<_>>().join(" ");
    place.write(BEHAVIORS, format!("\u{feff}{}", place.text(BEHAVIORS)));
    place.append(BEHAVIORS, &format!("61\tU\tt\t{}\tN1-1 N2-0\n", ids(10_000, "")));
    place.append(BEHAVIORS, &format!("62\tU\tt\tN1\tN0-1 {}\n", ids(1000, "-0")));
    place.append(BEHAVIORS, "62\tU\tt\t\tN3-1 N4-0\tand a column more\n63\tU\tt\tN1\tN2 N3\n64\tU\n");
    let ended = place.train(&[FINETUNE]).done();
    // N0 is listed as clicked once and as not clicked 28 times: the click counts.
    assert_eq!(samples(&place), CLICKS + 3);
    for part in [
        "63 impressions",
        "1 with too few columns, first on line 65",
        "1 with a candidate without a click label, first on line 64",
        "impressions with a repeated id: 1",
        "candidates repeated in their impression: 965",
    ] {
        assert!(ended.err.contains(part), "`{part}` is not in: {}", ended.err);
    }
    place.nb(&["eval", "--model", STUDENT, "--input", BEHAVIORS]).done();
    let rank = ["rank", "--model", STUDENT, "--news", "mind/train/news.tsv", "--behaviors", BEHAVIORS];
    place.nb(&[&rank[..], &["--output", "p.txt"]].concat()).done();
    let ranks = place.text("p.txt");
    assert_eq!(ranks.lines().count(), READERS + 4, "ranking needs no clicks, so only the shortest line is skipped");
    assert_eq!(ranks.lines().nth(61).unwrap().split(',').count(), 1001);
}

#[test]
fn invalid_corpora_queries_and_judgements_are_refused() {
    let place = Place::searches();
    let [corpus, queries, train] = [CORPUS, QUERY_FILE, TRAIN].map(|file| place.text(file));
    let no_json = corpus.replacen('{', "", 3);
    let no_ids = corpus.replacen("\"_id\"", "\"id\"", 3);
    let refused: [(&str, &str, &[&str]); 9] = [
        (CORPUS, "", &["corpus.jsonl", "no usable row"]),
        (CORPUS, &no_json, &["corpus.jsonl", "3 of 24 rows", "3 that are not JSON objects, first on line 1"]),
        (CORPUS, &no_ids, &["corpus.jsonl", "3 of 24 rows", "3 without an id, first on line 1"]),
        (CORPUS, &corpus.replace("\"d", "\"e"), &["qrels/train.tsv", "no query with", "unknown documents: 120"]),
        (QUERY_FILE, &queries.replace('{', "["), &["queries.jsonl", "no usable row", "16 that are not JSON objects"]),
        (QUERY_FILE, &queries.replace("\"q", "\"p"), &["qrels/train.tsv", "no query with", "unknown queries: 120"]),
        (TRAIN, &train.replace("\t1\n", "\t0\n"), &["qrels/train.tsv", "without a relevant document: 12"]),
        (
            TRAIN,
            &train.replace("\t1\n", "\tx\n"),
            &["qrels/train.tsv", "96 of 120", "not a whole number, first on line 2"],
        ),
        ("beir/qrels/dev.tsv", "q1\td1\t0\n", &["qrels/dev.tsv", "no query with a relevant document"]),
    ];
    for (file, content, parts) in refused {
        let good = place.text(file);
        place.write(file, content);
        assert_refused(&place, &[], parts);
        place.write(file, good);
    }
    std::fs::remove_file(place.path(TRAIN)).unwrap();
    assert_refused(&place, &[], &["data.train is", "beir/qrels/train.tsv"]);
}

#[test]
fn unusual_corpora_queries_and_judgements_are_accepted() {
    let place = Place::searches();
    each_line(
        &place,
        QUERY_FILE,
        |i, line| if i == 0 { line.replace("\"_id\"", "\"id\"") } else { format!("{line}\r") },
    );
    place.append(CORPUS, "\n{\"_id\": \"long\", \"title\": null, \"text\": \"");
    place.append(CORPUS, &format!("{}\"}}\nno JSON\n", "goal ".repeat(200_000)));
    place.append(TRAIN, "q1\tgone\t1\nq1\td1\t2\nq15\td1\t0\n");
    let ended = place.train(&[FINETUNE]).done();
    assert_eq!(samples(&place), (QUERIES - 1) * DOCUMENTS / 3);
    for part in [
        "corpus.jsonl: skipped 1 that are not JSON objects, first on line 27",
        "queries.jsonl: skipped 1 without an id, first on line 1",
        "judgements for unknown queries: 10",
        "judgements of unknown documents: 1",
        "repeated judgements: 1",
        "queries without a relevant document: 1",
    ] {
        assert!(ended.err.contains(part), "`{part}` is not in: {}", ended.err);
    }
    place.nb(&["search", "--model", STUDENT, "--corpus", "beir", "--query", &"goal ".repeat(5000)]).done();
}

/// Runs `nb` with the student.
fn with_student(place: &Place, arguments: &[&str]) -> Ended {
    place.nb(&[&arguments[..1], &["--model", STUDENT], &arguments[1..]].concat())
}

#[test]
fn commands_refuse_models_of_other_tasks() {
    let place = Place::readers();
    place.train(&[FINETUNE]).done();
    let eval = ["eval", "--input", "mind/dev"];
    with_student(&place, &["predict", "--input", "mind/dev/news.tsv"])
        .failed(&["trained for recommend", "expected topic"]);
    with_student(&place, &[&eval[..], &["--label", "0"]].concat())
        .failed(&["--label is given", "trained for recommend"]);
    with_student(&place, &[&eval[..], &["--split", "dev"]].concat())
        .failed(&["--split is given", "trained for recommend"]);
    with_student(&place, &["eval", "--input", "tokenizer"])
        .failed(&["--input is tokenizer", "tokenizer/behaviors.tsv"]);
    with_student(&place, &[&eval[..], &["--seen-in", "nowhere"]].concat()).failed(&["--seen-in is nowhere"]);
    // MIND's test folder has no clicks.
    each_line(&place, "mind/dev/behaviors.tsv", |_, line| line.replace("-0", "").replace("-1", ""));
    with_student(&place, &eval).failed(&["mind/dev/behaviors.tsv:1", "24 of 24 impressions", "N1-0 or N1-1"]);

    let place = Place::new();
    place.train(&[FINETUNE]).done();
    let rank = ["rank", "--news", "dev.tsv", "--behaviors", "b.tsv", "--output", "p.txt"];
    with_student(&place, &rank).failed(&["trained for topic", "expected recommend"]);
    with_student(&place, &["search", "--corpus", "dev.tsv", "--query", "storm"])
        .failed(&["trained for topic", "expected retrieve"]);
    with_student(&place, &["eval", "--input", "dev.tsv", "--seen-in", "x"])
        .failed(&["--seen-in is given", "trained for topic"]);
    assert!(!place.exists("p.txt"));
}

#[test]
fn invalid_searches_are_refused() {
    let place = Place::searches();
    place.train(&[FINETUNE]).done();
    let before = place.names("beir");
    let search = |corpus: &str, query: &str| with_student(&place, &["search", "--corpus", corpus, "--query", query]);
    search("beir", " \t").failed(&["--query is empty"]);
    search("tokenizer", "storm").failed(&["--corpus is tokenizer", "tokenizer/corpus.jsonl"]);
    search("beir/nowhere.jsonl", "storm").failed(&["--corpus is beir/nowhere.jsonl"]);
    place.write("bad/corpus.jsonl", "no JSON\n");
    search("bad", "storm").failed(&["bad/corpus.jsonl", "no usable text"]);
    assert_eq!(place.names("bad").len(), 1, "no temporary file remains");
    with_student(&place, &["eval", "--input", "beir"]).failed(&["--input is beir", "beir/qrels/test.tsv"]);
    std::fs::remove_file(place.path("beir/qrels/dev.tsv")).unwrap();
    with_student(&place, &["eval", "--input", "beir", "--split", "dev"])
        .failed(&["--input is beir", "beir/qrels/dev.tsv"]);
    for file in ["head.safetensors", "newsbert.json"] {
        std::fs::remove_file(place.path(STUDENT).join(file)).unwrap();
    }
    search("beir", "storm").failed(&["newsbert.json", "modules that cannot be used", "AttentivePooling"]);
    assert_eq!(place.names("beir"), before);
}

#[test]
fn damaged_models_are_refused() {
    let place = Place::readers();
    place.train(&[FINETUNE, "reader.self_attention=2"]).done();
    let (head, description) = (format!("{STUDENT}/head.safetensors"), format!("{STUDENT}/newsbert.json"));
    let (weights, original) = (place.read(&head), place.text(&description));
    let refused = |parts: &[&str]| drop(with_student(&place, &["eval", "--input", "mind/dev"]).failed(parts));
    for (found, message) in [("5", "self_attention is 5"), ("0", "self_attention is 0")] {
        place.write(&description, original.replace("\"self_attention\": 2", &format!("\"self_attention\": {found}")));
        refused(&["newsbert.json", message, "16 units of a vector"]);
    }
    place.write(&description, original.replace("\"self_attention\": 2", "\"self_attention\": null"));
    refused(&["head.safetensors", "tensor reader.attention.key.bias is unknown"]);
    place.write(&description, original.replace("recommend", "rank"));
    refused(&["newsbert.json", "task is `rank`"]);
    place.write(&description, original.replace("recommend", "retrieve"));
    refused(&["head.safetensors", "tensor reader.attention.key.bias is unknown"]);
    place.write(&description, &original);
    place.write(&head, &weights[..weights.len() / 2]);
    refused(&["head.safetensors", "not a complete safetensors file"]);
    place.write(&head, &weights);
    with_student(&place, &["eval", "--input", "mind/dev"]).done();
}

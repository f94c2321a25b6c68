//! Metrics that are comparable with other tools: trec_eval and BEIR for searches, MIND's script for clicks.

use serde_json::{Value, json};

use super::corpora::{DEV_QUERIES, DEV_READERS};
use super::place::{FINETUNE, Place, STUDENT};

fn eval(place: &Place, folder: &str, options: &[&str]) -> Value {
    let ended = place.nb(&[&["eval", "--model", STUDENT, "--input", folder], options].concat()).done();
    serde_json::from_str(&ended.out).unwrap()
}

/// Writes a BEIR folder from (id, text) pairs.
fn write_folder(place: &Place, name: &str, corpus: &[(&str, &str)], queries: &[(&str, &str)], qrels: &str) {
    let lines = |rows: &[(&str, &str)]| {
        rows.iter().map(|(id, text)| format!("{}\n", json!({"_id": id, "text": text}))).collect::<String>()
    };
    place.write(&format!("{name}/corpus.jsonl"), lines(corpus));
    place.write(&format!("{name}/queries.jsonl"), lines(queries));
    place.write(&format!("{name}/qrels/test.tsv"), qrels);
}

#[track_caller]
fn assert_close(found: &Value, expected: f64) {
    assert!((found.as_f64().unwrap() - expected).abs() < 1e-9, "{found}, expected {expected}");
}

#[test]
fn metrics_of_searches_follow_trec_eval() {
    let place = Place::searches();
    place.train(&[FINETUNE]).done();

    // A document with the id of the query is never found.
    let twins = [("1", "rain and storm"), ("2", "goal and match")];
    write_folder(&place, "own", &twins, &twins, "query-id\tcorpus-id\tscore\n1\t2\t1\n2\t1\t1\n");
    let evaluation = eval(&place, "own", &[]);
    assert_eq!(
        (&evaluation["ndcg@10"], &evaluation["mrr@10"], &evaluation["queries"]),
        (&1.0.into(), &1.0.into(), &2.into())
    );

    // Relevant documents outside the corpus remain in the ideal ranking; a query with only judgements of 0 counts as 0.
    let queries = [("q1", "rain"), ("q2", "goal"), ("q3", "bank")];
    let qrels = "query-id\tcorpus-id\tscore\nq1\ta\t1\nq1\tlost1\t1\nq2\tlost2\t1\nq3\ta\t0\n";
    write_folder(&place, "lacking", &[("a", "rain")], &queries, qrels);
    let lacking = eval(&place, "lacking", &[]);
    assert_eq!(lacking["queries"], 3);
    assert_close(&lacking["ndcg@10"], 1.0 / (1.0 + 1.0 / 3f64.log2()) / 3.0);
    assert_close(&lacking["recall@10"], 0.5 / 3.0);
    let counted = json!({
        "relevant documents that the corpus lacks": 2,
        "queries without a relevant document in the corpus": 2
    });
    assert_eq!(lacking["counted"], counted);
    let known = eval(&place, "lacking", &["--judged-only"]);
    assert_eq!((&known["queries"], &known["ndcg@10"], &known["left_out"]), (&1.into(), &1.0.into(), &counted));

    // TREC's four columns are equivalent to BEIR's three.
    let expected = eval(&place, "beir", &["--split", "dev"]);
    assert_eq!(expected["queries"], DEV_QUERIES);
    let rows = place.text("beir/qrels/dev.tsv");
    let four = |separator: &str| {
        let row = |line: &str| line.replacen('\t', "\t0\t", 1).replace('\t', separator) + "\n";
        rows.lines().skip(1).map(row).collect::<String>()
    };
    for qrels in [four("\t"), four("  "), format!("query\titeration\tdocument\tscore\n{}", four("\t"))] {
        place.write("beir/qrels/dev.tsv", qrels);
        assert_eq!(eval(&place, "beir", &["--split", "dev"]), expected);
    }
}

#[test]
fn the_last_of_repeated_ids_counts_and_ties_are_ordered_by_id() {
    let place = Place::searches();
    // In training, too: the first rows of d1 and q1 have a different text.
    let (corpus, queries) = (place.text("beir/corpus.jsonl"), place.text("beir/queries.jsonl"));
    place.train(&[FINETUNE]).done();
    let model = place.read("runs/tiny/student/model.safetensors");
    place.write("beir/corpus.jsonl", format!("{}\n{corpus}", json!({"_id": "d1", "text": "loan loan"})));
    place.write("beir/queries.jsonl", format!("{}\n{queries}", json!({"_id": "q1", "text": "loan loan"})));
    let again = place.train(&[FINETUNE, "output=runs/again"]).done();
    assert!(again.err.contains("1 rows repeat an id; only the last row with each id is used"), "{}", again.err);
    assert!(place.read("runs/again/student/model.safetensors") == model, "the first rows are not used");
    let summary = |run: &str| place.summary(&format!("runs/{run}"))["student"]["ndcg@10"].clone();
    assert_eq!(summary("again"), summary("tiny"));
    let found = place.nb(&["search", "--model", STUDENT, "--corpus", "beir", "--query", "loan", "--top", "99"]).done();
    let ids: Vec<&str> = found.out.lines().map(|line| line.split_whitespace().nth(2).unwrap()).collect();
    let distinct: std::collections::BTreeSet<&str> = ids.iter().copied().collect();
    assert_eq!((ids.len(), distinct.len()), (24, 24), "{}", found.out);

    // Many documents with few different texts, over several batches; the order of the file does not matter.
    let texts = ["storm in snow", "goal in the match", "bank and shares"];
    let ids: Vec<String> = (0..1500).map(|i| format!("{}", i * 7 % 1500)).collect();
    let mut documents: Vec<(&str, &str)> = ids.iter().map(|id| (id.as_str(), texts[id.len() % 3])).collect();
    let qrels = "q\t998\t2\nq\t99\t1\nq\t5\t1\nq\t1000\t3\n";
    let mut evaluations = Vec::new();
    for name in ["ties", "reversed"] {
        write_folder(&place, name, &documents, &[("q", "storm in snow")], qrels);
        documents.reverse();
        evaluations.push(eval(&place, name, &[]));
        let ended = place.nb(&["search", "--model", STUDENT, "--corpus", name, "--query", "storm", "--top", "500"]);
        let found = ended.done().out;
        let rows: Vec<(f64, &str)> = found
            .lines()
            .map(|line| line.split_whitespace().skip(1))
            .map(|mut words| (words.next().unwrap().parse().unwrap(), words.next().unwrap()))
            .collect();
        assert!(rows.is_sorted_by(|a, b| a.0 > b.0 || (a.0 == b.0 && a.1 > b.1)), "{name}: {found}");
    }
    assert_eq!(evaluations[0], evaluations[1]);
}

/// Computes AUC, MRR, nDCG@5 and nDCG@10 of ranked clicks like MIND's script.
fn by_script(clicked: &[bool], ranks: &[usize]) -> [f64; 4] {
    let mut by_rank: Vec<(usize, bool)> = ranks.iter().copied().zip(clicked.iter().copied()).collect();
    by_rank.sort_unstable();
    let positions: Vec<usize> =
        (1..).zip(&by_rank).filter(|(_, (_, clicked))| *clicked).map(|(position, _)| position).collect();
    let (n, clicks) = (by_rank.len(), positions.len());
    let wins: usize =
        positions.iter().enumerate().map(|(before, position)| (n - position) - (clicks - before - 1)).sum();
    let gain = |positions: &[usize], k| {
        let within = positions.iter().filter(|&&position| position <= k);
        within.map(|&position| 1.0 / (position as f64 + 1.0).log2()).sum::<f64>()
    };
    let ideal: Vec<usize> = (1..=clicks).collect();
    [
        wins as f64 / (clicks * (n - clicks)) as f64,
        positions.iter().map(|&position| 1.0 / position as f64).sum::<f64>() / clicks as f64,
        gain(&positions, 5) / gain(&ideal, 5),
        gain(&positions, 10) / gain(&ideal, 10),
    ]
}

#[test]
fn metrics_of_clicks_follow_minds_script() {
    let place = Place::readers();
    place.train(&[FINETUNE]).done();
    // Every second article has the text of the first one, and some candidates are unknown.
    let articles = place.text("mind/dev/news.tsv");
    let first: Vec<&str> = articles.lines().next().unwrap().split('\t').collect();
    let same = |(i, line): (usize, &str)| {
        let mut columns: Vec<&str> = line.split('\t').collect();
        if i % 2 == 0 {
            columns[3..5].copy_from_slice(&first[3..5]);
        }
        columns.join("\t") + "\n"
    };
    place.write("mind/dev/news.tsv", articles.lines().enumerate().map(same).collect::<String>());
    let behaviors = place.text("mind/dev/behaviors.tsv").replace("N10-", "X10-").replace("N7-", "X7-");
    place.write("mind/dev/behaviors.tsv", &behaviors);
    let rank = ["rank", "--model", STUDENT, "--news", "mind/dev/news.tsv", "--behaviors", "mind/dev/behaviors.tsv"];
    place.nb(&[&rank[..], &["--output", "p.txt"]].concat()).done();

    let mut sums = [0.0; 4];
    for (line, prediction) in behaviors.lines().zip(place.text("p.txt").lines()) {
        let shown = line.rsplit('\t').next().unwrap().split(' ');
        let clicked: Vec<bool> = shown.map(|candidate| candidate.ends_with("-1")).collect();
        let (_, ranks) = prediction.split_once(' ').unwrap();
        let ranks: Vec<usize> = serde_json::from_str(ranks).unwrap();
        sums.iter_mut().zip(by_script(&clicked, &ranks)).for_each(|(sum, value)| *sum += value);
    }
    let found = eval(&place, "mind/dev", &[]);
    assert_eq!(found["impressions"], DEV_READERS);
    for (metric, sum) in ["auc", "mrr", "ndcg@5", "ndcg@10"].iter().zip(sums) {
        assert_close(&found[metric], sum / DEV_READERS as f64);
    }
    let tied = &found["counted"]["impressions in which a clicked and another article have equal scores"];
    assert!(tied.as_u64().unwrap() > 3, "{found}");
    // The metrics of a run are the same.
    place.train(&[FINETUNE, "output=runs/again"]).done();
    let of_run = &place.summary("runs/again")["student"];
    for metric in ["auc", "mrr", "ndcg@5", "ndcg@10"] {
        assert_close(&of_run[metric], found[metric].as_f64().unwrap());
    }
}

//! Corpora for recommendation and retrieval. Each reader clicks articles on one topic, and each query asks for one topic.

use nb_data::beir::Split;
use nb_data::random::Stream;
use serde_json::json;

use super::place::{CONFIG, Place, TOPICS, articles, mind};

/// Number of training articles. The development articles are these and [`NEW_ARTICLES`] more.
const ARTICLES: usize = 36;
const NEW_ARTICLES: usize = 12;
/// Number of training and development impressions.
pub(crate) const READERS: usize = 60;
pub(crate) const DEV_READERS: usize = 24;
/// Number of training clicks: every tenth reader clicks two articles.
pub(crate) const CLICKS: usize = READERS + READERS / 10;

/// Number of articles in the searched corpus, and of those relevant to a query, which have its topic.
pub(crate) const DOCUMENTS: usize = 24;
pub(crate) const RELEVANT: usize = DOCUMENTS / TOPICS.len();
/// Number of training and development queries.
pub(crate) const QUERIES: usize = 12;
pub(crate) const DEV_QUERIES: usize = 4;

/// Returns impressions, one per line. Every eighth reader has no history, every tenth clicks two articles, and all are shown
/// five articles on other topics. Article `i` and reader `i` have topic `i` modulo the number of topics.
fn behaviors(readers: usize, articles: usize, seed: u64) -> String {
    let mut stream = Stream::new(seed);
    let line = |i: usize| {
        let topic = i % TOPICS.len();
        let (mut liked, mut others): (Vec<usize>, Vec<usize>) = (0..articles).partition(|n| n % TOPICS.len() == topic);
        let read = if i % 8 == 7 { 0 } else { 1 + i % 6 };
        let history: Vec<String> = (0..read).map(|_| format!("N{}", stream.choose(&liked))).collect();
        stream.shuffle(&mut liked);
        stream.shuffle(&mut others);
        let clicked = liked.iter().take(1 + usize::from(i % 10 == 9)).map(|n| format!("N{n}-1"));
        let mut shown: Vec<String> = clicked.chain(others.iter().take(5).map(|n| format!("N{n}-0"))).collect();
        stream.shuffle(&mut shown);
        format!("{}\tU{i}\t11/13/2019 8:36:57 AM\t{}\t{}\n", i + 1, history.join(" "), shown.join(" "))
    };
    (0..readers).map(line).collect()
}

/// Formats one JSON object per line.
fn json_lines(objects: impl Iterator<Item = serde_json::Value>) -> String {
    objects.map(|object| format!("{object}\n")).collect()
}

impl Place {
    /// Creates a folder with the MIND folders `mind/train` and `mind/dev`, and `tiny.yaml` for recommendation.
    pub(crate) fn readers() -> Self {
        let place = Self::new();
        let all = articles(ARTICLES + NEW_ARTICLES, 3);
        for (name, count, readers, seed) in [("train", ARTICLES, READERS, 4), ("dev", all.len(), DEV_READERS, 5)] {
            place.write(&format!("mind/{name}/news.tsv"), mind(&all[..count]));
            place.write(&format!("mind/{name}/behaviors.tsv"), behaviors(readers, count, seed));
        }
        let config = paper("recommend");
        place.write("tiny.yaml", config.replace("train.tsv", "mind/train").replace("dev.tsv", "mind/dev"));
        place
    }

    /// Creates a folder with the BEIR folder `beir`, which has training and development queries, and `tiny.yaml` for
    /// retrieval.
    pub(crate) fn searches() -> Self {
        let place = Self::new();
        let (documents, queries) = (articles(DOCUMENTS, 3), articles(QUERIES + DEV_QUERIES, 4));
        let document = |(i, [_, title, text]): (usize, &[String; 3])| json!({"_id": format!("d{i}"), "title": title, "text": text});
        place.write("beir/corpus.jsonl", json_lines(documents.iter().enumerate().map(document)));
        let query = |(i, [_, text, _]): (usize, &[String; 3])| json!({"_id": format!("q{i}"), "text": text});
        place.write("beir/queries.jsonl", json_lines(queries.iter().enumerate().map(query)));
        let all = QUERIES + DEV_QUERIES;
        for (split, queries) in [(Split::Train, 0..QUERIES), (Split::Dev, QUERIES..all)] {
            let mut text = "query-id\tcorpus-id\tscore\n".to_owned();
            for query in queries {
                // Two articles on another topic are judged as not relevant.
                let other = (query + 1) % TOPICS.len();
                let judged = (query % TOPICS.len()..DOCUMENTS).step_by(TOPICS.len()).map(|document| (document, 1));
                for (document, score) in judged.chain([(other, 0), (other + TOPICS.len(), 0)]) {
                    text += &format!("q{query}\td{document}\t{score}\n");
                }
            }
            place.write(&format!("beir/qrels/{}.tsv", split.name()), text);
        }
        let config = paper("retrieve").replace("format: mind", "format: beir");
        place.write("tiny.yaml", config.replace("train.tsv", "beir").replace("  dev: dev.tsv\n", ""));
        place
    }

    /// Appends to a file.
    pub(crate) fn append(&self, name: &str, text: &str) {
        self.write(name, self.text(name) + text);
    }
}

/// Returns the configuration of a ranking task with the paper's settings, which train every part of a head.
fn paper(task: &str) -> String {
    let config = CONFIG.replace("task: topic", &format!("task: {task}"));
    config.replace("method: {name: newsbert}", "method: {name: newsbert, preset: paper}")
}

//! Places with readers and places with searches: each reader clicks news of one topic, each query asks for one.

use nb_data::beir::Split;
use nb_data::random::Stream;
use serde_json::json;

use super::place::{CONFIG, Place, TOPICS, articles, mind};

/// Training news; the development news are these and [`NEW_NEWS`] more.
const NEWS: usize = 36;
const NEW_NEWS: usize = 12;
/// Training and development impressions.
pub(crate) const READERS: usize = 60;
pub(crate) const DEV_READERS: usize = 24;
/// Training clicks: every tenth reader clicks two news.
pub(crate) const CLICKS: usize = READERS + READERS / 10;

/// News of the corpus that is searched, and how many of them answer a query: those of its topic.
pub(crate) const DOCUMENTS: usize = 24;
pub(crate) const RELEVANT: usize = DOCUMENTS / TOPICS.len();
/// Training and development queries.
pub(crate) const QUERIES: usize = 12;
pub(crate) const DEV_QUERIES: usize = 4;

/// Impressions, a line each: every eighth reader has no history, every tenth clicks two news, all are shown five of other
/// topics. News `i` has topic `i` modulo their number, and so has reader `i`.
fn behaviors(readers: usize, news: usize, seed: u64) -> String {
    let mut stream = Stream::new(seed);
    let line = |i: usize| {
        let topic = i % TOPICS.len();
        let (mut own, mut others): (Vec<usize>, Vec<usize>) = (0..news).partition(|n| n % TOPICS.len() == topic);
        let read = if i % 8 == 7 { 0 } else { 1 + i % 6 };
        let history: Vec<String> = (0..read).map(|_| format!("N{}", stream.choose(&own))).collect();
        stream.shuffle(&mut own);
        stream.shuffle(&mut others);
        let clicked = own.iter().take(1 + usize::from(i % 10 == 9)).map(|n| format!("N{n}-1"));
        let mut shown: Vec<String> = clicked.chain(others.iter().take(5).map(|n| format!("N{n}-0"))).collect();
        stream.shuffle(&mut shown);
        format!("{}\tU{i}\t11/13/2019 8:36:57 AM\t{}\t{}\n", i + 1, history.join(" "), shown.join(" "))
    };
    (0..readers).map(line).collect()
}

/// One JSON object per line.
fn json_lines(objects: impl Iterator<Item = serde_json::Value>) -> String {
    objects.map(|object| format!("{object}\n")).collect()
}

impl Place {
    /// A place with the MIND folders `mind/train` and `mind/dev`; `tiny.yaml` trains to recommend.
    pub(crate) fn readers() -> Self {
        let place = Self::new();
        let all = articles(NEWS + NEW_NEWS, 3);
        for (name, news, readers, seed) in [("train", NEWS, READERS, 4), ("dev", all.len(), DEV_READERS, 5)] {
            place.write(&format!("mind/{name}/news.tsv"), mind(&all[..news]));
            place.write(&format!("mind/{name}/behaviors.tsv"), behaviors(readers, news, seed));
        }
        let config = CONFIG.replace("task: topic", "task: recommend");
        place.write("tiny.yaml", config.replace("train.tsv", "mind/train").replace("dev.tsv", "mind/dev"));
        place
    }

    /// A place with the BEIR folder `beir`, which has training and development queries; `tiny.yaml` trains to retrieve.
    pub(crate) fn searches() -> Self {
        let place = Self::new();
        let (news, queries) = (articles(DOCUMENTS, 3), articles(QUERIES + DEV_QUERIES, 4));
        let document = |(i, [_, title, text]): (usize, &[String; 3])| json!({"_id": format!("d{i}"), "title": title, "text": text});
        place.write("beir/corpus.jsonl", json_lines(news.iter().enumerate().map(document)));
        let query = |(i, [_, text, _]): (usize, &[String; 3])| json!({"_id": format!("q{i}"), "text": text});
        place.write("beir/queries.jsonl", json_lines(queries.iter().enumerate().map(query)));
        let all = QUERIES + DEV_QUERIES;
        for (split, queries) in [(Split::Train, 0..QUERIES), (Split::Dev, QUERIES..all)] {
            let mut text = "query-id\tcorpus-id\tscore\n".to_owned();
            for query in queries {
                // Two of another topic were judged, and found not to answer.
                let other = (query + 1) % TOPICS.len();
                let judged = (query % TOPICS.len()..DOCUMENTS).step_by(TOPICS.len()).map(|document| (document, 1));
                for (document, score) in judged.chain([(other, 0), (other + TOPICS.len(), 0)]) {
                    text += &format!("q{query}\td{document}\t{score}\n");
                }
            }
            place.write(&format!("beir/qrels/{}.tsv", split.name()), text);
        }
        let config = CONFIG.replace("task: topic", "task: retrieve").replace("format: mind", "format: beir");
        place.write("tiny.yaml", config.replace("train.tsv", "beir").replace("  dev: dev.tsv\n", ""));
        place
    }

    /// Appends to a file.
    pub(crate) fn append(&self, name: &str, text: &str) {
        self.write(name, self.text(name) + text);
    }
}

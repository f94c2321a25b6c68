//! BEIR's folders: corpus, queries and judgements, in this order.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nb_data::IdIndex;
use nb_data::beir::{Qrels, QueryBatch};
use nb_data::read::{Field, Format, LabelRule};
use nb_fuzz::{folder, parts, read};

fuzz_target!(|data: &[u8]| {
    let [corpus, queries, qrels] = parts(data);
    let fields = vec![Field::Title, Field::Abstract];
    let corpus = read(corpus, &Format::BeirCorpus { fields }, LabelRule::Optional);
    let queries = read(queries, &Format::BeirQueries, LabelRule::Optional);
    let documents = IdIndex::new(corpus.iter().map(|article| article.id.as_deref()));
    let query_ids = IdIndex::new(queries.iter().map(|article| article.id.as_deref()));

    let folder = folder(&[("test.tsv", qrels)]);
    let Ok(qrels) = Qrels::read(&folder.path().join("test.tsv"), &query_ids, &documents, 1.0) else { return };
    let _ = qrels.report.to_string();
    for judged in &qrels.queries {
        assert!((judged.query as usize) < queries.len() && !judged.relevant.is_empty());
        let rows = judged.relevant.iter().map(|(row, _)| row).chain(&judged.negatives);
        assert!(rows.into_iter().all(|&row| (row as usize) < corpus.len()));
    }
    let all: Vec<u32> = (0..qrels.queries.len() as u32).collect();
    let pairs = qrels.pairs(&all);
    // The mask has pairs × documents entries, so a batch has only a few pairs.
    let pairs = &pairs[..pairs.len().min(32)];
    let batch = QueryBatch::new(&qrels, pairs, 2, 0, 1, |row| row as usize % 7);
    assert_eq!(batch.queries.len(), pairs.len());
});

//! Unlabelled rows: they contribute to the terms that need no label and to nothing else, and a batch with such rows can be
//! split.

use std::ops::Range;

use nb_data::TokenBatch;
use nb_data::behaviors::ReaderBatch;
use nb_data::beir::QueryBatch;
use nb_loss::IGNORE;
use nb_train::config::{self, ArticlesChoice};
use nb_train::plan::Plan;
use nb_train::step::Counts;
use nb_train::task::{AllTasks, HasObjective, Objective, RecommendBatch, RetrieveBatch, Task, TaskList};

use super::tasks::{Corpus, models, plan, recommend, retrieve, topic};
use crate::commands::place::{DEV_ROWS, Place, TRAIN_ROWS};
use crate::support::{StepSums, max_abs, total_counts};

/// Every term that does not compare the texts of a micro-batch with each other, with a teacher that is trained jointly.
const JOINT: &str = "method={teacher: joint, temperature: 2, weights: {teacher: 1, embedding: 1, hidden: 1, pooled: 1, \
                     patience: 1, attention: 1, cosine: 1, vector: 1, vector_cosine: 1, soft: 1, divergence: 1, hard: 1}}";
/// The same terms as far as a frozen teacher allows them.
const FROZEN: &str = "method={teacher: frozen, temperature: 2, t2: true, weights: {embedding: 1, hidden: 1, pooled: 1, \
                      patience: 1, attention: 1, cosine: 1, vector: 1, vector_cosine: 1, soft: 1, divergence: 1, hard: 1}}";
/// The terms that need a label.
const LABELLED: &str = "method={weights: {teacher: 1, hard: 1}}";

/// Fails unless steps over two lists of micro-batches agree.
#[track_caller]
fn assert_same_step<K: Task>(plan: &Plan, task: &K, found: &[K::Batch], expected: &[K::Batch]) {
    let models = models(plan, task, 1);
    let sums = |batches| StepSums::of(plan.method.clone(), task, &models, batches);
    sums(found).assert_close_to(&sums(expected));
}

/// Fails unless the counts of micro-batches add up to those of their union. Pairs of texts from different micro-batches are
/// not compared, so they do not count.
#[track_caller]
fn assert_same_counts<K: Task>(task: &K, parts: &[K::Batch], joined: &K::Batch) {
    let (found, expected) = (total_counts(task, parts), task.counts(joined));
    let pairs = |part| task.counts(part).pooled * (task.counts(part).pooled - 1);
    assert_eq!(found, Counts { text_pairs: parts.iter().map(pairs).sum(), ..expected });
}

/// Returns a range of the texts of a batch.
fn slice(tokens: &TokenBatch, range: Range<usize>) -> TokenBatch {
    let start = |text: usize| tokens.lengths[..text].iter().sum::<i64>() as usize;
    let token_range = start(range.start)..start(range.end);
    TokenBatch {
        rows: tokens.rows[range.clone()].to_vec(),
        ids: tokens.ids[token_range.clone()].to_vec(),
        segments: tokens.segments[token_range].to_vec(),
        lengths: tokens.lengths[range].to_vec(),
        windows: Vec::new(),
    }
}

/// The texts of a micro-batch, divided into sections.
struct Sections<'a> {
    tokens: &'a TokenBatch,
    /// The end of each section.
    ends: Vec<usize>,
}

impl<'a> Sections<'a> {
    /// Returns the articles of readers and the unlabelled articles.
    fn of_readers(RecommendBatch { tokens, readers }: &'a RecommendBatch) -> Self {
        Self { tokens, ends: vec![readers.news.len(), tokens.lengths.len()] }
    }

    /// Returns the articles, the queries and the unlabelled articles.
    fn of_queries(RetrieveBatch { tokens, queries }: &'a RetrieveBatch) -> Self {
        let (documents, queries) = (queries.documents.len(), queries.queries.len());
        Self { tokens, ends: vec![documents, documents + queries, tokens.lengths.len()] }
    }
}

/// Concatenates batches section by section: first the first sections of all batches, then the second ones, and so on.
fn concatenate(batches: &[Sections<'_>]) -> TokenBatch {
    let mut all = TokenBatch::default();
    for section in 0..batches[0].ends.len() {
        for Sections { tokens, ends } in batches {
            let start = if section == 0 { 0 } else { ends[section - 1] };
            all.append(slice(tokens, start..ends[section]));
        }
    }
    all
}

/// Joins micro-batches of readers. Each keeps its articles; unlabelled articles follow at the end.
fn join_readers(batches: &[RecommendBatch]) -> RecommendBatch {
    let tokens = concatenate(&batches.iter().map(Sections::of_readers).collect::<Vec<_>>());
    let mut all =
        ReaderBatch { news: Vec::new(), history: Vec::new(), candidates: Vec::new(), ..batches[0].readers.clone() };
    all.history_lengths.clear();
    for RecommendBatch { readers, .. } in batches {
        let first = all.news.len() as i64;
        all.history.extend(readers.history.iter().map(|article| article + first));
        all.candidates.extend(readers.candidates.iter().map(|article| article + first));
        all.history_lengths.extend(&readers.history_lengths);
        all.news.extend(&readers.news);
    }
    RecommendBatch { tokens, readers: all }
}

/// Joins micro-batches of queries. The articles of the other micro-batches are masked.
fn join_queries(batches: &[RetrieveBatch]) -> RetrieveBatch {
    let tokens = concatenate(&batches.iter().map(Sections::of_queries).collect::<Vec<_>>());
    let total: usize = batches.iter().map(|batch| batch.queries.documents.len()).sum();
    let mut all = QueryBatch { queries: Vec::new(), documents: Vec::new(), targets: Vec::new(), masked: Vec::new() };
    for RetrieveBatch { queries, .. } in batches {
        let (first, count) = (all.documents.len(), queries.documents.len());
        for row in queries.masked.chunks(count) {
            let mut masked = vec![true; total];
            masked[first..first + count].copy_from_slice(row);
            all.masked.extend(masked);
        }
        all.targets.extend(queries.targets.iter().map(|target| target + first as i64));
        all.documents.extend(&queries.documents);
        all.queries.extend(&queries.queries);
    }
    RetrieveBatch { tokens, queries: all }
}

#[test]
fn micro_batches_of_topics_with_unlabelled_rows_equal_one_batch() {
    let corpus = Corpus::topics();
    for method in [JOINT, FROZEN] {
        let plan = corpus.plan(&[method, "train.batch=12"]);
        let task = topic(&plan);
        let rows: Vec<u32> = task.epoch(0).into_iter().take(2).flatten().collect();
        let parts = [&rows[..5], &rows[5..6], &rows[6..]].map(|rows| task.batch(0, rows));
        let joined = task.batch(0, &rows);
        let Counts { rows, labelled, .. } = task.counts(&joined);
        assert!(0 < labelled && labelled < rows, "{labelled} of {rows} rows have a label");
        assert_same_step(&plan, &task, &parts, &[joined]);
    }
}

#[test]
fn micro_batches_of_readers_with_unlabelled_articles_equal_one_batch() {
    let corpus = Corpus::readers();
    for method in [JOINT, FROZEN] {
        let plan = corpus.plan(&[method]);
        let task = recommend(&plan);
        let parts: Vec<RecommendBatch> = task.epoch(0).iter().take(3).map(|rows| task.batch(0, rows)).collect();
        let joined = join_readers(&parts);
        assert!(parts.iter().all(|part| part.tokens.lengths.len() > part.readers.news.len()), "unlabelled articles");
        assert_same_counts(&task, &parts, &joined);
        assert_same_step(&plan, &task, &parts, &[joined]);
    }
}

#[test]
fn micro_batches_of_queries_with_unlabelled_articles_equal_one_batch() {
    let corpus = Corpus::searches();
    for method in [JOINT, FROZEN] {
        let plan = corpus.plan(&[method]);
        let task = retrieve(&plan);
        let parts: Vec<RetrieveBatch> = task.epoch(0).iter().take(3).map(|rows| task.batch(0, rows)).collect();
        let joined = join_queries(&parts);
        let labelled = |part: &RetrieveBatch| part.queries.documents.len() + part.queries.queries.len();
        assert!(parts.iter().all(|part| part.tokens.lengths.len() > labelled(part)), "unlabelled articles");
        assert_same_counts(&task, &parts, &joined);
        assert_same_step(&plan, &task, &parts, &[joined]);
    }
}

#[test]
fn unlabelled_rows_do_not_change_terms_that_need_a_label() {
    let corpus = Corpus::topics();
    let labelled_plan = corpus.plan(&[LABELLED]);
    // This method skips the file, so the rows come from the plan of a method that uses it.
    assert!(labelled_plan.resolved.data.unlabelled.is_none());
    let task = topic(&corpus.plan(&[JOINT]));
    let rows: Vec<u32> = task.epoch(0).into_iter().flatten().collect();
    let labels = |rows: &[u32]| Vec::<i64>::try_from(task.labels(&task.batch(0, rows))).unwrap();
    let labelled_rows: Vec<u32> = rows.iter().copied().filter(|&row| labels(&[row]) != [IGNORE]).collect();
    assert_eq!((rows.len(), labelled_rows.len()), (TRAIN_ROWS + DEV_ROWS, 48));
    assert_same_step(&labelled_plan, &task, &[task.batch(0, &rows)], &[task.batch(0, &labelled_rows)]);

    let corpus = Corpus::readers();
    let labelled_plan = corpus.plan(&[LABELLED]);
    let task = recommend(&corpus.plan(&[JOINT]));
    let batch = task.batch(0, &task.epoch(0)[0]);
    let without = RecommendBatch { tokens: slice(&batch.tokens, 0..batch.readers.news.len()), ..batch.clone() };
    assert!(without.tokens.lengths.len() < batch.tokens.lengths.len());
    assert_same_step(&labelled_plan, &task, &[batch], &[without]);

    let corpus = Corpus::searches();
    let labelled_plan = corpus.plan(&[LABELLED]);
    let task = retrieve(&corpus.plan(&[JOINT]));
    let batch = task.batch(0, &task.epoch(0)[0]);
    let labelled = batch.queries.documents.len() + batch.queries.queries.len();
    let without = RetrieveBatch { tokens: slice(&batch.tokens, 0..labelled), ..batch.clone() };
    assert!(labelled < batch.tokens.lengths.len());
    assert_same_step(&labelled_plan, &task, &[batch], &[without]);
}

/// A micro-batch without labels is still a valid step.
#[test]
fn terms_that_need_a_label_are_zero_in_a_batch_without_labels() {
    let corpus = Corpus::topics();
    let plan = corpus.plan(&[JOINT]);
    let task = topic(&plan);
    let first = TRAIN_ROWS as u32; // unlabelled rows follow the labelled ones
    let batch = task.batch(0, &[first, first + 3, first + 4]);
    assert_eq!(task.counts(&batch).labelled, 0);
    let models = models(&plan, &task, 1);
    let StepSums { terms, gradients } = StepSums::of(plan.method.clone(), &task, &models, &[batch]);
    for (term, value) in plan.method.terms().zip(terms) {
        assert_eq!(value == 0.0, term.kind.needs_label(), "{:?} is {value}", term.kind);
    }
    assert!(gradients.iter().all(|(_, gradient)| max_abs(gradient).is_finite()));
}

/// Returns the texts of an epoch: the labelled ones and those that follow them, as rows of the articles.
fn articles_of_an_epoch<K: Task>(task: &K, split: impl Fn(&K::Batch) -> (Vec<u32>, Vec<u32>)) -> [Vec<u32>; 2] {
    let mut all = [Vec::new(), Vec::new()];
    for rows in task.epoch(0) {
        let (labelled, unlabelled) = split(&task.batch(0, &rows));
        all[0].extend(labelled);
        all[1].extend(unlabelled);
    }
    all.map(|mut rows| {
        rows.sort_unstable();
        rows.dedup();
        rows
    })
}

/// `data.articles: all` adds exactly the articles that no training row uses, and no text of another store.
#[test]
fn articles_without_a_query_or_a_reader_are_texts_without_labels() {
    const ALL: &[&str] = &[FROZEN, "data.articles=all", "train.batch=2"];
    let rows_of = |place: &Place, file: &str| place.text(file).lines().count();
    let place = Corpus::searches().place;
    let other = |title: &str| format!(r#"{{"_id": "other", "title": "{title}", "text": "that no query asks for"}}"#);
    let (replaced, other) = (other("a draft"), other("an article"));
    place.write("beir/corpus.jsonl", format!("{}{replaced}\n{other}\n", place.text("beir/corpus.jsonl")));
    let task = retrieve(&plan(&place, ALL));
    let [used, others] = articles_of_an_epoch(&task, |batch| {
        let first = batch.queries.documents.len() + batch.queries.queries.len();
        let texts = task.objective().texts(batch);
        assert!(texts[first..].iter().all(|text| text.store == 0), "the store of the articles");
        (batch.queries.documents.clone(), texts[first..].iter().map(|text| text.row).collect())
    });
    assert!(!others.is_empty() && others.iter().all(|row| used.binary_search(row).is_err()), "{used:?} {others:?}");
    assert_eq!(others, [rows_of(&place, "beir/corpus.jsonl") as u32 - 1], "not the row that it replaces");
    assert_eq!(task.stores().len(), 2, "articles and queries");

    let place = Corpus::readers().place;
    let others = [["N9001", "an article"], ["N9002", "that nobody saw"]];
    let others: String = others.map(|[id, title]| format!("{id}\tnews\tnews\t{title}\t\t\t[]\t[]\n")).concat();
    place.write("mind/train/news.tsv", place.text("mind/train/news.tsv") + &others);
    let task = recommend(&plan(&place, ALL));
    let [used, others] = articles_of_an_epoch(&task, |batch| {
        let texts = task.objective().texts(batch);
        let first = batch.readers.news.len();
        (batch.readers.news.clone(), texts[first..].iter().map(|text| text.row).collect())
    });
    let all = task.stores()[0].len() as u32;
    assert!(others.ends_with(&[all - 2, all - 1]), "{others:?} of {all}");
    assert!(others.iter().all(|row| used.binary_search(row).is_err()), "{used:?} {others:?}");
    assert_eq!(task.stores().len(), 1);
}

#[test]
fn articles_without_labels_need_a_term_and_exclude_a_file() {
    let corpus = Corpus::searches();
    let articles = |sets: &[&str]| plan(&corpus.place, sets).resolved.data.articles.unwrap();
    assert_eq!(articles(&[FROZEN, "data.articles=all"]), ArticlesChoice::All);
    assert_eq!(articles(&[LABELLED, "data.articles=all"]), ArticlesChoice::Used);
    assert_eq!(articles(&[FROZEN]), ArticlesChoice::Used);
    let topic = Place::new().train(&["method={name: newsbert}", "data.articles=all"]);
    topic.failed(&["data.articles is given", "it applies only to tasks that rank"]);
    let refused = [FROZEN, &corpus.unlabelled, "data.articles=all"].map(|set| set.parse().unwrap());
    let config = config::read(&corpus.place.path("tiny.yaml"), &refused).unwrap();
    let error = format!("{:#}", Plan::new(config, AllTasks::KINDS).unwrap_err());
    assert!(error.contains("data.articles is all") && error.contains("data.unlabelled"), "{error}");
}

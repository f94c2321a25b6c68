//! Rows without labels: they join what needs none, touch nothing else, and a batch that holds them can be cut.

use std::ops::Range;

use nb_data::TokenBatch;
use nb_data::behaviors::ReaderBatch;
use nb_data::beir::QueryBatch;
use nb_loss::IGNORE;
use nb_train::model::Models;
use nb_train::plan::Plan;
use nb_train::step::terms::Counts;
use nb_train::task::{Objective, RankBatch, RetrieveBatch, Task};
use tch::Tensor;

use super::tasks::{models, plan, readers, recommend, retrieve, searches, topic, topics};
use crate::support::{assert_close, gradients, part, stepper, zero_gradients};

/// Every term, with a teacher that is trained along.
const JOINT: &str = "method={teacher: joint, temperature: 2, weights: {teacher: 1, embedding: 1, hidden: 1, pooled: 1, \
                     patience: 1, attention: 1, cosine: 1, soft: 1, divergence: 1, hard: 1}}";
/// Every term that a frozen teacher leaves.
const FROZEN: &str = "method={teacher: frozen, temperature: 2, t2: true, weights: {embedding: 1, hidden: 1, pooled: 1, \
                      patience: 1, attention: 1, cosine: 1, soft: 1, divergence: 1, hard: 1}}";
/// The terms that need a label.
const LABELLED: &str = "method={weights: {teacher: 1, hard: 1}}";

/// Terms and gradients of micro-batches, added up.
fn added_up<K: Objective>(
    plan: &Plan,
    task: &K,
    models: &Models<K::Head>,
    batches: &[K::Batch],
) -> (Vec<f64>, Vec<(String, Tensor)>) {
    zero_gradients(models);
    let stepper = stepper(plan.method.clone());
    let counts = counts(task, batches);
    let mut sums = vec![0.0; plan.method.terms().count()];
    for batch in batches {
        let values = part(&stepper, task, models, batch, counts);
        sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
    }
    (sums, gradients(models))
}

fn counts<K: Objective>(task: &K, batches: &[K::Batch]) -> Counts {
    batches.iter().map(|batch| task.counts(batch)).fold(Counts::default(), std::ops::Add::add)
}

/// Fails unless a step over one list of micro-batches is the step over another.
#[track_caller]
fn assert_same_step<K: Task>(plan: &Plan, task: &K, some: &[K::Batch], others: &[K::Batch]) {
    let models = models(plan, task, 1);
    let ((found, found_gradients), (expected, expected_gradients)) =
        (added_up(plan, task, &models, some), added_up(plan, task, &models, others));
    for ((term, found), expected) in plan.method.terms().zip(found).zip(expected) {
        assert!(expected > 0.0 && (found - expected).abs() <= 1e-5 * expected, "{:?}: {found}, {expected}", term.kind);
    }
    assert_close(&found_gradients, &expected_gradients, 1e-5);
}

/// Some texts of a batch of tokens.
fn texts(tokens: &TokenBatch, range: Range<usize>) -> TokenBatch {
    let at = |text: usize| tokens.lengths[..text].iter().sum::<i64>() as usize;
    let tokens_of = at(range.start)..at(range.end);
    TokenBatch {
        rows: tokens.rows[range.clone()].to_vec(),
        ids: tokens.ids[tokens_of.clone()].to_vec(),
        segments: tokens.segments[tokens_of].to_vec(),
        lengths: tokens.lengths[range].to_vec(),
    }
}

/// The texts of several batches, those in the same piece of each (a list of ends) beside each other.
fn by_piece(batches: &[(&TokenBatch, Vec<usize>)]) -> TokenBatch {
    let mut all = TokenBatch::default();
    for piece in 0..batches[0].1.len() {
        for (tokens, ends) in batches {
            let start = if piece == 0 { 0 } else { ends[piece - 1] };
            all.append(texts(tokens, start..ends[piece]));
        }
    }
    all
}

/// Several micro-batches of readers as one: each keeps its own news, and what has no reader stands behind them all.
fn joined_readers(batches: &[RankBatch]) -> RankBatch {
    let ends = |batch: &RankBatch| vec![batch.readers.news.len(), batch.tokens.lengths.len()];
    let tokens = by_piece(&batches.iter().map(|batch| (&batch.tokens, ends(batch))).collect::<Vec<_>>());
    let mut all =
        ReaderBatch { news: Vec::new(), history: Vec::new(), candidates: Vec::new(), ..batches[0].readers.clone() };
    all.history_lengths.clear();
    for RankBatch { readers, .. } in batches {
        let first = all.news.len() as i64;
        all.history.extend(readers.history.iter().map(|news| news + first));
        all.candidates.extend(readers.candidates.iter().map(|news| news + first));
        all.history_lengths.extend(&readers.history_lengths);
        all.news.extend(&readers.news);
    }
    RankBatch { tokens, readers: all }
}

/// Several micro-batches of queries as one in which the news of the others are no candidates.
fn joined_queries(batches: &[RetrieveBatch]) -> RetrieveBatch {
    let ends = |batch: &RetrieveBatch| {
        let (news, queries) = (batch.queries.documents.len(), batch.queries.queries.len());
        vec![news, news + queries, batch.tokens.lengths.len()]
    };
    let tokens = by_piece(&batches.iter().map(|batch| (&batch.tokens, ends(batch))).collect::<Vec<_>>());
    let news: usize = batches.iter().map(|batch| batch.queries.documents.len()).sum();
    let mut all = QueryBatch { queries: Vec::new(), documents: Vec::new(), targets: Vec::new(), masked: Vec::new() };
    for RetrieveBatch { queries, .. } in batches {
        let (first, own) = (all.documents.len(), queries.documents.len());
        for row in queries.masked.chunks(own) {
            all.masked
                .extend((0..news).map(|n| n.checked_sub(first).and_then(|n| row.get(n)).copied().unwrap_or(true)));
        }
        all.targets.extend(queries.targets.iter().map(|target| target + first as i64));
        all.documents.extend(&queries.documents);
        all.queries.extend(&queries.queries);
    }
    RetrieveBatch { tokens, queries: all }
}

#[test]
fn three_micro_batches_of_topics_with_unlabelled_rows_are_one_batch() {
    let (place, file) = topics();
    for method in [JOINT, FROZEN] {
        let plan = plan(&place, &[method, &file, "train.batch=12"]);
        let task = topic(&plan);
        let rows: Vec<u32> = task.epoch(0).into_iter().take(2).flatten().collect();
        let parts = [&rows[..5], &rows[5..6], &rows[6..]].map(|rows| task.batch(0, rows));
        let whole = task.batch(0, &rows);
        let Counts { rows, labelled, .. } = task.counts(&whole);
        assert!(0 < labelled && labelled < rows, "{labelled} of {rows} rows have a label");
        assert_same_step(&plan, &task, &parts, &[whole]);
    }
}

#[test]
fn three_micro_batches_of_readers_with_unlabelled_news_are_one_batch() {
    let (place, file) = readers();
    for method in [JOINT, FROZEN] {
        let plan = plan(&place, &[method, &file]);
        let task = recommend(&plan);
        let parts: Vec<RankBatch> = task.epoch(0).iter().take(3).map(|rows| task.batch(0, rows)).collect();
        let whole = joined_readers(&parts);
        assert!(parts.iter().all(|part| part.tokens.lengths.len() > part.readers.news.len()), "unlabelled news");
        assert_eq!(counts(&task, &parts), task.counts(&whole));
        assert_same_step(&plan, &task, &parts, &[whole]);
    }
}

#[test]
fn three_micro_batches_of_queries_with_unlabelled_news_are_one_batch() {
    let (place, file) = searches();
    for method in [JOINT, FROZEN] {
        let plan = plan(&place, &[method, &file]);
        let task = retrieve(&plan);
        let parts: Vec<RetrieveBatch> = task.epoch(0).iter().take(3).map(|rows| task.batch(0, rows)).collect();
        let whole = joined_queries(&parts);
        let own = |part: &RetrieveBatch| part.queries.documents.len() + part.queries.queries.len();
        assert!(parts.iter().all(|part| part.tokens.lengths.len() > own(part)), "unlabelled news");
        assert_eq!(counts(&task, &parts), task.counts(&whole));
        assert_same_step(&plan, &task, &parts, &[whole]);
    }
}

#[test]
fn rows_without_a_label_touch_no_term_that_needs_one() {
    let (place, file) = topics();
    let own = plan(&place, &[LABELLED, &file]);
    // Such a method leaves the file out; the rows come from a plan of one that does not.
    assert!(own.resolved.data.unlabelled.is_none());
    let task = topic(&plan(&place, &[JOINT, &file]));
    let rows: Vec<u32> = task.epoch(0).into_iter().flatten().collect();
    let labels = |rows: &[u32]| Vec::<i64>::try_from(task.labels(&task.batch(0, rows))).unwrap();
    let with: Vec<u32> = rows.iter().copied().filter(|&row| labels(&[row]) != [IGNORE]).collect();
    assert_eq!((rows.len(), with.len()), (crate::commands::place::TRAIN_ROWS + crate::commands::place::DEV_ROWS, 48));
    assert_same_step(&own, &task, &[task.batch(0, &rows)], &[task.batch(0, &with)]);

    let (place, file) = readers();
    let own = plan(&place, &[LABELLED, &file]);
    let task = recommend(&plan(&place, &[JOINT, &file]));
    let batch = task.batch(0, &task.epoch(0)[0]);
    let alone = RankBatch { tokens: texts(&batch.tokens, 0..batch.readers.news.len()), ..batch.clone() };
    assert!(alone.tokens.lengths.len() < batch.tokens.lengths.len());
    assert_same_step(&own, &task, &[batch], &[alone]);

    let (place, file) = searches();
    let own = plan(&place, &[LABELLED, &file]);
    let task = retrieve(&plan(&place, &[JOINT, &file]));
    let batch = task.batch(0, &task.epoch(0)[0]);
    let labelled = batch.queries.documents.len() + batch.queries.queries.len();
    let alone = RetrieveBatch { tokens: texts(&batch.tokens, 0..labelled), ..batch.clone() };
    assert!(labelled < batch.tokens.lengths.len());
    assert_same_step(&own, &task, &[batch], &[alone]);
}

/// A micro-batch in which no row has a label is still a step.
#[test]
fn a_batch_without_any_label_has_hard_terms_of_zero() {
    let (place, file) = topics();
    let plan = plan(&place, &[JOINT, &file]);
    let task = topic(&plan);
    let first = crate::commands::place::TRAIN_ROWS as u32; // unlabelled rows are numbered behind the others
    let batch = task.batch(0, &[first, first + 3, first + 4]);
    assert_eq!(task.counts(&batch).labelled, 0);
    let models = models(&plan, &task, 1);
    let (terms, gradients) = added_up(&plan, &task, &models, &[batch]);
    for (term, value) in plan.method.terms().zip(terms) {
        assert_eq!(value == 0.0, term.kind.needs_label(), "{:?} is {value}", term.kind);
    }
    assert!(gradients.iter().all(|(_, gradient)| crate::support::largest(gradient).is_finite()));
}

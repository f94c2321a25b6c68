//! Recommendation and retrieval: differences that must not change a step, and the gradient of the learned vector for
//! readers without a history.

use nb_data::TokenBatch;
use nb_data::behaviors::{Behaviors, ClickedBefore, Draw, ReaderBatch, Sample};
use nb_data::beir::{Judged, Qrels, QueryBatch, ReadReport};
use nb_model::{AttentivePooling, BertConfig, Pooling, Precision, Reader};
use nb_share::{Shared, Sharing};
use nb_train::method::{Method, TermKind};
use nb_train::model::Models;
use nb_train::optim::ParamGroup;
use nb_train::step::{MicroBatch, Telemetry};
use nb_train::task::{
    HeadPair, Objective, RecommendBatch, RecommendHead, RecommendObjective, RetrieveBatch, RetrieveHead,
    RetrieveObjective, TaskHead, VectorHead,
};
use tch::{Device, Tensor};

use super::repeat::assert_repeats;
use crate::support::{
    FIRST, StepSums, context, max_abs, model_pair_with, preset, random_sentences, randomise, read_behaviors,
    select_texts, small_bert, stepper, student, teacher, with_dropout, zero_gradients,
};

/// The objectives on the CPU.
const RECOMMEND: RecommendObjective = RecommendObjective { device: Device::Cpu, unlabelled_store: 0 };
const RETRIEVE: RetrieveObjective = RetrieveObjective { device: Device::Cpu, unlabelled_store: 0 };

/// Size of the pooling query.
const QUERY: i64 = 12;
/// Attention heads of the reader model: without attention, and two.
const HEADS: [Option<i64>; 2] = [None, Some(2)];

/// Readers of ten articles. One has no history, one read an article twice, one clicks an article of their history.
const BEHAVIORS: &str = "\
1\tU\tt\tN0 N1 N2\tN3-1 N4-0 N5-0 N6-0\n\
2\tU\tt\tN3 N1 N3\tN0-1 N4-0 N9-0\n\
3\tU\tt\t\tN7-1 N0-0 N5-0\n\
4\tU\tt\tN8 N7\tN6-0 N8-1 N2-1 N1-0\n\
5\tU\tt\tN2\tN9-1 N8-0\n\
";

/// Impressions and the texts of their articles.
struct Data {
    behaviors: Behaviors,
    articles: TokenBatch,
}

impl Data {
    fn new(lines: &str) -> Self {
        let ids: Vec<String> = (0..10).map(|n| format!("N{n}")).collect();
        Self {
            behaviors: read_behaviors(lines, &ids),
            articles: random_sentences(&[9, 4, 20, 12, 4, 15, 7, 3, 11, 18], 30, 1, 31).tokens,
        }
    }

    fn samples(&self) -> Vec<Sample> {
        self.behaviors.samples(&(0..self.behaviors.len() as u32).collect::<Vec<_>>()).samples
    }

    fn batch(&self, samples: &[Sample]) -> RecommendBatch {
        let draw = Draw { negatives: 3, seed: 1, epoch: 0, clicked_before: ClickedBefore::Keep };
        let length = |article: u32| self.articles.lengths[article as usize] as usize;
        self.encoded(ReaderBatch::new(&self.behaviors, samples, &draw, length))
    }

    /// Returns readers with the tokens of their articles.
    fn encoded(&self, readers: ReaderBatch) -> RecommendBatch {
        RecommendBatch { tokens: tokens(&self.articles, &readers.news), readers }
    }
}

fn tokens(texts: &TokenBatch, rows: &[u32]) -> TokenBatch {
    select_texts(texts, &rows.iter().map(|&row| row as usize).collect::<Vec<_>>())
}

fn pooling(config: &BertConfig) -> Shared<Pooling> {
    Shared::new(Sharing::Shared, || {
        let pooling = AttentivePooling::zeros(config.hidden_size, QUERY, Device::Cpu);
        randomise(pooling.arena(), 41);
        pooling.into()
    })
}

fn recommenders(config: &BertConfig, heads: Option<i64>) -> Models<RecommendHead> {
    let pooling = pooling(config);
    let reader = Shared::new(Sharing::Shared, || {
        let reader = Reader::with_query(config.hidden_size, QUERY, heads, Device::Cpu);
        reader.arenas().iter().zip(42..).for_each(|(arena, seed)| randomise(arena, seed));
        reader
    });
    let heads = HeadPair {
        teacher: RecommendHead { vector: VectorHead::dot(pooling.teacher), reader: reader.teacher },
        student: RecommendHead { vector: VectorHead::dot(pooling.student), reader: reader.student },
    };
    model_pair_with(config, Precision::F32, heads)
}

fn retrievers(config: &BertConfig) -> Models<RetrieveHead> {
    let pooling = pooling(config);
    let heads = HeadPair {
        teacher: RetrieveHead { vector: VectorHead::dot(pooling.teacher) },
        student: RetrieveHead { vector: VectorHead::dot(pooling.student) },
    };
    model_pair_with(config, Precision::F32, heads)
}

/// Returns NewsBERT with only the terms over readers. The others are means over distinct articles, which repetitions
/// would change.
fn terms_over_readers() -> Method {
    let mut method = preset("newsbert");
    method.stages[0].terms.retain(|term| matches!(term.kind, TermKind::Teacher | TermKind::Soft | TermKind::Hard));
    assert_eq!(method.terms().count(), 3);
    method
}

#[test]
fn encoding_each_article_once_equals_encoding_every_mention() {
    let data = Data::new(BEHAVIORS);
    let batch = data.batch(&data.samples());
    let repeated = data.encoded(batch.readers.repeated());
    let mentions = batch.readers.history.len() + batch.readers.candidates.len();
    assert_eq!((batch.tokens.lengths.len(), repeated.tokens.lengths.len()), (10, mentions));
    for heads in HEADS {
        let models = recommenders(&small_bert(16, 4), heads);
        let once = StepSums::of(terms_over_readers(), &RECOMMEND, &models, std::slice::from_ref(&batch));
        let every = StepSums::of(terms_over_readers(), &RECOMMEND, &models, std::slice::from_ref(&repeated));
        once.assert_close_to(&every);
    }
}

/// The negatives of a click do not depend on its batch, so the terms over readers do not either.
#[test]
fn micro_batches_of_readers_equal_one_batch() {
    let data = Data::new(BEHAVIORS);
    let samples = data.samples();
    assert_eq!(samples.len(), 6);
    for heads in HEADS {
        let models = recommenders(&small_bert(16, 4), heads);
        let sums = |batches: &[RecommendBatch]| StepSums::of(terms_over_readers(), &RECOMMEND, &models, batches);
        let expected = sums(&[data.batch(&samples)]);
        let parts = [data.batch(&samples[..2]), data.batch(&samples[2..])];
        sums(&parts).assert_close_to(&expected);
        let single: Vec<RecommendBatch> = samples.chunks(1).map(|sample| data.batch(sample)).collect();
        sums(&single).assert_close_to(&expected);
    }
}

/// Fails unless a step of NewsBERT reports the sums of the terms of its micro-batches.
#[track_caller]
fn assert_reports<K: Objective>(task: &K, mut models: Models<K::Head>, batches: &[K::Batch]) {
    let StepSums { terms, .. } = StepSums::of(preset("newsbert"), task, &models, batches);
    zero_gradients(&models);
    let head = student(&models).head.arenas().into_iter();
    let arenas = [teacher(&models).arena(), student(&models).arena()].into_iter().chain(head);
    let mut groups: Vec<ParamGroup> = arenas.map(|arena| ParamGroup::new(arena, 1e-3)).collect();
    let stepped =
        stepper(preset("newsbert")).step(task, &mut models, &mut groups, batches, FIRST, Telemetry::Terms).unwrap();
    let report = stepped.read();
    assert_eq!(report.not_finite(), None);
    assert_eq!(report.terms.len(), terms.len());
    for ((kind, found), expected) in report.terms.iter().zip(terms) {
        assert!(expected > 0.0 && (found - expected).abs() <= 1e-12 * expected, "{kind:?}: {found}, not {expected}");
    }
}

#[test]
fn a_step_reports_the_sums_over_its_micro_batches() {
    let data = Data::new(BEHAVIORS);
    let samples = data.samples();
    for heads in HEADS {
        let batches = [data.batch(&samples[..2]), data.batch(&samples[2..])];
        assert_reports(&RECOMMEND, recommenders(&small_bert(16, 4), heads), &batches);
    }
    let searchable = Searchable::new(30);
    let batches = [searchable.batch(0..20), searchable.batch(20..30)];
    assert_reports(&RETRIEVE, retrievers(&small_bert(16, 4)), &batches);
}

/// Number of articles that are searched.
const DOCUMENTS: u32 = 20;

/// Judged queries, and the texts: articles first, then queries.
struct Searchable {
    qrels: Qrels,
    texts: TokenBatch,
}

impl Searchable {
    /// Returns queries that have one or two relevant articles each.
    fn new(queries: u32) -> Self {
        let judged = |query: u32| {
            let relevant: Vec<(u32, u32)> = (0..1 + query % 2).map(|n| ((query * 7 + n) % DOCUMENTS, 1)).collect();
            Judged { query, relevant, negatives: vec![(query * 7 + 5) % DOCUMENTS], missing: Vec::new() }
        };
        let qrels = Qrels { queries: (0..queries).map(judged).collect(), report: ReadReport::default() };
        let length = |i: i64| if i < i64::from(DOCUMENTS) { 6 + 7 * i % 15 } else { 3 + i % 5 };
        let lengths: Vec<i64> = (0..i64::from(DOCUMENTS + queries)).map(length).collect();
        Self { qrels, texts: random_sentences(&lengths, 30, 1, 32).tokens }
    }

    /// Returns the batch of some queries with all their relevant articles and one judged negative each.
    fn batch(&self, queries: std::ops::Range<u32>) -> RetrieveBatch {
        let pairs = self.qrels.pairs(&queries.collect::<Vec<_>>());
        let length = |article: u32| self.texts.lengths[article as usize] as usize;
        let queries = QueryBatch::new(&self.qrels, &pairs, 1, 0, 0, length);
        assert!(queries.masked.contains(&true), "a query with another relevant article");
        let query_rows: Vec<u32> = queries.queries.iter().map(|query| DOCUMENTS + query).collect();
        let mut all = tokens(&self.texts, &queries.documents);
        all.append(tokens(&self.texts, &query_rows));
        RetrieveBatch { tokens: all, queries }
    }
}

/// Returns the gradients of a step with dropout: one tensor per encoder and one for the top layers.
fn step_gradients<K: Objective>(task: &K, models: &Models<K::Head>, batch: &K::Batch) -> Vec<Tensor> {
    zero_gradients(models);
    let micro_batch = MicroBatch { batch, texts: &task.packed(batch), number: 5 };
    stepper(preset("newsbert")).forward_backward(task, models, &micro_batch, &context(task.counts(batch)));
    let head: Vec<Tensor> = student(models).head.arenas().iter().map(|arena| arena.grads().copy()).collect();
    vec![teacher(models).arena().grads().copy(), student(models).arena().grads().copy(), Tensor::cat(&head, 0)]
}

#[test]
fn a_step_of_a_ranking_task_is_reproducible() {
    let config = with_dropout(small_bert(32, 4));
    // Repeated readers: many of them add to the gradient of each article.
    let data = Data::new(&BEHAVIORS.repeat(12));
    let batch = data.batch(&data.samples());
    let repeated = data.encoded(batch.readers.repeated()); // enough tokens for both threads
    for heads in HEADS {
        let models = recommenders(&config, heads);
        for batch in [&batch, &repeated] {
            assert_repeats(|| step_gradients(&RECOMMEND, &models, batch));
        }
    }
    let (models, batch) = (retrievers(&config), Searchable::new(60).batch(0..60));
    assert_repeats(|| step_gradients(&RETRIEVE, &models, &batch));
}

#[test]
fn the_learned_vector_gets_a_gradient_only_from_readers_without_a_history() {
    let cold = Data::new("1\tU\tt\t\tN7-1 N0-0 N5-0\n2\tU\tt\t\tN3-1 N1-0\n");
    let warm = Data::new("1\tU\tt\tN2\tN7-1 N0-0 N5-0\n2\tU\tt\tN4 N6\tN3-1 N1-0\n");
    for heads in HEADS {
        let models = recommenders(&small_bert(16, 4), heads);
        for kind in [TermKind::Teacher, TermKind::Soft, TermKind::Hard] {
            let mut method = preset("newsbert");
            method.stages[0].terms.retain(|term| term.kind == kind);
            let largest_of = |data: &Data, part: &str| {
                let sums = StepSums::of(method.clone(), &RECOMMEND, &models, &[data.batch(&data.samples())]);
                let of_part = sums.gradients.iter().filter(|(name, _)| name.starts_with(part));
                of_part.map(|(_, gradient)| max_abs(gradient)).fold(0.0, f64::max)
            };
            assert!(largest_of(&cold, "head.reader.cold") > 0.0, "{kind:?}");
            for part in ["head.reader.proj", "head.reader.query", "head.reader.attention"] {
                assert_eq!(largest_of(&cold, part), 0.0, "{kind:?}, {part}: nothing is pooled");
            }
            assert_eq!(largest_of(&warm, "head.reader.cold"), 0.0, "{kind:?}");
            assert!(largest_of(&warm, "head.reader.proj") > 0.0, "{kind:?}");
        }
    }
}

//! Recommendation and retrieval: what must not change a step, and what reaches the learned vector of a reader without a
//! history.

use nb_data::behaviors::{BehaviorSource, Behaviors, ClickRule, ClickedBefore, Draw, ReaderBatch, Sample};
use nb_data::beir::{Judged, Qrels, QueryBatch, ReadReport};
use nb_data::{IdIndex, TokenBatch};
use nb_model::{AttentivePooling, BertConfig, Precision, Reader};
use nb_share::{Shared, Sharing};
use nb_train::adamw::Group;
use nb_train::method::{Method, TermKind};
use nb_train::models::Models;
use nb_train::task::{Layers, Objective, RankBatch, RecommendTop, RetrieveBatch, RetrieveTop, Tops};
use nb_train::watch::Watch;
use tch::{Device, Tensor};

use super::repeat::assert_repeats;
use crate::conformance::cases::{Readers, Searches};
use crate::support::{
    Batch, FIRST, assert_close, context, gradients, largest, pair_under, part, preset, randomise, small, stepper,
    student, teacher, zero_gradients,
};

/// Width of the queries of pooling.
const QUERY: i64 = 12;
/// Heads of the reader model: none, and two.
const HEADS: [Option<i64>; 2] = [None, Some(2)];

/// Readers of ten news. One has no history, one read a news twice, one clicks what they read before.
const BEHAVIORS: &str = "\
1\tU\tt\tN0 N1 N2\tN3-1 N4-0 N5-0 N6-0\n\
2\tU\tt\tN3 N1 N3\tN0-1 N4-0 N9-0\n\
3\tU\tt\t\tN7-1 N0-0 N5-0\n\
4\tU\tt\tN8 N7\tN6-0 N8-1 N2-1 N1-0\n\
5\tU\tt\tN2\tN9-1 N8-0\n\
";

/// Impressions and the texts of their news.
struct Data {
    behaviors: Behaviors,
    news: Batch,
}

impl Data {
    fn new(lines: &str) -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), lines).unwrap();
        let names: Vec<String> = (0..10).map(|n| format!("N{n}")).collect();
        let ids = IdIndex::new(names.iter().map(|name| Some(name.as_str())));
        let source = BehaviorSource {
            path: file.path().to_owned(),
            history: 50,
            clicks: ClickRule::Required,
            allowed_unusable: 0.0,
        };
        let behaviors = Behaviors::read(&source, &ids).unwrap();
        Self { behaviors, news: Batch::random(&[9, 4, 20, 12, 4, 15, 7, 3, 11, 18], 30, 1, 31) }
    }

    fn samples(&self) -> Vec<Sample> {
        self.behaviors.samples(&(0..self.behaviors.len() as u32).collect::<Vec<_>>()).samples
    }

    fn batch(&self, samples: &[Sample]) -> RankBatch {
        let draw = Draw { negatives: 3, seed: 1, epoch: 0, clicked_before: ClickedBefore::Keep };
        let length = |news: u32| self.news.lengths[news as usize] as usize;
        self.encoded(ReaderBatch::new(&self.behaviors, samples, &draw, length))
    }

    /// Readers with the tokens of the news that they count.
    fn encoded(&self, readers: ReaderBatch) -> RankBatch {
        RankBatch { tokens: tokens(&self.news, &readers.news), readers }
    }
}

fn tokens(texts: &Batch, rows: &[u32]) -> TokenBatch {
    let Batch { ids, segments, lengths, .. } = texts.select(&rows.iter().map(|&row| row as usize).collect::<Vec<_>>());
    TokenBatch { rows: rows.to_vec(), ids, segments, lengths }
}

fn pooling(config: &BertConfig) -> Shared<AttentivePooling> {
    Shared::new(Sharing::One, || {
        let pooling = AttentivePooling::zeros(config.hidden_size, QUERY, Device::Cpu);
        randomise(pooling.arena(), 41);
        pooling
    })
}

fn recommenders(config: &BertConfig, heads: Option<i64>) -> Models<RecommendTop> {
    let pooling = pooling(config);
    let reader = Shared::new(Sharing::One, || {
        let reader = Reader::with_query(config.hidden_size, QUERY, heads, Device::Cpu);
        reader.arenas().iter().zip(42..).for_each(|(arena, seed)| randomise(arena, seed));
        reader
    });
    let tops = Tops {
        teacher: RecommendTop { pooling: pooling.teacher, reader: reader.teacher },
        student: RecommendTop { pooling: pooling.student, reader: reader.student },
    };
    pair_under(config, Precision::F32, tops)
}

fn retrievers(config: &BertConfig) -> Models<RetrieveTop> {
    let pooling = pooling(config);
    let tops =
        Tops { teacher: RetrieveTop { pooling: pooling.teacher }, student: RetrieveTop { pooling: pooling.student } };
    pair_under(config, Precision::F32, tops)
}

/// NewsBERT with the terms over readers alone. The others are means over distinct news, of which repeats make more.
fn terms_over_readers() -> Method {
    let mut method = preset("newsbert");
    method.stages[0].terms.retain(|term| matches!(term.kind, TermKind::Teacher | TermKind::Soft | TermKind::Hard));
    assert_eq!(method.terms().count(), 3);
    method
}

/// The terms and the gradients of micro-batches, added up.
fn added_up<K: Objective>(task: &K, models: &Models<K::Top>, method: Method, batches: &[K::Batch]) -> Added {
    zero_gradients(models);
    let stepper = stepper(method);
    let counts = batches.iter().map(|batch| task.counts(batch)).reduce(std::ops::Add::add).unwrap();
    let mut terms = vec![0.0; stepper.method.terms().count()];
    for batch in batches {
        let values = part(&stepper, task, models, batch, counts);
        terms.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
    }
    Added { terms, gradients: gradients(models) }
}

struct Added {
    terms: Vec<f64>,
    gradients: Vec<(String, Tensor)>,
}

#[track_caller]
fn assert_same(found: &Added, expected: &Added) {
    for (found, expected) in found.terms.iter().zip(&expected.terms) {
        assert!(*expected > 0.0 && (found - expected).abs() <= 1e-5 * expected, "{found} against {expected}");
    }
    assert_close(&found.gradients, &expected.gradients, 1e-5);
}

#[test]
fn encoding_each_news_once_is_encoding_every_mention() {
    let data = Data::new(BEHAVIORS);
    let batch = data.batch(&data.samples());
    let repeated = data.encoded(batch.readers.repeated());
    let mentions = batch.readers.history.len() + batch.readers.candidates.len();
    assert_eq!((batch.tokens.lengths.len(), repeated.tokens.lengths.len()), (10, mentions));
    for heads in HEADS {
        let models = recommenders(&small(16, 4), heads);
        let once = added_up(&Readers, &models, terms_over_readers(), std::slice::from_ref(&batch));
        let each = added_up(&Readers, &models, terms_over_readers(), std::slice::from_ref(&repeated));
        assert_same(&once, &each);
    }
}

/// The negatives of a click do not depend on its batch, so that the terms over readers do not either.
#[test]
fn two_micro_batches_of_readers_are_one_batch() {
    let data = Data::new(BEHAVIORS);
    let samples = data.samples();
    assert_eq!(samples.len(), 6);
    for heads in HEADS {
        let models = recommenders(&small(16, 4), heads);
        let whole = added_up(&Readers, &models, terms_over_readers(), &[data.batch(&samples)]);
        let parts = [data.batch(&samples[..2]), data.batch(&samples[2..])];
        assert_same(&added_up(&Readers, &models, terms_over_readers(), &parts), &whole);
        let alone: Vec<RankBatch> = samples.chunks(1).map(|one| data.batch(one)).collect();
        assert_same(&added_up(&Readers, &models, terms_over_readers(), &alone), &whole);
    }
}

/// Fails unless a step of NewsBERT reports the sums of its micro-batches' terms, each over the counts of all of them.
#[track_caller]
fn assert_reports<K: Objective>(task: &K, mut models: Models<K::Top>, batches: &[K::Batch]) {
    let Added { terms, .. } = added_up(task, &models, preset("newsbert"), batches);
    zero_gradients(&models);
    let top = student(&models).top.arenas().into_iter();
    let arenas = [teacher(&models).arena(), student(&models).arena()].into_iter().chain(top);
    let mut groups: Vec<Group> = arenas.map(|arena| Group::new(arena, 1e-3)).collect();
    let stepped =
        stepper(preset("newsbert")).step((task, &mut models), &mut groups, batches, (FIRST, Watch::Terms)).unwrap();
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
        assert_reports(&Readers, recommenders(&small(16, 4), heads), &batches);
    }
    let searches = searches(30);
    assert_reports(&Searches, retrievers(&small(16, 4)), &[search(&searches, 0..20), search(&searches, 20..30)]);
}

/// Judged queries over 20 news, each with one or two relevant ones, and the texts: news first, then queries.
fn searches(queries: u32) -> (Qrels, Batch) {
    let judged = |query: u32| {
        let relevant: Vec<(u32, u32)> = (0..1 + query % 2).map(|n| ((query * 7 + n) % 20, 1)).collect();
        Judged { query, relevant, negatives: vec![(query * 7 + 5) % 20], missing: Vec::new() }
    };
    let qrels = Qrels { queries: (0..queries).map(judged).collect(), report: ReadReport::default() };
    let lengths: Vec<i64> =
        (0..20 + i64::from(queries)).map(|i| if i < 20 { 6 + 7 * i % 15 } else { 3 + i % 5 }).collect();
    (qrels, Batch::random(&lengths, 30, 1, 32))
}

/// The batch of some queries with all their relevant news and a given negative each.
fn search((qrels, texts): &(Qrels, Batch), queries: std::ops::Range<u32>) -> RetrieveBatch {
    let pairs = qrels.pairs(&queries.collect::<Vec<_>>());
    let queries = QueryBatch::new(qrels, &pairs, 1, 0, 0, |news| texts.lengths[news as usize] as usize);
    assert!(queries.masked.contains(&true), "a query with another relevant news");
    let mut all = tokens(texts, &queries.documents);
    all.append(tokens(texts, &queries.queries.iter().map(|query| 20 + query).collect::<Vec<_>>()));
    RetrieveBatch { tokens: all, queries }
}

/// Every gradient of a step with dropout, in one tensor for each encoder and one for the top layers.
fn step_gradients<K: Objective>(task: &K, models: &Models<K::Top>, batch: &K::Batch) -> Vec<Tensor> {
    zero_gradients(models);
    stepper(preset("newsbert")).micro_batch(
        task,
        models,
        (batch, &task.packed(batch)),
        (&context(task.counts(batch)), 5),
    );
    let top: Vec<Tensor> = student(models).top.arenas().iter().map(|arena| arena.grads().copy()).collect();
    vec![teacher(models).arena().grads().copy(), student(models).arena().grads().copy(), Tensor::cat(&top, 0)]
}

#[test]
fn a_step_of_rankings_repeats() {
    let mut config = small(32, 4);
    (config.hidden_dropout_prob, config.attention_probs_dropout_prob) = (0.1, 0.1);
    // The same readers again and again: each news is added to by many of them.
    let data = Data::new(&BEHAVIORS.repeat(12));
    let batch = data.batch(&data.samples());
    let repeated = data.encoded(batch.readers.repeated()); // tokens for both threads
    for heads in HEADS {
        let models = recommenders(&config, heads);
        for batch in [&batch, &repeated] {
            assert_repeats(|| step_gradients(&Readers, &models, batch));
        }
    }
    let (models, batch) = (retrievers(&config), search(&searches(60), 0..60));
    assert_repeats(|| step_gradients(&Searches, &models, &batch));
}

#[test]
fn readers_without_a_history_train_the_learned_vector_alone() {
    let cold = Data::new("1\tU\tt\t\tN7-1 N0-0 N5-0\n2\tU\tt\t\tN3-1 N1-0\n");
    let warm = Data::new("1\tU\tt\tN2\tN7-1 N0-0 N5-0\n2\tU\tt\tN4 N6\tN3-1 N1-0\n");
    for heads in HEADS {
        let models = recommenders(&small(16, 4), heads);
        for kind in [TermKind::Teacher, TermKind::Soft, TermKind::Hard] {
            let mut method = preset("newsbert");
            method.stages[0].terms.retain(|term| term.kind == kind);
            let largest_of = |data: &Data, part: &str| {
                let added = added_up(&Readers, &models, method.clone(), &[data.batch(&data.samples())]);
                let own = added.gradients.iter().filter(|(name, _)| name.starts_with(part));
                own.map(|(_, gradient)| largest(gradient)).fold(0.0, f64::max)
            };
            assert!(largest_of(&cold, "head.reader.cold") > 0.0, "{kind:?}");
            for part in ["head.reader.proj", "head.reader.query", "head.reader.attention"] {
                assert_eq!(largest_of(&cold, part), 0.0, "{kind:?}, {part}: there is nothing to pool");
            }
            assert_eq!(largest_of(&warm, "head.reader.cold"), 0.0, "{kind:?}");
            assert!(largest_of(&warm, "head.reader.proj") > 0.0, "{kind:?}");
        }
    }
}

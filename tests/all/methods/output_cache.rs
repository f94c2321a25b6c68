//! The cache of frozen teachers' outputs: a step with cached outputs equals a step that computes them, and damaged files are
//! recreated.

use std::path::{Path, PathBuf};

use nb_model::Bert;
use nb_train::model::{CachedEncoder, EncoderOutput, Models, OutputCache, cacheable_outputs};
use nb_train::plan::Plan;
use nb_train::task::{Task, Topic};
use tch::{Kind, Tensor};

use super::tasks::{self, Corpus, models, recommend, retrieve, topic};
use crate::commands::place::Place;
use crate::support::{assert_close, gradients, step_terms, stepper, zero_gradients};

/// Every term with a cacheable teacher output, for several teachers.
const METHOD: &str = "method={teacher: frozen, temperature: 2, patience: last, ensemble: loss, weights: {embedding: 1, \
                      hidden: 1, pooled: 1, patience: 1, cosine: 1, vector: 1, vector_cosine: 1, similarity: 1, \
                      similarity_kl: 1, soft: 1, divergence: 1, hard: 1}}";
const TEACHERS: u64 = 2;

/// Caches the outputs of the teachers for all texts of the task in the folder `cache`.
fn cache_outputs<K: Task>(
    plan: &Plan,
    task: &K,
    models: &Models<K::Head>,
    cache: &Path,
    states: Kind,
) -> Vec<OutputCache> {
    let all = cacheable_outputs(&plan.method, &plan.teacher_config, plan.student_layers).expect("no term needs scores");
    let teachers = models.teacher.iter().chain(&models.extra_teachers).enumerate();
    let open = |(i, model): (usize, &nb_train::model::Model<K::Head>)| {
        let teacher = CachedEncoder { bert: &model.bert, key: &format!("teacher {i}"), cache, state_kind: states };
        let outputs = if i == 0 { all.clone() } else { vec![EncoderOutput::Pooled] };
        OutputCache::open(&teacher, &outputs, &task.stores(), |states, packed| task.pooled(&model.head, states, packed))
            .unwrap()
    };
    teachers.map(open).collect()
}

/// The terms of some steps in order, and the sums of their gradients.
struct Steps {
    terms: Vec<f64>,
    gradients: Vec<(String, Tensor)>,
}

/// Runs forward and backward of the first three batches of an epoch.
fn steps<K: Task>(plan: &Plan, task: &K, models: &Models<K::Head>) -> Steps {
    zero_gradients(models);
    let stepper = stepper(plan.method.clone());
    let batches = task.epoch(0).into_iter().take(3);
    let terms = batches.flat_map(|rows| step_terms(&stepper, task, models, &task.batch(0, &rows))).collect();
    Steps { terms, gradients: gradients(models) }
}

#[track_caller]
fn assert_cached_equals_computed<K: Task>(plan: &Plan, task: &K, cache: &Path) {
    assert!(task.stores().len() > 1, "unlabelled texts have their own store");
    let mut models = models(plan, task, TEACHERS);
    let expected = steps(plan, task, &models);
    // In f32, the tolerance of the conformance tests: cached outputs come from different batches, whose sums have a different
    // order.
    for (states, tolerance) in [(Kind::Float, 1e-5), (Kind::BFloat16, 2e-2)] {
        // The second round reads the files of the first.
        for round in ["computed", "read"] {
            models.teacher_caches = cache_outputs(plan, task, &models, cache, states);
            let found = steps(plan, task, &models);
            for (found, expected) in found.terms.iter().zip(&expected.terms) {
                assert!(
                    (found - expected).abs() <= tolerance * expected.abs(),
                    "{states:?}, {round}: {found}, {expected}"
                );
            }
            assert_close(&found.gradients, &expected.gradients, tolerance);
        }
    }
}

#[test]
fn a_step_with_cached_outputs_equals_one_that_computes_them() {
    let corpus = Corpus::topics();
    let plan = corpus.plan(&[METHOD]);
    assert_cached_equals_computed(&plan, &topic(&plan), &corpus.place.path("outputs"));
    let corpus = Corpus::readers();
    let plan = corpus.plan(&[METHOD]);
    assert_cached_equals_computed(&plan, &recommend(&plan), &corpus.place.path("outputs"));
    let corpus = Corpus::searches();
    let plan = corpus.plan(&[METHOD]);
    assert_cached_equals_computed(&plan, &retrieve(&plan), &corpus.place.path("outputs"));
}

#[test]
fn a_narrower_student_can_use_cached_outputs() {
    let corpus = Corpus::topics();
    let plan = corpus.plan(&[METHOD, "student={layers: 2, hidden: 8, heads: 2, init: random}"]);
    assert_cached_equals_computed(&plan, &topic(&plan), &corpus.place.path("outputs"));
}

/// A teacher whose pooled vectors and second hidden state are cached.
struct CachedTeacher {
    place: Place,
    task: Topic,
    bert: Bert,
}

impl CachedTeacher {
    fn new() -> Self {
        let place = Place::new();
        let plan = tasks::plan(&place, &[METHOD]);
        let task = topic(&plan);
        let bert = models(&plan, &task, 1).teacher.unwrap().bert;
        Self { place, task, bert }
    }

    fn open(&self, key: &str) -> anyhow::Result<OutputCache> {
        let teacher =
            CachedEncoder { bert: &self.bert, key, cache: &self.place.path("outputs"), state_kind: Kind::Float };
        let pool = |states: &Tensor, packed: &nb_model::Packed| nb_model::cls_pooling(states, packed);
        OutputCache::open(&teacher, &[EncoderOutput::Pooled, EncoderOutput::State(2)], &self.task.stores(), pool)
    }

    /// Returns the files of the cache.
    fn files(&self) -> Vec<PathBuf> {
        let list = |folder: &Path| -> Vec<PathBuf> {
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
        };
        let mut files: Vec<_> = list(&self.place.path("outputs")).iter().flat_map(|folder| list(folder)).collect();
        files.sort();
        files
    }
}

#[test]
fn a_damaged_file_is_recreated() {
    let teacher = CachedTeacher::new();
    teacher.open("one").unwrap();
    let files = teacher.files();
    let names: Vec<_> = files.iter().map(|file| file.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["pooled.f32.safetensors", "state-2.f32.safetensors"], "no other file remains");
    for file in &files {
        let intact = std::fs::read(file).unwrap();
        let check = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = intact.clone();
            change(&mut bytes);
            std::fs::write(file, bytes).unwrap();
            teacher.open("one").unwrap();
            assert!(std::fs::read(file).unwrap() == intact, "{}", file.display());
        };
        check(&|bytes| bytes.truncate(bytes.len() - 1));
        check(&|bytes| bytes.push(0));
        check(&|bytes| bytes.truncate(20));
        check(&|bytes| bytes.clear());
        check(&|bytes| bytes[0] ^= 1);
        check(&|bytes| bytes[12] ^= 1);
        std::fs::remove_file(file).unwrap();
        teacher.open("one").unwrap();
        assert!(std::fs::read(file).unwrap() == intact);
        assert_eq!(teacher.files(), files);
    }
}

#[test]
fn an_intact_file_is_read_and_not_rewritten() {
    let teacher = CachedTeacher::new();
    teacher.open("one").unwrap();
    let modified = || -> Vec<_> {
        teacher.files().iter().map(|file| std::fs::metadata(file).unwrap().modified().unwrap()).collect()
    };
    let before = modified();
    teacher.open("one").unwrap();
    assert_eq!(modified(), before);
}

#[test]
fn a_cache_that_cannot_be_written_is_an_error_with_its_path() {
    let teacher = CachedTeacher::new();
    teacher.place.write("outputs", "a file where a folder should be");
    let error = format!("{:#}", teacher.open("one").unwrap_err());
    assert!(error.contains("cannot write to") && error.contains("outputs"), "{error}");
}

#[test]
fn each_teacher_has_its_own_files() {
    let teacher = CachedTeacher::new();
    teacher.open("one").unwrap();
    let first = teacher.files();
    teacher.open("other").unwrap();
    let both = teacher.files();
    assert!(both.len() == 2 * first.len() && first.iter().all(|file| both.contains(file)), "{both:?}");
}

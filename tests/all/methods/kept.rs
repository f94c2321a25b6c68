//! What is kept of frozen teachers on disk: the step is the one that computes it, and what is not whole is made anew.

use std::path::{Path, PathBuf};

use nb_model::Bert;
use nb_train::model::Models;
use nb_train::model::build::cacheable_outputs;
use nb_train::model::teacher_cache::{Output, Source, TeacherCache};
use nb_train::plan::Plan;
use nb_train::task::{Task, Topic};
use tch::{Kind, Tensor};

use super::tasks::{models, plan, readers, recommend, retrieve, searches, topic, topics};
use crate::commands::place::Place;
use crate::support::{assert_close, gradients, step, stepper, zero_gradients};

/// Every term whose teacher's side can be kept, and two teachers.
const METHOD: &str = "method={teacher: frozen, temperature: 2, patience: last, ensemble: loss, weights: {embedding: 1, \
                      hidden: 1, pooled: 1, patience: 1, cosine: 1, soft: 1, divergence: 1, hard: 1}}";
const TEACHERS: u64 = 2;

/// What the teachers make of the task's texts, kept below `cache`.
fn keep<K: Task>(plan: &Plan, task: &K, models: &Models<K::Head>, cache: &Path, states: Kind) -> Vec<TeacherCache> {
    let all = cacheable_outputs(&plan.method, &plan.teacher_config, plan.student_layers).expect("no term needs scores");
    let teachers = models.teacher.iter().chain(&models.extra_teachers).enumerate();
    let one = |(i, model): (usize, &nb_train::model::Model<K::Head>)| {
        let source = Source { bert: &model.bert, key: &format!("teacher {i}"), cache, states };
        let outputs = if i == 0 { all.clone() } else { vec![Output::Pooled] };
        TeacherCache::open(&source, &outputs, &task.stores(), |states, packed| task.pooled(&model.head, states, packed))
            .unwrap()
    };
    teachers.map(one).collect()
}

/// The terms and the gradients of an epoch's first micro-batches.
fn steps<K: Task>(plan: &Plan, task: &K, models: &Models<K::Head>) -> (Vec<f64>, Vec<(String, Tensor)>) {
    zero_gradients(models);
    let stepper = stepper(plan.method.clone());
    let batches = task.epoch(0).into_iter().take(3);
    let terms = batches.flat_map(|rows| step(&stepper, task, models, &task.batch(0, &rows))).collect();
    (terms, gradients(models))
}

#[track_caller]
fn assert_kept_is_computed<K: Task>(plan: &Plan, task: &K, cache: &Path) {
    assert!(task.stores().len() > 1, "unlabelled texts have a store of their own");
    let mut models = models(plan, task, TEACHERS);
    let (expected, gradients) = steps(plan, task, &models);
    // In f32 the tolerance of the conformance test: kept outputs come from batches of another make-up, whose products add up
    // in another order.
    for (states, tolerance) in [(Kind::Float, 1e-5), (Kind::BFloat16, 2e-2)] {
        // The second time they are read.
        for time in ["computed", "read"] {
            models.teacher_caches = keep(plan, task, &models, cache, states);
            let (found, kept) = steps(plan, task, &models);
            for (found, expected) in found.iter().zip(&expected) {
                assert!(
                    (found - expected).abs() <= tolerance * expected.abs(),
                    "{states:?}, {time}: {found}, {expected}"
                );
            }
            assert_close(&kept, &gradients, tolerance);
        }
    }
}

#[test]
fn a_step_with_kept_outputs_is_the_step_that_computes_them() {
    let (place, texts) = topics();
    let own = plan(&place, &[METHOD, &texts]);
    assert_kept_is_computed(&own, &topic(&own), &place.path("kept"));
    let (place, texts) = readers();
    let own = plan(&place, &[METHOD, &texts]);
    assert_kept_is_computed(&own, &recommend(&own), &place.path("kept"));
    let (place, texts) = searches();
    let own = plan(&place, &[METHOD, &texts]);
    assert_kept_is_computed(&own, &retrieve(&own), &place.path("kept"));
}

#[test]
fn a_narrower_student_learns_from_kept_outputs_too() {
    let (place, texts) = topics();
    let own = plan(&place, &[METHOD, &texts, "student={layers: 2, hidden: 8, heads: 2, init: random}"]);
    assert_kept_is_computed(&own, &topic(&own), &place.path("kept"));
}

/// A place with a teacher whose pooled vectors and second state are kept.
struct Keeper {
    place: Place,
    task: Topic,
    bert: Bert,
}

impl Keeper {
    fn new() -> Self {
        let place = Place::new();
        let own = plan(&place, &[METHOD]);
        let task = topic(&own);
        let bert = models(&own, &task, 1).teacher.unwrap().bert;
        Self { place, task, bert }
    }

    fn open(&self, key: &str) -> anyhow::Result<TeacherCache> {
        let source = Source { bert: &self.bert, key, cache: &self.place.path("kept"), states: Kind::Float };
        let pool = |states: &Tensor, packed: &nb_model::Packed| nb_model::cls_pooling(states, packed);
        TeacherCache::open(&source, &[Output::Pooled, Output::State(2)], &self.task.stores(), pool)
    }

    /// Every file that is kept.
    fn files(&self) -> Vec<PathBuf> {
        let list = |folder: &Path| -> Vec<PathBuf> {
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
        };
        let mut files: Vec<_> = list(&self.place.path("kept")).iter().flat_map(|folder| list(folder)).collect();
        files.sort();
        files
    }
}

#[test]
fn a_file_that_is_not_whole_is_made_anew() {
    let keeper = Keeper::new();
    keeper.open("one").unwrap();
    let files = keeper.files();
    let names: Vec<_> = files.iter().map(|file| file.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["pooled.f32.safetensors", "state-2.f32.safetensors"], "nothing else is left");
    for file in &files {
        let whole = std::fs::read(file).unwrap();
        let with = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = whole.clone();
            change(&mut bytes);
            std::fs::write(file, bytes).unwrap();
            keeper.open("one").unwrap();
            assert!(std::fs::read(file).unwrap() == whole, "{}", file.display());
        };
        with(&|bytes| bytes.truncate(bytes.len() - 1));
        with(&|bytes| bytes.push(0));
        with(&|bytes| bytes.truncate(20));
        with(&|bytes| bytes.clear());
        with(&|bytes| bytes[0] ^= 1);
        with(&|bytes| bytes[12] ^= 1);
        std::fs::remove_file(file).unwrap();
        keeper.open("one").unwrap();
        assert!(std::fs::read(file).unwrap() == whole);
        assert_eq!(keeper.files(), files);
    }
}

#[test]
fn a_file_that_is_whole_is_read_and_not_written() {
    let keeper = Keeper::new();
    keeper.open("one").unwrap();
    let written = || -> Vec<_> {
        keeper.files().iter().map(|file| std::fs::metadata(file).unwrap().modified().unwrap()).collect()
    };
    let before = written();
    keeper.open("one").unwrap();
    assert_eq!(written(), before);
}

#[test]
fn what_cannot_be_written_is_an_error_that_names_it() {
    let keeper = Keeper::new();
    keeper.place.write("kept", "a file where a folder should be");
    let error = format!("{:#}", keeper.open("one").unwrap_err());
    assert!(error.contains("cannot write to") && error.contains("kept"), "{error}");
}

#[test]
fn another_teacher_has_files_of_its_own() {
    let keeper = Keeper::new();
    keeper.open("one").unwrap();
    let first = keeper.files();
    keeper.open("other").unwrap();
    let both = keeper.files();
    assert!(both.len() == 2 * first.len() && first.iter().all(|file| both.contains(file)), "{both:?}");
}

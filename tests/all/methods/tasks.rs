//! Tasks over the tiny corpora of the commands' tests, read as a run reads them, and models for them.

use nb_model::{Dense, Precision};
use nb_share::LayerMap;
use nb_train::config;
use nb_train::method::Share;
use nb_train::model::{Model, Models};
use nb_train::plan::{Plan, TaskPlan};
use nb_train::task::{Layers, Recommend, Retrieve, Task, Topic, Widths};
use tch::Device;

use crate::commands::place::Place;
use crate::support::{encoder, randomise};

/// What `nb train` would do with `tiny.yaml` and these `--set`s. Files that they name need absolute paths.
pub(super) fn plan(place: &Place, sets: &[&str]) -> Plan {
    let cache = format!("data.cache={}", place.path("cache").display());
    let sets: Vec<_> = sets.iter().copied().chain([&*cache]).map(|set| set.parse().unwrap()).collect();
    Plan::new(config::read(&place.path("tiny.yaml"), &sets).unwrap()).unwrap_or_else(|e| panic!("{sets:?}: {e:#}"))
}

/// `data.unlabelled`, for a file of the place.
pub(super) fn unlabelled(place: &Place, file: &str) -> String {
    format!("data.unlabelled={}", place.path(file).display())
}

/// A place for each task, with texts without labels.
pub(super) fn topics() -> (Place, String) {
    let place = Place::new();
    let file = unlabelled(&place, "dev.tsv");
    (place, file)
}

/// As [`topics`].
pub(super) fn readers() -> (Place, String) {
    let place = Place::readers();
    let file = unlabelled(&place, "mind/dev/news.tsv");
    (place, file)
}

/// As [`topics`].
pub(super) fn searches() -> (Place, String) {
    let place = Place::searches();
    place.write("more/corpus.jsonl", place.read("beir/corpus.jsonl"));
    let file = unlabelled(&place, "more/corpus.jsonl");
    (place, file)
}

/// The task of a plan.
pub(super) fn topic(plan: &Plan) -> Topic {
    let TaskPlan::Topic(files) = &plan.data.task else { panic!("a plan of another task") };
    Topic::open(plan, files).unwrap()
}

/// As [`topic`].
pub(super) fn recommend(plan: &Plan) -> Recommend {
    let TaskPlan::Recommend(files) = &plan.data.task else { panic!("a plan of another task") };
    Recommend::open(plan, files).unwrap()
}

/// As [`topic`].
pub(super) fn retrieve(plan: &Plan) -> Retrieve {
    let TaskPlan::Retrieve(files) = &plan.data.task else { panic!("a plan of another task") };
    Retrieve::open(plan, files).unwrap()
}

/// That many teachers and a student of a plan's shapes, with weights that depend on nothing but their place, tops of their
/// own and a projection where the widths differ. No dropout.
pub(super) fn models<K: Task>(plan: &Plan, task: &K, teachers: u64) -> Models<K::Head> {
    let model = |config: &nb_model::BertConfig, seed: u64| {
        let mut config = config.clone();
        (config.hidden_dropout_prob, config.attention_probs_dropout_prob) = (0.0, 0.0);
        let widths = Widths { teacher: config.hidden_size, student: config.hidden_size };
        let head = task.heads(widths, Share::NONE, 0, Device::Cpu).teacher;
        head.arenas().into_iter().zip(seed..).for_each(|(arena, seed)| randomise(arena, seed));
        Model { bert: encoder(&config, Precision::F32, seed + 50), head }
    };
    let (own, theirs) = (&plan.student_config, &plan.teacher_config);
    let projection = (own.hidden_size != theirs.hidden_size).then(|| {
        let projection = Dense::named("projection", own.hidden_size, theirs.hidden_size, Device::Cpu);
        randomise(projection.arena(), 7);
        projection
    });
    Models {
        teacher: Some(model(theirs, 100)),
        extra_teachers: (1..teachers).map(|i| model(theirs, 100 + 100 * i)).collect(),
        student: Some(model(own, 10)),
        projection,
        map: LayerMap::uniform(theirs.num_hidden_layers as usize, plan.student_layers).ok(),
        teacher_caches: Vec::new(),
    }
}

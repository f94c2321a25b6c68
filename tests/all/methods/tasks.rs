//! Tasks over the tiny corpora of the command tests, read as a run reads them, and models for them.

use std::collections::BTreeMap;

use nb_model::{Dense, Precision};
use nb_share::LayerMap;
use nb_train::config;
use nb_train::method::Share;
use nb_train::model::{Model, Models};
use nb_train::plan::Plan;
use nb_train::task::{AllTasks, Recommend, Retrieve, Task, TaskHead, TaskList, Topic, Widths};
use tch::Device;

use crate::commands::place::Place;
use crate::support::{encoder, randomise};

/// Returns the plan of `nb train` with `tiny.yaml` and these `--set`s. Files in them need absolute paths.
pub(super) fn plan(place: &Place, sets: &[&str]) -> Plan {
    let cache = format!("data.cache={}", place.path("cache").display());
    let sets: Vec<_> = sets.iter().copied().chain([&*cache]).map(|set| set.parse().unwrap()).collect();
    Plan::new(config::read(&place.path("tiny.yaml"), &sets).unwrap(), AllTasks::KINDS)
        .unwrap_or_else(|e| panic!("{sets:?}: {e:#}"))
}

/// A folder with the corpus of a task, and a setting that adds unlabelled texts.
pub(super) struct Corpus {
    pub(super) place: Place,
    /// The setting `data.unlabelled`.
    pub(super) unlabelled: String,
}

impl Corpus {
    fn new(place: Place, file: &str) -> Self {
        let unlabelled = format!("data.unlabelled={}", place.path(file).display());
        Self { place, unlabelled }
    }

    /// Returns the corpus of topic classification.
    pub(super) fn topics() -> Self {
        Self::new(Place::new(), "dev.tsv")
    }

    /// Returns the corpus of recommendation.
    pub(super) fn readers() -> Self {
        Self::new(Place::readers(), "mind/dev/news.tsv")
    }

    /// Returns the corpus of retrieval.
    pub(super) fn searches() -> Self {
        let place = Place::searches();
        place.write("more/corpus.jsonl", place.read("beir/corpus.jsonl"));
        Self::new(place, "more/corpus.jsonl")
    }

    /// Returns the plan with these `--set`s and with the unlabelled texts.
    pub(super) fn plan(&self, sets: &[&str]) -> Plan {
        plan(&self.place, &[sets, &[&self.unlabelled]].concat())
    }
}

/// Opens the topic task of a plan.
pub(super) fn topic(plan: &Plan) -> Topic {
    Topic::open(plan, plan.data.task.downcast().expect("a plan of this task")).unwrap()
}

/// Opens the recommendation task of a plan.
pub(super) fn recommend(plan: &Plan) -> Recommend {
    Recommend::open(plan, plan.data.task.downcast().expect("a plan of this task")).unwrap()
}

/// Opens the retrieval task of a plan.
pub(super) fn retrieve(plan: &Plan) -> Retrieve {
    Retrieve::open(plan, plan.data.task.downcast().expect("a plan of this task")).unwrap()
}

/// Returns `teachers` teachers and a student with the shapes of a plan: fixed weights, separate top layers, a projection if
/// the widths differ, and no dropout.
pub(super) fn models<K: Task>(plan: &Plan, task: &K, teachers: u64) -> Models<K::Head> {
    let model = |config: &nb_model::BertConfig, seed: u64| {
        let mut config = config.clone();
        (config.hidden_dropout_prob, config.attention_probs_dropout_prob) = (0.0, 0.0);
        let widths = Widths::equal(config.hidden_size);
        let head = task.heads(widths, Share::NONE, 0, Device::Cpu).teacher;
        head.arenas().into_iter().zip(seed..).for_each(|(arena, seed)| randomise(arena, seed));
        Model { bert: encoder(&config, Precision::F32, seed + 50), head }
    };
    let (student, teacher) = (&plan.student_config, &plan.teacher_config);
    let projection = (student.hidden_size != teacher.hidden_size).then(|| {
        let projection = Dense::named("projection", student.hidden_size, teacher.hidden_size, Device::Cpu);
        randomise(projection.arena(), 7);
        projection
    });
    Models {
        teacher: Some(model(teacher, 100)),
        extra_teachers: (1..teachers).map(|i| model(teacher, 100 + 100 * i)).collect(),
        student: Some(model(student, 10)),
        projection,
        map: LayerMap::uniform(teacher.num_hidden_layers as usize, plan.student_layers).ok(),
        teacher_caches: Vec::new(),
        fixed_states: BTreeMap::new(),
    }
}

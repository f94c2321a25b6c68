//! A task that this crate does not have, added as a user would add one: an implementation, and a line in a list.
//!
//! It distinguishes long texts from short ones. The code of the commands plans, trains, saves and loads it.

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Result, ensure};
use nb_data::batch::{cut, order};
use nb_data::read::{Format, LabelRule, Source};
use nb_data::{BatchSize, TokenBatch, TokenStore, Tokenizer};
use nb_dist::ProcessGroup;
use nb_model::{Bert, Capture, Dense, Pass, Precision};
use nb_report::RunRecord;
use nb_train::config::{self, ConfigError, DataConfig, RunConfig};
use nb_train::inference::SavedModel;
use nb_train::method::{Share, TermKind};
use nb_train::model::{CardLabels, CardText, HeadLayers, Model, ModelCard, save_head};
use nb_train::plan::{Dev, Plan, SplitFiles, Splits, TaskKind, TaskPlan};
use nb_train::run::{Outcome, run};
use nb_train::run_folder::Unfinished;
use nb_train::task::{
    Description, HasObjective, HeadPair, Measurements, Metric, Objective, Recommend, Retrieve, SplitName, Task,
    TaskHead, TaskList, TextRef, Topic, TopicBatch, TopicHead, TopicObjective, Widths,
};
use tch::{Device, Kind};

use crate::commands::place::Place;

nb_train::task_list! {
    /// The shipped tasks and the toy.
    WithToy: Topic, Recommend, Retrieve, Length
}

/// Smallest number of tokens of a long text.
const LONG: usize = 7;

#[derive(Debug)]
struct LengthKind;

#[derive(Debug)]
struct LengthPlan {
    splits: Splits<Source>,
}

impl TaskKind for LengthKind {
    fn name(&self) -> &'static str {
        "length"
    }

    fn uses_unlabelled(&self, _: TermKind) -> bool {
        false
    }

    fn plan(&self, config: &RunConfig) -> Result<Arc<dyn TaskPlan>> {
        let path = config.data.train.clone();
        if !path.is_file() {
            return Err(ConfigError::conflict("data.train", path.display(), "there is no such file").into());
        }
        let format = Format::MindNews { fields: vec![nb_data::read::Field::Title] };
        let train = Source { labels: LabelRule::Optional, allowed_unusable: 0.0, ..Source::labelled(path, format) };
        Ok(Arc::new(LengthPlan { splits: Splits { train, dev: Dev::Fraction(0.5), test: None, unlabelled: None } }))
    }
}

impl TaskPlan for LengthPlan {
    fn name(&self) -> &'static str {
        LengthKind.name()
    }

    fn articles(&self) -> &Source {
        &self.splits.train
    }

    fn dev_fraction(&self) -> Option<f64> {
        Some(0.5)
    }

    fn split_files(&self) -> Vec<SplitFiles> {
        self.splits.files(|source| vec![source.path.clone()])
    }

    fn complete(&self, _: &mut DataConfig) {}
}

/// The task with its texts: rows below half are for training, the others for development.
struct Length {
    objective: TopicObjective,
    store: TokenStore,
    tokenizer: Tokenizer,
    card: ModelCard,
    batch: BatchSize,
    seed: u64,
}

impl Length {
    fn half(&self) -> u32 {
        self.store.len() as u32 / 2
    }

    fn label(&self, row: u32) -> i64 {
        i64::from(self.store.length(row as usize) >= LONG)
    }
}

impl HasObjective for Length {
    type Objective = TopicObjective;

    fn objective(&self) -> &TopicObjective {
        &self.objective
    }
}

impl Task for Length {
    type Plan = LengthPlan;

    const KIND: &'static dyn TaskKind = &LengthKind;

    fn open(plan: &Plan, length_plan: &LengthPlan) -> Result<Self> {
        let tokenizer = Tokenizer::from_folder(plan.teacher.tokenizer())?;
        let store =
            TokenStore::open_or_build(&plan.data.cache, &length_plan.splits.train, &tokenizer, plan.data.max_tokens)?;
        let text = CardText { about: "the head tells long texts from short ones.", example: "print(pooled)" };
        Ok(Self {
            objective: TopicObjective::new(plan.device),
            store,
            tokenizer,
            card: ModelCard::new(plan, text),
            batch: plan.train.batch,
            seed: plan.seed,
        })
    }

    fn head_layers(_: &Path, hidden: i64, description: &Description, device: Device) -> Result<HeadLayers> {
        Ok(HeadLayers::Dense(Dense::zeros(hidden, description.labels.len() as i64, device)))
    }

    fn primary_metric(&self) -> &'static str {
        "accuracy"
    }

    fn heads(&self, widths: Widths, _: Share, seed: u64, device: Device) -> HeadPair<TopicHead> {
        let teacher = TopicHead::zeros(widths.teacher, 2, device);
        let mut dense = Dense::zeros(widths.teacher, 2, device);
        dense.randomise(seed);
        let dense = Rc::new(dense);
        let student = TopicHead { pooling: Rc::clone(&teacher.pooling), transform: None, dense: Rc::clone(&dense) };
        HeadPair { teacher: TopicHead { dense, ..teacher }, student }
    }

    fn check_description(&self, description: &Description) -> Result<()> {
        ensure!(description.task == self.name(), "it was trained for {}", description.task);
        Ok(())
    }

    fn stores(&self) -> Vec<&TokenStore> {
        vec![&self.store]
    }

    fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    fn epoch(&self, epoch: u64) -> Vec<Vec<u32>> {
        let rows: Vec<u32> = order(self.half() as usize, self.seed, epoch);
        cut(&rows, |row| self.store.length(row as usize), self.batch)
    }

    fn batch(&self, _: u64, rows: &[u32]) -> TopicBatch {
        TopicBatch {
            tokens: self.store.batch(rows),
            texts: rows.iter().map(|&row| TextRef { store: 0, row }).collect(),
            labels: rows.iter().map(|&row| self.label(row)).collect(),
        }
    }

    fn describe(&self) -> Vec<(&'static str, String)> {
        vec![("texts", self.store.len().to_string())]
    }

    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }

    fn evaluate(&self, model: &Model<TopicHead>, _: SplitName, _: &[f64], _: &ProcessGroup) -> Result<Measurements> {
        let rows: Vec<u32> = (self.half()..self.store.len() as u32).collect();
        let batch = self.batch(0, &rows);
        let packed = self.objective.packed(&batch);
        let classes = tch::no_grad(|| {
            let encoded = model.bert.encode(&packed, Pass::Inference, Capture::Last);
            model.head.forward(encoded.last(), &packed).argmax(-1, false)
        });
        let equal = classes.eq_tensor(&self.objective.labels(&batch)).to_kind(Kind::Double);
        let metrics = vec![Metric::mean("accuracy", &Vec::<f64>::try_from(equal)?)?];
        Ok(Measurements { rows: rows.len(), unit: "articles".into(), metrics, ..Measurements::default() })
    }

    fn has_test(&self) -> bool {
        false
    }

    fn infer(&self, bert: &Bert, head: &TopicHead, batch: &TokenBatch) {
        let packed = self.objective.packed(&TopicBatch { tokens: batch.clone(), ..TopicBatch::default() });
        let encoded = bert.encode(&packed, Pass::Inference, Capture::Last);
        let _ = std::hint::black_box(head.forward(encoded.last(), &packed));
    }

    fn timing_batches(&self) -> Vec<TokenBatch> {
        vec![self.store.batch(&[0, 1, 2])]
    }

    fn save(&self, head: &TopicHead, _: &[f64], folder: &Path) -> Result<()> {
        save_head(folder, &head.arenas())?;
        let names = ["short", "long"].map(str::to_owned);
        self.card.write(folder, CardLabels { names: &names, thresholds: &[] }, &self.tokenizer)
    }
}

fn plan(place: &Place, sets: &[&str]) -> Result<Plan> {
    let output = format!("output={}", place.path("runs/toy").display());
    let cache = format!("data.cache={}", place.path("cache").display());
    let sets: Vec<_> = sets.iter().copied().chain([&*output, &*cache]).map(|set| set.parse().unwrap()).collect();
    Plan::new(config::read(&place.path("tiny.yaml"), &sets)?, WithToy::KINDS)
}

#[test]
fn a_task_of_one_file_and_one_line_is_trained_saved_and_loaded() {
    let place = Place::new();
    let plan = plan(&place, &["task=length", "train.epochs=20", "method.name=newsbert"]).unwrap();
    let (stop, alone) = (Arc::new(AtomicBool::new(false)), Rc::new(ProcessGroup::alone()));
    let Outcome::Finished(result) = run::<WithToy>(&plan, &Unfinished::Refuse, &stop, &alone).unwrap() else {
        panic!("the run did not finish")
    };
    let record = RunRecord::read(&place.path("runs/toy")).unwrap();
    assert_eq!((record.summary.task.as_deref(), record.summary.primary.as_deref()), (Some("length"), Some("accuracy")));
    let scores = &record.summary.student.as_ref().unwrap().dev.scores;
    assert!(scores.metric("accuracy").unwrap() > 0.7, "{scores:?}");
    assert_eq!(scores.rows.as_ref().unwrap().unit, "articles");
    let page = String::from_utf8(place.read("runs/toy/report.html")).unwrap();
    assert!(page.contains("task length") && page.contains("articles)"), "{page}");
    assert!(result.table.contains("accuracy"));
    let card = String::from_utf8(place.read("runs/toy/student/README.md")).unwrap();
    assert!(card.contains("tells long texts from short ones"), "{card}");

    let student = place.path("runs/toy/student");
    let model = SavedModel::load_of::<WithToy>(&student, Device::Cpu, Precision::F32).unwrap();
    assert_eq!(model.labels().unwrap(), ["short", "long"]);
    let unknown = SavedModel::load(&student, Device::Cpu, Precision::F32).unwrap_err().to_string();
    assert!(unknown.contains("task is `length`, expected one of topic, recommend, retrieve"), "{unknown}");
}

#[test]
fn a_task_that_is_not_in_the_list_is_refused_with_the_line_of_its_key() {
    let place = Place::new();
    let error = plan(&place, &["task=topics"]).unwrap_err().to_string();
    assert!(error.contains("task is `topics`, expected one of topic, recommend, retrieve, length"), "{error}");
    let config = String::from_utf8(place.read("tiny.yaml")).unwrap();
    place.write("wrong.yaml", config.replace("task: topic", "task: topics"));
    place.nb(&["plan", "--config", "wrong.yaml"]).failed(&["wrong.yaml:3:1: task is `topics`, expected one of topic"]);
}

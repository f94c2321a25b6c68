//! Opening of the task: from a plan to tokenised texts and learned labels.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::rc::Rc;

use anyhow::{Context, Result, bail};
use nb_checkpoint::LabelKind;
use nb_data::read::{Reason, Skipped, SkippedRow, Source};
use nb_data::{LabelNumbers, Labels, TokenStore};

use super::class_weights::{class_weights, to_tensor};
use super::plan::TopicPlan;
use super::{Topic, TopicObjective, TopicSplit};
use crate::config::{KeyPath, UnknownLabels};
use crate::model::{CardText, ModelCard};
use crate::plan::{Dev, Plan};
use crate::task::texts::{self, HeldOut, open_store, open_tokenizer};

const CARD: CardText = CardText { about: include_str!("card/about.md"), example: include_str!("card/example.py") };
const CARD_OF_SEVERAL: CardText =
    CardText { about: include_str!("card/about_multi.md"), example: include_str!("card/example_multi.py") };

impl Topic {
    /// Opens (or builds) the token stores of a plan and learns the labels from the training rows.
    ///
    /// # Errors
    /// If a file cannot be used, if the tokenizer has more tokens than the teacher's embedding has rows, or if development
    /// or test rows have labels that no training row has and the plan makes that an error.
    pub(super) fn open_files(plan: &Plan, task_plan: &TopicPlan) -> Result<Self> {
        let tokenizer = open_tokenizer(plan)?;
        let open = |source: &Source| open_store(plan, source, &tokenizer);
        let store = Rc::new(open(&task_plan.splits.train)?);
        let (HeldOut { train: train_rows, held_out: dev_rows }, dev_store) = match &task_plan.splits.dev {
            Dev::Fraction(fraction) => (hold_out(&store, *fraction), Rc::clone(&store)),
            Dev::Given(source) => {
                let dev = Rc::new(open(source)?);
                (HeldOut { train: all_rows(&store), held_out: all_rows(&dev) }, dev)
            }
        };
        check_rows(&store, &train_rows, &dev_rows)?;
        let training_labels = train_rows.iter().flat_map(|&row| store.labels(row as usize));
        let labels = Labels::learn(training_labels).with_context(|| store.source().display().to_string())?;
        let measured = |store: Rc<TokenStore>, rows: Vec<u32>| {
            let split = match task_plan.unknown_labels {
                UnknownLabels::Skip => skip_unknown(store, rows, &labels, task_plan.splits.train.allowed_unusable)?,
                UnknownLabels::Error => encode_labels(store, rows, &labels)?,
                UnknownLabels::Wrong => count_unknown(store, rows, &labels),
            };
            check_measured(split)
        };
        let test = task_plan.splits.test.as_ref().map(&open).transpose()?.map(Rc::new);
        let test = test.map(|store| measured(Rc::clone(&store), all_rows(&store))).transpose()?;
        let unlabelled = task_plan.splits.unlabelled.as_ref().map(open).transpose()?;
        let train = encode_labels(store, train_rows, &labels)?;
        let label_kind = task_plan.label_kind;
        let class_weights = class_weights(&task_plan.class_weights, label_kind, &train, &labels);
        let class_weights = class_weights.with_context(|| KeyPath::from("data.class_weights"))?;
        Ok(Self {
            objective: TopicObjective {
                device: plan.device,
                label_kind,
                class_weights: class_weights.as_deref().map(|weights| to_tensor(weights, plan.device)),
            },
            class_weights,
            flags: task_plan.flags.clone(),
            test,
            unlabelled,
            train,
            dev: measured(dev_store, dev_rows)?,
            card: ModelCard::new(plan, if label_kind == LabelKind::Multi { CARD_OF_SEVERAL } else { CARD }),
            labels,
            tokenizer,
            batch: plan.train.batch,
            seed: plan.seed,
        })
    }
}

/// Checks that there are training and development rows.
fn check_rows(store: &TokenStore, train: &[u32], dev: &[u32]) -> Result<()> {
    if train.is_empty() || dev.is_empty() {
        let (path, train, dev) = (store.source().display(), train.len(), dev.len());
        bail!("{path}: {train} training and {dev} development rows, expected at least one of each");
    }
    Ok(())
}

/// Checks that a split to measure on has a label: without one, predicting nothing would be perfect.
fn check_measured(split: TopicSplit) -> Result<TopicSplit> {
    if split.rows.iter().all(|&row| split.labels.of(row as usize).is_empty()) {
        let (path, rows) = (split.store.source().display(), split.rows.len());
        bail!("{path}: none of the {rows} evaluation rows has a label, expected at least one");
    }
    Ok(split)
}

fn all_rows(store: &TokenStore) -> Vec<u32> {
    (0..store.len() as u32).collect()
}

/// Encodes the labels of rows as class numbers.
///
/// # Errors
/// If a row has a label that is not among `labels`.
fn encode_labels(store: Rc<TokenStore>, rows: Vec<u32>, labels: &Labels) -> Result<TopicSplit> {
    let labels = store.encode_labels(labels)?;
    Ok(TopicSplit { store, rows, labels, unknown: Vec::new() })
}

/// Encodes the labels of rows. A label that no training row has becomes a class of its own, which no model predicts.
fn count_unknown(store: Rc<TokenStore>, rows: Vec<u32>, labels: &Labels) -> TopicSplit {
    let known: BTreeMap<&str, usize> =
        store.label_names().iter().filter_map(|l| Some((l.as_str(), labels.index_of(l)?))).collect();
    let unknown_of = |row: u32| store.labels(row as usize).filter(|label| !known.contains_key(label));
    let unknown: BTreeSet<&str> = rows.iter().flat_map(|&row| unknown_of(row)).collect();
    let unknown: Vec<String> = unknown.into_iter().map(str::to_owned).collect();
    let class = |label: &str| {
        let place = || unknown.binary_search_by(|name| name.as_str().cmp(label)).ok();
        known.get(label).copied().or_else(|| Some(labels.len() + place()?)) // none for a label of rows that are not measured
    };
    let classes: LabelNumbers = (0..store.len()).map(|row| store.labels(row).filter_map(class)).collect();
    let count = rows.iter().filter(|&&row| unknown_of(row).next().is_some()).count();
    if count > 0 {
        let path = store.source().display();
        tracing::warn!(
            "{path}: {count} rows with a label that no training row has count as wrong: {}",
            unknown.join(", ")
        );
    }
    TopicSplit { store, rows, labels: classes, unknown }
}

/// Encodes the labels of rows, skips rows with unknown labels, and logs how many were skipped.
///
/// # Errors
/// If more than the share `allowed` of a file's rows is unusable, including rows with unknown labels.
fn skip_unknown(store: Rc<TokenStore>, mut rows: Vec<u32>, labels: &Labels, allowed: f64) -> Result<TopicSplit> {
    let labels = store.known_labels(labels);
    let has_unknown = |row: usize| labels.of(row).len() < store.labels(row).len();
    let (mut unknown, mut skipped) = (Skipped::default(), store.skipped().clone());
    rows.retain(|&row| {
        let is_known = !has_unknown(row as usize);
        if !is_known {
            let row = SkippedRow { line: store.line(row as usize), reason: Reason::UnknownLabel };
            unknown.add(row);
            skipped.add(row);
        }
        is_known
    });
    if unknown.count() > 0 {
        tracing::warn!("{}: skipped {unknown}", store.source().display());
        skipped.check(store.source(), rows.len() as u64, allowed)?;
    }
    Ok(TopicSplit { store, rows, labels, unknown: Vec::new() })
}

/// Holds out a share of the rows. A row stays in training if a label of it would otherwise be missing there.
fn hold_out(store: &TokenStore, fraction: f64) -> HeldOut {
    let HeldOut { mut train, held_out } = texts::hold_out(store.len(), fraction);
    let mut known: HashSet<&str> = train.iter().flat_map(|&row| store.labels(row as usize)).collect();
    let is_covered = |&row: &u32| {
        let is_covered = store.labels(row as usize).all(|label| known.contains(label));
        if !is_covered {
            known.extend(store.labels(row as usize)); // the row stays in training, so one row for each label is enough
        }
        is_covered
    };
    let (held_out, rare): (Vec<u32>, Vec<u32>) = held_out.into_iter().partition(is_covered);
    if !rare.is_empty() {
        tracing::info!(
            "{} rows with rare labels stay in the training data, which would otherwise lack these labels",
            rare.len()
        );
        train.extend(rare);
        train.sort_unstable();
    }
    HeldOut { train, held_out }
}

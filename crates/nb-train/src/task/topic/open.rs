//! Opening of the task: from a plan to tokenised texts and learned labels.

use std::collections::BTreeSet;
use std::rc::Rc;

use anyhow::{Context, Result, bail};
use nb_data::read::{Reason, Skipped, SkippedRow, Source};
use nb_data::{Labels, TokenStore};

use super::class_weights::{class_weights, to_tensor};
use super::plan::TopicPlan;
use super::{Topic, TopicObjective, TopicSplit};
use crate::config::{KeyPath, UnknownLabels};
use crate::model::{CardText, ModelCard};
use crate::plan::{Dev, Plan};
use crate::task::texts::{self, HeldOut, open_store, open_tokenizer};

const CARD: CardText = CardText { about: include_str!("card/about.md"), example: include_str!("card/example.py") };

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
        let (train_rows, dev_rows, dev_store) = match &task_plan.splits.dev {
            Dev::Fraction(fraction) => {
                let HeldOut { train, held_out } = hold_out(&store, *fraction);
                (train, held_out, Rc::clone(&store))
            }
            Dev::Given(source) => {
                let dev = Rc::new(open(source)?);
                (all_rows(&store), all_rows(&dev), dev)
            }
        };
        check_rows(&store, &train_rows, &dev_rows)?;
        let training_labels = train_rows.iter().filter_map(|&row| store.label(row as usize));
        let labels = Labels::learn(training_labels).with_context(|| store.source().display().to_string())?;
        let measured = |store: Rc<TokenStore>, rows: Vec<u32>| match task_plan.unknown_labels {
            UnknownLabels::Skip => skip_unknown(store, rows, &labels, task_plan.splits.train.allowed_unusable),
            UnknownLabels::Error => encode_labels(store, rows, &labels),
            UnknownLabels::Wrong => Ok(count_unknown(store, rows, &labels)),
        };
        let test = task_plan.splits.test.as_ref().map(|source| {
            let store = Rc::new(open(source)?);
            let rows = all_rows(&store);
            measured(store, rows)
        });
        let test = test.transpose()?;
        let unlabelled = task_plan.splits.unlabelled.as_ref().map(open).transpose()?;
        let train = encode_labels(store, train_rows, &labels)?;
        let class_weights = class_weights(&task_plan.class_weights, &train, &labels);
        let class_weights = class_weights.with_context(|| KeyPath::from("data.class_weights"))?;
        Ok(Self {
            objective: TopicObjective {
                device: plan.device,
                class_weights: class_weights.as_deref().map(|weights| to_tensor(weights, plan.device)),
            },
            class_weights,
            test,
            unlabelled,
            train,
            dev: measured(dev_store, dev_rows)?,
            card: ModelCard::new(plan, CARD),
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
    let mut classes = store.known_labels(labels);
    let label = |row: u32| store.label(row as usize);
    let is_unknown = |row: &&u32| classes[**row as usize].is_none();
    let unknown: BTreeSet<&str> = rows.iter().filter(is_unknown).filter_map(|&row| label(row)).collect();
    let unknown: Vec<String> = unknown.into_iter().map(str::to_owned).collect();
    let mut count = 0_usize;
    for &row in &rows {
        if let (None, Some(label)) = (classes[row as usize], label(row)) {
            classes[row as usize] =
                unknown.binary_search_by(|name| name.as_str().cmp(label)).ok().map(|i| labels.len() + i);
            count += 1;
        }
    }
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
    let (mut unknown, mut skipped) = (Skipped::default(), store.skipped().clone());
    rows.retain(|&row| {
        let known = labels[row as usize].is_some();
        if !known {
            let row = SkippedRow { line: store.line(row as usize), reason: Reason::UnknownLabel };
            unknown.add(row);
            skipped.add(row);
        }
        known
    });
    if unknown.count() > 0 {
        tracing::warn!("{}: skipped {unknown}", store.source().display());
        skipped.check(store.source(), rows.len() as u64, allowed)?;
    }
    Ok(TopicSplit { store, rows, labels, unknown: Vec::new() })
}

/// Holds out a share of the rows. A row stays in training if its label would otherwise be missing there.
fn hold_out(store: &TokenStore, fraction: f64) -> HeldOut {
    let HeldOut { mut train, held_out } = texts::hold_out(store.len(), fraction);
    let label = |row: u32| store.label(row as usize);
    let known: std::collections::HashSet<_> = train.iter().map(|&row| label(row)).collect();
    let (held_out, rare): (Vec<u32>, Vec<u32>) = held_out.into_iter().partition(|&row| known.contains(&label(row)));
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

//! From a plan to the task with its texts tokenised and its labels learned.

use std::rc::Rc;

use anyhow::{Context, Result, bail};
use nb_data::read::{Reason, Skipped, SkippedRow, Source};
use nb_data::{Labels, TokenStore};

use super::super::texts::{self, open_store, open_tokenizer};
use super::{Split, Topic};
use crate::config::UnknownLabels;
use crate::model::saved_folder::Card;
use crate::plan::{Dev, Plan, TopicPlan};

impl Topic {
    /// Opens (or builds) the token stores of a plan and learns the labels from the training rows.
    ///
    /// # Errors
    /// If a file cannot be used, if the tokenizer knows more tokens than the teacher, or if development or test rows have
    /// labels that no training row has and the plan does not skip them.
    pub fn open(plan: &Plan, files: &TopicPlan) -> Result<Self> {
        let tokenizer = open_tokenizer(plan)?;
        let store = |source: &Source| open_store(plan, source, &tokenizer);
        let whole = Rc::new(store(&files.train)?);
        let (train_rows, dev_rows, dev_store) = match &files.dev {
            Dev::Fraction(fraction) => {
                let (train, dev) = hold_out(&whole, *fraction);
                (train, dev, Rc::clone(&whole))
            }
            Dev::Given(source) => {
                let dev = Rc::new(store(source)?);
                ((0..whole.len() as u32).collect(), (0..dev.len() as u32).collect(), dev)
            }
        };
        if train_rows.is_empty() || dev_rows.is_empty() {
            bail!("{} training and {} development rows: both need at least one", train_rows.len(), dev_rows.len());
        }
        let training_labels = train_rows.iter().filter_map(|&row| whole.label(row as usize));
        let labels = Labels::learn(training_labels).with_context(|| whole.source().display().to_string())?;
        let measured = |store: Rc<TokenStore>, rows: Vec<u32>| match files.unknown_labels {
            UnknownLabels::Skip => known(store, rows, &labels, files.train.allowed_unusable),
            UnknownLabels::Error => split(store, rows, &labels),
        };
        let test = files.test.as_ref().map(|source| {
            let store = Rc::new(store(source)?);
            let rows = (0..store.len() as u32).collect();
            measured(store, rows)
        });
        let unlabelled = files.unlabelled.as_ref().map(store).transpose()?;
        Ok(Self {
            test: test.transpose()?,
            unlabelled,
            train: split(whole, train_rows, &labels)?,
            dev: measured(dev_store, dev_rows)?,
            card: Card::new(plan, "topic"),
            labels,
            tokenizer,
            batch: plan.train.batch,
            seed: plan.seed,
            device: plan.device,
        })
    }
}

/// Rows with the numbers of their labels.
///
/// # Errors
/// If a row has a label that is not among `labels`.
fn split(store: Rc<TokenStore>, rows: Vec<u32>, labels: &Labels) -> Result<Split> {
    let labels = store.encode_labels(labels)?;
    Ok(Split { store, rows, labels })
}

/// Keeps the rows with known labels and logs how many were dropped.
///
/// # Errors
/// If more than the share `allowed` of a file cannot be used, these rows included.
fn known(store: Rc<TokenStore>, mut rows: Vec<u32>, labels: &Labels, allowed: f64) -> Result<Split> {
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
    Ok(Split { store, rows, labels })
}

/// Holds out a share of the rows, the same ones whatever the run's seed, so that runs can be compared. A label that would
/// have no training row keeps its rows there.
fn hold_out(store: &TokenStore, fraction: f64) -> (Vec<u32>, Vec<u32>) {
    let (mut train, dev) = texts::hold_out(store.len(), fraction);
    let label = |row: u32| store.label(row as usize);
    let known: std::collections::HashSet<_> = train.iter().map(|&row| label(row)).collect();
    let (dev, rare): (Vec<u32>, Vec<u32>) = dev.into_iter().partition(|&row| known.contains(&label(row)));
    if !rare.is_empty() {
        tracing::info!("{} rows of rare labels stay in training, since none would be left there", rare.len());
        train.extend(rare);
        train.sort_unstable();
    }
    (train, dev)
}

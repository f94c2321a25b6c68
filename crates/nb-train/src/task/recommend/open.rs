//! From a plan to the task with its news tokenised and its impressions read.

use std::rc::Rc;

use anyhow::{Result, bail};
use nb_data::behaviors::{Behaviors, Samples};
use nb_data::{IdIndex, TokenStore, Tokenizer};

use super::super::texts::{self, Unlabelled, open_store, open_tokenizer};
use super::{Measured, Readers, Recommend};
use crate::model::saved_folder::Card;
use crate::plan::{ClickLog, Dev, Plan, RecommendPlan};

impl Recommend {
    /// Opens (or builds) the token stores of a plan's news and reads its impressions.
    ///
    /// # Errors
    /// If a file cannot be used, if the tokenizer knows more tokens than the teacher, or if no impression of a split is
    /// usable.
    pub fn open(plan: &Plan, files: &RecommendPlan) -> Result<Self> {
        let tokenizer = open_tokenizer(plan)?;
        let mut train = readers(plan, &files.train, &tokenizer)?;
        let (dev, dev_log) = match &files.dev {
            Dev::Given(log) => (readers(plan, log, &tokenizer)?, log),
            Dev::Fraction(fraction) => (hold_out(&mut train, *fraction), &files.train),
        };
        let drawn = samples(&train, &files.train)?;
        samples(&dev, dev_log)?; // without any there would be nothing to measure once an epoch is over
        let path = files.train.behaviors.path.display();
        for (count, what) in [(drawn.no_click, "clicked"), (drawn.no_other, "not clicked")] {
            if count > 0 {
                tracing::warn!("{path}: {count} impressions are left out of training: none of their news was {what}");
            }
        }
        let test = files.test.as_ref().map(|log| -> Result<_> {
            let test = readers(plan, log, &tokenizer)?;
            samples(&test, log)?;
            Ok(Measured { seen: seen(&train, &test), readers: test })
        });
        let unlabelled = files.unlabelled.as_ref().map(|source| -> Result<_> {
            let store = open_store(plan, source, &tokenizer)?;
            Ok(Unlabelled { store, first: drawn.samples.len() as u32, seed: plan.seed })
        });
        Ok(Self {
            test: test.transpose()?,
            unlabelled: unlabelled.transpose()?,
            dev: Measured { seen: seen(&train, &dev), readers: dev },
            samples: drawn.samples,
            train,
            negatives: files.negatives,
            clicked_before: files.clicked_before,
            self_attention: files.self_attention,
            card: Card {
                history: Some(files.history),
                self_attention: files.self_attention,
                ..Card::new(plan, "recommend")
            },
            tokenizer,
            batch: plan.train.batch,
            seed: plan.seed,
            device: plan.device,
        })
    }
}

/// The usable clicks of a split; at least one.
fn samples(split: &Readers, log: &ClickLog) -> Result<Samples> {
    let drawn = split.behaviors.samples(&split.impressions);
    if drawn.samples.is_empty() {
        bail!(
            "{}: none of {} impressions has both a clicked and another news of {}, expected at least one",
            log.behaviors.path.display(),
            split.impressions.len(),
            log.news.path.display()
        );
    }
    Ok(drawn)
}

fn readers(plan: &Plan, log: &ClickLog, tokenizer: &Tokenizer) -> Result<Readers> {
    let news = open_store(plan, &log.news, tokenizer)?;
    let ids = texts::ids(&log.news, &news);
    let behaviors = Behaviors::read(&log.behaviors, &ids)?;
    let path = log.behaviors.path.display();
    tracing::info!("{path}: {} impressions", behaviors.len());
    if !behaviors.report().is_empty() {
        tracing::warn!("{path}: {}", behaviors.report());
    }
    let impressions = (0..behaviors.len() as u32).collect();
    Ok(Readers { news: Rc::new(news), behaviors: Rc::new(behaviors), impressions })
}

/// Holds out a share of the impressions, the same ones whatever the run's seed, so that runs can be compared.
fn hold_out(train: &mut Readers, fraction: f64) -> Readers {
    let (stay, out) = texts::hold_out(train.impressions.len(), fraction);
    train.impressions = stay;
    Readers { news: Rc::clone(&train.news), behaviors: Rc::clone(&train.behaviors), impressions: out }
}

/// By row of the development news: whether a training impression shows it or a training reader clicked it.
fn seen(train: &Readers, dev: &Readers) -> Vec<bool> {
    let shown = train.behaviors.seen(train.impressions.iter().copied());
    if Rc::ptr_eq(&train.news, &dev.news) {
        return shown;
    }
    let ids = IdIndex::new((0..train.news.len()).map(|row| train.news.id(row)));
    let known = |store: &TokenStore, row| store.id(row).and_then(|id| ids.row(id.as_bytes()));
    (0..dev.news.len()).map(|row| known(&dev.news, row).is_some_and(|row| shown[row as usize])).collect()
}

//! Opening of the task: from a plan to tokenised articles and impressions.

use std::rc::Rc;

use anyhow::{Result, bail};
use nb_data::behaviors::{Behaviors, Sample, Samples};
use nb_data::{IdIndex, TokenStore, Tokenizer};

use super::plan::{ClickLog, RecommendPlan};
use super::{ImpressionSplit, MeasuredSplit, Recommend, RecommendObjective};
use crate::model::{CardText, ModelCard};
use crate::plan::{Dev, Plan};
use crate::task::texts::{self, HeldOut, article_ids, open_store, open_tokenizer};
use crate::task::unlabelled::{Labelled, Unlabelled};

impl Recommend {
    /// Opens (or builds) the token stores of a plan's articles and reads its impressions.
    ///
    /// # Errors
    /// If a file cannot be used, if the tokenizer has more tokens than the teacher's embedding has rows, or if no
    /// impression of a split is usable.
    pub(super) fn open_files(plan: &Plan, task_plan: &RecommendPlan) -> Result<Self> {
        let tokenizer = open_tokenizer(plan)?;
        let mut train = read_impressions(plan, &task_plan.splits.train, &tokenizer)?;
        let (dev, dev_log) = match &task_plan.splits.dev {
            Dev::Given(log) => (read_impressions(plan, log, &tokenizer)?, log),
            Dev::Fraction(fraction) => (hold_out(&mut train, *fraction), &task_plan.splits.train),
        };
        let drawn = samples(&train, &task_plan.splits.train)?;
        samples(&dev, dev_log)?; // fails now rather than in the first evaluation
        warn_unusable(&drawn, &task_plan.splits.train);
        let test = task_plan.splits.test.as_ref().map(|log| -> Result<_> {
            let test = read_impressions(plan, log, &tokenizer)?;
            samples(&test, log)?;
            Ok(MeasuredSplit { seen: seen_in_training(&train, &test), split: test })
        });
        let test = test.transpose()?;
        let file = task_plan.splits.unlabelled.as_ref();
        let unlabelled =
            Unlabelled::open(plan, file, task_plan.articles, labelled(&train, &drawn.samples), &tokenizer)?;
        let card = ModelCard::new(plan, card_text(task_plan.self_attention));
        Ok(Self {
            objective: RecommendObjective {
                device: plan.device,
                unlabelled_store: unlabelled.as_ref().map_or(0, Unlabelled::number),
            },
            test,
            unlabelled,
            dev: MeasuredSplit { seen: seen_in_training(&train, &dev), split: dev },
            samples: drawn.samples,
            train,
            negatives: task_plan.negatives,
            clicked_before: task_plan.clicked_before,
            self_attention: task_plan.self_attention,
            card: ModelCard { history: Some(task_plan.history), self_attention: task_plan.self_attention, ..card },
            tokenizer,
            untouched: plan.untouched_head,
            batch: plan.train.batch,
            seed: plan.seed,
        })
    }
}

/// Returns what training uses of the articles: the impressions that give samples. Rows that another row with the same id
/// replaces are not articles.
fn labelled<'a>(train: &'a ImpressionSplit, samples: &[Sample]) -> Labelled<'a> {
    let ids = IdIndex::new((0..train.articles.len()).map(|row| train.articles.id(row)));
    let is_replaced = |row: usize| train.articles.id(row).is_some_and(|id| ids.row(id.as_bytes()) != Some(row as u32));
    let shown = train.behaviors.seen(samples.iter().map(|sample| sample.impression));
    let used = shown.into_iter().enumerate().map(|(row, shown)| shown || is_replaced(row)).collect();
    Labelled { articles: &train.articles, used, rows: samples.len() as u32, stores: 1 }
}

/// Returns the text of the model card, with or without the reader model's self-attention.
fn card_text(self_attention: Option<i64>) -> CardText {
    let example = match self_attention {
        None => include_str!("card/example.py"),
        Some(_) => include_str!("card/example_attention.py"),
    };
    CardText { about: include_str!("card/about.md"), example }
}

/// Returns the usable clicks of a split.
///
/// # Errors
/// If there are none.
fn samples(split: &ImpressionSplit, log: &ClickLog) -> Result<Samples> {
    let drawn = split.behaviors.samples(&split.impressions);
    if drawn.samples.is_empty() {
        bail!(
            "{}: none of {} impressions has both a clicked article and another one in {}, expected at least one",
            log.behaviors.path.display(),
            split.impressions.len(),
            log.news.path.display()
        );
    }
    Ok(drawn)
}

/// Warns of training impressions that are skipped.
fn warn_unusable(drawn: &Samples, log: &ClickLog) {
    let path = log.behaviors.path.display();
    for (count, missing) in [(drawn.no_click, "clicked"), (drawn.no_other, "not clicked")] {
        if count > 0 {
            tracing::warn!("{path}: {count} impressions are skipped in training: none of their articles was {missing}");
        }
    }
}

pub(in crate::task) fn read_impressions(plan: &Plan, log: &ClickLog, tokenizer: &Tokenizer) -> Result<ImpressionSplit> {
    let articles = open_store(plan, &log.news, tokenizer)?;
    let ids = article_ids(&log.news, &articles);
    let behaviors = Behaviors::read_as(&log.behaviors, &log.form, &ids)?;
    let path = log.behaviors.path.display();
    tracing::info!("{path}: {} impressions", behaviors.len());
    if !behaviors.report().is_empty() {
        tracing::warn!("{path}: {}", behaviors.report());
    }
    let impressions = (0..behaviors.len() as u32).collect();
    Ok(ImpressionSplit { articles: Rc::new(articles), behaviors: Rc::new(behaviors), impressions })
}

/// Holds out a share of the impressions.
fn hold_out(train: &mut ImpressionSplit, fraction: f64) -> ImpressionSplit {
    let HeldOut { train: remaining, held_out } = texts::hold_out(train.impressions.len(), fraction);
    train.impressions = remaining;
    ImpressionSplit {
        articles: Rc::clone(&train.articles),
        behaviors: Rc::clone(&train.behaviors),
        impressions: held_out,
    }
}

/// Returns, for each row of a split's articles, whether a training impression shows it or a training reader clicked it.
fn seen_in_training(train: &ImpressionSplit, split: &ImpressionSplit) -> Vec<bool> {
    let shown = train.behaviors.seen(train.impressions.iter().copied());
    if Rc::ptr_eq(&train.articles, &split.articles) {
        return shown;
    }
    let ids = IdIndex::new((0..train.articles.len()).map(|row| train.articles.id(row)));
    let known = |store: &TokenStore, row| store.id(row).and_then(|id| ids.row(id.as_bytes()));
    (0..split.articles.len()).map(|row| known(&split.articles, row).is_some_and(|row| shown[row as usize])).collect()
}

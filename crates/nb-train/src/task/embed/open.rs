//! Opening of the task: from a plan to tokenised texts.

use std::cell::OnceCell;
use std::rc::Rc;

use anyhow::{Result, bail};
use nb_data::read::Source;
use nb_data::{TokenStore, Tokenizer};

use super::plan::{EmbedPlan, RankingFiles, RankingFolder};
use super::{Embed, EmbedObjective, MeasuredTexts, Ranking, RankingData, StoreRows};
use crate::model::{CardText, ModelCard};
use crate::plan::{Dev, Plan};
use crate::task::TextRef;
use crate::task::recommend::read_impressions;
use crate::task::retrieve::read_queries;
use crate::task::texts::{HeldOut, hold_out, open_store, open_tokenizer};

const CARD: CardText = CardText { about: include_str!("card/about.md"), example: include_str!("card/example.py") };

/// Most texts of a split that are measured. The neighbours of n texts take n² products.
const MOST_MEASURED: usize = 5000;

impl Embed {
    /// Opens (or builds) the token stores of a plan's texts.
    ///
    /// # Errors
    /// If a file cannot be used, or if there are no texts to train or to measure on.
    pub(super) fn open_files(plan: &Plan, task_plan: &EmbedPlan) -> Result<Self> {
        let tokenizer = open_tokenizer(plan)?;
        let mut stores = open_all(plan, &task_plan.train, &tokenizer)?;
        let labelled = stores.len();
        stores.extend(open_all(plan, task_plan.unlabelled.as_slice(), &tokenizer)?);
        let mut train: Vec<TextRef> = refs(&stores[..labelled], 0).collect();
        let dev = match &task_plan.dev {
            Dev::Given(sources) => every_text(open_all(plan, sources, &tokenizer)?),
            Dev::Fraction(fraction) => {
                let HeldOut { train: rest, held_out } = hold_out(train.len(), *fraction);
                let dev = by_store(&stores, held_out.iter().map(|&i| train[i as usize]));
                train = rest.iter().map(|&i| train[i as usize]).collect();
                dev
            }
        };
        train.extend(refs(&stores[labelled..], labelled));
        let dev = measured(dev);
        if train.is_empty() || dev.len() < 2 {
            bail!(
                "{}: {} training and {} development texts, expected at least one and two; set data.dev_fraction to hold out \
                 a different share",
                task_plan.train[0].path.display(),
                train.len(),
                dev.len()
            );
        }
        let test = task_plan.test.as_ref().map(|sources| open_all(plan, sources, &tokenizer)).transpose()?;
        let test = test.map(|stores| measured(every_text(stores)));
        if let Some(few) = test.as_ref().filter(|test| test.len() < 2) {
            bail!("data.test has {} texts, expected at least two", few.len());
        }
        Ok(Self {
            objective: EmbedObjective { device: plan.device },
            rankings: open_rankings(plan, task_plan, &tokenizer)?,
            test,
            stores,
            train,
            dev,
            card: ModelCard::new(plan, CARD),
            tokenizer,
            batch: plan.train.batch,
            plan: Box::new(plan.clone()),
        })
    }
}

/// Opens the folders on which ranking is measured.
fn open_rankings(plan: &Plan, task_plan: &EmbedPlan, tokenizer: &Tokenizer) -> Result<Vec<Ranking>> {
    let open = |folder: &RankingFolder| {
        let data = match &folder.files {
            RankingFiles::Queries(log) => RankingData::Queries(read_queries(plan, log, tokenizer)?),
            RankingFiles::Clicks(log) => RankingData::Clicks(read_impressions(plan, log, tokenizer)?),
        };
        Ok(Ranking { name: folder.name.clone(), data })
    };
    task_plan.rankings.iter().map(open).collect()
}

fn open_all(plan: &Plan, sources: &[Source], tokenizer: &Tokenizer) -> Result<Vec<Rc<TokenStore>>> {
    sources.iter().map(|source| Ok(Rc::new(open_store(plan, source, tokenizer)?))).collect()
}

/// Returns every text of some stores; the first store has the number `first`.
fn refs(stores: &[Rc<TokenStore>], first: usize) -> impl Iterator<Item = TextRef> + '_ {
    let of_store =
        |(store, texts): (usize, &Rc<TokenStore>)| (0..texts.len() as u32).map(move |row| TextRef { store, row });
    (first..).zip(stores).flat_map(of_store)
}

fn every_text(stores: Vec<Rc<TokenStore>>) -> Vec<StoreRows> {
    stores.into_iter().map(|store| StoreRows { rows: (0..store.len() as u32).collect(), store }).collect()
}

/// Groups texts by their store.
fn by_store(stores: &[Rc<TokenStore>], texts: impl Iterator<Item = TextRef>) -> Vec<StoreRows> {
    let mut parts: Vec<StoreRows> =
        stores.iter().map(|store| StoreRows { store: Rc::clone(store), rows: Vec::new() }).collect();
    texts.for_each(|text| parts[text.store].rows.push(text.row));
    parts
}

/// Returns the texts that are measured: an evenly spaced sample of at most [`MOST_MEASURED`].
fn measured(mut parts: Vec<StoreRows>) -> MeasuredTexts {
    let all: usize = parts.iter().map(|part| part.rows.len()).sum();
    let every = all.div_ceil(MOST_MEASURED).max(1);
    for part in &mut parts {
        part.rows = part.rows.iter().copied().step_by(every).collect();
    }
    parts.retain(|part| !part.rows.is_empty());
    MeasuredTexts { parts, teacher: OnceCell::new() }
}

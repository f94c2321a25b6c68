//! From a data plan to a task with its texts tokenised and its labels learned.

use std::rc::Rc;

use anyhow::{Context, Result, bail};
use nb_data::read::{Source, split};
use nb_data::store::Origin;
use nb_data::{Labels, TokenStore, Tokenizer};

use crate::folder::Card;
use crate::plan::{DevSource, Plan};
use crate::task::{Split, Topic};

impl Topic {
    /// Opens (or builds) the token stores of a plan and learns the labels from the training rows.
    ///
    /// # Errors
    /// If a file cannot be used, if the tokenizer knows more tokens than the teacher, or if the development rows have a
    /// label that no training row has.
    pub fn open(plan: &Plan) -> Result<Self> {
        let tokenizer = Tokenizer::from_folder(plan.teacher.tokenizer())?;
        let vocabulary = plan.teacher_config.vocab_size;
        if tokenizer.vocab_size() as i64 > vocabulary {
            bail!(
                "the tokenizer in {} knows ids up to {}, but the teacher's embedding has {vocabulary} rows",
                plan.teacher.tokenizer().display(),
                tokenizer.vocab_size() - 1
            );
        }
        let store = |source: &Source| open(plan, source, &tokenizer);
        let whole = Rc::new(store(&plan.data.train)?);
        let (train_rows, dev_rows, dev_store) = match &plan.data.dev {
            DevSource::Fraction(fraction) => {
                let (train, dev) = hold_out(&whole, *fraction);
                (train, dev, Rc::clone(&whole))
            }
            DevSource::File(source) => {
                let dev = Rc::new(store(source)?);
                ((0..whole.len() as u32).collect(), (0..dev.len() as u32).collect(), dev)
            }
        };
        if train_rows.is_empty() || dev_rows.is_empty() {
            bail!("{} training and {} development rows: both need at least one", train_rows.len(), dev_rows.len());
        }
        let training_labels = train_rows.iter().filter_map(|&row| whole.label(row as usize));
        let labels = Labels::learn(training_labels).with_context(|| whole.source().display().to_string())?;
        let split = |store: Rc<TokenStore>, rows: Vec<u32>| -> Result<Split> {
            let labels = store.encode_labels(&labels)?;
            Ok(Split { store, rows, labels })
        };
        Ok(Self {
            train: split(whole, train_rows)?,
            dev: split(dev_store, dev_rows)?,
            card: Card {
                task: "topic",
                max_tokens: plan.data.max_tokens,
                texts: plan.data.texts,
                fields: plan.resolved.data.fields.clone().unwrap_or_default(),
                run: plan.name.clone(),
            },
            labels,
            tokenizer,
            batch: plan.train.batch,
            seed: plan.seed,
            device: plan.device,
        })
    }

    /// Rows and tokens of the training texts.
    pub fn train_size(&self) -> (usize, u64) {
        let tokens = self.train.rows.iter().map(|&row| self.train.store.length(row as usize) as u64).sum();
        (self.train.rows.len(), tokens)
    }

    /// Rows of the development texts.
    pub fn dev_size(&self) -> usize {
        self.dev.rows.len()
    }

    /// Tokens of a training row.
    pub fn length(&self, row: u32) -> usize {
        self.train.store.length(row as usize)
    }

    /// Number of labels.
    pub fn classes(&self) -> usize {
        self.labels.len()
    }
}

/// Holds out a share of the rows, the same ones whatever the run's seed, so that runs can be compared. A label that would
/// have no training row keeps its rows there.
fn hold_out(store: &TokenStore, fraction: f64) -> (Vec<u32>, Vec<u32>) {
    const SPLIT_SEED: u64 = 0;
    let (mut train, dev) = split(store.len(), fraction, SPLIT_SEED);
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

fn open(plan: &Plan, source: &Source, tokenizer: &Tokenizer) -> Result<TokenStore> {
    let store = TokenStore::open_or_build(&plan.data.cache, source, tokenizer, plan.data.max_tokens)?;
    let how = match store.origin() {
        Origin::Found => "read from the token store".to_owned(),
        Origin::Built => "tokenised".to_owned(),
        Origin::Rebuilt(why) => format!("tokenised anew ({why})"),
    };
    tracing::info!("{}: {} rows, {} tokens, {how}", source.path.display(), store.len(), store.token_count());
    if store.skipped().count() > 0 {
        tracing::warn!("{}: left out {}", source.path.display(), store.skipped());
    }
    Ok(store)
}

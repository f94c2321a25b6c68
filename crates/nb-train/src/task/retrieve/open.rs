//! From a plan to the task with its news and queries tokenised and its judgements read.

use std::rc::Rc;

use anyhow::{Result, bail};
use nb_data::Tokenizer;
use nb_data::beir::Qrels;

use super::super::texts::{self, Unlabelled, open_store, open_tokenizer, warn_repeated};
use super::{Documents, Queries, Retrieve};
use crate::model::saved_folder::Card;
use crate::plan::{Dev, Plan, QueryLog, RetrievePlan};

impl Retrieve {
    /// Opens (or builds) the token stores of a plan's news and queries and reads its judgements.
    ///
    /// # Errors
    /// If a file cannot be used, or if the tokenizer knows more tokens than the teacher.
    pub fn open(plan: &Plan, files: &RetrievePlan) -> Result<Self> {
        let tokenizer = open_tokenizer(plan)?;
        let mut train = queries(plan, &files.train, &tokenizer)?;
        let dev = match &files.dev {
            Dev::Given(log) => queries(plan, log, &tokenizer)?,
            Dev::Fraction(fraction) => hold_out(&mut train, *fraction),
        };
        // Every judged query counts where a model is measured; to learn from one it takes a relevant document.
        let Queries { qrels, judged, .. } = &mut train;
        judged.retain(|&i| !qrels.queries[i as usize].relevant.is_empty());
        if train.judged.is_empty() || dev.judged.is_empty() {
            let (train, dev) = (train.judged.len(), dev.judged.len());
            bail!(
                "{}: {train} training and {dev} development queries, both need at least one; data.dev_fraction says how \
                 many are held out",
                files.train.qrels.display()
            );
        }
        let pairs = train.qrels.pairs(&train.judged);
        let test = files.test.as_ref().map(|log| queries(plan, log, &tokenizer)).transpose()?;
        let unlabelled = files.unlabelled.as_ref().map(|source| -> Result<_> {
            let store = open_store(plan, source, &tokenizer)?;
            Ok(Unlabelled { store, first: pairs.len() as u32, seed: plan.seed })
        });
        Ok(Self {
            pairs,
            test,
            unlabelled: unlabelled.transpose()?,
            train,
            dev,
            negatives: files.negatives,
            card: Card::new(plan, "retrieve"),
            tokenizer,
            batch: plan.train.batch,
            seed: plan.seed,
            device: plan.device,
        })
    }
}

fn queries(plan: &Plan, log: &QueryLog, tokenizer: &Tokenizer) -> Result<Queries> {
    let (corpus, queries) = (open_store(plan, &log.corpus, tokenizer)?, open_store(plan, &log.queries, tokenizer)?);
    let asked = texts::ids(&log.queries, &queries);
    let ids: Vec<Option<&str>> = (0..corpus.len()).map(|row| corpus.id(row)).collect();
    let documents = Documents::new(log.corpus.format.repeated(), &ids);
    warn_repeated(&log.corpus, documents.index());
    let qrels = Qrels::read(&log.qrels, &asked, documents.index(), log.allowed_unusable)?;
    qrels.check_relevant(&log.qrels)?;
    let path = log.qrels.display();
    tracing::info!("{path}: {} queries", qrels.queries.len());
    if !qrels.report.is_empty() {
        tracing::warn!("{path}: unused: {}", qrels.report);
    }
    let judged = (0..qrels.queries.len() as u32).collect();
    Ok(Queries {
        corpus: Rc::new(corpus),
        queries: Rc::new(queries),
        qrels: Rc::new(qrels),
        documents: Rc::new(documents),
        judged,
    })
}

/// Holds out a share of the queries, the same ones whatever the run's seed, so that runs can be compared.
fn hold_out(train: &mut Queries, fraction: f64) -> Queries {
    let (stay, out) = texts::hold_out(train.judged.len(), fraction);
    train.judged = stay;
    Queries {
        corpus: Rc::clone(&train.corpus),
        queries: Rc::clone(&train.queries),
        qrels: Rc::clone(&train.qrels),
        documents: Rc::clone(&train.documents),
        judged: out,
    }
}

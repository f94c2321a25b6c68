//! Opening of the task: from a plan to tokenised articles and queries, and judgements.

use std::rc::Rc;

use anyhow::{Result, bail};
use nb_data::Tokenizer;
use nb_data::beir::{Judged, Qrels, QueryLog};
use nb_rank::CorpusIndex;

use super::plan::RetrievePlan;
use super::{QuerySplit, Retrieve, RetrieveObjective};
use crate::model::{CardText, ModelCard};
use crate::plan::{Dev, Plan};
use crate::task::texts::{self, HeldOut, article_ids, open_store, open_tokenizer, warn_repeated};
use crate::task::unlabelled::{Labelled, Unlabelled};

const CARD: CardText = CardText { about: include_str!("card/about.md"), example: include_str!("card/example.py") };

impl Retrieve {
    /// Opens (or builds) the token stores of a plan's articles and queries and reads its judgements.
    ///
    /// # Errors
    /// If a file cannot be used, or if the tokenizer has more tokens than the teacher's embedding has rows.
    pub(super) fn open_files(plan: &Plan, task_plan: &RetrievePlan) -> Result<Self> {
        let tokenizer = open_tokenizer(plan)?;
        let mut train = read_queries(plan, &task_plan.splits.train, &tokenizer)?;
        let dev = match &task_plan.splits.dev {
            Dev::Given(log) => read_queries(plan, log, &tokenizer)?,
            Dev::Fraction(fraction) => hold_out(&mut train, *fraction),
        };
        // Evaluations count every judged query; training uses only queries with a relevant document.
        let QuerySplit { qrels, judged, .. } = &mut train;
        judged.retain(|&i| !qrels.queries[i as usize].relevant.is_empty());
        if train.judged.is_empty() || dev.judged.is_empty() {
            bail!(
                "{}: {} training and {} development queries, expected at least one of each; set data.dev_fraction to hold \
                 out a different share",
                task_plan.splits.train.qrels.display(),
                train.judged.len(),
                dev.judged.len()
            );
        }
        let pairs = train.qrels.pairs(&train.judged);
        let test = task_plan.splits.test.as_ref().map(|log| read_queries(plan, log, &tokenizer)).transpose()?;
        let file = task_plan.splits.unlabelled.as_ref();
        let unlabelled =
            Unlabelled::open(plan, file, task_plan.articles, labelled(&train, task_plan.negatives), &tokenizer)?;
        Ok(Self {
            objective: RetrieveObjective {
                device: plan.device,
                unlabelled_store: unlabelled.as_ref().map_or(0, Unlabelled::number),
            },
            pairs,
            test,
            unlabelled,
            train,
            dev,
            negatives: task_plan.negatives,
            card: ModelCard::new(plan, CARD),
            untouched: plan.untouched_head,
            tokenizer,
            batch: plan.train.batch,
            seed: plan.seed,
        })
    }
}

pub(in crate::task) fn read_queries(plan: &Plan, log: &QueryLog, tokenizer: &Tokenizer) -> Result<QuerySplit> {
    let (corpus, queries) = (open_store(plan, &log.corpus, tokenizer)?, open_store(plan, &log.queries, tokenizer)?);
    let query_ids = article_ids(&log.queries, &queries);
    let ids: Vec<Option<&str>> = (0..corpus.len()).map(|row| corpus.id(row)).collect();
    let index = CorpusIndex::new(log.corpus.format.repeated(), &ids);
    warn_repeated(&log.corpus, index.ids());
    let qrels = Qrels::read(&log.qrels, &query_ids, index.ids(), log.allowed_unusable)?;
    qrels.check_relevant(&log.qrels)?;
    let path = log.qrels.display();
    tracing::info!("{path}: {} queries", qrels.queries.len());
    if !qrels.report.is_empty() {
        tracing::warn!("{path}: unused: {}", qrels.report);
    }
    let judged = (0..qrels.queries.len() as u32).collect();
    Ok(QuerySplit {
        corpus: Rc::new(corpus),
        queries: Rc::new(queries),
        qrels: Rc::new(qrels),
        index: Rc::new(index),
        judged,
    })
}

/// Returns what training uses of the articles. Rows that another row with the same id replaces are not articles.
fn labelled(train: &QuerySplit, negatives: usize) -> Labelled<'_> {
    let mut used: Vec<bool> = (0..train.corpus.len() as u32).map(|row| train.index.tie_rank(row).is_none()).collect();
    let mut pairs = 0;
    for &judged in &train.judged {
        let Judged { relevant, negatives: judged_negatives, .. } = &train.qrels.queries[judged as usize];
        pairs += relevant.len() as u32;
        let drawn = judged_negatives.iter().filter(|_| negatives > 0);
        relevant.iter().map(|(article, _)| article).chain(drawn).for_each(|&article| used[article as usize] = true);
    }
    Labelled { articles: &train.corpus, used, rows: pairs, stores: 2 }
}

/// Holds out a share of the queries.
fn hold_out(train: &mut QuerySplit, fraction: f64) -> QuerySplit {
    let HeldOut { train: remaining, held_out } = texts::hold_out(train.judged.len(), fraction);
    train.judged = remaining;
    QuerySplit {
        corpus: Rc::clone(&train.corpus),
        queries: Rc::clone(&train.queries),
        qrels: Rc::clone(&train.qrels),
        index: Rc::clone(&train.index),
        judged: held_out,
    }
}

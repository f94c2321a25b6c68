//! nDCG, MRR and recall of searches in a BEIR folder.

use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;

use anyhow::{Result, anyhow, bail};
use nb_data::IdIndex;
use nb_data::beir::{Judged, Qrels, QueryLog, Split};
use nb_data::read::{Article, Source};
use nb_rank::{CorpusIndex, EVALUATION_DEPTH, JudgementScope, QueryVectors, TopKSearch, evaluate_hits};
use serde_json::{Map, Value};

use super::Eval;
use crate::commands::catalogue::{SEARCH_BLOCK, corpus_vectors, ids, warn_repeated};
use crate::commands::input::{WINDOW, Windows};
use crate::model::TextModel;

impl Eval {
    pub(super) fn retrieve(&self, model: &TextModel) -> Result<Map<String, Value>> {
        let folder = self.input.path(&model.trained()?.task)?;
        let split = self.split.map_or(Split::Test, Split::from);
        let log = QueryLog::find(folder, split, &model.read_fields(), self.input.allowed())
            .map_err(|missing| anyhow!("--input is {}, but {missing}", folder.display()))?;
        let (query_ids, known) = (ids(&log.queries)?, ids(&log.corpus)?);
        let queries = IdIndex::with(log.queries.format.repeated(), query_ids.iter().map(Option::as_deref));
        warn_repeated(&log.queries, &queries);
        let known: Vec<Option<&str>> = known.iter().map(Option::as_deref).collect();
        let index = CorpusIndex::new(log.corpus.format.repeated(), &known);
        warn_repeated(&log.corpus, index.ids());
        let qrels = Qrels::read(&log.qrels, &queries, index.ids(), log.allowed_unusable)?;
        let scope = if self.judged_only { JudgementScope::InCorpus } else { JudgementScope::All };
        warn_of_judgements(&log, &qrels, scope);
        let judged: Vec<_> = qrels.queries.iter().collect();
        let same_id = |judged: &&Judged| index.ids().row(query_ids[judged.query as usize].as_ref()?.as_bytes());
        let same_id = match scope {
            JudgementScope::All => judged.iter().map(same_id).collect(),
            JudgementScope::InCorpus => Vec::new(),
        };
        let queries =
            QueryVectors { vectors: vectors(model, &log.queries, &judged)?, hidden: model.vector_width()?, same_id };
        let searches = Searches { queries, index: index.into(), rows: known.len(), judged: &judged, scope };
        let mut metrics = searches.evaluate(model, &self.model, &log.corpus)?;
        if let Some(corpus_model) = self.corpus_model.load(&self.compute, model)? {
            let folder = self.corpus_model.folder().unwrap_or(&self.model);
            if corpus_model.read_fields() != model.read_fields() {
                bail!("--corpus-model is {}, which reads other fields of an article than --model", folder.display());
            }
            metrics.insert("corpus_model".to_owned(), searches.evaluate(&corpus_model, folder, &log.corpus)?.into());
        }
        Ok(metrics)
    }
}

/// Queries to be searched in a corpus, and their relevant articles.
struct Searches<'a> {
    queries: QueryVectors,
    index: Rc<CorpusIndex>,
    /// Number of rows of the corpus.
    rows: usize,
    judged: &'a [&'a Judged],
    scope: JudgementScope,
}

impl Searches<'_> {
    /// Returns the metrics of the searches among the vectors that a model, loaded from `folder`, gives the corpus.
    fn evaluate(&self, model: &TextModel, folder: &Path, corpus: &Source) -> Result<Map<String, Value>> {
        let mut search = TopKSearch::new(self.queries.clone(), Rc::clone(&self.index), EVALUATION_DEPTH);
        let mut vectors = corpus_vectors(model, folder, corpus)?;
        if vectors.rows() != self.rows {
            bail!("{} changed while it was read", corpus.path.display());
        }
        vectors.each_block(SEARCH_BLOCK, |rows, vectors| search.add(rows, vectors))?;
        Ok(evaluate_hits(self.judged, &search.finish(), self.scope)?.to_json())
    }
}

/// Warns of judgements that do not count, and of judgements that count although no search can find their documents.
fn warn_of_judgements(log: &QueryLog, qrels: &Qrels, scope: JudgementScope) {
    let path = log.qrels.display();
    let skipped = match scope {
        JudgementScope::All => qrels.report.unused(),
        JudgementScope::InCorpus => qrels.report.clone(),
    };
    if !skipped.is_empty() {
        tracing::warn!("{path}: skipped {skipped}");
    }
    let missing: usize = qrels.queries.iter().map(|judged| judged.missing.len()).sum();
    let none_relevant = qrels.report.none_relevant;
    if scope == JudgementScope::All && (missing > 0 || none_relevant > 0) {
        tracing::warn!(
            "{path}: as in BEIR, {missing} relevant documents that the corpus lacks count as not found, and \
             {none_relevant} queries without a relevant document in the corpus count as 0; --judged-only skips both"
        );
    }
}

/// Computes the vectors of the judged queries, in their order. Queries of other splits are not encoded.
fn vectors(model: &TextModel, queries: &Source, judged: &[&Judged]) -> Result<Vec<f32>> {
    let mut articles = vec![None; judged.len()];
    let places: HashMap<u32, usize> = judged.iter().map(|judged| judged.query).zip(0..).collect();
    let mut row = 0;
    Windows::open(queries, WINDOW)?.each(|window| {
        for article in window {
            if let Some(&place) = places.get(&row) {
                articles[place] = Some(article.clone());
            }
            row += 1;
        }
        Ok(())
    })?;
    let Some(articles) = articles.into_iter().collect::<Option<Vec<Article>>>() else {
        bail!("{} changed while it was read", queries.path.display());
    };
    let mut vectors = Vec::new();
    for window in articles.chunks(WINDOW) {
        vectors.extend(model.vectors(window)?.into_iter().flatten());
    }
    Ok(vectors)
}

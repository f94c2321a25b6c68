//! nDCG, MRR and recall of searches in a BEIR folder.

use std::collections::HashMap;

use anyhow::{Result, bail};
use nb_data::IdIndex;
use nb_data::beir::{Judged, Qrels, Split};
use nb_data::read::{Article, Source};
use serde_json::{Map, Value};

use super::Eval;
use crate::cli::catalogue::{SEARCH_BLOCK, corpus_vectors, ids};
use crate::cli::input::Windows;
use crate::inference::{Pooling, Trained, WINDOW};
use crate::plan::QueryLog;
use crate::task::texts::warn_repeated;
use crate::task::{DEPTH, TopHits, evaluate_hits};

impl Eval {
    pub(super) fn retrieve(&self, model: &Trained) -> Result<Map<String, Value>> {
        let folder = self.input.path(&model.top()?.description.task)?;
        let split = self.split.map_or(Split::Test, Split::from);
        let log = QueryLog::open("--input", folder, split, &model.read_fields(), self.input.allowed())?;
        let (asked, known) = (ids(&log.queries)?, ids(&log.corpus)?);
        let index = |ids: &[Option<String>]| IdIndex::new(ids.iter().map(Option::as_deref));
        let corpus = index(&known);
        warn_repeated(&log.corpus.path, &corpus);
        let qrels = Qrels::read(&log.qrels, &index(&asked), &corpus, log.allowed_unusable)?;
        if !qrels.left_out.is_empty() {
            tracing::warn!("{}: left out {}", log.qrels.display(), qrels.left_out);
        }
        let judged: Vec<_> = qrels.queries.iter().collect();
        let mut hits = TopHits::new(vectors(model, &log.queries, &judged)?, model.hidden(), DEPTH);
        let mut kept = corpus_vectors(model, &self.model, &log.corpus)?;
        if kept.rows() != known.len() {
            bail!("{} changed while it was read", log.corpus.path.display());
        }
        kept.each_block(SEARCH_BLOCK, |first, news| hits.add(first, news))?;
        Ok(evaluate_hits(&judged, &hits.finish())?.to_json())
    }
}

/// The vectors of the judged queries, in their order; those of other splits are not encoded.
fn vectors(model: &Trained, queries: &Source, judged: &[&Judged]) -> Result<Vec<f32>> {
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
        vectors.extend(model.vectors(window, Pooling::Attention)?.into_iter().flatten());
    }
    Ok(vectors)
}

//! nDCG, MRR and recall of searches in a BEIR folder.

use anyhow::Result;
use nb_data::IdIndex;
use nb_data::beir::{LeftOut, Qrels, Split};
use serde_json::{Map, Value};

use super::Eval;
use crate::cli::catalogue::{SEARCH_BLOCK, corpus_vectors, ids};
use crate::cli::input::Windows;
use crate::inference::{Pooling, Trained, WINDOW};
use crate::plan::QueryLog;
use crate::task::{DEPTH, TopHits, evaluate_hits};

impl Eval {
    pub(super) fn retrieve(&self, model: &Trained) -> Result<Map<String, Value>> {
        let folder = self.input.path(&model.top()?.description.task)?;
        let split = self.split.map_or(Split::Test, Split::from);
        let log = QueryLog::open("--input", folder, split, &model.read_fields(), self.input.allowed())?;
        let mut names = Vec::new();
        let mut vectors = Vec::new();
        Windows::open(&log.queries, WINDOW)?.each(|articles| {
            names.extend(articles.iter().map(|article| article.id.clone()));
            vectors.extend(model.vectors(articles, Pooling::Attention)?.into_iter().flatten());
            Ok(())
        })?;
        let queries = IdIndex::new(names.iter().map(Option::as_deref));
        let qrels = Qrels::read(&log.qrels, &queries, &ids(&log.corpus)?, log.allowed_unusable)?;
        if qrels.left_out != LeftOut::default() {
            tracing::warn!("{}: left out {}", log.qrels.display(), qrels.left_out);
        }
        let hidden = model.hidden();
        let judged: Vec<_> = qrels.queries.iter().collect();
        let asked = judged.iter().flat_map(|judged| &vectors[judged.query as usize * hidden..][..hidden]);
        let mut hits = TopHits::new(asked.copied().collect(), hidden, DEPTH);
        corpus_vectors(model, &self.model, &log.corpus)?
            .each_block(SEARCH_BLOCK, |first, news| hits.add(first, news))?;
        Ok(evaluate_hits(&judged, &hits.finish())?.to_json())
    }
}

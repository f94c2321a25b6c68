//! AUC, MRR and nDCG on impressions.

use anyhow::Result;
use nb_data::IdIndex;
use nb_data::behaviors::{BehaviorSource, ClickRule};
use nb_train::inference::SavedModel;
use nb_train::task::{ClickFiles, ScoredImpressions, evaluate_clicks, score_clicks};
use serde_json::{Map, Value};

use super::Eval;
use crate::commands::catalogue::{Catalogue, ids, mind, read_behaviors};

impl Eval {
    pub(super) fn recommend(&self, model: &SavedModel) -> Result<Map<String, Value>> {
        let (reader, description) = (model.reader()?, &model.head()?.description);
        let files = ClickFiles::find("--input", self.input.path(&description.task)?)?;
        let log = |path| BehaviorSource {
            path,
            history: description.history.unwrap_or(usize::MAX),
            clicks: ClickRule::Required,
            allowed_unusable: self.input.allowed(),
        };
        let catalogue = Catalogue::read(model, &files.news, self.input.allowed())?;
        let seen = match &self.seen_in {
            None => None,
            Some(training) => {
                let training = ClickFiles::find("--seen-in", training)?;
                let trained = ids(&mind(model, &training.news, self.input.allowed()))?;
                let index = IdIndex::new(trained.iter().map(Option::as_deref));
                let training = read_behaviors(&log(training.behaviors), &index)?;
                let shown = training.seen(0..training.len() as u32);
                let evaluated = ids(&mind(model, &files.news, self.input.allowed()))?;
                let find_row = |id: &Option<String>| id.as_ref().and_then(|id| index.row(id.as_bytes()));
                Some(evaluated.iter().map(|id| find_row(id).is_some_and(|row| shown[row as usize])).collect::<Vec<_>>())
            }
        };
        let behaviors = read_behaviors(&log(files.behaviors), &catalogue.ids)?;
        let impressions: Vec<u32> = (0..behaviors.len() as u32).collect();
        let scores = score_clicks(&catalogue.vectors, &reader, &behaviors, &impressions)?;
        let scored = ScoredImpressions { behaviors: &behaviors, impressions: &impressions, seen: seen.as_deref() };
        Ok(evaluate_clicks(&scored, &scores)?.to_json())
    }
}

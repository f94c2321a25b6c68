//! AUC, MRR and nDCG on impressions.

use std::path::Path;

use anyhow::{Result, anyhow};
use nb_data::IdIndex;
use nb_data::behaviors::{BehaviorSource, ClickFiles, ClickRule};
use nb_rank::{ScoredImpressions, evaluate_clicks};
use serde_json::{Map, Value};

use super::Eval;
use crate::commands::catalogue::{Catalogue, clicked_articles, ids, read_behaviors};
use crate::model::TextModel;

impl Eval {
    pub(super) fn recommend(&self, model: &TextModel) -> Result<Map<String, Value>> {
        let description = model.trained()?;
        let files = find_clicks("--input", self.input.path(&description.task)?)?;
        let log = |path| BehaviorSource {
            path,
            history: description.history.unwrap_or(usize::MAX),
            clicks: ClickRule::Required,
            allowed_unusable: self.input.allowed(),
        };
        let catalogue = Catalogue::read(model, &files, self.input.allowed())?;
        let seen = match &self.seen_in {
            None => None,
            Some(training) => {
                let training = find_clicks("--seen-in", training)?;
                let trained = ids(&clicked_articles(model, &training, self.input.allowed()))?;
                let index = IdIndex::new(trained.iter().map(Option::as_deref));
                let training = read_behaviors(&log(training.behaviors), &training.form, &index)?;
                let shown = training.seen(0..training.len() as u32);
                let evaluated = ids(&clicked_articles(model, &files, self.input.allowed()))?;
                let find_row = |id: &Option<String>| id.as_ref().and_then(|id| index.row(id.as_bytes()));
                Some(evaluated.iter().map(|id| find_row(id).is_some_and(|row| shown[row as usize])).collect::<Vec<_>>())
            }
        };
        let behaviors = read_behaviors(&log(files.behaviors.clone()), &files.form, &catalogue.ids)?;
        let impressions: Vec<u32> = (0..behaviors.len() as u32).collect();
        let scores = model.score_clicks(&catalogue.vectors, &behaviors)?;
        let scored = ScoredImpressions { behaviors: &behaviors, impressions: &impressions, seen: seen.as_deref() };
        Ok(evaluate_clicks(&scored, &scores)?.to_json())
    }
}

/// Finds the files of the data set in an option.
fn find_clicks(option: &str, path: &Path) -> Result<ClickFiles> {
    ClickFiles::find(path).map_err(|missing| anyhow!("{option} is {}, but {missing}", path.display()))
}

//! AUC, MRR and nDCG on impressions.

use anyhow::Result;
use nb_data::behaviors::{BehaviorSource, Behaviors, ClickRule};
use serde_json::{Map, Value};

use super::Eval;
use crate::cli::catalogue::{Catalogue, read_behaviors};
use crate::inference::Trained;
use crate::plan::click_log;
use crate::task::{Impressions, evaluate_clicks, score_clicks};

impl Eval {
    pub(super) fn recommend(&self, model: &Trained) -> Result<Map<String, Value>> {
        let (reader, description) = model.reader()?;
        let (news, behaviors) = click_log("--input", self.input.path(&description.task)?)?;
        let log = |path, clicks| BehaviorSource {
            path,
            history: description.history.unwrap_or(usize::MAX),
            clicks,
            allowed_unusable: self.input.allowed(),
        };
        let catalogue = Catalogue::read(model, &news, self.input.allowed())?;
        let seen = match &self.seen_in {
            None => None,
            Some(training) => {
                let (_, path) = click_log("--seen-in", training)?;
                // Ids of the news that are evaluated: what else training showed does not matter here.
                Some(Behaviors::read(&log(path, ClickRule::Optional), &catalogue.ids)?.seen())
            }
        };
        let behaviors = read_behaviors(&log(behaviors, ClickRule::Required), &catalogue.ids)?;
        let which: Vec<u32> = (0..behaviors.len() as u32).collect();
        let scores = score_clicks(&catalogue.vectors, reader, &behaviors, &which)?;
        let impressions = Impressions { behaviors: &behaviors, which: &which, seen: seen.as_deref() };
        Ok(evaluate_clicks(&impressions, &scores)?.to_json())
    }
}

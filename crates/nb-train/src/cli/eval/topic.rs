//! Accuracy and macro-F1 on labelled texts.

use anyhow::{Result, bail};
use nb_data::Labels;
use serde_json::{Map, Value, json};

use super::Eval;
use crate::inference::{Trained, WINDOW};
use crate::task::evaluate_classes;

impl Eval {
    pub(super) fn topic(&self, model: &Trained) -> Result<Map<String, Value>> {
        let labels = Labels::from_names(model.labels()?.to_vec())?;
        let mut windows = self.input.windows(WINDOW, self.label.as_deref(), model.fields())?;
        let (mut truth, mut predicted) = (Vec::new(), Vec::new());
        let mut unlabelled = 0;
        loop {
            let mut articles = windows.next()?;
            if articles.is_empty() {
                break;
            }
            let all = articles.len();
            articles.retain(|article| article.label.is_some());
            unlabelled += all - articles.len();
            for (article, p) in articles.iter().zip(model.probabilities(&articles)?) {
                truth.push(labels.encode(
                    article.label.as_deref().unwrap_or_default(),
                    article.line,
                    windows.name(),
                )?);
                predicted.push((0..p.len()).max_by(|&a, &b| p[a].total_cmp(&p[b])).unwrap_or(0));
            }
        }
        if truth.is_empty() {
            bail!("the input holds no text with a label; csv and tsv need --label");
        }
        windows.check()?;
        let mut metrics = evaluate_classes(&truth, &predicted)?.to_json();
        metrics.insert("unlabelled".to_owned(), json!(unlabelled));
        Ok(metrics)
    }
}

//! Accuracy and macro-F1 on labelled texts.

use anyhow::{Context, Result, bail};
use nb_data::Labels;
use nb_data::read::{Reason, SkippedRow};
use nb_rank::{argmax, evaluate_classes};
use serde_json::{Map, Value, json};

use super::Eval;
use crate::commands::choices::UnknownLabelsChoice;
use crate::commands::input::WINDOW;
use crate::model::TextModel;

/// Returns the position of a label in a list, to which it is added if necessary.
fn position(labels: &mut Vec<String>, label: &str) -> usize {
    labels.iter().position(|known| known == label).unwrap_or_else(|| {
        labels.push(label.to_owned());
        labels.len() - 1
    })
}

impl Eval {
    pub(super) fn topic(&self, model: &TextModel) -> Result<Map<String, Value>> {
        let labels = Labels::from_names(model.labels()?.to_vec())?;
        let mut windows = self.input.windows(WINDOW, self.label.as_deref(), &model.fields())?;
        let (mut truth, mut predicted) = (Vec::new(), Vec::new());
        let (mut unlabelled, mut unknown) = (0, 0);
        let mut other_labels = Vec::new(); // of which no model predicts one; their classes follow the model's
        let unknown_labels = self.unknown_labels.unwrap_or(UnknownLabelsChoice::Skip);
        loop {
            let articles = windows.next()?;
            if articles.is_empty() {
                break;
            }
            let mut known = Vec::with_capacity(articles.len());
            for article in articles {
                let Some(label) = &article.label else {
                    unlabelled += 1;
                    continue;
                };
                if !article.more_labels.is_empty() {
                    windows.skip(SkippedRow { line: article.line, reason: Reason::SeveralLabels });
                    continue;
                }
                let class = match unknown_labels {
                    UnknownLabelsChoice::Skip => labels.index_of(label),
                    UnknownLabelsChoice::Wrong => {
                        let class = labels.index_of(label);
                        unknown += usize::from(class.is_none());
                        class.or_else(|| Some(labels.len() + position(&mut other_labels, label)))
                    }
                    UnknownLabelsChoice::Error => Some(labels.encode(label, article.line, windows.name())?),
                };
                if let Some(class) = class {
                    truth.push(class);
                    known.push(article);
                } else {
                    unknown += 1;
                    windows.skip(SkippedRow { line: article.line, reason: Reason::UnknownLabel });
                }
            }
            for probabilities in model.probabilities(&known)? {
                predicted.push(argmax(&probabilities).context("the model has no labels")?);
            }
        }
        windows.check()?;
        model.log_truncated();
        if truth.is_empty() {
            bail!("{}: no text has a label; csv, tsv, jsonl and parquet need --label", windows.name().display());
        }
        let mut metrics = evaluate_classes(&truth, &predicted)?.to_json();
        metrics.insert("unlabelled".to_owned(), json!(unlabelled));
        metrics.insert("unknown_labels".to_owned(), json!(unknown));
        Ok(metrics)
    }
}

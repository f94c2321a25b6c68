//! Accuracy and macro-F1 on labelled texts.

use std::path::Path;

use anyhow::{Context, Result, bail};
use nb_data::Labels;
use nb_data::read::{Article, Reason, SkippedRow};
use nb_rank::{argmax, evaluate_classes};
use serde_json::{Map, Value, json};

use super::Eval;
use crate::commands::choices::UnknownLabelsChoice;
use crate::commands::input::WINDOW;
use crate::model::TextModel;

/// The classes of labels, and the counts of rows without one.
struct Truth {
    labels: Labels,
    unknown_labels: UnknownLabelsChoice,
    /// Labels of which no model predicts one. Their classes follow the model's.
    other_labels: Vec<String>,
    unlabelled: usize,
    unknown: usize,
}

/// The class of a row.
enum Row {
    Labelled(usize),
    Unlabelled,
    Unusable(Reason),
}

impl Truth {
    /// Returns the class of an article's label.
    ///
    /// # Errors
    /// If the model does not know the label, and that is an error.
    fn class_of(&mut self, article: &Article, file: &Path) -> Result<Row> {
        let Some(label) = &article.label else {
            self.unlabelled += 1;
            return Ok(Row::Unlabelled);
        };
        if !article.more_labels.is_empty() {
            return Ok(Row::Unusable(Reason::SeveralLabels));
        }
        if let Some(class) = self.labels.index_of(label) {
            return Ok(Row::Labelled(class));
        }
        self.unknown += 1;
        Ok(match self.unknown_labels {
            UnknownLabelsChoice::Skip => Row::Unusable(Reason::UnknownLabel),
            UnknownLabelsChoice::Wrong => Row::Labelled(self.labels.len() + self.position(label)),
            UnknownLabelsChoice::Error => Row::Labelled(self.labels.encode(label, article.line, file)?),
        })
    }

    /// Returns the position of a label among those that the model does not know.
    fn position(&mut self, label: &str) -> usize {
        let known = self.other_labels.iter().position(|known| known == label);
        known.unwrap_or_else(|| {
            self.other_labels.push(label.to_owned());
            self.other_labels.len() - 1
        })
    }
}

impl Eval {
    pub(super) fn topic(&self, model: &TextModel) -> Result<Map<String, Value>> {
        let mut windows = self.input.windows(WINDOW, self.label.as_deref(), &model.fields())?;
        let mut labels = Truth {
            labels: Labels::from_names(model.labels()?.to_vec())?,
            unknown_labels: self.unknown_labels.unwrap_or(UnknownLabelsChoice::Skip),
            other_labels: Vec::new(),
            unlabelled: 0,
            unknown: 0,
        };
        let (mut truth, mut predicted) = (Vec::new(), Vec::new());
        loop {
            let articles = windows.next()?;
            if articles.is_empty() {
                break;
            }
            let mut known = Vec::with_capacity(articles.len());
            for article in articles {
                match labels.class_of(&article, windows.name())? {
                    Row::Labelled(class) => {
                        truth.push(class);
                        known.push(article);
                    }
                    Row::Unlabelled => {}
                    Row::Unusable(reason) => windows.skip(SkippedRow { line: article.line, reason }),
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
        metrics.insert("unlabelled".to_owned(), json!(labels.unlabelled));
        metrics.insert("unknown_labels".to_owned(), json!(labels.unknown));
        Ok(metrics)
    }
}

//! Metrics of a model for topics on labelled texts: accuracy and macro-F1, or micro-F1, macro-F1 and mean average precision if a
//! text has any number of labels.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use nb_checkpoint::LabelKind;
use nb_data::Labels;
use nb_data::read::{Article, Reason, SkippedRow};
use nb_rank::{LabelSets, Measurements, argmax, evaluate_classes, evaluate_label_sets};
use serde_json::{Map, Value, json};

use super::Eval;
use crate::commands::choices::UnknownLabelsChoice;
use crate::commands::input::WINDOW;
use crate::model::TextModel;

/// The classes of labels, and the counts of rows without one.
struct Truth {
    labels: Labels,
    kind: LabelKind,
    unknown_labels: UnknownLabelsChoice,
    /// Labels of which no model predicts one. Their classes follow the model's.
    other_labels: HashMap<String, usize>,
    unlabelled: usize,
    unknown: usize,
}

/// The classes of a row.
enum Row {
    Labelled(Vec<usize>),
    Unlabelled,
    Unusable(Reason),
}

impl Truth {
    /// Returns the classes of an article's labels.
    ///
    /// # Errors
    /// If the model does not know a label, and that is an error.
    fn classes_of(&mut self, article: &Article, file: &Path) -> Result<Row> {
        if article.label.is_none() {
            self.unlabelled += 1;
            return Ok(if self.kind == LabelKind::Single { Row::Unlabelled } else { Row::Labelled(Vec::new()) });
        }
        if self.kind == LabelKind::Single && !article.more_labels.is_empty() {
            return Ok(Row::Unusable(Reason::SeveralLabels));
        }
        let known: Vec<Option<usize>> = article.labels().map(|label| self.labels.index_of(label)).collect();
        let is_known = known.iter().all(Option::is_some);
        self.unknown += usize::from(!is_known);
        if !is_known && self.unknown_labels == UnknownLabelsChoice::Skip {
            return Ok(Row::Unusable(Reason::UnknownLabel));
        }
        let mut classes = Vec::with_capacity(known.len());
        for (label, class) in article.labels().zip(known) {
            classes.push(match (class, self.unknown_labels) {
                (Some(class), _) => class,
                (None, UnknownLabelsChoice::Error) => self.labels.encode(label, article.line, file)?,
                (None, _) => self.labels.len() + self.position(label),
            });
        }
        Ok(Row::Labelled(classes))
    }

    /// Returns the position of a label among those that the model does not know.
    fn position(&mut self, label: &str) -> usize {
        if let Some(&position) = self.other_labels.get(label) {
            return position;
        }
        let position = self.other_labels.len();
        self.other_labels.insert(label.to_owned(), position);
        position
    }

    /// Measures predictions by the model's thresholds.
    fn measure(&self, truth: &[Vec<usize>], rows: &[Vec<f32>], thresholds: &[f64]) -> Result<Measurements> {
        if self.kind == LabelKind::Single {
            let truth: Vec<usize> = truth.iter().flatten().copied().collect();
            let predicted: Option<Vec<usize>> = rows.iter().map(|row| argmax(row)).collect();
            return Ok(evaluate_classes(&truth, &predicted.context("the model has no labels")?)?);
        }
        let sets = LabelSets { labels: self.labels.len(), truth, probabilities: &rows.concat() };
        Ok(evaluate_label_sets(&sets, Some(thresholds))?)
    }
}

impl Eval {
    pub(super) fn topic(&self, model: &TextModel) -> Result<Map<String, Value>> {
        let kind = if model.thresholds().is_empty() { LabelKind::Single } else { LabelKind::Multi };
        let label = match kind {
            LabelKind::Single => self.labels.of_one_label()?,
            LabelKind::Multi => self.labels.of_label_sets(),
        };
        let mut windows = self.input.windows(WINDOW, label.as_ref(), &model.fields())?;
        let mut labels = Truth {
            labels: Labels::from_names(model.labels()?.to_vec())?,
            kind,
            unknown_labels: self.unknown_labels.unwrap_or(UnknownLabelsChoice::Skip),
            other_labels: HashMap::new(),
            unlabelled: 0,
            unknown: 0,
        };
        let (mut truth, mut rows) = (Vec::new(), Vec::new());
        loop {
            let articles = windows.next()?;
            if articles.is_empty() {
                break;
            }
            let mut known = Vec::with_capacity(articles.len());
            for article in articles {
                match labels.classes_of(&article, windows.name())? {
                    Row::Labelled(classes) => {
                        truth.push(classes);
                        known.push(article);
                    }
                    Row::Unlabelled => {}
                    Row::Unusable(reason) => windows.skip(SkippedRow { line: article.line, reason }),
                }
            }
            rows.extend(model.probabilities(&known)?);
        }
        windows.check()?;
        model.log_truncated();
        if truth.iter().all(Vec::is_empty) {
            let advice = match label {
                Some(_) => "expected one in the columns that are named",
                None => "csv, tsv, jsonl and parquet need --label",
            };
            bail!("{}: no text has a label; {advice}", windows.name().display());
        }
        let mut metrics = labels.measure(&truth, &rows, model.thresholds())?.to_json();
        metrics.insert("unlabelled".to_owned(), json!(labels.unlabelled));
        metrics.insert("unknown_labels".to_owned(), json!(labels.unknown));
        Ok(metrics)
    }
}

//! Configurations of runs, as a user would write them.

use anyhow::Result;
use serde_json::{Value, json};

use crate::cases::{ArticleFields, Corpus, SplitFiles};
use crate::context::{BenchContext, utf8};

/// Number of the most recent clicks that are used for a reader.
const HISTORY: usize = 20;

/// The task of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CaseTask {
    /// Labelled articles.
    Topic,
    /// Impressions in MIND's format.
    Recommend,
}

/// The settings of a run that differ between cases.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CaseRun {
    /// The name of the run.
    pub(crate) name: &'static str,
    /// The task.
    pub(crate) task: CaseTask,
    /// The corpus that it reads.
    pub(crate) corpus: Corpus,
    /// The fields of an article that it reads.
    pub(crate) fields: ArticleFields,
    /// Maximum length of a text, in tokens.
    pub(crate) max_tokens: usize,
    /// Number of student layers.
    pub(crate) layers: usize,
}

impl CaseTask {
    /// Returns its name in configurations.
    fn name(self) -> &'static str {
        match self {
            Self::Topic => "topic",
            Self::Recommend => "recommend",
        }
    }

    /// The head of the paper, which the counterparts in PyTorch have too.
    fn head(self) -> Value {
        match self {
            Self::Topic => json!({"pooling": "attentive"}),
            Self::Recommend => json!({"pooling": "attentive", "score": "dot"}),
        }
    }

    fn files(self, context: &BenchContext, corpus: Corpus) -> SplitFiles {
        match self {
            Self::Topic => context.corpora.articles(corpus),
            Self::Recommend => context.corpora.impressions(corpus),
        }
    }
}

impl CaseRun {
    /// Returns the configuration, to which a case adds what it needs besides.
    ///
    /// # Errors
    /// If a path is not UTF-8.
    pub(crate) fn config(&self, context: &BenchContext) -> Result<Value> {
        Ok(json!({
            "name": self.name,
            "output": utf8(&context.scratch_path("run"))?,
            "device": context.device.to_string(),
            "threads": context.threads,
            "task": self.task.name(),
            "data": self.data(context)?,
            "head": self.task.head(),
            "teacher": {"checkpoint": context.teacher},
            "student": {"layers": self.layers},
        }))
    }

    /// Returns the section `data`.
    fn data(&self, context: &BenchContext) -> Result<Value> {
        let files = self.task.files(context, self.corpus);
        let mut data = json!({
            "train": utf8(&files.train)?,
            "dev": utf8(&files.dev)?,
            "max_tokens": self.max_tokens,
            "cache": utf8(&context.scratch_path("tokens"))?,
        });
        match (self.task, self.corpus) {
            (CaseTask::Topic, Corpus::Dataset) => {
                data["format"] = json!("csv");
                data["columns"] = json!({"label": 0, "text": self.fields.columns()});
            }
            _ => {
                data["format"] = json!("mind");
                data["fields"] = json!(self.fields.names());
            }
        }
        if self.task == CaseTask::Recommend {
            data["history"] = json!(HISTORY);
        }
        Ok(data)
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args, FromArgMatches};
    use nb_train::config::RunConfig;

    use super::*;
    use crate::options::Options;

    fn context() -> BenchContext {
        let command = Options::augment_args(clap::Command::new("bench"));
        let matches = command.get_matches_from(["bench", "--data", "sets", "--device", "cpu", "--threads", "3"]);
        BenchContext::new(&Options::from_arg_matches(&matches).unwrap()).unwrap()
    }

    /// Returns the section `data` without paths, after checking that a run accepts the configuration.
    fn data(context: &BenchContext, task: CaseTask, corpus: Corpus) -> Value {
        let run = CaseRun { name: "a", task, corpus, fields: ArticleFields::Title, max_tokens: 32, layers: 2 };
        let mut config = run.config(context).unwrap();
        serde_json::from_value::<RunConfig>(config.clone()).unwrap();
        let mut data = config["data"].take();
        for key in ["train", "dev", "cache"] {
            assert!(data.as_object_mut().unwrap().remove(key).is_some(), "{key}");
        }
        data
    }

    #[test]
    fn the_format_follows_from_task_and_corpus() {
        let context = context();
        let csv = json!({"max_tokens": 32, "format": "csv", "columns": {"label": 0, "text": [1]}});
        assert_eq!(data(&context, CaseTask::Topic, Corpus::Dataset), csv);
        let mind = json!({"max_tokens": 32, "format": "mind", "fields": ["title"]});
        assert_eq!(data(&context, CaseTask::Topic, Corpus::Sample), mind);
        let clicks = json!({"max_tokens": 32, "format": "mind", "fields": ["title"], "history": 20});
        for corpus in [Corpus::Dataset, Corpus::Sample] {
            assert_eq!(data(&context, CaseTask::Recommend, corpus), clicks);
        }
    }
}

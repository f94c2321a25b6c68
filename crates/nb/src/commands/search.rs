//! `nb search`: the articles of a corpus that match a query best.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use nb_data::beir::Folder;
use nb_data::read::{Article, Format, LabelRule, Source};
use nb_rank::{CorpusIndex, Hit, QueryVectors, TopKSearch};
use serde_json::json;

use super::catalogue::{SEARCH_BLOCK, corpus_vectors, ids, warn_repeated};
use super::compute::Compute;
use super::corpus_model::CorpusModelOption;
use super::input::{WINDOW, Windows, share};
use crate::model::TextModel;

#[derive(Debug, Args)]
#[command(
    after_help = "Example: nb search --model runs/quickstart-retrieve/student --corpus data/sample/beir --query \
    \"storm at the coast\"\n\
    If several rows have the same id, only one is searched: the last of a BEIR corpus, the first of a news.tsv. \
    Articles with equal scores are listed by descending id, as in evaluations. A query has no id here, so no article is excluded for \
    having the same id.\n\
    The corpus vectors are cached beside the corpus, in <corpus>-<hash>.vectors.safetensors, and reused until the corpus \
    or the model changes; these files can be deleted at any time."
)]
pub(crate) struct Search {
    /// Model folder of a run with task: retrieve
    #[arg(long, value_name = "FOLDER")]
    model: PathBuf,
    /// BEIR folder, its corpus.jsonl, or a news.tsv in MIND's format
    #[arg(long, value_name = "PATH")]
    corpus: PathBuf,
    /// Query text (may be repeated)
    #[arg(long = "query", required = true, value_name = "TEXT")]
    queries: Vec<String>,
    /// Number of articles per query
    #[arg(long, default_value = "10", value_name = "N")]
    top: std::num::NonZeroUsize,
    /// Output as text or as JSON lines
    #[arg(long, value_enum, default_value = "text")]
    output_format: OutputFormat,
    /// Largest accepted share of unusable rows
    #[arg(long, default_value_t = Source::ALLOWED_UNUSABLE, value_name = "SHARE", value_parser = share)]
    allow_unusable: f64,
    #[command(flatten)]
    corpus_model: CorpusModelOption,
    #[command(flatten)]
    compute: Compute,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OutputFormat {
    Text,
    Json,
}

impl Search {
    pub(crate) fn run(&self) -> Result<ExitCode> {
        if self.queries.iter().any(|query| query.trim().is_empty()) {
            bail!("--query is empty, expected a text");
        }
        let model = self.compute.load(&self.model)?;
        model.require_retrieval()?;
        let other = self.corpus_model.load(&self.compute, &model)?;
        let corpus_model = other.as_ref().unwrap_or(&model);
        let corpus = self.source(corpus_model)?;
        let queries = self.queries.iter().map(|query| Article { line: 1, first: query.clone(), ..Article::default() });
        let queries = model.vectors(&queries.collect::<Vec<_>>())?;
        // A query from the command line has no id, so no document can have the same id.
        let queries = QueryVectors { vectors: queries.concat(), hidden: model.vector_width()?, same_id: Vec::new() };
        let known = ids(&corpus)?;
        let index = CorpusIndex::new(corpus.format.repeated(), &known.iter().map(Option::as_deref).collect::<Vec<_>>());
        warn_repeated(&corpus, index.ids());
        let mut search = TopKSearch::new(queries, index.into(), self.top.get());
        let mut vectors = corpus_vectors(corpus_model, self.corpus_model.folder().unwrap_or(&self.model), &corpus)?;
        if vectors.rows() != known.len() {
            bail!("{} changed while it was read", corpus.path.display());
        }
        vectors.each_block(SEARCH_BLOCK, |rows, vectors| search.add(rows, vectors))?;
        self.show(&corpus, &search.finish())?;
        Ok(ExitCode::SUCCESS)
    }

    fn source(&self, model: &TextModel) -> Result<Source> {
        let path = if self.corpus.is_dir() { Folder::new(&self.corpus).corpus() } else { self.corpus.clone() };
        if !path.is_file() {
            match path == self.corpus {
                true => bail!("--corpus is {}, but there is no such file or folder", path.display()),
                false => bail!("--corpus is {}, but {} does not exist", self.corpus.display(), path.display()),
            }
        }
        let fields = model.read_fields();
        let format = match path.extension().and_then(|ending| ending.to_str()) {
            Some("tsv") => Format::MindNews { fields },
            _ => Format::BeirCorpus { fields },
        };
        Ok(Source {
            labels: LabelRule::Optional,
            allowed_unusable: self.allow_unusable,
            ..Source::labelled(path, format)
        })
    }

    fn show(&self, corpus: &Source, hits: &[Vec<Hit>]) -> Result<()> {
        let found = articles(corpus, hits)?;
        for (query, hits) in self.queries.iter().zip(hits) {
            if self.output_format == OutputFormat::Text && self.queries.len() > 1 {
                say!("{}", cut(query));
            }
            for (rank, hit) in (1..).zip(hits) {
                let Some(article) = found.get(&hit.row) else {
                    bail!("{} changed while it was read", corpus.path.display())
                };
                let id = article.id.as_deref().unwrap_or_default();
                match self.output_format {
                    OutputFormat::Text => say!("{rank:>3}  {:>9.3}  {id}  {}", hit.score, cut(&article.first)),
                    OutputFormat::Json => {
                        let line =
                            json!({"query": query, "rank": rank, "score": hit.score, "id": id, "text": article.first});
                        say!("{line}");
                    }
                }
            }
        }
        Ok(())
    }
}

/// Reads the articles of the hits, by row. The corpus is read again, since only ids and vectors were kept.
fn articles(corpus: &Source, hits: &[Vec<Hit>]) -> Result<HashMap<u32, Article>> {
    let wanted: std::collections::HashSet<u32> = hits.iter().flatten().map(|hit| hit.row).collect();
    let mut found = HashMap::new();
    let mut row = 0;
    Windows::open(corpus, WINDOW)?.each(|articles| {
        for article in articles {
            if wanted.contains(&row) {
                found.insert(row, article.clone());
            }
            row += 1;
        }
        Ok(())
    })?;
    Ok(found)
}

/// Returns the beginning of a text, without line breaks and other control characters, for one line of output.
fn cut(text: &str) -> String {
    const MOST: usize = 100;
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let mut short: String = text.chars().take(MOST).map(plain).collect();
    if text.chars().nth(MOST).is_some() {
        short.push('…');
    }
    short
}

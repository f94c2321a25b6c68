//! News that a command ranks: their ids and their vectors.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nb_data::IdIndex;
use nb_data::behaviors::{BehaviorSource, Behaviors};
use nb_data::read::{Format, LabelRule, Row, Source};

use super::input::Windows;
use crate::card::{DESCRIPTION_FILE, HEAD_FILE};
use crate::inference::{Pooling, Trained, WINDOW};
use crate::plan::cache_folder;
use crate::task::NewsVectors;
use crate::task::texts::warn_repeated;
use crate::vector_file::{CorpusVectors, VectorFile, VectorWriter};

/// Vectors that are read at a time while a corpus is searched.
pub(super) const SEARCH_BLOCK: usize = 16_384;
/// To be raised with every change that gives the same model other vectors: kept ones are then made anew.
const VERSION: u32 = 1;

/// News in memory: their ids, and a vector each.
pub(super) struct Catalogue {
    pub(super) ids: IdIndex,
    pub(super) vectors: NewsVectors,
}

impl Catalogue {
    /// Encodes the news of a `news.tsv`, each once.
    pub(super) fn read(model: &Trained, news: &Path, allowed_unusable: f64) -> Result<Self> {
        let source = mind(model, news, allowed_unusable);
        let (mut names, mut vectors) = (Vec::new(), Vec::new());
        Windows::open(&source, WINDOW)?.each(|articles| {
            names.extend(articles.iter().map(|article| article.id.clone()));
            vectors.extend(model.vectors(articles, Pooling::Attention)?.into_iter().flatten());
            Ok(())
        })?;
        model.log_cut();
        let ids = IdIndex::new(names.iter().map(Option::as_deref));
        warn_repeated(news, &ids);
        Ok(Self { ids, vectors: NewsVectors::new(vectors, model.hidden()) })
    }
}

/// A `news.tsv` as the model reads it.
pub(super) fn mind(model: &Trained, news: &Path, allowed_unusable: f64) -> Source {
    let format = Format::MindNews { fields: model.read_fields() };
    Source { path: news.to_owned(), format, labels: LabelRule::Optional, allowed_unusable }
}

/// Reads impressions and tells what was left out.
pub(super) fn read_behaviors(source: &BehaviorSource, ids: &IdIndex) -> Result<Behaviors> {
    let behaviors = Behaviors::read(source, ids)?;
    if !behaviors.left_out().is_empty() {
        tracing::warn!("{}: left out {}", source.path.display(), behaviors.left_out());
    }
    Ok(behaviors)
}

/// The ids of a file's usable rows, in its order. Says nothing of others: whoever reads the texts does.
pub(super) fn ids(source: &Source) -> Result<Vec<Option<String>>> {
    let rows = source.open()?.filter_map(|row| match row {
        Ok(Row::Article(article)) => Some(Ok(article.id)),
        Ok(Row::Skipped(_)) => None,
        Err(error) => Some(Err(error.into())),
    });
    rows.collect()
}

/// The vectors of a corpus: those that are cached if neither it nor the model has changed since, else new ones, which are
/// cached where a file can be written and are in memory where not.
pub(super) fn corpus_vectors(model: &Trained, folder: &Path, corpus: &Source) -> Result<CorpusVectors> {
    let key = key(model, folder, corpus)?;
    let stem = corpus.path.file_stem().unwrap_or_default().to_string_lossy();
    let name = format!("{stem}-{}.vectors.safetensors", &key[..12]);
    let beside = corpus.path.with_file_name(&name);
    let elsewhere = cache_folder().join("vectors").join(&name);
    for path in [&beside, &elsewhere] {
        if let Some(file) = VectorFile::open(path, &key) {
            tracing::info!("{} vectors of {} read from {}", file.rows(), corpus.path.display(), path.display());
            return Ok(CorpusVectors::File(file));
        }
    }
    let Some((path, mut writer)) = writer(beside, elsewhere, model.hidden()) else {
        let mut values = Vec::new();
        encode(model, corpus, |_, vector| {
            values.extend_from_slice(vector);
            Ok(())
        })?;
        return Ok(CorpusVectors::Memory { values, hidden: model.hidden() });
    };
    encode(model, corpus, |line, vector| writer.push(line, vector))?;
    writer.finish(Some(&key))?;
    tracing::info!("vectors of {} kept in {}", corpus.path.display(), path.display());
    let file = VectorFile::open(&path, &key);
    file.map(CorpusVectors::File).with_context(|| format!("cannot read {} back", path.display()))
}

/// Beside the corpus; in the user's cache folder where nothing can be written there; none where neither can be written.
fn writer(beside: PathBuf, elsewhere: PathBuf, hidden: usize) -> Option<(PathBuf, VectorWriter)> {
    let error = match VectorWriter::new(&beside, hidden) {
        Ok(writer) => return Some((beside, writer)),
        Err(error) => error,
    };
    let folder = elsewhere.parent().unwrap_or(Path::new("."));
    let made = std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()));
    match made.and_then(|()| VectorWriter::new(&elsewhere, hidden)) {
        Ok(writer) => {
            tracing::warn!("{error:#}; vectors go to {}", elsewhere.display());
            Some((elsewhere, writer))
        }
        Err(second) => {
            tracing::warn!(
                "vectors are not cached and will be computed again: {error:#}; {second:#}; set XDG_CACHE_HOME to a folder \
                 that can be written"
            );
            None
        }
    }
}

/// Calls `push` with the line and the vector of each article.
fn encode(model: &Trained, corpus: &Source, mut push: impl FnMut(u64, &[f32]) -> Result<()>) -> Result<()> {
    Windows::open(corpus, WINDOW)?.each(|articles| {
        for (article, vector) in articles.iter().zip(model.vectors(articles, Pooling::Attention)?) {
            push(article.line, &vector)?;
        }
        Ok(())
    })?;
    model.log_cut();
    Ok(())
}

/// A hash of everything the vectors depend on.
fn key(model: &Trained, folder: &Path, corpus: &Source) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    let files = [nb_model::CONFIG_FILE, nb_model::WEIGHTS_FILE, HEAD_FILE, DESCRIPTION_FILE];
    for path in files.iter().map(|name| folder.join(name)).chain([corpus.path.clone()]) {
        let mut own = blake3::Hasher::new();
        let read = File::open(&path).and_then(|file| own.update_reader(file).map(|_| ()));
        read.with_context(|| format!("cannot read {}", path.display()))?;
        hasher.update(own.finalize().as_bytes());
    }
    hasher.update(format!("{VERSION} {:?} {}", corpus.format, model.settings()).as_bytes());
    Ok(hasher.finalize().to_hex().to_string())
}

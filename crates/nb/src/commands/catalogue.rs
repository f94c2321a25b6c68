//! Articles that a command ranks: their ids and their vectors.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nb_checkpoint::{CONFIG_FILE, DESCRIPTION_FILE, HEAD_FILE, module_files, weight_files};
use nb_data::behaviors::{BehaviorSource, Behaviors, ClickFiles, ImpressionForm};
use nb_data::read::{Article, Row, Source};
use nb_data::{IdIndex, Tokens};
use nb_files::cache_folder;
use nb_rank::{ArticleVectors, CorpusVectors, VectorFile, VectorWriter};

use super::input::{WINDOW, Windows};
use crate::model::TextModel;

/// Number of vectors that a search reads at a time.
pub(crate) const SEARCH_BLOCK: usize = 16_384;
/// Version of the cached vectors. Increment it with every change after which the same model gives different vectors.
const VERSION: u32 = 3;

/// Articles in memory: their ids, and a vector each.
pub(crate) struct Catalogue {
    pub(crate) ids: IdIndex,
    pub(crate) vectors: ArticleVectors,
}

impl Catalogue {
    /// Encodes the articles of a data set of clicks, each once.
    pub(crate) fn read(model: &TextModel, files: &ClickFiles, allowed_unusable: f64) -> Result<Self> {
        let source = clicked_articles(model, files, allowed_unusable);
        let (mut names, mut vectors, hidden) = (Vec::new(), Vec::new(), model.vector_width()?);
        each_vector(model, &source, |article, vector| {
            names.push(article.id.clone());
            vector.append_to(&mut vectors, hidden);
            Ok(())
        })?;
        let ids = IdIndex::with(source.format.repeated(), names.iter().map(Option::as_deref));
        warn_repeated(&source, &ids);
        Ok(Self { ids, vectors: ArticleVectors::new(vectors, hidden) })
    }
}

/// The vector of an article.
enum Encoded {
    /// The vector of a new text.
    New(Vec<f32>),
    /// The row of an earlier text with the same tokens.
    AsRow(usize),
}

impl Encoded {
    /// Appends the vector, of `hidden` units, to those of the earlier rows.
    fn append_to(self, vectors: &mut Vec<f32>, hidden: usize) {
        match self {
            Self::New(vector) => vectors.extend(vector),
            Self::AsRow(row) => vectors.extend_from_within(row * hidden..(row + 1) * hidden),
        }
    }
}

/// Calls `f` with each article of a source and its vector, and logs the number of truncated texts. Texts with the same tokens
/// are encoded once: in another batch the last bits of a vector may differ, and equal texts would not tie.
fn each_vector(model: &TextModel, source: &Source, mut f: impl FnMut(&Article, Encoded) -> Result<()>) -> Result<()> {
    let (mut known, mut rows) = (HashMap::new(), 0..);
    Windows::open(source, WINDOW)?.each(|articles| {
        let (mut new, mut origins) = (Vec::new(), Vec::with_capacity(articles.len()));
        for (tokens, row) in model.tokens(articles)?.into_iter().zip(&mut rows) {
            let first: usize = *known.entry(tokens_hash(&tokens)).or_insert(row);
            origins.push((first, row));
            if first == row {
                new.push(tokens);
            }
        }
        let mut vectors = model.vectors_of(&new)?.into_iter();
        for (article, (first, row)) in articles.iter().zip(origins) {
            let vector = if first == row { vectors.next().map(Encoded::New) } else { None };
            f(article, vector.unwrap_or(Encoded::AsRow(first)))?;
        }
        Ok(())
    })?;
    model.log_truncated();
    Ok(())
}

/// Hashes the tokens of a text, which are all that a model sees of it.
fn tokens_hash(tokens: &Tokens) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    for &id in &tokens.ids {
        hasher.update(&id.to_le_bytes());
    }
    hasher.update(&tokens.second_starts.to_le_bytes());
    hasher.finalize()
}

/// Warns of rows that are ignored because other rows have the same ids.
pub(crate) fn warn_repeated(source: &Source, ids: &IdIndex) {
    if let Some(message) = source.repeated_ids(ids) {
        tracing::warn!("{message}");
    }
}

/// Returns the source of the articles of a data set of clicks, with the fields that the model was trained on.
pub(crate) fn clicked_articles(model: &TextModel, files: &ClickFiles, allowed_unusable: f64) -> Source {
    Source { allowed_unusable, ..files.articles(&model.read_fields()) }
}

/// Reads impressions and warns of skipped ones.
pub(crate) fn read_behaviors(source: &BehaviorSource, form: &ImpressionForm, ids: &IdIndex) -> Result<Behaviors> {
    let behaviors = Behaviors::read_as(source, form, ids)?;
    if !behaviors.report().is_empty() {
        tracing::warn!("{}: {}", source.path.display(), behaviors.report());
    }
    Ok(behaviors)
}

/// Returns the ids of a file's usable rows, in file order. Skipped rows are reported when the texts are read,
/// not here.
pub(crate) fn ids(source: &Source) -> Result<Vec<Option<String>>> {
    let rows = source.open()?.filter_map(|row| match row {
        Ok(Row::Article(article)) => Some(Ok(article.id)),
        Ok(Row::Skipped(_)) => None,
        Err(error) => Some(Err(error.into())),
    });
    rows.collect()
}

/// Returns the vectors of a corpus: the cached ones if neither the corpus nor the model has changed, otherwise new ones. The
/// new ones are cached in a file, or stay in memory if no file can be written.
pub(crate) fn corpus_vectors(model: &TextModel, folder: &Path, corpus: &Source) -> Result<CorpusVectors> {
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
    let Some((path, mut writer)) = writer(beside, elsewhere, model.vector_width()?) else {
        let mut values = Vec::new();
        each_vector(model, corpus, |_, vector| {
            vector.append_to(&mut values, model.vector_width()?);
            Ok(())
        })?;
        return Ok(CorpusVectors::Memory { values, hidden: model.vector_width()? });
    };
    write(model, corpus, &mut writer)?;
    writer.finish(Some(&key))?;
    tracing::info!("vectors of {} cached in {}", corpus.path.display(), path.display());
    let file = VectorFile::open(&path, &key);
    file.map(CorpusVectors::File).with_context(|| format!("cannot read {} after writing it", path.display()))
}

/// Returns a writer beside the corpus or, if that is not writable, in the user's cache folder; none if neither is writable.
fn writer(beside: PathBuf, elsewhere: PathBuf, hidden: usize) -> Option<(PathBuf, VectorWriter)> {
    let error = match VectorWriter::new(&beside, hidden) {
        Ok(writer) => return Some((beside, writer)),
        Err(error) => error,
    };
    let folder = elsewhere.parent().unwrap_or(Path::new("."));
    let created = std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()));
    match created.and_then(|()| Ok(VectorWriter::new(&elsewhere, hidden)?)) {
        Ok(writer) => {
            tracing::warn!("{error:#}; caching the vectors in {} instead", elsewhere.display());
            Some((elsewhere, writer))
        }
        Err(second) => {
            tracing::warn!(
                "vectors are not cached and will be computed again: {error:#}; {second:#}; set XDG_CACHE_HOME to a \
                 writable folder"
            );
            None
        }
    }
}

fn write(model: &TextModel, corpus: &Source, writer: &mut VectorWriter) -> Result<()> {
    each_vector(model, corpus, |article, vector| {
        match vector {
            Encoded::New(vector) => writer.push(article.line, &vector)?,
            Encoded::AsRow(row) => writer.repeat(article.line, row)?,
        }
        Ok(())
    })
}

/// Returns a hash of everything that the vectors depend on.
fn key(model: &TextModel, folder: &Path, corpus: &Source) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    let required = [folder.join(CONFIG_FILE)].into_iter().chain(weight_files(folder));
    // An encoder as it comes has no trained head; the settings below name the one that it is used with.
    let of_head = [HEAD_FILE, DESCRIPTION_FILE].map(str::to_owned).into_iter();
    let of_head = of_head.chain(module_files(folder).weights.into_iter().flatten());
    let of_head = of_head.map(|name| folder.join(name)).filter(|path| path.is_file());
    for path in required.chain(of_head).chain([corpus.path.clone()]) {
        let mut file_hasher = blake3::Hasher::new();
        let read = File::open(&path).and_then(|file| file_hasher.update_reader(file).map(|_| ()));
        read.with_context(|| format!("cannot read {}", path.display()))?;
        hasher.update(file_hasher.finalize().as_bytes());
    }
    hasher.update(format!("{VERSION} {:?} {}", corpus.format, model.settings()).as_bytes());
    Ok(hasher.finalize().to_hex().to_string())
}

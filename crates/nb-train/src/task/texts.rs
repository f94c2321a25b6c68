//! The texts of a task: tokenizer, token stores and ids.

use std::fmt::Display;

use anyhow::Result;
use nb_data::read::{Skipped, Source, split, unquoted_warning};
use nb_data::store::Origin;
use nb_data::{DataError, IdIndex, TokenBatch, TokenStore, Tokenizer};

use super::TextRef;
use crate::plan::Plan;

/// Loads the tokenizer of a plan's teacher.
///
/// # Errors
/// If it cannot be read, or has more tokens than the teacher's embedding has rows.
pub(super) fn open_tokenizer(plan: &Plan) -> Result<Tokenizer> {
    crate::model::tokenizer::load_for(plan, plan.teacher.tokenizer(), &plan.teacher_config)
}

/// Opens (or builds) the token store of a source, and logs its size.
///
/// # Errors
/// If the source cannot be used or the store cannot be written.
pub(super) fn open_store(plan: &Plan, source: &Source, tokenizer: &Tokenizer) -> Result<TokenStore> {
    let store = TokenStore::open_or_build(&plan.data.cache, source, tokenizer, plan.data.max_tokens);
    let store = store.map_err(|error| match error {
        DataError::Write { .. } => anyhow::Error::new(error)
            .context("cannot cache tokens; set `data.cache` or XDG_CACHE_HOME to another folder"),
        error => error.into(),
    })?;
    let origin = match store.origin() {
        Origin::Found => "read from the token store".to_owned(),
        Origin::Built => "tokenised".to_owned(),
        Origin::Rebuilt(why) => format!("tokenised again ({why})"),
        Origin::InMemory(why) => {
            warn_not_cached(why);
            "tokenised".to_owned()
        }
    };
    tracing::info!("{}: {} rows, {} tokens, {origin}", source.path.display(), store.len(), store.token_count());
    if let Some(line) = store.unquoted_line() {
        warn_unquoted(&source.path.display(), line);
    }
    warn_skipped(source, store.skipped());
    if store.untranslated() > 0 {
        let (count, all) = (store.untranslated(), store.len());
        tracing::warn!("{}: {count} of {all} articles have no translation and keep their text", source.path.display());
    }
    Ok(store)
}

/// Warns that tokens are not cached. Warns once, since the reason is the same for all sources of a run.
fn warn_not_cached(why: &str) {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        tracing::warn!(
            "tokens are not cached and will be computed again: {why}; set `data.cache` or XDG_CACHE_HOME to a writable folder"
        );
    });
}

/// Warns that the quotes of a TSV are read as text.
fn warn_unquoted(name: &dyn Display, line: u64) {
    tracing::warn!("{}", unquoted_warning(name, line));
}

fn warn_skipped(source: &Source, skipped: &Skipped) {
    if skipped.count() > 0 {
        tracing::warn!("{}: skipped {skipped}", source.path.display());
    }
}

/// Reads the tokens of texts in their order; `store` returns the store of a number.
pub(super) fn tokens_of<'a>(texts: &[TextRef], store: impl Fn(usize) -> &'a TokenStore) -> TokenBatch {
    let mut tokens = TokenBatch::default();
    for same_store in texts.chunk_by(|a, b| a.store == b.store) {
        let rows: Vec<u32> = same_store.iter().map(|text| text.row).collect();
        tokens.append(store(same_store[0].store).batch(&rows));
    }
    tokens
}

/// Returns the ids of a source's texts by row of its store, and warns of repeated ids.
pub(super) fn article_ids(source: &Source, store: &TokenStore) -> IdIndex {
    let ids = IdIndex::with(source.format.repeated(), (0..store.len()).map(|row| store.id(row)));
    warn_repeated(source, &ids);
    ids
}

/// Warns of texts that are ignored because other texts have the same ids.
pub(super) fn warn_repeated(source: &Source, ids: &IdIndex) {
    if let Some(message) = source.repeated_ids(ids) {
        tracing::warn!("{message}");
    }
}

/// Rows divided into training and held-out rows.
pub(super) struct HeldOut {
    /// Rows to train on.
    pub(super) train: Vec<u32>,
    /// Rows to measure on.
    pub(super) held_out: Vec<u32>,
}

/// Splits the row numbers 0 to n − 1. The split does not depend on the run's seed, so runs can be compared.
pub(super) fn hold_out(n: usize, fraction: f64) -> HeldOut {
    const SPLIT_SEED: u64 = 0;
    let (train, held_out) = split(n, fraction, SPLIT_SEED);
    HeldOut { train, held_out }
}

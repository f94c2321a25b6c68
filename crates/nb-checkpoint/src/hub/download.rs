//! Downloads the files of a repository into the hub's cache.

use std::path::PathBuf;

use super::cache::{CachedRepository, REQUIRED_FILES, VOCABULARY_FILES};
use super::client::{Client, RemoteFile};
use super::settings::Settings;
use super::verify::verify;
use crate::error::{CheckpointError, SHARDED};
use crate::files::{CONFIG_FILE, INDEX_FILE, MODULES_FILE, PICKLE_FILE, POOLING_FILE, SENTENCE_FILE, WEIGHTS_FILE};
use crate::sentence_transformers::module_configs;

/// Optional files of a tokenizer.
const TOKENIZER_FILES: [&str; 3] = ["tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"];

/// Returns the newest snapshot in the cache if it is complete.
pub(crate) fn cached(owner: &str, name: &str) -> Option<PathBuf> {
    CachedRepository::new(&Settings::from_env().cache, owner, name).snapshot().ok()
}

/// Optional files that say how a sentence-transformers model pools and truncates.
const SENTENCE_FILES: [&str; 3] = [MODULES_FILE, POOLING_FILE, SENTENCE_FILE];

/// Updates the cache and returns the newest snapshot. Falls back to an earlier snapshot if requests are disabled or
/// fail.
///
/// # Errors
/// [`CheckpointError::Hub`] if there is no snapshot.
pub(crate) fn download(owner: &str, name: &str) -> Result<PathBuf, CheckpointError> {
    let settings = Settings::from_env();
    let cache = CachedRepository::new(&settings.cache, owner, name);
    let id = format!("{owner}/{name}");
    if let Some(variable) = settings.offline {
        return cache.snapshot().map_err(|missing| {
            CheckpointError::Hub(format!(
                "hf:{id} is not in the cache, and {variable} is set, so it was not downloaded: {missing}\n\
                 Download it on a machine with a network (`nb fetch hf:{id}`), point HF_HUB_CACHE to a filled cache, or \
                 use a checkpoint folder on disk."
            ))
        });
    }
    match fetch(&settings, &cache, &id) {
        Ok(folder) => Ok(folder),
        Err(reason) => match cache.snapshot() {
            Ok(folder) => {
                tracing::warn!("using the cached copy of hf:{id}, because the hub cannot be reached: {reason}");
                Ok(folder)
            }
            Err(_) => Err(CheckpointError::Hub(format!(
                "cannot get hf:{id} from the Hugging Face hub: {reason}\n\
                 Without the hub, use a checkpoint folder on disk (config.json, model.safetensors, tokenizer.json or \
                 vocab.txt) instead of `hf:{id}`, or point HF_HUB_CACHE or HF_HOME to a filled cache."
            ))),
        },
    }
}

/// Downloads those files of the newest commit that are not in the cache.
fn fetch(settings: &Settings, cache: &CachedRepository, id: &str) -> Result<PathBuf, String> {
    let client = Client::new(settings)?;
    let config = client.look_up(id, "main", CONFIG_FILE)?.ok_or_else(|| format!("no {CONFIG_FILE} in {id}"))?;
    // All files come from one commit, even if another is pushed in the meantime.
    let commit = config.commit.clone();
    let take = |file: &str, remote: &RemoteFile| -> Result<(), String> {
        client.download(remote, file, &cache.blob(&remote.etag))?;
        let path = cache.link(&commit, file, &remote.etag);
        verify(&path.map_err(|error| format!("cannot write {}: {error}", cache.snapshot_folder(&commit).display()))?)
    };
    take(CONFIG_FILE, &config)?;
    let [_, others @ ..] = REQUIRED_FILES;
    for file in others.iter().chain(&VOCABULARY_FILES).chain(&TOKENIZER_FILES).chain(&SENTENCE_FILES) {
        match client.look_up(id, &commit, file)? {
            Some(remote) => take(file, &remote)?,
            None if *file == WEIGHTS_FILE => return Err(no_weights(&client, id, &commit)),
            None => tracing::debug!(file, "not in the repository"),
        }
    }
    let modules = module_configs(&cache.snapshot_folder(&commit));
    for file in modules.iter().filter(|file| *file != POOLING_FILE) {
        if let Some(remote) = client.look_up(id, &commit, file)? {
            take(file, &remote)?;
        }
    }
    cache.set_main(&commit).map_err(|error| format!("cannot write the cache of {id}: {error}"))?;
    cache.snapshot()
}

/// Returns the error message for a repository without `model.safetensors`, which may have its weights in another form.
fn no_weights(client: &Client, id: &str, commit: &str) -> String {
    let has = |file: &str| matches!(client.look_up(id, commit, file), Ok(Some(_)));
    if has(INDEX_FILE) {
        return format!("no {WEIGHTS_FILE} in {id}: {SHARDED}");
    }
    if has(PICKLE_FILE) {
        return format!(
            "no {WEIGHTS_FILE} in {id}, only {PICKLE_FILE}, which runs code when read; expected safetensors"
        );
    }
    format!("no {WEIGHTS_FILE} in {id}")
}

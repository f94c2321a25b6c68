//! A repository's files, from the hub into its cache.

use std::path::PathBuf;

use super::cache::CachedRepository;
use super::client::{Client, RemoteFile};
use super::settings::Settings;
use crate::checkpoint::verify::verify;
use crate::error::SHARDED;

/// Files that make a model.
pub(super) const FILES: [&str; 7] = [
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "vocab.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
];
/// The first `NEEDED` files are required, and one of the next two; the others are taken where they exist.
pub(super) const NEEDED: usize = 2;

/// The newest snapshot in the cache, if it is whole.
pub(super) fn cached(owner: &str, name: &str) -> Option<PathBuf> {
    CachedRepository::new(&Settings::of_process().cache, owner, name).snapshot().ok()
}

/// Brings the cache up to date; falls back to what is there where the hub may not or cannot be asked.
///
/// # Errors
/// In words.
pub(super) fn download(owner: &str, name: &str) -> Result<PathBuf, String> {
    let settings = Settings::of_process();
    let cache = CachedRepository::new(&settings.cache, owner, name);
    let id = format!("{owner}/{name}");
    if let Some(variable) = settings.offline {
        return cache.snapshot().map_err(|missing| {
            format!(
                "hf:{id} is not in the cache, and {variable} is set, so no request was sent: {missing}\n\
                 Fetch it where there is a network (`nb fetch hf:{id}`), point HF_HUB_CACHE to a filled cache, or name a \
                 checkpoint folder on disk."
            )
        });
    }
    match fetch(&settings, &cache, &id) {
        Ok(folder) => Ok(folder),
        Err(reason) => match cache.snapshot() {
            Ok(folder) => {
                tracing::warn!("taking hf:{id} from the cache, since the hub cannot be asked: {reason}");
                Ok(folder)
            }
            Err(_) => Err(format!(
                "cannot get hf:{id} from the Hugging Face hub: {reason}\n\
                 What works without the hub: a checkpoint folder on disk (config.json, model.safetensors, tokenizer.json or \
                 vocab.txt) in place of `hf:{id}`, or a filled cache named by HF_HUB_CACHE or HF_HOME."
            )),
        },
    }
}

/// Downloads what the cache lacks of the newest commit.
fn fetch(settings: &Settings, cache: &CachedRepository, id: &str) -> Result<PathBuf, String> {
    let client = Client::new(settings)?;
    let config = client.look_up(id, "main", FILES[0])?.ok_or_else(|| format!("no {} in {id}", FILES[0]))?;
    // All files are those of one commit, whatever is pushed meanwhile.
    let commit = config.commit.clone();
    let take = |file: &str, remote: &RemoteFile| -> Result<(), String> {
        client.download(remote, file, &cache.blob(&remote.etag))?;
        let path = cache.link(&commit, file, &remote.etag);
        verify(&path.map_err(|error| format!("cannot write {}: {error}", cache.snapshot_folder(&commit).display()))?)
    };
    take(FILES[0], &config)?;
    for (index, file) in FILES.iter().enumerate().skip(1) {
        match client.look_up(id, &commit, file)? {
            Some(remote) => take(file, &remote)?,
            None if index < NEEDED => return Err(no_weights(&client, id, &commit)),
            None => tracing::debug!(file, "not in the repository"),
        }
    }
    cache.set_main(&commit).map_err(|error| format!("cannot write the cache of {id}: {error}"))?;
    cache.snapshot()
}

/// Why there are no weights in one file: they may be there in another form.
fn no_weights(client: &Client, id: &str, commit: &str) -> String {
    let has = |file: &str| matches!(client.look_up(id, commit, file), Ok(Some(_)));
    let weights = FILES[1];
    if has("model.safetensors.index.json") {
        return format!("no {weights} in {id}: {}", SHARDED);
    }
    if has("pytorch_model.bin") {
        return format!(
            "no {weights} in {id}, only pytorch_model.bin, which runs code when read; expected safetensors"
        );
    }
    format!("no {weights} in {id}")
}

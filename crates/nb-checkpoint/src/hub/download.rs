//! Downloads the files of a repository into the hub's cache.

use std::path::PathBuf;

use super::cache::CachedRepository;
use super::client::{Client, RemoteFile};
use super::settings::Settings;
use super::verify::verify;
use crate::error::CheckpointError;
use crate::files::{CONFIG_FILE, LIBRARY_FILE, MODULES_FILE, POOLING_FILE, SENTENCE_FILE};
use crate::repository::Repository;
use crate::sentence_transformers::module_files;
use crate::weight_files::{Form, ShardIndex};

/// The files of a vocabulary, and those of other forms, which are downloaded if the first do not exist.
const VOCABULARY_FILES: [&str; 2] = ["tokenizer.json", "vocab.txt"];
const OTHER_VOCABULARY_FILES: [&str; 3] = ["vocab.json", "merges.txt", "sentencepiece.bpe.model"];
/// Optional files of a tokenizer.
const TOKENIZER_FILES: [&str; 3] = ["tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"];
/// Optional files that say how a sentence-transformers model pools, truncates and prompts.
const SENTENCE_FILES: [&str; 4] = [MODULES_FILE, POOLING_FILE, SENTENCE_FILE, LIBRARY_FILE];

/// Returns the snapshot of a revision in the cache if it is complete.
pub(crate) fn cached(repository: Repository<'_>) -> Option<PathBuf> {
    CachedRepository::new(&Settings::from_env().cache, repository).snapshot().ok()
}

/// Updates the cache and returns the snapshot of the revision. Falls back to an earlier snapshot if requests are disabled
/// or fail.
///
/// # Errors
/// [`CheckpointError::Hub`] if there is no snapshot.
pub(crate) fn download(repository: Repository<'_>) -> Result<PathBuf, CheckpointError> {
    download_with(&Settings::from_env(), repository)
}

/// Does the same as [`download`] with these settings.
pub(super) fn download_with(settings: &Settings, repository: Repository<'_>) -> Result<PathBuf, CheckpointError> {
    let cache = CachedRepository::new(&settings.cache, repository);
    if let Some(variable) = settings.offline {
        return cache.snapshot().map_err(|missing| {
            CheckpointError::Hub(format!(
                "{repository} is not in the cache, and {variable} is set, so it was not downloaded: {missing}\n\
                 Download it on a machine with a network (`nb fetch {repository}`), point HF_HUB_CACHE to a filled \
                 cache, or use a checkpoint folder on disk."
            ))
        });
    }
    match fetch(settings, &cache, repository) {
        Ok(folder) => Ok(folder),
        Err(reason) => match cache.snapshot() {
            Ok(folder) => {
                tracing::warn!("using the cached copy of {repository}, because the hub cannot be reached: {reason}");
                Ok(folder)
            }
            Err(_) => Err(CheckpointError::Hub(format!(
                "cannot get {repository} from the Hugging Face hub: {reason}\n\
                 Without the hub, use a checkpoint folder on disk (config.json, model.safetensors or pytorch_model.bin, \
                 tokenizer.json or vocab.txt) instead of `{repository}`, or point HF_HUB_CACHE or HF_HOME to a filled \
                 cache."
            ))),
        },
    }
}

/// Downloads those files of the revision that are not in the cache.
fn fetch(settings: &Settings, cache: &CachedRepository, repository: Repository<'_>) -> Result<PathBuf, String> {
    let (client, id) = (Client::new(settings)?, repository.id());
    let config = client.look_up(&id, repository.revision, CONFIG_FILE)?;
    let config = config.ok_or_else(|| format!("no {CONFIG_FILE} in {repository}"))?;
    // All files come from one commit, even if another is pushed in the meantime.
    let snapshot = Snapshot { client: &client, cache, id, commit: config.commit.clone() };
    if repository.is_commit() && snapshot.commit != repository.revision {
        return Err(format!("the hub returned commit {}, expected {}", snapshot.commit, repository.revision));
    }
    snapshot.take(CONFIG_FILE, &config)?;
    snapshot.take_weights()?;
    snapshot.take_tokenizer()?;
    snapshot.take_modules()?;
    cache
        .set_reference(&snapshot.commit)
        .map_err(|error| format!("cannot write the cache of {repository}: {error}"))?;
    cache.snapshot()
}

/// The files of a commit, in the repository and in the cache.
struct Snapshot<'a> {
    client: &'a Client,
    cache: &'a CachedRepository,
    id: String,
    commit: String,
}

impl Snapshot<'_> {
    /// Downloads a file unless it is in the cache, and links it.
    fn take(&self, file: &str, remote: &RemoteFile) -> Result<(), String> {
        self.client.download(remote, file, &self.cache.blob(&remote.etag))?;
        let path = self.cache.link(&self.commit, file, &remote.etag);
        let folder = self.cache.snapshot_folder(&self.commit);
        verify(&path.map_err(|error| format!("cannot write {}: {error}", folder.display()))?)
    }

    /// Takes a file if the repository has it. Returns true if so.
    fn take_if_present(&self, file: &str) -> Result<bool, String> {
        let Some(remote) = self.client.look_up(&self.id, &self.commit, file)? else {
            tracing::debug!(file, "not in the repository");
            return Ok(false);
        };
        self.take(file, &remote).map(|()| true)
    }

    /// Takes the weights in the first form that the repository has.
    fn take_weights(&self) -> Result<(), String> {
        for form in Form::ALL {
            if !self.take_if_present(form.name())? {
                continue;
            }
            return match form {
                Form::File(_) => Ok(()),
                Form::Index(name) => self.take_shards(name),
            };
        }
        let [first, others @ ..] = Form::ALL.map(Form::name);
        Err(format!("no {first} in {}, nor {}", self.id, others.join(", ")))
    }

    /// Takes all files that an index names.
    fn take_shards(&self, index: &str) -> Result<(), String> {
        let path = self.cache.snapshot_folder(&self.commit).join(index);
        let index = ShardIndex::read(&path).map_err(|error| error.to_string())?;
        for file in index.files() {
            if !self.take_if_present(file)? {
                return Err(format!("no {file} in {}, which its index names", self.id));
            }
        }
        Ok(())
    }

    /// Takes the files of the modules of sentence-transformers, of which a repository may have none.
    fn take_modules(&self) -> Result<(), String> {
        for file in SENTENCE_FILES {
            self.take_if_present(file)?;
        }
        let modules = module_files(&self.cache.snapshot_folder(&self.commit));
        for file in modules.configs.iter().filter(|file| *file != POOLING_FILE) {
            self.take_if_present(file)?;
        }
        for [first, second] in &modules.weights {
            if !self.take_if_present(first)? {
                self.take_if_present(second)?;
            }
        }
        Ok(())
    }

    fn take_tokenizer(&self) -> Result<(), String> {
        let mut found = false;
        for file in VOCABULARY_FILES {
            found |= self.take_if_present(file)?;
        }
        let others = if found { &[][..] } else { &OTHER_VOCABULARY_FILES };
        for file in others.iter().chain(&TOKENIZER_FILES) {
            self.take_if_present(file)?;
        }
        Ok(())
    }
}

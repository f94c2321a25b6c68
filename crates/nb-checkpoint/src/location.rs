//! Resolves the name of a checkpoint: a folder, or `hf:owner/name` on the Hugging Face hub.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::error::CheckpointError;
use crate::files::{CONFIG_FILE, WEIGHTS_FILE, is_plain_name};
#[cfg(feature = "hub")]
use crate::hub;

/// The location of a checkpoint: a folder on disk or a repository on the hub.
///
/// ```
/// use nb_checkpoint::CheckpointLocation;
/// let hub: CheckpointLocation = "hf:sentence-transformers/all-MiniLM-L6-v2".parse().unwrap();
/// assert!(matches!(hub, CheckpointLocation::Hub { .. }));
/// assert!("hf:../secrets".parse::<CheckpointLocation>().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckpointLocation {
    /// A folder with `config.json` and `model.safetensors`.
    Folder(PathBuf),
    /// A repository `owner/name` on the Hugging Face hub.
    Hub {
        /// The account.
        owner: String,
        /// The repository.
        name: String,
    },
}

impl FromStr for CheckpointLocation {
    type Err = CheckpointError;

    fn from_str(text: &str) -> Result<Self, CheckpointError> {
        let Some(id) = text.strip_prefix("hf:") else {
            return Ok(Self::Folder(text.into()));
        };
        // The names become parts of a path in the cache.
        match id.split_once('/') {
            Some((owner, name)) if is_plain_name(owner) && is_plain_name(name) => {
                Ok(Self::Hub { owner: owner.into(), name: name.into() })
            }
            _ => Err(CheckpointError::Hub(format!("checkpoint `{text}`: expected hf:owner/name"))),
        }
    }
}

impl fmt::Display for CheckpointLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => path.display().fmt(f),
            Self::Hub { owner, name } => write!(f, "hf:{owner}/{name}"),
        }
    }
}

impl CheckpointLocation {
    /// Returns the checkpoint's folder on disk. A folder is returned unchanged. A repository is taken from the hub's
    /// cache, else from [`mirror_folder`], else it is downloaded.
    ///
    /// Environment variables have the same meaning as in `huggingface_hub` 2.4: `HF_HUB_CACHE`, `HF_HOME` and
    /// `XDG_CACHE_HOME` locate the cache, `HF_TOKEN` or the file `HF_TOKEN_PATH` contains the token, `HF_ENDPOINT` is the
    /// hub's address, and `HF_HUB_OFFLINE` disables requests.
    ///
    /// # Errors
    /// If the folder does not exist, or if the repository is in no cache and cannot be [downloaded](Self::download).
    pub fn resolve(&self) -> Result<PathBuf, CheckpointError> {
        match self {
            Self::Folder(path) if path.is_dir() => Ok(path.clone()),
            Self::Folder(path) => {
                let source = std::io::Error::from(std::io::ErrorKind::NotFound);
                Err(CheckpointError::Io { action: "cannot find the checkpoint folder", path: path.clone(), source })
            }
            Self::Hub { owner, name } => {
                let mirror = || mirror_folder(owner, name).filter(|folder| is_complete(folder));
                self.cached().or_else(mirror).map_or_else(|| self.download(), Ok)
            }
        }
    }

    /// Returns the newest snapshot in the hub's cache, without the network.
    fn cached(&self) -> Option<PathBuf> {
        #[cfg(feature = "hub")]
        if let Self::Hub { owner, name } = self {
            return hub::cached(owner, name);
        }
        None
    }

    /// Updates the hub's cache from the repository and returns the snapshot's folder. If the hub cannot be reached or
    /// `HF_HUB_OFFLINE` is set, returns the snapshot of an earlier call.
    ///
    /// # Errors
    /// If there is no earlier snapshot and the hub does not answer within 10 seconds or refuses the download; if the
    /// repository does not exist or contains no readable model; if a file differs from its announced size or hash; or if
    /// this build has no hub support.
    pub fn download(&self) -> Result<PathBuf, CheckpointError> {
        let Self::Hub { owner, name } = self else { return self.resolve() };
        #[cfg(feature = "hub")]
        return hub::download(owner, name);
        #[cfg(not(feature = "hub"))]
        Err(CheckpointError::Hub(format!("hf:{owner}/{name}: this build has no hub support; name a folder instead")))
    }
}

/// Returns the folder in this project's cache for a repository that was not downloaded from the hub:
/// `$XDG_CACHE_HOME/newsbert/models/owner--name`, else below `~/.cache`.
pub fn mirror_folder(owner: &str, name: &str) -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").filter(|v| !v.is_empty()).map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    Some(cache.join("newsbert").join("models").join(format!("{owner}--{name}")))
}

fn is_complete(folder: &Path) -> bool {
    folder.join(CONFIG_FILE).is_file() && folder.join(WEIGHTS_FILE).is_file()
}

//! Where a checkpoint's name leads: a folder, or `hf:owner/name` on the Hugging Face hub.

#[cfg(feature = "hub")]
mod cache;
#[cfg(feature = "hub")]
mod client;
#[cfg(feature = "hub")]
mod download;
#[cfg(feature = "hub")]
mod settings;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::error::ModelError;

/// Where a checkpoint is: a folder on disk or a repository on the hub.
///
/// ```
/// use nb_model::Checkpoint;
/// let hub: Checkpoint = "hf:sentence-transformers/all-MiniLM-L6-v2".parse().unwrap();
/// assert!(matches!(hub, Checkpoint::Hub { .. }));
/// assert!("hf:../secrets".parse::<Checkpoint>().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checkpoint {
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

impl FromStr for Checkpoint {
    type Err = ModelError;

    fn from_str(text: &str) -> Result<Self, ModelError> {
        let Some(id) = text.strip_prefix("hf:") else {
            return Ok(Self::Folder(text.into()));
        };
        // The name becomes part of a path in the cache, so nothing but a plain name may stand there.
        let plain = |part: &str| {
            !part.is_empty()
                && !part.starts_with('.')
                && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        };
        match id.split_once('/') {
            Some((owner, name)) if plain(owner) && plain(name) => {
                Ok(Self::Hub { owner: owner.into(), name: name.into() })
            }
            _ => Err(ModelError::Hub(format!("checkpoint `{text}`: expected hf:owner/name"))),
        }
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => path.display().fmt(f),
            Self::Hub { owner, name } => write!(f, "hf:{owner}/{name}"),
        }
    }
}

impl Checkpoint {
    /// The folder on disk: a folder as it is; a repository from the hub's cache, else from [`mirror_folder`], else
    /// downloaded.
    ///
    /// The environment means what it means to `huggingface_hub` 2.4: `HF_HUB_CACHE`, `HF_HOME` and `XDG_CACHE_HOME` lead to
    /// the cache, `HF_TOKEN` or the file `HF_TOKEN_PATH` holds the token, `HF_ENDPOINT` is the hub, and with
    /// `HF_HUB_OFFLINE` no request is sent.
    ///
    /// # Errors
    /// If the folder does not exist, or if the repository is in no cache and cannot be [downloaded](Self::download).
    pub fn resolve(&self) -> Result<PathBuf, ModelError> {
        match self {
            Self::Folder(path) if path.is_dir() => Ok(path.clone()),
            Self::Folder(path) => {
                let source = std::io::Error::from(std::io::ErrorKind::NotFound);
                Err(ModelError::Io { action: "no checkpoint folder", path: path.clone(), source })
            }
            Self::Hub { owner, name } => {
                let mirror = || mirror_folder(owner, name).filter(|folder| is_whole(folder));
                self.cached().or_else(mirror).map_or_else(|| self.download(), Ok)
            }
        }
    }

    /// The newest snapshot in the hub's cache, without the network.
    fn cached(&self) -> Option<PathBuf> {
        #[cfg(feature = "hub")]
        if let Self::Hub { owner, name } = self {
            return download::cached(owner, name);
        }
        None
    }

    /// Brings the hub's cache up to date with the repository and returns the snapshot's folder. Where the hub cannot be
    /// reached, or `HF_HUB_OFFLINE` forbids it, the snapshot of an earlier call is taken.
    ///
    /// # Errors
    /// If there is no such snapshot and the hub does not answer within 10 seconds or forbids the download; if there is no
    /// such repository, or it holds no model that can be read, or what comes is not what was announced; or if this build has
    /// no hub support.
    pub fn download(&self) -> Result<PathBuf, ModelError> {
        let Self::Hub { owner, name } = self else { return self.resolve() };
        #[cfg(feature = "hub")]
        return download::download(owner, name).map_err(ModelError::Hub);
        #[cfg(not(feature = "hub"))]
        Err(ModelError::Hub(format!("hf:{owner}/{name}: this build has no hub support; name a folder instead")))
    }
}

/// The folder in this project's own cache where set-up puts a repository that it got by other means than the hub:
/// `$XDG_CACHE_HOME/newsbert/models/owner--name`, else below `~/.cache`.
pub fn mirror_folder(owner: &str, name: &str) -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").filter(|v| !v.is_empty()).map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    Some(cache.join("newsbert").join("models").join(format!("{owner}--{name}")))
}

fn is_whole(folder: &Path) -> bool {
    folder.join(super::CONFIG_FILE).is_file() && folder.join(super::WEIGHTS_FILE).is_file()
}

//! Where a checkpoint's name leads: a folder, or `hf:owner/name` on the Hugging Face hub.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

#[cfg(feature = "hub")]
use super::verify::verify;
use crate::error::ModelError;

/// Files that make a model; the first two are needed, the others are taken where they exist.
#[cfg(feature = "hub")]
const FILES: [&str; 6] = [
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "vocab.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
];
/// How long the first answer of the hub may take.
#[cfg(feature = "hub")]
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

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
    /// The folder on disk: a folder as it is; a repository from the hub's cache (`HF_HUB_CACHE`, `HF_HOME`, else
    /// `~/.cache/huggingface/hub`), else from [`mirror_folder`], else downloaded (with `HF_TOKEN` where it is set).
    ///
    /// # Errors
    /// If the folder does not exist, or if the hub does not answer within 10 seconds or has no such repository.
    pub fn resolve(&self) -> Result<PathBuf, ModelError> {
        match self {
            Self::Folder(path) if path.is_dir() => Ok(path.clone()),
            Self::Folder(path) => {
                let source = std::io::Error::from(std::io::ErrorKind::NotFound);
                Err(ModelError::Io { action: "no checkpoint folder", path: path.clone(), source })
            }
            Self::Hub { owner, name } => match mirror_folder(owner, name).filter(|folder| is_whole(folder)) {
                Some(folder) => Ok(self.cached().unwrap_or(folder)),
                None => self.cached().map_or_else(|| self.download(), Ok),
            },
        }
    }

    /// The hub's cache as it stands, without the network.
    fn cached(&self) -> Option<PathBuf> {
        #[cfg(feature = "hub")]
        if let Self::Hub { owner, name } = self {
            let repo = hf_hub::Cache::from_env().model(format!("{owner}/{name}"));
            let needed = FILES[..2].iter().map(|file| repo.get(file)).collect::<Option<Vec<_>>>()?;
            // A download that was cut before the tokenizer is not whole either.
            let _tokenizer = FILES[2..4].iter().find_map(|file| repo.get(file))?;
            return needed[0].parent().map(Path::to_owned);
        }
        None
    }

    /// Downloads into the hub's cache.
    ///
    /// # Errors
    /// If the hub does not answer within 10 seconds, has no such repository, or this build has no hub support.
    #[cfg(not(feature = "hub"))]
    pub fn download(&self) -> Result<PathBuf, ModelError> {
        Err(ModelError::Hub(format!("{self}: this build has no hub support; name a folder instead")))
    }

    /// Downloads into the hub's cache.
    ///
    /// # Errors
    /// If the hub does not answer within 10 seconds, has no such repository, if what comes is not what it says, or if this build
    /// has no hub support.
    #[cfg(feature = "hub")]
    pub fn download(&self) -> Result<PathBuf, ModelError> {
        let Self::Hub { owner, name } = self else {
            return self.resolve();
        };
        let id = format!("{owner}/{name}");
        let failed = |reason: String| {
            ModelError::Hub(format!(
                "cannot get hf:{id} from the Hugging Face hub: {reason}\n\
                 What works without the hub: a checkpoint folder on disk (config.json, model.safetensors, tokenizer.json or \
                 vocab.txt) in place of `hf:{id}`, or a filled cache named by HF_HOME."
            ))
        };
        // The client has no time limit of its own for connecting, so its first answer is waited for from outside. A
        // thread that got none stays behind until the process ends; it holds nothing.
        let (send, first) = std::sync::mpsc::channel();
        let repository = id.clone();
        std::thread::spawn(move || {
            let answer = hf_hub::api::sync::ApiBuilder::from_env()
                .build()
                .map(|api| api.model(repository))
                .and_then(|repo| repo.get(FILES[0]).map(|path| (repo, path)));
            let _ = send.send(answer); // nobody listens any more after the time limit
        });
        let (repo, config) = match first.recv_timeout(PATIENCE) {
            Ok(answer) => answer.map_err(|e| failed(e.to_string()))?,
            Err(_) => {
                return Err(failed(format!("no answer within {} seconds", PATIENCE.as_secs())));
            }
        };
        let weights = repo.get(FILES[1]).map_err(|e| failed(e.to_string()))?;
        verify(&weights).map_err(failed)?;
        for optional in &FILES[2..] {
            match repo.get(optional) {
                Ok(path) => verify(&path).map_err(failed)?,
                Err(e) => tracing::debug!(file = optional, reason = %e, "not taken"),
            }
        }
        Ok(config.parent().unwrap_or(&config).to_owned())
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

//! Resolves the name of a checkpoint: a folder, or `hf:owner/name` or `hf:owner/name@revision` on the Hugging Face
//! hub.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::error::CheckpointError;
use crate::files::{CONFIG_FILE, is_plain_name};
#[cfg(feature = "hub")]
use crate::hub;
use crate::repository::{MAIN, Repository};
use crate::weight_files::missing;

/// The location of a checkpoint: a folder on disk or a repository on the hub.
///
/// ```
/// use nb_checkpoint::CheckpointLocation;
/// let hub: CheckpointLocation = "hf:sentence-transformers/all-MiniLM-L6-v2".parse().unwrap();
/// assert!(matches!(hub, CheckpointLocation::Hub { .. }));
/// let pinned: CheckpointLocation = "hf:sentence-transformers/all-MiniLM-L6-v2@v1.0".parse().unwrap();
/// assert!(matches!(&pinned, CheckpointLocation::Hub { revision, .. } if revision == "v1.0"));
/// assert!("hf:../secrets".parse::<CheckpointLocation>().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckpointLocation {
    /// A folder with `config.json` and weights.
    Folder(PathBuf),
    /// A repository `owner/name` on the Hugging Face hub, at a revision.
    Hub {
        /// The account.
        owner: String,
        /// The repository.
        name: String,
        /// A branch, a tag, a reference such as `refs/pr/1`, or a commit; `main` if the name has none.
        revision: String,
    },
}

impl FromStr for CheckpointLocation {
    type Err = CheckpointError;

    fn from_str(text: &str) -> Result<Self, CheckpointError> {
        let Some(id) = text.strip_prefix("hf:") else {
            return Ok(Self::Folder(text.into()));
        };
        let (id, revision) = id.split_once('@').unwrap_or((id, MAIN));
        // The names become parts of a path in the cache.
        match id.split_once('/') {
            Some((owner, name))
                if is_plain_name(owner) && is_plain_name(name) && revision.split('/').all(is_plain_name) =>
            {
                Ok(Self::Hub { owner: owner.into(), name: name.into(), revision: revision.into() })
            }
            _ => Err(CheckpointError::Hub(format!(
                "checkpoint `{text}`: expected hf:owner/name or hf:owner/name@revision, of letters, digits, `-`, `_` \
                 and `.`"
            ))),
        }
    }
}

impl fmt::Display for CheckpointLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => path.display().fmt(f),
            Self::Hub { owner, name, revision } => Repository { owner, name, revision }.fmt(f),
        }
    }
}

impl CheckpointLocation {
    /// Returns the checkpoint's folder on disk. A folder is returned unchanged. A repository is taken from the hub's
    /// cache, else from [`mirror_folder`] unless it has a revision, else it is downloaded.
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
            Self::Hub { owner, name, revision } => {
                let mirror = || mirror_folder(owner, name).filter(|folder| revision == MAIN && is_complete(folder));
                self.cached().or_else(mirror).map_or_else(|| self.download(), Ok)
            }
        }
    }

    /// Returns the snapshot of the revision in the hub's cache, without the network.
    fn cached(&self) -> Option<PathBuf> {
        #[cfg(feature = "hub")]
        if let Self::Hub { owner, name, revision } = self {
            return hub::cached(Repository { owner, name, revision });
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
        #[cfg_attr(not(feature = "hub"), expect(unused_variables, reason = "only the hub needs the parts"))]
        let Self::Hub { owner, name, revision } = self else { return self.resolve() };
        #[cfg(feature = "hub")]
        return hub::download(Repository { owner, name, revision });
        #[cfg(not(feature = "hub"))]
        Err(CheckpointError::Hub(format!("{self}: this build has no hub support; name a folder instead")))
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
    folder.join(CONFIG_FILE).is_file() && missing(folder).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_a_revision_are_read_and_written() {
        for (text, revision) in [
            ("hf:me/tiny", "main"),
            ("hf:me/tiny@v1.0", "v1.0"),
            ("hf:me/tiny@refs/pr/1", "refs/pr/1"),
            ("hf:me/tiny@0123456789abcdef0123456789abcdef01234567", "0123456789abcdef0123456789abcdef01234567"),
        ] {
            let location: CheckpointLocation = text.parse().unwrap();
            let expected =
                CheckpointLocation::Hub { owner: "me".into(), name: "tiny".into(), revision: revision.into() };
            assert_eq!((&location, location.to_string().as_str()), (&expected, text));
        }
        assert_eq!("hf:me/tiny@main".parse::<CheckpointLocation>().unwrap().to_string(), "hf:me/tiny");
    }

    #[test]
    fn revisions_that_could_leave_the_cache_are_refused() {
        for revision in ["", "..", "../x", "a/../b", "/a", "a/", "a//b", "a@b", "a b", ".git", "a?b", "a%2f", "a\\b"] {
            let error = format!("hf:me/tiny@{revision}").parse::<CheckpointLocation>().unwrap_err().to_string();
            assert!(error.contains(revision) && error.contains("expected hf:owner/name"), "{error}");
        }
    }
}

//! A repository in the hub's cache, in the layout of `huggingface_hub`. The folder `models--owner--name/` contains
//! `blobs/<etag>`, `snapshots/<commit>/<file>` (links to blobs) and `refs/main` (the name of a commit).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::files::{CONFIG_FILE, WEIGHTS_FILE, is_plain_name};

/// Files that every model needs.
pub(super) const REQUIRED_FILES: [&str; 2] = [CONFIG_FILE, WEIGHTS_FILE];
/// Files of which a model needs at least one.
pub(super) const VOCABULARY_FILES: [&str; 2] = ["tokenizer.json", "vocab.txt"];

/// A repository's folder in the cache.
#[derive(Debug)]
pub(super) struct CachedRepository {
    folder: PathBuf,
}

impl CachedRepository {
    pub(super) fn new(cache: &Path, owner: &str, name: &str) -> Self {
        Self { folder: cache.join(format!("models--{owner}--{name}")) }
    }

    /// Returns the newest snapshot if it has all files that a model needs.
    ///
    /// # Errors
    /// A message that names what is missing.
    pub(super) fn snapshot(&self) -> Result<PathBuf, String> {
        let main = self.folder.join("refs").join("main");
        let commit = fs::read_to_string(&main).map_err(|error| format!("{}: {error}", main.display()))?;
        let commit = commit.trim();
        if !is_plain_name(commit) {
            return Err(format!("{}: `{commit}` found, expected a commit", main.display()));
        }
        let snapshot = self.snapshot_folder(commit);
        let lacks = |file: &&&str| !snapshot.join(file).is_file();
        if let Some(file) = REQUIRED_FILES.iter().find(lacks) {
            return Err(format!("{} has no {file}", snapshot.display()));
        }
        // A download that was interrupted before the tokenizer is incomplete too.
        if VOCABULARY_FILES.iter().all(|file| lacks(&file)) {
            return Err(format!("{} has neither {}", snapshot.display(), VOCABULARY_FILES.join(" nor ")));
        }
        Ok(snapshot)
    }

    pub(super) fn snapshot_folder(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    /// Returns the path of a file's content.
    pub(super) fn blob(&self, etag: &str) -> PathBuf {
        self.folder.join("blobs").join(etag)
    }

    /// Links a file of a snapshot to a blob and replaces an existing file.
    pub(super) fn link(&self, commit: &str, file: &str, etag: &str) -> io::Result<PathBuf> {
        let path = self.snapshot_folder(commit).join(file);
        let folder = path.parent().unwrap_or(&path);
        fs::create_dir_all(folder)?;
        if path.is_file() && same_file(&path, &self.blob(etag)) {
            return Ok(path);
        }
        // The link is renamed into place, because several processes may link the same file at the same time.
        let mut temporary = path.clone().into_os_string();
        temporary.push(format!(".{}.part", std::process::id()));
        let temporary = PathBuf::from(temporary);
        let up = "../".repeat(2 + file.matches('/').count()); // a file may be in a folder of the snapshot
        let linked = link_or_copy(&self.blob(etag), &Path::new(&up).join("blobs").join(etag), &temporary);
        linked.and_then(|()| fs::rename(&temporary, &path)).inspect_err(|_| {
            let _ = fs::remove_file(&temporary); // the first error is the one to report
        })?;
        Ok(path)
    }

    /// Points `refs/main` to a commit, so that [`CachedRepository::snapshot`] returns it.
    pub(super) fn set_main(&self, commit: &str) -> io::Result<()> {
        let refs = self.folder.join("refs");
        fs::create_dir_all(&refs)?;
        nb_files::write(&refs.join("main"), commit.as_bytes())
    }
}

/// Creates a symbolic link to `relative`, or a copy of `blob` on systems without symbolic links.
#[cfg_attr(unix, allow(unused_variables))]
fn link_or_copy(blob: &Path, relative: &Path, link: &Path) -> io::Result<()> {
    #[cfg(unix)]
    return std::os::unix::fs::symlink(relative, link);
    #[cfg(not(unix))]
    return fs::copy(blob, link).map(|_| ());
}

fn same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_found_by_its_reference_once_it_is_complete() {
        let cache = tempfile::tempdir().unwrap();
        let repository = CachedRepository::new(cache.path(), "me", "tiny");
        assert!(repository.snapshot().unwrap_err().contains("models--me--tiny/refs/main"));
        repository.set_main("../../etc").unwrap();
        assert!(repository.snapshot().unwrap_err().contains("`../../etc` found, expected a commit"));
        repository.set_main("abc\n").unwrap();
        fs::create_dir_all(repository.blob("1").parent().unwrap()).unwrap();
        fs::write(repository.blob("1"), "old").unwrap();
        fs::write(repository.blob("2"), "new").unwrap();
        for (file, lacks) in [("config.json", "no config.json"), ("model.safetensors", "no model.safetensors")] {
            assert!(repository.snapshot().unwrap_err().ends_with(lacks));
            repository.link("abc", file, "1").unwrap();
        }
        assert!(repository.snapshot().unwrap_err().ends_with("has neither tokenizer.json nor vocab.txt"));
        repository.link("abc", "vocab.txt", "1").unwrap();
        assert_eq!(repository.snapshot(), Ok(repository.snapshot_folder("abc")));
        let pooling = repository.link("abc", "1_Pooling/config.json", "1").unwrap();
        assert_eq!(fs::read_to_string(pooling).unwrap(), "old");
        // A link to another blob is replaced, and so is a broken link.
        let config = repository.link("abc", "config.json", "2").unwrap();
        assert_eq!(fs::read_to_string(&config).unwrap(), "new");
        fs::remove_file(repository.blob("2")).unwrap();
        assert!(repository.snapshot().is_err());
        repository.link("abc", "config.json", "1").unwrap();
        assert_eq!(fs::read_to_string(config).unwrap(), "old");
        assert_eq!(fs::read_dir(cache.path().join("models--me--tiny/refs")).unwrap().count(), 1);
    }
}

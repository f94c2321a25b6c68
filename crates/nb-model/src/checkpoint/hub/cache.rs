//! A repository in the hub's cache, laid out as `huggingface_hub` does it: `models--owner--name/` with `blobs/<etag>`,
//! `snapshots/<commit>/<file>`, which are links to blobs, and `refs/main`, which names a commit.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::download::{FILES, NEEDED};

/// A repository's folder in the cache.
#[derive(Debug)]
pub(super) struct CachedRepository {
    folder: PathBuf,
}

impl CachedRepository {
    pub(super) fn new(cache: &Path, owner: &str, name: &str) -> Self {
        Self { folder: cache.join(format!("models--{owner}--{name}")) }
    }

    /// The newest snapshot, if it has all that a model needs.
    ///
    /// # Errors
    /// In words: what is missing.
    pub(super) fn snapshot(&self) -> Result<PathBuf, String> {
        let main = self.folder.join("refs").join("main");
        let commit = fs::read_to_string(&main).map_err(|error| format!("{}: {error}", main.display()))?;
        let commit = commit.trim();
        if !is_file_name(commit) {
            return Err(format!("{}: `{commit}` found, expected a commit", main.display()));
        }
        let snapshot = self.snapshot_folder(commit);
        let lacks = |file: &&&str| !snapshot.join(file).is_file();
        if let Some(file) = FILES[..NEEDED].iter().find(lacks) {
            return Err(format!("{} has no {file}", snapshot.display()));
        }
        // A download that was cut before the tokenizer is not whole either.
        let tokenizers = &FILES[NEEDED..NEEDED + 2];
        if tokenizers.iter().all(|file| lacks(&file)) {
            return Err(format!("{} has neither {}", snapshot.display(), tokenizers.join(" nor ")));
        }
        Ok(snapshot)
    }

    pub(super) fn snapshot_folder(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    /// The place of a file's content.
    pub(super) fn blob(&self, etag: &str) -> PathBuf {
        self.folder.join("blobs").join(etag)
    }

    /// Links a snapshot's file to a blob, in place of what is there.
    pub(super) fn link(&self, commit: &str, file: &str, etag: &str) -> io::Result<PathBuf> {
        let folder = self.snapshot_folder(commit);
        fs::create_dir_all(&folder)?;
        let path = folder.join(file);
        if path.is_file() && same_file(&path, &self.blob(etag)) {
            return Ok(path);
        }
        // Renamed into place, since several processes may link one file at the same time.
        let beside = folder.join(format!("{file}.{}.part", std::process::id()));
        let made = link_or_copy(&self.blob(etag), &Path::new("../../blobs").join(etag), &beside);
        made.and_then(|()| fs::rename(&beside, &path)).inspect_err(|_| {
            let _left = fs::remove_file(&beside); // the error above says what happened
        })?;
        Ok(path)
    }

    /// Makes a commit the one that is found from now on.
    pub(super) fn set_main(&self, commit: &str) -> io::Result<()> {
        let refs = self.folder.join("refs");
        fs::create_dir_all(&refs)?;
        let beside = refs.join(format!("main.{}.part", std::process::id()));
        fs::write(&beside, commit)?;
        fs::rename(beside, refs.join("main"))
    }
}

/// Makes `link` lead to `relative`; a copy of `blob` where there are no such links.
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

/// Returns true if a name that the hub sent can be a part of a path: letters, digits, `-`, `_` and `.` alone, no dot first.
pub(super) fn is_file_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_found_by_its_reference_once_it_is_whole() {
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
        // A link that leads elsewhere, or nowhere, is replaced.
        let config = repository.link("abc", "config.json", "2").unwrap();
        assert_eq!(fs::read_to_string(&config).unwrap(), "new");
        fs::remove_file(repository.blob("2")).unwrap();
        assert!(repository.snapshot().is_err());
        repository.link("abc", "config.json", "1").unwrap();
        assert_eq!(fs::read_to_string(config).unwrap(), "old");
        assert_eq!(fs::read_dir(cache.path().join("models--me--tiny/refs")).unwrap().count(), 1);
    }

    #[test]
    fn names_that_lead_elsewhere_are_none() {
        for name in ["", ".", "..", "../a", "a/b", ".hidden", "a\\b", "a\0"] {
            assert!(!is_file_name(name), "{name:?}");
        }
        assert!(is_file_name("9a12-x.y_z"));
    }
}

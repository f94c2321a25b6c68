//! A repository in the hub's cache, in the layout of `huggingface_hub`. The folder `models--owner--name/` contains
//! `blobs/<etag>`, `snapshots/<commit>/<file>` (links to blobs) and `refs/<revision>` (the name of a commit), where the
//! revision may contain slashes. The full hash of a commit has no reference.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::files::{CONFIG_FILE, is_plain_name};
use crate::repository::Repository;
use crate::weight_files::missing;

/// The files of which a model needs one group: those of a vocabulary.
const VOCABULARIES: [&[&str]; 4] =
    [&["tokenizer.json"], &["vocab.txt"], &["vocab.json", "merges.txt"], &["sentencepiece.bpe.model"]];

/// A repository's folder in the cache, and a revision.
#[derive(Debug)]
pub(super) struct CachedRepository {
    folder: PathBuf,
    /// The name of the revision below `refs/`; `None` for a commit.
    reference: Option<String>,
    /// The revision.
    revision: String,
}

impl CachedRepository {
    pub(super) fn new(cache: &Path, repository: Repository<'_>) -> Self {
        let folder = cache.join(format!("models--{}--{}", repository.owner, repository.name));
        let revision = repository.revision.to_owned();
        Self { folder, reference: (!repository.is_commit()).then(|| revision.clone()), revision }
    }

    /// Returns the snapshot of the revision if it has all files that a model needs.
    ///
    /// # Errors
    /// A message that names what is missing.
    pub(super) fn snapshot(&self) -> Result<PathBuf, String> {
        let snapshot = self.snapshot_folder(&self.commit()?);
        let lacks = |file: &str| !snapshot.join(file).is_file();
        let config = lacks(CONFIG_FILE).then(|| CONFIG_FILE.to_owned());
        if let Some(file) = config.or_else(|| missing(&snapshot)) {
            return Err(format!("{} has no {file}", snapshot.display()));
        }
        // A download that was interrupted before the tokenizer is incomplete too.
        if VOCABULARIES.iter().all(|group| group.iter().any(|file| lacks(file))) {
            let groups = VOCABULARIES.map(|group| group.join(" with "));
            return Err(format!("{} has neither {}", snapshot.display(), groups.join(" nor ")));
        }
        Ok(snapshot)
    }

    /// Returns the commit of the revision.
    fn commit(&self) -> Result<String, String> {
        let Some(reference) = &self.reference else { return Ok(self.revision.clone()) };
        let path = self.folder.join("refs").join(reference);
        let commit = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        match commit.trim() {
            commit if is_plain_name(commit) => Ok(commit.to_owned()),
            commit => Err(format!("{}: `{commit}` found, expected a commit", path.display())),
        }
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

    /// Points the reference of the revision to a commit, so that [`CachedRepository::snapshot`] returns it.
    pub(super) fn set_reference(&self, commit: &str) -> io::Result<()> {
        let Some(reference) = &self.reference else { return Ok(()) };
        let path = self.folder.join("refs").join(reference);
        fs::create_dir_all(path.parent().unwrap_or(&path))?;
        nb_files::write(&path, commit.as_bytes())
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

    fn at(revision: &str) -> Repository<'_> {
        Repository { owner: "me", name: "tiny", revision }
    }

    #[test]
    fn a_revision_has_a_reference_of_its_own_unless_it_is_a_commit() {
        let cache = tempfile::tempdir().unwrap();
        let commit = "0123456789abcdef0123456789abcdef01234567";
        for (revision, reference) in [
            ("v1.0", Some("refs/v1.0")),
            ("refs/pr/1", Some("refs/refs/pr/1")),
            // Not a full hash.
            (&commit[..12], Some("refs/0123456789ab")),
            (commit, None),
        ] {
            let repository = CachedRepository::new(cache.path(), at(revision));
            repository.set_reference(commit).unwrap();
            assert_eq!(repository.commit(), Ok(commit.to_owned()));
            let found =
                reference.map(|path| fs::read_to_string(cache.path().join("models--me--tiny").join(path)).unwrap());
            assert_eq!(found.as_deref(), reference.map(|_| commit));
        }
        assert_eq!(fs::read_dir(cache.path().join("models--me--tiny/refs")).unwrap().count(), 3);
    }

    #[test]
    fn a_snapshot_is_found_by_its_reference_once_it_is_complete() {
        let cache = tempfile::tempdir().unwrap();
        let repository = CachedRepository::new(cache.path(), at("main"));
        assert!(repository.snapshot().unwrap_err().contains("models--me--tiny/refs/main"));
        repository.set_reference("../../etc").unwrap();
        assert!(repository.snapshot().unwrap_err().contains("`../../etc` found, expected a commit"));
        repository.set_reference("abc\n").unwrap();
        fs::create_dir_all(repository.blob("1").parent().unwrap()).unwrap();
        fs::write(repository.blob("1"), "old").unwrap();
        fs::write(repository.blob("2"), "new").unwrap();
        for (file, lacks) in [("config.json", "no config.json"), ("model.safetensors", "no model.safetensors")] {
            assert!(repository.snapshot().unwrap_err().ends_with(lacks));
            repository.link("abc", file, "1").unwrap();
        }
        assert!(repository.snapshot().unwrap_err().ends_with(
            "has neither tokenizer.json nor vocab.txt nor vocab.json with merges.txt nor sentencepiece.bpe.model"
        ));
        repository.link("abc", "vocab.json", "1").unwrap();
        assert!(repository.snapshot().is_err());
        repository.link("abc", "merges.txt", "1").unwrap();
        assert!(repository.snapshot().is_ok());
        fs::remove_file(repository.snapshot_folder("abc").join("merges.txt")).unwrap();
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

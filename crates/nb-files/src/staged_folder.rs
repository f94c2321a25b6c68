//! A folder that replaces another one when it is complete.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::temporary::{NEW_FOLDER, OLD_FOLDER, create_unique, parent, sync_folder, sync_parent};

/// A folder in progress, under a temporary name beside its target. Dropping it removes it and leaves the target as it was.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("student");
/// let staged = nb_files::StagedFolder::create(&path)?;
/// std::fs::write(staged.path().join("config.json"), "{}")?;
/// assert!(!path.exists());
/// staged.sync_and_commit()?;
/// assert!(path.join("config.json").exists());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct StagedFolder {
    /// The temporary name; gone once the folder is in place.
    temporary: PathBuf,
    target: PathBuf,
}

impl StagedFolder {
    /// Creates an empty folder beside `target`, with the permissions of any new folder.
    ///
    /// # Errors
    /// If it cannot be created.
    pub fn create(target: &Path) -> io::Result<Self> {
        let (temporary, ()) = create_unique(parent(target), NEW_FOLDER, |path| fs::create_dir(path))?;
        Ok(Self { temporary, target: target.to_owned() })
    }

    /// Returns the folder to put files into.
    pub fn path(&self) -> &Path {
        &self.temporary
    }

    /// Flushes the folder and the files in it to disk, puts it in place of the target, and removes what was there before.
    /// Folders below it are not flushed.
    ///
    /// The exchange takes two renames. A process that is killed between them leaves the old folder under a temporary name.
    ///
    /// # Errors
    /// If the folder cannot be flushed or renamed; what was there before remains then.
    pub fn sync_and_commit(self) -> io::Result<()> {
        for entry in fs::read_dir(&self.temporary)? {
            File::open(entry?.path())?.sync_all()?;
        }
        sync_folder(&self.temporary)?;
        let replaced = Replaced::take(&self.target)?;
        let renamed = fs::rename(&self.temporary, &self.target).and_then(|()| sync_parent(&self.target));
        if renamed.is_err() {
            replaced.put_back(&self.target);
        }
        renamed
    }
}

impl Drop for StagedFolder {
    fn drop(&mut self) {
        // Nothing is there after a commit; otherwise the error that led here is the one to report.
        let _ = fs::remove_dir_all(&self.temporary);
    }
}

/// The earlier folder, on its way out. Dropping it removes it.
struct Replaced {
    /// A folder that holds the earlier one, if there was one; empty where the earlier one must stay.
    holder: PathBuf,
}

impl Replaced {
    /// The name of the earlier folder in its holder.
    const NAME: &str = "replaced";

    /// Moves `target` away, if it is there.
    fn take(target: &Path) -> io::Result<Self> {
        let (holder, ()) = create_unique(parent(target), OLD_FOLDER, create_private_folder)?;
        let replaced = Self { holder };
        match fs::rename(target, replaced.holder.join(Self::NAME)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(replaced),
        }
    }

    /// Moves the earlier folder back to `target`. Where even this fails it stays in its holder.
    fn put_back(mut self, target: &Path) {
        let earlier = self.holder.join(Self::NAME);
        if fs::rename(&earlier, target).is_err() && earlier.exists() {
            self.holder = PathBuf::new();
        }
    }
}

impl Drop for Replaced {
    fn drop(&mut self) {
        if !self.holder.as_os_str().is_empty() {
            // The target is in place by now; what cannot be removed is recognised by its name.
            let _ = fs::remove_dir_all(&self.holder);
        }
    }
}

/// Creates a folder that only its owner can enter, because its content is about to be removed.
fn create_private_folder(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    return std::os::unix::fs::DirBuilderExt::mode(&mut fs::DirBuilder::new(), 0o700).create(path);
    #[cfg(not(unix))]
    return fs::create_dir(path);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_not_committed_leaves_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("student");
        let stage = |name: &str, text: &str| {
            let staged = StagedFolder::create(&path).unwrap();
            fs::write(staged.path().join(name), text).unwrap();
            staged
        };
        stage("a", "old").sync_and_commit().unwrap();
        drop(stage("a", "half"));
        assert_eq!(fs::read_to_string(path.join("a")).unwrap(), "old");
        stage("b", "new").sync_and_commit().unwrap();
        assert!(path.join("b").exists() && !path.join("a").exists());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn the_old_folder_returns_where_the_new_one_cannot_be_put_in_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("student");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("a"), "old").unwrap();
        let replaced = Replaced::take(&path).unwrap();
        assert!(!path.exists());
        replaced.put_back(&path);
        assert_eq!(fs::read_to_string(path.join("a")).unwrap(), "old");
        // Where the place is taken meanwhile, the old folder stays where it is.
        let replaced = Replaced::take(&path).unwrap();
        let holder = replaced.holder.clone();
        fs::write(&path, "taken").unwrap();
        replaced.put_back(&path);
        assert_eq!(fs::read_to_string(holder.join(Replaced::NAME).join("a")).unwrap(), "old");
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_has_the_mode_of_any_new_folder() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let mode = |name| fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
        fs::create_dir(folder.path().join("plain")).unwrap();
        StagedFolder::create(&folder.path().join("staged")).unwrap().sync_and_commit().unwrap();
        assert_eq!(mode("staged"), mode("plain"));
    }
}

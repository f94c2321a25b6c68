//! A folder that replaces its target once it is complete.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::temporary::{NEW_FOLDER, OLD_FOLDER, create_unique, parent, sync_folder, sync_parent};

/// A folder in progress, under a temporary name, by default next to its target. Dropping it removes it and leaves the
/// target unchanged.
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
    /// The temporary path, which no longer exists after a commit.
    temporary: PathBuf,
    target: PathBuf,
    /// The folder that contains the temporary folders.
    container: PathBuf,
}

impl StagedFolder {
    /// Creates an empty folder next to `target`, with the default permissions of a new folder.
    ///
    /// # Errors
    /// If it cannot be created.
    pub fn create(target: &Path) -> io::Result<Self> {
        Self::create_in(parent(target), target)
    }

    /// Creates an empty folder in `container`, an existing folder on the file system of `target`. All temporary names
    /// are in `container`, so its owner can remove what a killed process left behind.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// let (partial, path) = (folder.path().join("tool.partial"), folder.path().join("tool"));
    /// std::fs::create_dir(&partial)?;
    /// let staged = nb_files::StagedFolder::create_in(&partial, &path)?;
    /// assert!(staged.path().starts_with(&partial));
    /// staged.sync_and_commit()?;
    /// assert!(path.is_dir());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// If it cannot be created.
    pub fn create_in(container: &Path, target: &Path) -> io::Result<Self> {
        let (temporary, ()) = create_unique(container, NEW_FOLDER, |path| fs::create_dir(path))?;
        Ok(Self { temporary, target: target.to_owned(), container: container.to_owned() })
    }

    /// Returns the path of the temporary folder, which receives the files.
    pub fn path(&self) -> &Path {
        &self.temporary
    }

    /// Flushes the folder and its files to disk, moves it to the target and removes the previous folder. The contents
    /// of subfolders are not flushed.
    ///
    /// The replacement takes two renames. Between them the target does not exist; if the process is killed there, the
    /// old folder remains under a temporary name.
    ///
    /// # Errors
    /// If the folder cannot be flushed or renamed, also because the container is on another file system than the
    /// target: the previous folder then remains in place. If only the parent folder cannot be flushed: the new folder
    /// is then in place, but a power loss may undo the replacement.
    pub fn sync_and_commit(self) -> io::Result<()> {
        for entry in fs::read_dir(&self.temporary)? {
            File::open(entry?.path())?.sync_all()?;
        }
        sync_folder(&self.temporary)?;
        let replaced = self.set_target_aside()?;
        if let Err(error) = fs::rename(&self.temporary, &self.target) {
            replaced.put_back(&self.target);
            return Err(error);
        }
        sync_parent(&self.target)
    }

    /// Moves the previous folder, if there is one, into a new folder of the container.
    fn set_target_aside(&self) -> io::Result<Replaced> {
        Replaced::take(&self.target, &self.container)
    }
}

impl Drop for StagedFolder {
    fn drop(&mut self) {
        // After a commit, nothing is left to remove. Otherwise, the previous error is the one to report.
        let _ = fs::remove_dir_all(&self.temporary);
    }
}

/// The previous folder, which is about to be removed. Dropping this value removes it.
struct Replaced {
    /// A temporary folder that contains the previous one, if there was one. The path is empty if the previous folder must
    /// stay.
    holder: PathBuf,
}

impl Replaced {
    /// The name of the previous folder in its holder.
    const NAME: &str = "replaced";

    /// Moves `target` into a new folder in `container`, if it exists.
    fn take(target: &Path, container: &Path) -> io::Result<Self> {
        let (holder, ()) = create_unique(container, OLD_FOLDER, create_private_folder)?;
        let replaced = Self { holder };
        match fs::rename(target, replaced.holder.join(Self::NAME)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(replaced),
        }
    }

    /// Moves the previous folder back to `target`. If this fails too, the folder stays in its holder.
    fn put_back(mut self, target: &Path) {
        let previous = self.holder.join(Self::NAME);
        if fs::rename(&previous, target).is_err() && previous.exists() {
            self.holder = PathBuf::new();
        }
    }
}

impl Drop for Replaced {
    fn drop(&mut self) {
        if !self.holder.as_os_str().is_empty() {
            // The target is in place by now. A folder that cannot be removed is recognisable by its name.
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
    fn an_uncommitted_folder_leaves_the_old_one_in_place() {
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
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary folder is left");
    }

    #[test]
    fn all_temporary_names_are_in_the_chosen_container() {
        let folder = tempfile::tempdir().unwrap();
        let (container, path) = (folder.path().join("partial"), folder.path().join("tool"));
        fs::create_dir(&container).unwrap();
        fs::create_dir(&path).unwrap();
        fs::write(path.join("a"), "old").unwrap();
        let staged = StagedFolder::create_in(&container, &path).unwrap();
        fs::write(staged.path().join("b"), "new").unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is next to the target");
        let replaced = staged.set_target_aside().unwrap();
        assert!(replaced.holder.starts_with(&container));
        replaced.put_back(&path);
        staged.sync_and_commit().unwrap();
        assert!(path.join("b").exists() && !path.join("a").exists());
        assert_eq!(fs::read_dir(&container).unwrap().count(), 0);
    }

    #[test]
    fn the_old_folder_is_restored_if_the_new_one_cannot_be_moved() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("student");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("a"), "old").unwrap();
        let replaced = Replaced::take(&path, folder.path()).unwrap();
        assert!(!path.exists());
        replaced.put_back(&path);
        assert_eq!(fs::read_to_string(path.join("a")).unwrap(), "old");
        // If something else takes the place in the meantime, the old folder stays in its holder.
        let replaced = Replaced::take(&path, folder.path()).unwrap();
        let holder = replaced.holder.clone();
        fs::write(&path, "taken").unwrap();
        replaced.put_back(&path);
        assert_eq!(fs::read_to_string(holder.join(Replaced::NAME).join("a")).unwrap(), "old");
    }

    #[cfg(unix)]
    #[test]
    fn a_staged_folder_has_the_default_mode() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let mode = |name| fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
        fs::create_dir(folder.path().join("plain")).unwrap();
        StagedFolder::create(&folder.path().join("staged")).unwrap().sync_and_commit().unwrap();
        assert_eq!(mode("staged"), mode("plain"));
    }
}

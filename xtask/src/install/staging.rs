//! The temporary folder in which a folder of the cache is prepared.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nb_files::StagedFolder;

use super::disk::{create_dir, remove};
use crate::progress::say;

/// The folder `<target>.partial`, in which everything is prepared. Its user holds the lock of `target`.
pub(super) struct Staging {
    root: PathBuf,
    target: PathBuf,
}

impl Staging {
    /// Creates the folder, or reuses that of an interrupted run and removes everything but `wheels` from it.
    pub(super) fn open(target: &Path) -> Result<Self> {
        let staging = Self { root: target.with_added_extension("partial"), target: target.to_owned() };
        create_dir(&staging.root)?;
        staging.clear()?;
        Ok(staging)
    }

    /// Creates the folder of complete wheels, which the next run reuses after an interrupt.
    pub(super) fn wheels(&self) -> Result<PathBuf> {
        let path = self.root.join("wheels");
        create_dir(&path)?;
        Ok(path)
    }

    /// Creates the folder that becomes the target when it is complete.
    pub(super) fn folder(&self) -> Result<StagedFolder> {
        StagedFolder::create_in(&self.root, &self.target)
            .with_context(|| format!("cannot create a folder in {}", self.root.display()))
    }

    /// Creates a folder for pip's temporary files, on the disk whose space was checked. Its name contains the process
    /// id, so that a pip that outlives a killed set-up does not share it.
    pub(super) fn scratch(&self) -> Result<PathBuf> {
        let path = self.root.join(format!("pip-{}", std::process::id()));
        create_dir(&path)?;
        Ok(path)
    }

    fn clear(&self) -> Result<()> {
        for entry in fs::read_dir(&self.root).with_context(|| format!("cannot read {}", self.root.display()))? {
            let path = entry?.path();
            if path.file_name().is_some_and(|name| name != "wheels") {
                remove(&path)?;
            }
        }
        Ok(())
    }

    /// Moves the complete folder to its target and removes everything else.
    pub(super) fn commit(&self, folder: StagedFolder) -> Result<()> {
        // The commit flushes only the top of the tree, and flushing thousands of files one by one takes minutes.
        let context = || format!("cannot create {}", self.target.display());
        rustix::fs::syncfs(File::open(&self.root).with_context(context)?).with_context(context)?;
        folder.sync_and_commit().with_context(context)?;
        remove(&self.root)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // After a success nothing is left; after a failure or an interrupt the complete wheels stay for the next run.
        if self.root.exists()
            && let Err(error) = self.clear()
        {
            say(format!("warning: {error:#}"));
        }
        // Removes the folders unless a complete wheel is left.
        _ = fs::remove_dir(self.root.join("wheels"));
        _ = fs::remove_dir(&self.root);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_complete_wheels_of_an_interrupted_run_are_kept() {
        let cache = tempfile::tempdir().unwrap();
        let partial = cache.path().join("thing-1.2.partial");
        for folder in ["wheels", ".new-17-0/torch", ".old-17-1/replaced", "pip-17/half"] {
            fs::create_dir_all(partial.join(folder)).unwrap();
        }
        let _staging = Staging::open(&cache.path().join("thing-1.2")).unwrap();
        let left: Vec<_> = fs::read_dir(&partial).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["wheels"]);
    }
}

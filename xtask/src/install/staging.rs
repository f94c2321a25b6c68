//! The temporary folder of an installation.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::disk::{create_dir, remove};
use super::package::Package;
use crate::progress::say;

/// The folder next to the final one in which everything is prepared.
pub(super) struct Staging {
    pub(super) root: PathBuf,
}

impl Staging {
    /// Creates the folder, or reuses that of an interrupted run and removes everything but `wheels` from it.
    pub(super) fn open(package: &Package) -> Result<Self> {
        let staging = Self { root: package.folder.with_added_extension("partial") };
        create_dir(&staging.root)?;
        staging.clear()?;
        Ok(staging)
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

    pub(super) fn done(&self) -> Result<()> {
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
        for folder in ["wheels", "unpacked/torch", "pip-17/half"] {
            fs::create_dir_all(partial.join(folder)).unwrap();
        }
        let package = Package {
            title: "thing".into(),
            folder: cache.path().join("thing-1.2"),
            wheels: &[],
            unpacked_bytes: 0,
            place: |entry| Some(entry),
            finish: |_| Ok(()),
        };
        let _staging = Staging::open(&package).unwrap();
        let left: Vec<_> = fs::read_dir(&partial).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["wheels"]);
    }
}

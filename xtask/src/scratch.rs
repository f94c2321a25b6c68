//! Temporary folders outside the project, removed when their owner is dropped.

use std::env;
use std::path::{Path, PathBuf};
use std::process;

/// A folder for temporary files of this process.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    /// Chooses the folder's path without creating it.
    pub(crate) fn new(purpose: &str) -> Self {
        Self::below(&env::temp_dir(), purpose)
    }

    /// Like [`Scratch::new`], but in memory if the system has `/dev/shm`.
    pub(crate) fn in_memory(purpose: &str) -> Self {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() { Self::below(memory, purpose) } else { Self::new(purpose) }
    }

    fn below(folder: &Path, purpose: &str) -> Self {
        Self(folder.join(format!("newsbert-{purpose}-{}", process::id())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It may never have been created.
        _ = std::fs::remove_dir_all(&self.0);
    }
}

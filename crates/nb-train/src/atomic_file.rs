//! Files and folders that appear complete or not at all ([`nb_files`]), with errors that name them.

use std::path::Path;

use anyhow::{Context, Result};
use nb_files::StagedFolder;

/// Writes a file as [`nb_files::write`] does.
///
/// # Errors
/// If it cannot be written; an existing file is then unchanged.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    nb_files::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// Fills a temporary folder with `fill`, then moves it to `path`, where it replaces the previous folder.
///
/// # Errors
/// If `fill` fails or the folder cannot be moved; an existing folder is then unchanged.
pub(crate) fn replace_folder(path: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let context = || format!("cannot write {}", path.display());
    let staged = StagedFolder::create(path).with_context(context)?;
    fill(staged.path())?;
    staged.sync_and_commit().with_context(context)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use anyhow::bail;

    use super::*;

    #[test]
    fn a_failed_replacement_leaves_the_old_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("student");
        replace_folder(&path, |f| Ok(fs::write(f.join("a"), "old")?)).unwrap();
        replace_folder(&path, |f| {
            fs::write(f.join("a"), "half")?;
            bail!("disk full")
        })
        .unwrap_err();
        assert_eq!(fs::read_to_string(path.join("a")).unwrap(), "old");
        replace_folder(&path, |f| Ok(fs::write(f.join("b"), "new")?)).unwrap();
        assert!(path.join("b").exists() && !path.join("a").exists());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left behind");
    }

    #[test]
    fn an_error_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing/a");
        let error = format!("{:#}", write_file(&path, b"").unwrap_err());
        assert!(error.starts_with(&format!("cannot write {}: ", path.display())), "{error}");
    }
}

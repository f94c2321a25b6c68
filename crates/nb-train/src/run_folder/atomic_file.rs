//! Files and folders that are whole or not there: written beside their place, flushed to disk, then renamed.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};

/// A file beside its place, readable as any new file is; files for temporary use are for their owner alone.
///
/// # Errors
/// If it cannot be made, or if its place is taken by what is no file, such as a device: renaming would replace that.
pub fn file_beside(path: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    if fs::metadata(path).is_ok_and(|it| !it.is_file() && !it.is_dir()) {
        return Err(std::io::Error::other("it is a device or a pipe, expected a file or a free name"));
    }
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    builder(0o666).tempfile_in(folder)
}

/// Makes files or folders beside their place with this mode less the umask, as any new one has.
fn builder<'a>(mode: u32) -> tempfile::Builder<'a, 'a> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(mode));
    builder
}

/// Writes a file beside itself and renames it into place.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || -> std::io::Result<()> {
        let mut file = file_beside(path)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        sync_parent(path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// Fills a folder by `fill` beside its place, then puts it there in place of what was there before.
///
/// # Errors
/// If `fill` fails or the folder cannot be put into place; what was there before stays then.
pub(crate) fn replace_folder(path: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let context = || format!("cannot write {}", path.display());
    let fresh = builder(0o777).prefix(".new-").tempdir_in(parent).with_context(context)?;
    fill(fresh.path())?;
    sync(fresh.path()).with_context(context)?;
    let old = tempfile::Builder::new().prefix(".old-").tempdir_in(parent).with_context(context)?;
    let aside = old.path().join("model");
    match fs::rename(path, &aside) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e).with_context(context),
        _ => {}
    }
    fs::rename(fresh.path(), path)
        .and_then(|()| sync_parent(path))
        .inspect_err(|_| {
            // The error below tells what happened; if even this fails, the old model stays where it is now.
            if fs::rename(&aside, path).is_err() && aside.exists() {
                let _kept = old.keep();
            }
        })
        .with_context(context)
}

/// Flushes a name to disk, so that what it replaces may go.
fn sync_parent(path: &Path) -> std::io::Result<()> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(parent)?.sync_all()
}

/// Flushes a folder and the files in it to disk, so that a rename cannot outlive what it names.
fn sync(folder: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        fs::File::open(entry?.path())?.sync_all()?;
    }
    fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    #[cfg(unix)]
    fn a_file_is_readable_like_any_new_file() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let mode = |name| fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
        fs::write(folder.path().join("plain"), "").unwrap();
        write_whole(&folder.path().join("whole"), b"").unwrap();
        assert_eq!(mode("whole"), mode("plain"));
    }

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
}

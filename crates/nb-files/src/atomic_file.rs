//! A file that appears complete or not at all.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::temporary::{self, create_unique, parent, sync_parent};

/// A file in progress, under a temporary name next to its target. Dropping it removes it and leaves the target
/// unchanged.
///
/// Writes are not buffered: wrap the file in a [`BufWriter`] for many small writes. Written content can be read back.
///
/// ```
/// use std::io::Write;
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("ranks.txt");
/// let mut file = nb_files::AtomicFile::create(&path)?;
/// file.write_all(b"1 [2,1]\n")?;
/// assert!(!path.exists());
/// file.commit()?;
/// assert!(path.exists());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct AtomicFile {
    file: File,
    /// The temporary path; empty after a commit.
    temporary: PathBuf,
    target: PathBuf,
}

impl AtomicFile {
    /// Creates an empty file next to `target`, with the default permissions of a new file.
    ///
    /// # Errors
    /// If it cannot be created, or if `target` is a device, a pipe or a socket, which the rename would replace.
    pub fn create(target: &Path) -> io::Result<Self> {
        if fs::metadata(target).is_ok_and(|found| !found.is_file() && !found.is_dir()) {
            return Err(io::Error::other("it is a device or a pipe, expected a regular file or a new name"));
        }
        let open = |path: &Path| File::options().read(true).write(true).create_new(true).open(path);
        let (temporary, file) = create_unique(parent(target), temporary::FILE, open)?;
        Ok(Self { file, temporary, target: target.to_owned() })
    }

    /// Returns the open file, for writes at given offsets.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Renames the file to its target. The operating system may write the content to disk later, so the new file can be
    /// incomplete after a power failure. Use this only if the content is checked when it is read, or is flushed by
    /// other means.
    ///
    /// # Errors
    /// If it cannot be renamed. The target is then unchanged.
    pub fn commit(mut self) -> io::Result<()> {
        fs::rename(&self.temporary, &self.target)?;
        self.temporary = PathBuf::new();
        Ok(())
    }

    /// Flushes the content to disk, renames the file to its target and flushes the new name to disk.
    ///
    /// # Errors
    /// If it cannot be flushed or renamed.
    pub fn sync_and_commit(self) -> io::Result<()> {
        self.file.sync_all()?;
        let target = self.target.clone();
        self.commit()?;
        sync_parent(&target)
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if !self.temporary.as_os_str().is_empty() {
            // The earlier error is the one to report.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Read for AtomicFile {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.file.read(bytes)
    }
}

impl Seek for AtomicFile {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.file.seek(position)
    }
}

/// Writes `bytes` to the file `path`. The content is flushed to disk, then renamed into place.
///
/// # Errors
/// If the file cannot be written. An existing file then remains unchanged.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("summary.json");
/// nb_files::write(&path, b"{}\n")?;
/// assert_eq!(std::fs::read(path)?, b"{}\n");
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = AtomicFile::create(path)?;
    file.write_all(bytes)?;
    file.sync_and_commit()
}

/// Writes the file `path` through a buffer, to which `fill` writes. The content is flushed to disk, then renamed into
/// place.
///
/// Two writers of the same path do not interfere: the file that is renamed last remains.
///
/// # Errors
/// If `fill` fails or the file cannot be written. An existing file then remains unchanged.
///
/// ```
/// use std::io::Write;
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("numbers.txt");
/// nb_files::write_with(&path, |out| (0..3).try_for_each(|number| writeln!(out, "{number}")))?;
/// assert_eq!(std::fs::read_to_string(path)?, "0\n1\n2\n");
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn write_with(path: &Path, fill: impl FnOnce(&mut BufWriter<AtomicFile>) -> io::Result<()>) -> io::Result<()> {
    let mut out = BufWriter::new(AtomicFile::create(path)?);
    fill(&mut out)?;
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_and_commit()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(folder: &tempfile::TempDir) -> usize {
        fs::read_dir(folder.path()).unwrap().count()
    }

    #[test]
    fn a_failure_leaves_the_old_file_and_no_temporary_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        write(&path, b"old").unwrap();
        let failed = write_with(&path, |out| {
            out.write_all(b"half")?;
            out.flush()?;
            Err(io::Error::other("disk full"))
        });
        assert_eq!(failed.unwrap_err().to_string(), "disk full");
        assert_eq!((fs::read(&path).unwrap(), entries(&folder)), (b"old".to_vec(), 1));
        drop(AtomicFile::create(&path).unwrap());
        assert_eq!(entries(&folder), 1, "an uncommitted file is removed");
        write(&path, b"new").unwrap();
        assert_eq!((fs::read(&path).unwrap(), entries(&folder)), (b"new".to_vec(), 1));
    }

    #[test]
    fn a_file_in_progress_can_be_read_and_the_old_one_stays_until_the_commit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        write(&path, b"old").unwrap();
        let mut opened = File::open(&path).unwrap();
        let mut file = AtomicFile::create(&path).unwrap();
        file.write_all(b"new").unwrap();
        file.rewind().unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), fs::read(&path).unwrap()), ("new", b"old".to_vec()));
        file.commit().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        // A handle to the old file still reads its bytes.
        let mut bytes = Vec::new();
        opened.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, b"old");
    }

    #[test]
    fn a_folder_at_the_target_is_an_error_and_remains() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::create_dir(&path).unwrap();
        assert!(write(&path, b"new").is_err());
        assert!(path.is_dir() && entries(&folder) == 1);
        assert_eq!(write(&path.join("b/c"), b"").unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[cfg(unix)]
    #[test]
    fn an_atomic_file_has_the_default_mode() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let mode = |name| fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
        fs::write(folder.path().join("plain"), "").unwrap();
        write(&folder.path().join("atomic"), b"").unwrap();
        assert_eq!(mode("atomic"), mode("plain"));
    }

    #[cfg(unix)]
    #[test]
    fn a_device_or_a_socket_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        for path in [Path::new("/dev/null"), &socket] {
            let error = AtomicFile::create(path).unwrap_err().to_string();
            assert_eq!(error, "it is a device or a pipe, expected a regular file or a new name");
        }
        assert_eq!(entries(&folder), 1);
    }
}

//! A file appears whole or not at all: it is written beside its place, flushed to disk and renamed.
//!
//! A reader that has the old file open or mapped keeps the old file, since a rename replaces the name and not the bytes.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::DataError;

/// Makes names of half-written files differ within a process; the process id does between processes.
static COUNTER: AtomicU64 = AtomicU64::new(0);

/// Writes `path` through `fill`, replacing what was there only when all of it is on disk.
///
/// Two writers of one path do not disturb each other: the later rename wins, whole.
///
/// # Errors
/// Whatever `fill` or the file system reports; nothing is left beside `path` then.
pub(crate) fn write(path: &Path, fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    let part = folder.join(format!(".{name}.{}-{count}.part", std::process::id()));
    let written = fill_file(&part, fill).and_then(|()| fs::rename(&part, path));
    if written.is_err() {
        // The first error is the one to report; a part that was never created cannot be removed.
        let _ = fs::remove_file(&part);
    }
    written
}

/// Writes a file of lines; each gets its line end here.
///
/// # Errors
/// [`DataError::Write`], naming the file.
pub(crate) fn write_lines(path: &Path, mut lines: impl Iterator<Item = String>) -> Result<(), DataError> {
    write(path, |file| lines.try_for_each(|line| writeln!(file, "{line}")))
        .map_err(|source| DataError::Write { path: path.to_owned(), source })
}

fn fill_file(part: &Path, fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> io::Result<()> {
    let mut file = BufWriter::new(File::options().write(true).create_new(true).open(part)?);
    fill(&mut file)?;
    file.flush()?;
    file.get_ref().sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_leaves_the_old_file_and_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        write(&path, |file| file.write_all(b"old")).unwrap();
        let failed = write(&path, |file| {
            file.write_all(b"half")?;
            Err(io::Error::other("disk full"))
        });
        assert_eq!(failed.unwrap_err().to_string(), "disk full");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        write(&path, |file| file.write_all(b"new")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }
}

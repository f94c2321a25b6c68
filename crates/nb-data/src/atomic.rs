//! Atomic writing of output files ([`nb_files`]); missing folders are created.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use nb_files::AtomicFile;

use crate::error::DataError;

/// Writes the file `path` through a buffer that `fill` writes to, as [`nb_files::write_with`] does.
///
/// # Errors
/// The error of `fill` or of the file system. An existing file is then left unchanged.
pub(crate) fn write(path: &Path, fill: impl FnOnce(&mut BufWriter<AtomicFile>) -> io::Result<()>) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    nb_files::write_with(path, fill)
}

/// Writes a file of lines, adding a line end to each.
///
/// # Errors
/// [`DataError::Write`], naming the file.
pub(crate) fn write_lines(path: &Path, mut lines: impl Iterator<Item = String>) -> Result<(), DataError> {
    write(path, |file| lines.try_for_each(|line| writeln!(file, "{line}")))
        .map_err(|source| DataError::Write { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_folders_are_created_and_a_failure_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/c.txt");
        write_lines(&path, ["one".to_owned(), "two".to_owned()].into_iter()).unwrap();
        let failed = write(&path, |file| {
            file.write_all(b"half")?;
            Err(io::Error::other("disk full"))
        });
        assert_eq!(failed.unwrap_err().to_string(), "disk full");
        assert_eq!(fs::read(&path).unwrap(), b"one\ntwo\n");
        assert_eq!(fs::read_dir(folder.path().join("a/b")).unwrap().count(), 1);
    }
}

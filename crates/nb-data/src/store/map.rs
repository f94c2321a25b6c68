//! Maps a file into memory. The only `unsafe` code of this crate.
#![expect(unsafe_code, reason = "mapping a file requires the promise that nobody changes it")]

use std::fs::File;
use std::io;
use std::path::Path;

use memmap2::Mmap;

/// Maps a file of the token store. An empty file gives no bytes.
pub(super) fn map(path: &Path) -> io::Result<Mmap> {
    let file = File::open(path)?;
    // SAFETY: the bytes of a mapping must not change while it lives. Only `build` writes the files mapped here, under a
    // temporary name, and renames them when they are complete (`nb_files`). A rebuild renames a new file over the
    // name and leaves the mapped file unchanged; the system keeps it until it is unmapped. Nothing in this crate opens
    // such a file for writing. The files are in a cache folder that belongs to the user; truncating one while a run
    // reads it ends that run, as with any mapped file.
    unsafe { Mmap::map(&file) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// The argument above depends on this: a mapping keeps its bytes when its file is replaced or removed.
    #[test]
    fn a_mapping_outlives_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tokens");
        let old = vec![1_u8; 100_000];
        crate::atomic::write(&path, |file| file.write_all(&old)).unwrap();
        let mapped = map(&path).unwrap();
        crate::atomic::write(&path, |file| file.write_all(&[2])).unwrap();
        assert_eq!(mapped[..], old);
        assert_eq!(map(&path).unwrap()[..], [2]);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(mapped[..], old);
    }

    #[test]
    fn an_empty_file_has_no_bytes_and_a_missing_one_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tokens");
        assert!(map(&path).is_err());
        File::create(&path).unwrap();
        assert!(map(&path).unwrap().is_empty());
    }
}

//! The bytes of a file, in memory or mapped. The only `unsafe` code of this crate.
#![expect(unsafe_code, reason = "mapping a file requires the promise that nobody changes it")]

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::path::Path;

use memmap2::Mmap;

/// The bytes of a file.
#[derive(Debug)]
pub(crate) enum Bytes {
    Owned(Vec<u8>),
    Mapped(Mmap),
}

impl Bytes {
    /// Maps a file. An empty file gives no bytes.
    pub(crate) fn map(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        // SAFETY: the bytes of a mapping must not change while it lives. Files of weights are written once: this project and the hub's
        // client write a new file and rename it when it is complete, which leaves a mapped file as it is. A program that rewrites the
        // weights of a model in place while another one has it open breaks the promise, which the documentation of every function
        // that maps a file asks for; truncating the file ends the program, as with any mapped file.
        unsafe { Mmap::map(&file) }.map(Self::Mapped)
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Owned(bytes) => bytes,
            Self::Mapped(bytes) => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The argument above depends on this: a mapping keeps its bytes when its file is replaced or removed.
    #[test]
    fn a_mapping_outlives_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let old = vec![1_u8; 100_000];
        nb_files::write(&path, &old).unwrap();
        let mapped = Bytes::map(&path).unwrap();
        nb_files::write(&path, &[2]).unwrap();
        assert_eq!(mapped[..], old);
        assert_eq!(Bytes::map(&path).unwrap()[..], [2]);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(mapped[..], old);
    }

    #[test]
    fn an_empty_file_has_no_bytes_and_a_missing_one_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        assert!(Bytes::map(&path).is_err());
        File::create(&path).unwrap();
        assert!(Bytes::map(&path).unwrap().is_empty());
    }
}

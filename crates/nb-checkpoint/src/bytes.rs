//! The bytes of a file, in memory or mapped. The only `unsafe` code of this crate.
#![expect(unsafe_code, reason = "mapping a file requires the promise that nobody changes it")]

use std::fs::File;
use std::io;
use std::ops::{Deref, Range};
use std::path::Path;
use std::sync::Arc;

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

/// Some of the bytes of a file, which stay in memory or mapped.
#[derive(Debug, Clone)]
pub(crate) struct Slice {
    bytes: Arc<Bytes>,
    range: Range<usize>,
}

impl Slice {
    /// Returns the place of `part` in `bytes`; `None` if it is a part of something else.
    pub(crate) fn within(bytes: &Arc<Bytes>, part: &[u8]) -> Option<Self> {
        if part.is_empty() {
            return Some(Self { bytes: Arc::clone(bytes), range: 0..0 });
        }
        let start = part.as_ptr().addr().checked_sub(bytes.as_ptr().addr())?;
        let end = start.checked_add(part.len()).filter(|end| *end <= bytes.len())?;
        Some(Self { bytes: Arc::clone(bytes), range: start..end })
    }
}

impl Deref for Slice {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.range.clone()]
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
    fn a_slice_is_found_only_in_its_own_bytes() {
        let (ours, other) = (Arc::new(Bytes::Owned(vec![1, 2, 3])), vec![1, 2, 3]);
        assert_eq!(Slice::within(&ours, &ours[1..]).unwrap()[..], [2, 3]);
        assert!(Slice::within(&ours, &[]).unwrap().is_empty());
        assert!(Slice::within(&ours, &other).is_none());
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

//! Opens a file of text: decompresses and decodes it as a stream.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::GzDecoder;

use super::compression::{Compression, Counted, Decompressed, Frame};
use super::encoding::{Decoded, Encoding};
use crate::error::DataError;

/// Bytes read at a time.
const BUFFER: usize = 1 << 16;

/// The text of a file, as UTF-8.
///
/// A plain file has its own variant, so that reading one costs no more than reading its buffer.
pub(crate) enum Input {
    Plain(BufReader<File>),
    Other(Box<dyn BufRead + Send>),
}

impl Input {
    /// Opens a file. Without an `encoding`, the text is UTF-8. A byte-order mark has precedence over both.
    pub(crate) fn open(path: &Path, encoding: Option<Encoding>) -> Result<Self, DataError> {
        let file = BufReader::with_capacity(BUFFER, open_file(path)?);
        let input = match Compression::of(path) {
            Compression::None => Self::Plain(file),
            Compression::Gzip => {
                Self::other(BufReader::with_capacity(BUFFER, Decompressed::<_, GzDecoder<Counted<_>>>::new(file)))
            }
            Compression::Zstd => Self::other(BufReader::with_capacity(BUFFER, Decompressed::<_, Frame<_>>::new(file))),
        };
        input.decoded(encoding).map_err(|source| DataError::Read { file: path.display().to_string(), line: 0, source })
    }

    fn other(reader: impl BufRead + Send + 'static) -> Self {
        Self::Other(Box::new(reader))
    }

    fn decoded(mut self, encoding: Option<Encoding>) -> io::Result<Self> {
        let encoding = match encoding.filter(|encoding| !encoding.is_utf8()) {
            // The decoder follows a byte-order mark.
            Some(encoding) => Some(encoding),
            // No UTF-8 begins with these bytes.
            None => matches!(self.fill_buf()?, [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..]).then_some(Encoding::UTF_16),
        };
        Ok(match encoding {
            Some(encoding) => Self::other(Decoded::new(self, encoding)),
            None => self,
        })
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(reader) => reader.read(buffer),
            Self::Other(reader) => reader.read(buffer),
        }
    }
}

impl BufRead for Input {
    #[inline]
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match self {
            Self::Plain(reader) => reader.fill_buf(),
            Self::Other(reader) => reader.fill_buf(),
        }
    }

    #[inline]
    fn consume(&mut self, count: usize) {
        match self {
            Self::Plain(reader) => reader.consume(count),
            Self::Other(reader) => reader.consume(count),
        }
    }
}

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain(..)",
            Self::Other(_) => "Other(..)",
        })
    }
}

/// Opens a file for reading.
pub(crate) fn open_file(path: &Path) -> Result<File, DataError> {
    let failed = |source| DataError::Open { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    // A folder opens without an error and fails only at the first read, whose error would name a line.
    if file.metadata().map_err(failed)?.is_dir() {
        return Err(failed(io::ErrorKind::IsADirectory.into()));
    }
    Ok(file)
}

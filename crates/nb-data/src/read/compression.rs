//! Compressed text, decompressed as a stream. Memory is bounded whatever a file contains.

use std::ffi::OsStr;
use std::io::{self, BufRead, Read};
use std::path::Path;

use flate2::bufread::GzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// The compression of a file, as its extension names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// No compression.
    None,
    /// `.gz`: gzip, of one member or several.
    Gzip,
    /// `.zst`: Zstandard, of one frame or several.
    Zstd,
}

impl Compression {
    /// Returns the compression that a file's name ends in.
    ///
    /// ```
    /// use std::path::Path;
    /// use nb_data::read::Compression;
    /// assert_eq!(Compression::of(Path::new("train.csv.gz")), Compression::Gzip);
    /// assert_eq!(Compression::of(Path::new("train.csv")), Compression::None);
    /// ```
    #[must_use]
    pub fn of(path: &Path) -> Self {
        match path.extension().and_then(OsStr::to_str) {
            Some("gz") => Self::Gzip,
            Some("zst") => Self::Zstd,
            _ => Self::None,
        }
    }

    /// Returns the extension before that of the compression: `csv` of `train.csv.gz` and of `train.csv`.
    ///
    /// ```
    /// use std::path::Path;
    /// use nb_data::read::Compression;
    /// assert_eq!(Compression::extension(Path::new("train.jsonl.zst")), Some("jsonl"));
    /// ```
    #[must_use]
    pub fn extension(path: &Path) -> Option<&str> {
        match Self::of(path) {
            Self::None => path.extension()?.to_str(),
            Self::Gzip | Self::Zstd => Path::new(path.file_stem()?).extension()?.to_str(),
        }
    }
}

/// A reader that counts the bytes taken from it.
pub(super) struct Counted<R> {
    reader: R,
    taken: u64,
}

impl<R> Counted<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, taken: 0 }
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.reader.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.taken += count as u64;
        self.reader.consume(count);
    }
}

impl<R: BufRead> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.taken += count as u64;
        Ok(count)
    }
}

/// The content of a compressed stream: its parts, one after the other.
pub(super) struct Decompressed<R, P> {
    part: Part<R, P>,
}

enum Part<R, P> {
    /// Between two parts, or before the first.
    Between(Counted<R>),
    Within(P),
    Ended,
}

/// A member of a gzip file, or a frame of a Zstandard file.
pub(super) trait Member<R>: Read + Sized {
    /// The name of the format in errors.
    const FORMAT: &'static str;

    /// Begins the part at the reader's position; gives the reader back if nothing follows.
    fn begin(reader: Counted<R>) -> io::Result<Result<Self, Counted<R>>>;

    /// Returns the position in the compressed file.
    fn position(&self) -> u64;

    /// Checks a part that has been read completely.
    fn end(self) -> io::Result<Counted<R>>;
}

impl<R: BufRead, P: Member<R>> Decompressed<R, P> {
    pub(super) fn new(reader: R) -> Self {
        Self { part: Part::Between(Counted::new(reader)) }
    }

    fn advance(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            // An error leaves the stream ended.
            self.part = match std::mem::replace(&mut self.part, Part::Ended) {
                Part::Ended => return Ok(0),
                Part::Between(mut reader) => {
                    if reader.fill_buf()?.is_empty() {
                        return Ok(0);
                    }
                    let taken = reader.taken;
                    match P::begin(reader).map_err(|error| damaged(P::FORMAT, taken, &error))? {
                        Ok(part) => Part::Within(part),
                        Err(reader) => Part::Between(reader),
                    }
                }
                Part::Within(mut part) => {
                    let count = part.read(buffer).map_err(|error| damaged(P::FORMAT, part.position(), &error))?;
                    if count > 0 || buffer.is_empty() {
                        self.part = Part::Within(part);
                        return Ok(count);
                    }
                    let position = part.position();
                    Part::Between(part.end().map_err(|error| damaged(P::FORMAT, position, &error))?)
                }
            }
        }
    }
}

impl<R: BufRead, P: Member<R>> Read for Decompressed<R, P> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.advance(buffer)
    }
}

fn damaged(format: &str, position: u64, error: &io::Error) -> io::Error {
    let found = match error.kind() {
        io::ErrorKind::UnexpectedEof => "the file ends in the middle of its data".to_owned(),
        _ => error.to_string(),
    };
    io::Error::new(error.kind(), format!("damaged {format} data near byte {position}: {found}"))
}

impl<R: BufRead> Member<R> for GzDecoder<Counted<R>> {
    const FORMAT: &'static str = "gzip";

    fn begin(mut reader: Counted<R>) -> io::Result<Result<Self, Counted<R>>> {
        if reader.taken > 0 {
            // Tapes and some programs pad a file with zeros; `gzip` and Python's `gzip` skip them.
            loop {
                let bytes = reader.fill_buf()?;
                let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
                let is_padded = zeros > 0 && zeros == bytes.len();
                reader.consume(zeros);
                if !is_padded {
                    break;
                }
            }
            if reader.fill_buf()?.is_empty() {
                return Ok(Err(reader));
            }
        }
        Ok(Ok(Self::new(reader)))
    }

    fn position(&self) -> u64 {
        self.get_ref().taken
    }

    fn end(self) -> io::Result<Counted<R>> {
        Ok(self.into_inner())
    }
}

/// A frame of a Zstandard file.
pub(super) struct Frame<R> {
    reader: Counted<R>,
    decoder: Box<FrameDecoder>,
}

/// The largest window of a frame: what `zstd` itself accepts without `--long`.
const WINDOW: u64 = 1 << 27;

impl<R: BufRead> Member<R> for Frame<R> {
    const FORMAT: &'static str = "zstd";

    fn begin(mut reader: Counted<R>) -> io::Result<Result<Self, Counted<R>>> {
        let mut decoder = Box::new(FrameDecoder::new());
        decoder.set_max_window_size(WINDOW);
        match decoder.init(&mut reader) {
            Ok(()) => Ok(Ok(Self { reader, decoder })),
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                let length = u64::from(length);
                match io::copy(&mut (&mut reader).take(length), &mut io::sink())? == length {
                    true => Ok(Err(reader)),
                    false => Err(io::ErrorKind::UnexpectedEof.into()),
                }
            }
            Err(error) => Err(defect(&error, &mut reader)),
        }
    }

    fn position(&self) -> u64 {
        self.reader.taken
    }

    fn end(self) -> io::Result<Counted<R>> {
        match (self.decoder.get_checksum_from_data(), self.decoder.get_calculated_checksum()) {
            (Some(found), Some(expected)) if found != expected => {
                let message = format!("its checksum is {found:08x}, but that of the content is {expected:08x}");
                Err(io::Error::new(io::ErrorKind::InvalidData, message))
            }
            _ => Ok(self.reader),
        }
    }
}

impl<R: BufRead> Read for Frame<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
            let block = self.decoder.decode_blocks(&mut self.reader, BlockDecodingStrategy::UptoBlocks(1));
            block.map_err(|error| defect(&error, &mut self.reader))?;
        }
        self.decoder.read(buffer)
    }
}

/// Returns the error of a frame: the end of the file if nothing is left to read.
fn defect(error: &FrameDecoderError, reader: &mut impl BufRead) -> io::Error {
    match reader.fill_buf() {
        Ok([]) => io::ErrorKind::UnexpectedEof.into(),
        Ok(_) => io::Error::new(io::ErrorKind::InvalidData, error.to_string()),
        Err(error) => error,
    }
}

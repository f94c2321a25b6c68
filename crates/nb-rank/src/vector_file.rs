//! Files of vectors: safetensors with `vectors` [rows, H], f32, and `lines` \[rows\], the line of the input behind each vector.
//! They are written as a stream and read in blocks, so not all vectors are in memory at once.

use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use nb_checkpoint::{Dtype, Header, TensorIndex, TensorPlace};
use nb_files::AtomicFile;

use crate::error::RankError;

const VECTORS: &str = "vectors";
const LINES: &str = "lines";
/// The name of the metadata entry that identifies everything that the vectors depend on.
const KEY: &str = "key";

/// A writer of vectors. The header of the file contains their number, which is known only at the end; until then the
/// vectors are in a temporary file.
#[derive(Debug)]
pub struct VectorWriter {
    /// The vectors. It is never committed: [`VectorWriter::write`] copies it behind the header, and dropping it removes it.
    body: BufWriter<AtomicFile>,
    output: PathBuf,
    hidden: usize,
    lines: Vec<i64>,
}

impl VectorWriter {
    /// Starts a file of vectors of `hidden` units.
    ///
    /// # Errors
    /// If the folder of `output` is not writable.
    pub fn new(output: &Path, hidden: usize) -> Result<Self, RankError> {
        if output.is_dir() {
            return Err(RankError::Folder { path: output.to_owned() });
        }
        let body = AtomicFile::create(output).map_err(write_error(output))?;
        Ok(Self { body: BufWriter::new(body), output: output.to_owned(), hidden, lines: Vec::new() })
    }

    /// Appends a vector.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn push(&mut self, line: u64, vector: &[f32]) -> Result<(), RankError> {
        self.lines.push(line as i64);
        for value in vector {
            self.body.write_all(&value.to_le_bytes()).map_err(write_error(&self.output))?;
        }
        Ok(())
    }

    /// Appends the vector of an earlier row again.
    ///
    /// # Errors
    /// If it cannot be read back or written.
    pub fn repeat(&mut self, line: u64, row: usize) -> Result<(), RankError> {
        self.lines.push(line as i64);
        let mut bytes = vec![0; self.hidden * std::mem::size_of::<f32>()];
        let start = SeekFrom::Start((row * bytes.len()) as u64);
        let mut copy = || -> std::io::Result<()> {
            self.body.seek(start)?; // flushes the buffer first
            self.body.get_mut().read_exact(&mut bytes)?;
            self.body.seek(SeekFrom::End(0))?;
            self.body.write_all(&bytes)
        };
        copy().map_err(write_error(&self.output))
    }

    /// Writes the file atomically, and returns the number of vectors. `key` identifies everything that they depend on.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(self, key: Option<&str>) -> Result<usize, RankError> {
        let (output, rows) = (self.output.clone(), self.lines.len());
        let mut header = Header::default();
        if let Some(key) = key {
            header.set_metadata(KEY, key);
        }
        header.push(LINES, Dtype::I64, &[rows]);
        header.push(VECTORS, Dtype::F32, &[rows, self.hidden]);
        let header = header.to_bytes(&output)?;
        self.write(&header).map_err(write_error(&output))?;
        Ok(rows)
    }

    /// Writes the header, the lines and the vectors.
    fn write(self, header: &[u8]) -> std::io::Result<()> {
        let bytes = (self.lines.len() * self.hidden * std::mem::size_of::<f32>()) as u64;
        let mut body = self.body.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        let mut out = BufWriter::new(AtomicFile::create(&self.output)?);
        out.write_all(header)?;
        for line in &self.lines {
            out.write_all(&line.to_le_bytes())?;
        }
        body.rewind()?;
        let copied = std::io::copy(&mut Read::take(body, bytes), &mut out)?;
        if copied != bytes {
            return Err(std::io::Error::other(format!("wrote {copied} of {bytes} bytes")));
        }
        out.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_and_commit()
    }
}

/// Returns a function that adds a file that cannot be written to an error.
fn write_error(path: &Path) -> impl FnOnce(std::io::Error) -> RankError {
    |source| RankError::Write { path: path.to_owned(), source }
}

/// Vectors in a file.
#[derive(Debug)]
pub struct VectorFile {
    file: File,
    path: PathBuf,
    start: u64,
    rows: usize,
    hidden: usize,
}

impl VectorFile {
    /// Opens a file if it exists, is complete and was written with this key.
    pub fn open(path: &Path, key: &str) -> Option<Self> {
        let mut file = File::open(path).ok()?;
        let size = file.metadata().ok()?.len();
        let index = TensorIndex::read(&mut file, size).ok()?;
        if index.metadata(KEY)? != key {
            return None;
        }
        let TensorPlace { dtype, shape, start } = index.place(VECTORS)?;
        let &[rows, hidden] = shape else { return None };
        // A header could claim any number of vectors of zero units.
        if dtype != Dtype::F32 || hidden == 0 {
            return None;
        }
        let bytes = rows.checked_mul(hidden)?.checked_mul(std::mem::size_of::<f32>())? as u64;
        let is_complete = start.checked_add(bytes)? == size;
        is_complete.then(|| Self { file, path: path.to_owned(), start, rows, hidden })
    }

    /// Returns the number of vectors.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Calls `f` with the row numbers and the vectors of each block of up to `most` vectors.
    ///
    /// # Errors
    /// If the file cannot be read, or if `f` fails.
    pub fn each_block<E: From<RankError>>(
        &mut self,
        most: usize,
        mut f: impl FnMut(&[u32], &[f32]) -> Result<(), E>,
    ) -> Result<(), E> {
        let error = |source| RankError::Read { path: self.path.clone(), source };
        self.file.seek(SeekFrom::Start(self.start)).map_err(error)?;
        for first in (0..self.rows).step_by(most) {
            let rows = most.min(self.rows - first);
            let mut bytes = vec![0; rows * self.hidden * std::mem::size_of::<f32>()];
            self.file.read_exact(&mut bytes).map_err(error)?;
            let values: Vec<f32> = bytes.as_chunks().0.iter().map(|&four| f32::from_le_bytes(four)).collect();
            f(&row_numbers(first, rows), &values)?;
        }
        Ok(())
    }
}

/// Returns the numbers of `rows` rows from `first` on.
fn row_numbers(first: usize, rows: usize) -> Vec<u32> {
    (first as u32..(first + rows) as u32).collect()
}

/// The vectors of a corpus, in a file or, if none can be written, in memory.
#[derive(Debug)]
pub enum CorpusVectors {
    /// In a file.
    File(VectorFile),
    /// In memory.
    Memory {
        /// All vectors, concatenated.
        values: Vec<f32>,
        /// Units of a vector.
        hidden: usize,
    },
}

impl CorpusVectors {
    /// Returns the number of vectors.
    pub fn rows(&self) -> usize {
        match self {
            Self::File(file) => file.rows(),
            Self::Memory { values, hidden } => values.len() / hidden,
        }
    }

    /// Calls `f` with the row numbers and the vectors of each block of up to `most` vectors.
    ///
    /// # Errors
    /// If the file cannot be read, or if `f` fails.
    pub fn each_block<E: From<RankError>>(
        &mut self,
        most: usize,
        mut f: impl FnMut(&[u32], &[f32]) -> Result<(), E>,
    ) -> Result<(), E> {
        match self {
            Self::File(file) => file.each_block(most, f),
            Self::Memory { values, hidden } => {
                for (first, block) in (0..).step_by(most).zip(values.chunks(most * *hidden)) {
                    f(&row_numbers(first, block.len() / *hidden), block)?;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_read_back_in_blocks_only_with_the_same_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v.safetensors");
        let mut writer = VectorWriter::new(&path, 2).unwrap();
        for i in 0..4 {
            writer.push(10 + i, &[i as f32, -1.5]).unwrap();
        }
        writer.repeat(14, 1).unwrap();
        assert_eq!(writer.finish(Some("abc")).unwrap(), 5);
        let header = r#"{"__metadata__":{"key":"abc"},"lines":{"dtype":"I64","shape":[5],"data_offsets":[0,40]},"vectors":{"dtype":"F32","shape":[5,2],"data_offsets":[40,80]}}"#;
        let bytes = std::fs::read(&path).unwrap();
        let padded = format!("{header:<width$}", width = header.len().next_multiple_of(8));
        assert!(
            bytes
                .starts_with(&[&(padded.len() as u64).to_le_bytes(), padded.as_bytes(), &10i64.to_le_bytes()].concat())
        );
        assert!(VectorFile::open(&path, "abd").is_none());
        assert!(VectorFile::open(&folder.path().join("w"), "abc").is_none());
        let mut file = VectorFile::open(&path, "abc").unwrap();
        let mut blocks = Vec::new();
        file.each_block(2, |rows, values| {
            blocks.push((rows.to_vec(), values.to_vec()));
            Ok::<_, RankError>(())
        })
        .unwrap();
        assert_eq!(blocks[1], (vec![2, 3], vec![2.0, -1.5, 3.0, -1.5]));
        assert_eq!((file.rows(), blocks.len(), &blocks[2].1[..]), (5, 3, &[1.0, -1.5][..]));
        // Vectors in memory give the same blocks.
        let values = [0, 1, 2, 3, 1].iter().flat_map(|&i| [i as f32, -1.5]).collect();
        let mut memory = CorpusVectors::Memory { values, hidden: 2 };
        let mut same = Vec::new();
        memory
            .each_block(2, |rows, values| {
                same.push((rows.to_vec(), values.to_vec()));
                Ok::<_, RankError>(())
            })
            .unwrap();
        assert_eq!((memory.rows(), same), (5, blocks));
        // A truncated file is not opened.
        let bytes = std::fs::read(&path).unwrap();
        for cut in [0, 7, 20, bytes.len() - 1] {
            std::fs::write(&path, &bytes[..cut]).unwrap();
            assert!(VectorFile::open(&path, "abc").is_none(), "{cut} bytes");
        }
    }

    #[test]
    fn files_with_vectors_of_zero_units_or_offsets_out_of_bounds_are_not_opened() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v.safetensors");
        let most = u64::MAX - 7;
        for tensors in [
            r#""vectors":{"dtype":"F32","shape":[1152921504606846976,0],"data_offsets":[0,0]}"#.to_owned(),
            format!(
                r#""a":{{"dtype":"U8","shape":[{most}],"data_offsets":[0,{most}]}},
                "vectors":{{"dtype":"F32","shape":[1,1],"data_offsets":[{most},{}]}}"#,
                most + 4
            ),
        ] {
            let header = format!(r#"{{"__metadata__":{{"key":"abc"}},{tensors}}}"#);
            let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat();
            std::fs::write(&path, bytes).unwrap();
            assert!(VectorFile::open(&path, "abc").is_none(), "{header}");
        }
    }
}

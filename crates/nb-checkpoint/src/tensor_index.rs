//! Reads the header of a safetensors file whose tensors stay on disk.

use std::io::{self, ErrorKind, Read};

use safetensors::Dtype;
use safetensors::tensor::Metadata;

/// The header of a safetensors file: its metadata, and the place of each tensor.
///
/// ```
/// use nb_checkpoint::{Dtype, Header, TensorIndex};
/// let mut header = Header::default();
/// header.set_metadata("key", "abc");
/// header.push("x", Dtype::F32, &[2, 3]);
/// let file = [header.to_bytes("x.safetensors".as_ref())?, vec![0; 24]].concat();
///
/// let index = TensorIndex::read(&mut &file[..], file.len() as u64)?;
/// assert_eq!(index.metadata("key"), Some("abc"));
/// let place = index.place("x").unwrap();
/// assert_eq!((place.shape, place.start + 24), (&[2, 3][..], file.len() as u64));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct TensorIndex {
    header: Metadata,
    /// The position of the first tensor in the file.
    start: u64,
}

/// The place of a tensor in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TensorPlace<'a> {
    /// The type of its elements.
    pub dtype: Dtype,
    /// Its shape. Reading the header does not check that the file is long enough for it.
    pub shape: &'a [usize],
    /// The position of its first byte in the file.
    pub start: u64,
}

impl TensorIndex {
    /// The size in bytes above which a header is refused.
    const MAX_BYTES: u64 = 1 << 20;

    /// Reads the header from the beginning of a file of `file_bytes` bytes.
    ///
    /// # Errors
    /// If the file cannot be read, or if its header is truncated, malformed or longer than a mebibyte.
    pub fn read(file: &mut impl Read, file_bytes: u64) -> io::Result<Self> {
        let mut length = [0; 8];
        file.read_exact(&mut length)?;
        let length = u64::from_le_bytes(length);
        if length > file_bytes.min(Self::MAX_BYTES) {
            let found = format!("a header of {length} bytes in a file of {file_bytes} bytes");
            return Err(io::Error::new(ErrorKind::InvalidData, found));
        }
        let mut json = vec![0; length as usize];
        file.read_exact(&mut json)?;
        Ok(Self { header: serde_json::from_slice(&json)?, start: 8 + length })
    }

    /// Returns an entry of the metadata.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.header.metadata().as_ref()?.get(key).map(String::as_str)
    }

    /// Returns the place of a tensor; `None` if there is no such tensor, or if no file can be long enough.
    pub fn place(&self, name: &str) -> Option<TensorPlace<'_>> {
        let info = self.header.info(name)?;
        let start = self.start.checked_add(info.data_offsets.0 as u64)?;
        Some(TensorPlace { dtype: info.dtype, shape: &info.shape, start })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(header: &str) -> io::Result<TensorIndex> {
        let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat();
        TensorIndex::read(&mut &bytes[..], bytes.len() as u64)
    }

    #[test]
    fn a_truncated_or_oversized_header_is_refused() {
        let header = r#"{"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#;
        assert_eq!(read(header).unwrap().place("x").unwrap().start, 8 + header.len() as u64);
        let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat();
        for end in 0..bytes.len() {
            assert!(TensorIndex::read(&mut &bytes[..end], end as u64).is_err(), "{end} bytes");
        }
        let long = [&u64::MAX.to_le_bytes()[..], &[b' '; 64]].concat();
        let error = TensorIndex::read(&mut &long[..], u64::MAX).unwrap_err().to_string();
        assert!(error.starts_with("a header of 18446744073709551615 bytes"), "{error}");
    }

    #[test]
    fn a_tensor_whose_position_overflows_has_no_place() {
        // The largest tensors that a header can describe, until the offsets reach the largest u64.
        let size = (1_u64 << 61) - 1;
        let tensor = |i: u64| {
            format!(r#""a{i}":{{"dtype":"U8","shape":[{size}],"data_offsets":[{},{}]}},"#, i * size, (i + 1) * size)
        };
        let tensors: String = (0..8).map(tensor).collect();
        let x = format!(r#""x":{{"dtype":"F32","shape":[1],"data_offsets":[{},{}]}}"#, 8 * size, 8 * size + 4);
        let index = read(&format!("{{{tensors}{x}}}")).unwrap();
        assert!(index.place("a7").is_some() && index.place("x").is_none() && index.place("y").is_none());
        assert_eq!(index.metadata("key"), None);
    }
}

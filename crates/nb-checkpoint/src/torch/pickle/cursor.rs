//! Reads the arguments of opcodes: numbers, strings and lines, never beyond the end.

/// A position in the bytes of a pickle.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Returns the number of bytes read so far.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// Returns the next `count` bytes.
    ///
    /// # Errors
    /// A message, if there are fewer.
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let rest = &self.bytes[self.at..];
        let Some(taken) = rest.get(..count) else {
            let (left, at) = (rest.len(), self.at);
            return Err(format!("the pickle is truncated: {left} bytes left at byte {at}, expected {count}"));
        };
        self.at += count;
        Ok(taken)
    }

    /// Returns the next `N` bytes.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(super) fn byte(&mut self) -> Result<u8, String> {
        Ok(self.array::<1>()?[0])
    }

    /// Returns the bytes after a length in one byte.
    pub(super) fn short_bytes(&mut self) -> Result<&'a [u8], String> {
        let length = self.byte()?;
        self.take(length.into())
    }

    /// Returns the bytes after a length in four bytes.
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], String> {
        let length = u32::from_le_bytes(self.array()?);
        self.take(usize::try_from(length).unwrap_or(usize::MAX))
    }

    /// Returns the bytes after a length in eight bytes.
    pub(super) fn long_bytes(&mut self) -> Result<&'a [u8], String> {
        let length = u64::from_le_bytes(self.array()?);
        self.take(usize::try_from(length).unwrap_or(usize::MAX))
    }

    /// Returns the text up to the next line break, and skips the line break.
    pub(super) fn line(&mut self) -> Result<&'a str, String> {
        let rest = &self.bytes[self.at..];
        let Some(end) = rest.iter().position(|&byte| byte == b'\n') else {
            return Err(format!("the pickle is truncated: no line break after byte {}", self.at));
        };
        let line = text(&rest[..end])?;
        self.at += end + 1;
        Ok(line)
    }
}

/// Returns bytes as text.
///
/// # Errors
/// A message, if they are not UTF-8.
pub(super) fn text(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|error| format!("the pickle has a string that is not UTF-8: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_read_beyond_the_end() {
        let mut cursor = Cursor::new(b"ab\ncd\xff");
        assert_eq!((cursor.line(), cursor.byte()), (Ok("ab"), Ok(b'c')));
        let error = cursor.take(3).unwrap_err();
        assert_eq!(error, "the pickle is truncated: 2 bytes left at byte 4, expected 3");
        assert!(cursor.line().unwrap_err().contains("no line break after byte 4"));
        assert!(cursor.long_bytes().is_err() && cursor.bytes().is_err());
        assert_eq!((cursor.take(2), cursor.position()), (Ok(&b"d\xff"[..]), 6));
        assert!(cursor.byte().is_err() && text(b"d\xff").unwrap_err().contains("not UTF-8"));
    }
}

//! Text in other encodings than UTF-8, decoded as a stream.

use std::fmt;
use std::io::{self, BufRead, Read};
use std::str::FromStr;

use encoding_rs::{Decoder, DecoderResult};

use crate::error::DataError;

/// A byte that no UTF-8 contains. It stands for a malformed sequence, so that the row that contains it cannot be used.
const MALFORMED: u8 = 0xFF;

/// Bytes decoded at a time.
const DECODED: usize = 1 << 16;

/// Names that programs and people use but the WHATWG's list lacks.
const ALIASES: [(&str, &str); 10] = [
    ("latin-1", "latin1"),
    ("cp936", "gbk"),
    ("cp932", "shift_jis"),
    ("cp949", "euc-kr"),
    ("cp950", "big5"),
    ("utf-8-sig", "utf-8"),
    ("utf8-sig", "utf-8"),
    ("utf16", "utf-16"),
    ("utf-16-le", "utf-16le"),
    ("utf-16-be", "utf-16be"),
];

/// An encoding of text, by the names and rules of the WHATWG's standard, which browsers follow.
///
/// Upper and lower case make no difference, and `_` may stand for `-`. Two names differ from Python's: `latin1` and `ascii` mean
/// Windows-1252, which has printable characters where Latin-1 has control characters. A byte-order mark at the beginning
/// of a file has precedence over the encoding.
///
/// ```
/// use nb_data::read::Encoding;
/// assert_eq!("GB2312".parse::<Encoding>()?, "gbk".parse()?);
/// assert_eq!("shift_jis".parse::<Encoding>()?.to_string(), "Shift_JIS");
/// assert!("klingon".parse::<Encoding>().is_err());
/// # Ok::<(), nb_data::DataError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Encoding(&'static encoding_rs::Encoding);

impl Encoding {
    /// UTF-8.
    pub const UTF_8: Self = Self(encoding_rs::UTF_8);
    /// Little-endian UTF-16; a byte-order mark decides otherwise.
    pub(super) const UTF_16: Self = Self(encoding_rs::UTF_16LE);

    /// Returns true for UTF-8, which needs no decoding.
    #[must_use]
    pub fn is_utf8(self) -> bool {
        self == Self::UTF_8
    }
}

impl FromStr for Encoding {
    type Err = DataError;

    fn from_str(name: &str) -> Result<Self, DataError> {
        let lower = name.trim().to_ascii_lowercase();
        let dashed = lower.replace('_', "-");
        let alias = ALIASES.iter().find(|(alias, _)| *alias == dashed).map(|(_, label)| *label);
        [alias, Some(&lower), Some(&dashed)]
            .into_iter()
            .flatten()
            .find_map(|label| encoding_rs::Encoding::for_label_no_replacement(label.as_bytes()))
            .map(Self)
            .ok_or_else(|| DataError::UnknownEncoding { found: name.to_owned() })
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name())
    }
}

impl fmt::Debug for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name())
    }
}

/// A stream of text in some encoding, as UTF-8. A malformed sequence becomes a byte that no UTF-8 contains.
pub(super) struct Decoded<R> {
    reader: R,
    decoder: Decoder,
    text: Box<[u8]>,
    start: usize,
    end: usize,
    ended: bool,
}

impl<R: BufRead> Decoded<R> {
    pub(super) fn new(reader: R, encoding: Encoding) -> Self {
        let text = vec![0; DECODED].into_boxed_slice();
        Self { reader, decoder: encoding.0.new_decoder(), text, start: 0, end: 0, ended: false }
    }
}

impl<R: BufRead> BufRead for Decoded<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.start == self.end && !self.ended {
            let bytes = self.reader.fill_buf()?;
            let is_last = bytes.is_empty();
            // One byte is left for that of a malformed sequence.
            let room = &mut self.text[..DECODED - 1];
            let (result, read, written) = self.decoder.decode_to_utf8_without_replacement(bytes, room, is_last);
            self.reader.consume(read);
            (self.start, self.end) = (0, written);
            match result {
                DecoderResult::InputEmpty => self.ended = is_last,
                DecoderResult::OutputFull => {}
                DecoderResult::Malformed(..) => {
                    self.text[written] = MALFORMED;
                    self.end += 1;
                }
            }
        }
        Ok(&self.text[self.start..self.end])
    }

    fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
    }
}

impl<R: BufRead> Read for Decoded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::BufReader;

    fn decode(bytes: &[u8], encoding: &str, buffer: usize) -> Vec<u8> {
        let reader = BufReader::with_capacity(buffer, bytes);
        let mut text = Vec::new();
        Decoded::new(reader, encoding.parse().unwrap()).read_to_end(&mut text).unwrap();
        text
    }

    #[test]
    fn known_bytes_of_each_encoding() {
        for (encoding, bytes, text) in [
            ("gbk", &b"\xd0\xc2\xce\xc5"[..], "新闻"),
            ("GB18030", b"\x81\x30\x81\x30\xd0\xc2", "\u{80}新"),
            ("latin-1", b"caf\xe9 \x80", "café €"),
            ("windows_1252", b"\x93Rain\x94", "\u{201c}Rain\u{201d}"),
            ("shift_jis", b"\x93\x8c\x8b\x9e", "東京"),
            ("cp932", b"\x93\x8c", "東"),
            ("euc-kr", b"\xb4\xba\xbd\xba", "뉴스"),
            ("koi8-r", b"\xee", "Н"),
            ("utf-16", b"\xff\xfea\0\xac\x20", "a€"),
            ("utf-16", b"\xfe\xff\0a\x20\xac", "a€"),
            ("utf_16_le", b"a\0\n\0", "a\n"),
            ("utf-16be", b"\0a\0\n", "a\n"),
            ("latin1", b"\xef\xbb\xbfcaf\xc3\xa9", "café"),
            ("us-ascii", b"caf\xe9", "café"),
            ("ascii", b"caf\xe9", "café"),
            ("iso8859_15", b"\xa4", "€"),
            ("MS_Kanji", b"\x93\x8c", "東"),
            ("utf-8-sig", b"\xef\xbb\xbfa", "a"),
        ] {
            for buffer in [1, 2, 3, 64] {
                assert_eq!(String::from_utf8(decode(bytes, encoding, buffer)).unwrap(), text, "{encoding}");
            }
        }
    }

    #[test]
    fn malformed_sequences_are_no_utf8_and_keep_line_breaks() {
        assert_eq!(decode(b"a\n\xd0\nb\xd0", "gbk", 3), b"a\n\xff\nb\xff");
        assert_eq!(decode(b"\xff\xfea\0\0\xd8\n\0b", "utf-16", 3), b"a\xff\n\xff");
    }

    #[test]
    fn unknown_names_are_errors_with_known_ones() {
        let error = "klingon".parse::<Encoding>().unwrap_err().to_string();
        assert_eq!(
            error,
            "unknown encoding \"klingon\", expected a name such as utf-8, utf-16, gbk, gb18030, big5, shift_jis, euc-jp, \
             euc-kr, latin1, windows-1252, windows-1251 or koi8-r"
        );
        assert!("".parse::<Encoding>().is_err());
        assert!("utf-7".parse::<Encoding>().is_err());
    }

    proptest! {
        /// The size of the portions in which a stream arrives makes no difference.
        #[test]
        fn portions_do_not_matter(bytes in prop::collection::vec(any::<u8>(), 0..400), buffer in 1_usize..50) {
            for encoding in ["gbk", "utf-16", "shift_jis", "iso-2022-jp", "utf-8"] {
                prop_assert_eq!(decode(&bytes, encoding, buffer), decode(&bytes, encoding, 1 << 12));
            }
        }
    }
}

//! Reads the few numbers of a page header that decide how much memory the page takes, and checks footers. Both are structs in
//! Thrift's compact protocol: <https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>.

use std::io::{self, BufReader, ErrorKind, Read, Seek, SeekFrom};

/// The deepest nesting of a struct; that of a page header is 3, that of a footer 9.
const MOST_DEPTH: u32 = 16;

/// The end of a file: the length of the footer before it, and these bytes.
const MAGIC: &[u8; 4] = b"PAR1";

/// Checks that a file's footer is a complete struct, whose lists have no more entries than there are bytes.
///
/// A damaged footer of a few bytes could keep the `parquet` crate busy for minutes. No list of a footer has truth values, so they are
/// refused too. A file whose end is not that of a Parquet file is left to that crate, which says so.
///
/// # Errors
/// If the footer is damaged, or the file cannot be read.
pub(super) fn check_footer(mut file: impl Read + Seek) -> io::Result<()> {
    let length = file.seek(SeekFrom::End(0))?;
    let mut end = [0; 8];
    if length < 8 {
        return Ok(());
    }
    file.seek(SeekFrom::End(-8))?;
    file.read_exact(&mut end)?;
    let footer = u64::from(u32::from_le_bytes([end[0], end[1], end[2], end[3]]));
    if end[4..] != MAGIC[..] || footer > length - 8 {
        return Ok(());
    }
    file.seek(SeekFrom::Start(length - 8 - footer))?;
    Input { bytes: BufReader::new(file).take(footer), truths: TruthsInLists::Refused }.skip(Kind::Struct, 0)
}

/// The numbers of a page header.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct PageHeader {
    /// `None` if the header lacks it, which no page's does.
    pub(super) uncompressed: Option<i32>,
    pub(super) compressed: Option<i32>,
    /// Number of values of a data page; 0 for other pages.
    pub(super) values: i32,
}

impl PageHeader {
    const UNCOMPRESSED: i16 = 2;
    const COMPRESSED: i16 = 3;
    /// The header of a data page, of version 1 and of version 2. Its first field is the number of values.
    const DATA: [i16; 2] = [5, 8];
    const VALUES: i16 = 1;

    /// Reads a header, and nothing behind it.
    pub(super) fn read(input: &mut impl Read) -> io::Result<Self> {
        let (mut header, mut input) = (Self::default(), Input { bytes: input, truths: TruthsInLists::OneByteEach });
        let mut id = 0;
        while let Some(kind) = input.field(&mut id)? {
            match (id, kind) {
                (Self::UNCOMPRESSED, Kind::I32) => header.uncompressed = Some(input.i32()?),
                (Self::COMPRESSED, Kind::I32) => header.compressed = Some(input.i32()?),
                (id, Kind::Struct) if Self::DATA.contains(&id) => {
                    let mut inner = 0;
                    while let Some(kind) = input.field(&mut inner)? {
                        match (inner, kind) {
                            (Self::VALUES, Kind::I32) => header.values = input.i32()?,
                            (_, kind) => input.skip(kind, 1)?,
                        }
                    }
                }
                (_, kind) => input.skip(kind, 0)?,
            }
        }
        Ok(header)
    }
}

/// The type of a field. Truth values are part of the type.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bool,
    I8,
    /// Also enums.
    I32,
    /// 16 and 64 bits.
    OtherInteger,
    Double,
    Binary,
    List,
    Struct,
}

impl Kind {
    fn of(nibble: u8) -> io::Result<Self> {
        Ok(match nibble {
            1 | 2 => Self::Bool,
            3 => Self::I8,
            4 | 6 => Self::OtherInteger,
            5 => Self::I32,
            7 => Self::Double,
            8 => Self::Binary,
            9 | 10 => Self::List,
            12 => Self::Struct,
            other => return Err(invalid(&format!("type {other}"))),
        })
    }
}

fn invalid(found: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("{found} found in its metadata"))
}

struct Input<R> {
    bytes: R,
    truths: TruthsInLists,
}

/// The treatment of truth values in a list.
#[derive(Clone, Copy, PartialEq, Eq)]
enum TruthsInLists {
    /// Each has a byte of its own, as in the specification.
    OneByteEach,
    Refused,
}

impl<R: Read> Input<R> {
    fn byte(&mut self) -> io::Result<u8> {
        let mut byte = [0];
        self.bytes.read_exact(&mut byte)?;
        Ok(byte[0])
    }

    /// Reads the beginning of a field; `None` at the end of the struct.
    fn field(&mut self, id: &mut i16) -> io::Result<Option<Kind>> {
        let byte = self.byte()?;
        if byte == 0 {
            return Ok(None);
        }
        *id = match byte >> 4 {
            0 => zigzag(self.varint()?) as i16,
            delta => id.wrapping_add(i16::from(delta)),
        };
        Kind::of(byte & 15).map(Some)
    }

    fn varint(&mut self) -> io::Result<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 127) << shift;
            if byte < 128 {
                return Ok(number);
            }
        }
        Err(invalid("a number of more than 64 bits"))
    }

    fn i32(&mut self) -> io::Result<i32> {
        i32::try_from(zigzag(self.varint()?)).map_err(|_| invalid("a number of more than 32 bits"))
    }

    fn skip(&mut self, kind: Kind, depth: u32) -> io::Result<()> {
        if depth > MOST_DEPTH {
            return Err(invalid("too deep a struct"));
        }
        match kind {
            Kind::Bool => {}
            Kind::I8 => drop(self.byte()?),
            Kind::I32 | Kind::OtherInteger => drop(self.varint()?),
            Kind::Double => self.skip_bytes(8)?,
            Kind::Binary => {
                let length = self.varint()?;
                self.skip_bytes(length)?;
            }
            Kind::List => {
                let byte = self.byte()?;
                let count = if byte >> 4 == 15 { self.varint()? } else { u64::from(byte >> 4) };
                let entry = Kind::of(byte & 15)?;
                if entry == Kind::Bool && self.truths == TruthsInLists::Refused && count > 0 {
                    return Err(invalid("a list of truth values"));
                }
                for _ in 0..count {
                    self.skip(if entry == Kind::Bool { Kind::I8 } else { entry }, depth + 1)?;
                }
            }
            Kind::Struct => {
                let mut id = 0;
                while let Some(kind) = self.field(&mut id)? {
                    self.skip(kind, depth + 1)?;
                }
            }
        }
        Ok(())
    }

    fn skip_bytes(&mut self, count: u64) -> io::Result<()> {
        let skipped = io::copy(&mut self.bytes.by_ref().take(count), &mut io::sink())?;
        if skipped == count { Ok(()) } else { Err(ErrorKind::UnexpectedEof.into()) }
    }
}

fn zigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_header_is_read_to_its_end() {
        // type 0, uncompressed 300, compressed 20, v1 header {values 7, encoding 0, min statistics "ab"}, end; then 99.
        let bytes =
            [0x15, 0, 0x15, 0xD8, 0x04, 0x15, 40, 0x2C, 0x15, 14, 0x15, 0, 0x3C, 0x28, 2, b'a', b'b', 0, 0, 0, 99];
        let mut input = &bytes[..];
        let header = PageHeader::read(&mut input).unwrap();
        assert_eq!(header, PageHeader { uncompressed: Some(300), compressed: Some(20), values: 7 });
        assert_eq!(input, [99]);
        for end in 0..bytes.len() - 1 {
            assert!(PageHeader::read(&mut &bytes[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn nesting_and_numbers_are_bounded() {
        assert!(PageHeader::read(&mut &[0x1C; 100_000][..]).is_err());
        assert!(
            PageHeader::read(&mut &[0x15, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1][..]).is_err()
        );
        assert!(PageHeader::read(&mut &[0x25, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1][..]).is_err());
    }

    #[test]
    fn footers_are_checked_to_their_end() {
        let check = |footer: &[u8]| {
            let length = (footer.len() as u32).to_le_bytes();
            let file = [b"PAR1", footer, &length[..], b"PAR1"].concat();
            check_footer(io::Cursor::new(file)).map_err(|error| error.to_string())
        };
        assert_eq!(check(&[0x15, 2, 0x19, 0x15, 4, 0]), Ok(())); // version 1, a list of one number
        assert_eq!(check(&[0x19, 0x02, 0]), Ok(())); // an empty list
        let truths = [0x19, 0x31, 1, 2, 1, 0];
        assert_eq!(check(&truths), Err("a list of truth values found in its metadata".to_owned()));
        let numbers = [0x19, 0xF5, 0xFF, 0xFF, 0xFF, 0xFF, 7, 0];
        assert!(check(&numbers).is_err() && check(&[0x19, 0xFC, 0xFF, 0xFF, 0xFF, 0xFF, 7, 0]).is_err());
        assert!(check(&[0x15]).is_err() && check(&[]).is_err());
        for other in [&b"PAR1"[..], b"", b"PAR1\xff\xff\xff\xffPAR1", b"PAR1\0\0\0\0PARE"] {
            assert!(check_footer(io::Cursor::new(other)).is_ok(), "{other:?} is left to the crate");
        }
    }

    proptest! {
        #[test]
        fn no_footer_causes_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = check_footer(io::Cursor::new([&bytes[..], &[40, 0, 0, 0], b"PAR1"].concat()));
        }

        #[test]
        fn no_bytes_cause_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = PageHeader::read(&mut &bytes[..]);
        }
    }
}

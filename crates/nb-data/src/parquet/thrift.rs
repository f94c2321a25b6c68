//! Reads the few numbers of a page header that decide how much memory the page takes. Page headers are structs in
//! Thrift's compact protocol: <https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>.

use std::io::{self, ErrorKind, Read};

/// The deepest nesting of a page header; that of the format is 3.
const MOST_DEPTH: u32 = 8;

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
        let (mut header, mut input) = (Self::default(), Input(input));
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
    io::Error::new(ErrorKind::InvalidData, format!("{found} found in a page header"))
}

struct Input<R>(R);

impl<R: Read> Input<R> {
    fn byte(&mut self) -> io::Result<u8> {
        let mut byte = [0];
        self.0.read_exact(&mut byte)?;
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
                for _ in 0..count {
                    // A truth value in a list has a byte of its own.
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
        let skipped = io::copy(&mut self.0.by_ref().take(count), &mut io::sink())?;
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

    proptest! {
        #[test]
        fn no_bytes_cause_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = PageHeader::read(&mut &bytes[..]);
        }
    }
}

//! The table of contents of a zip archive whose entries are stored without compression: the place of each entry.
//!
//! Sizes and places come from the central directory at the end of the file, in 32 or 64 bits. The archive may follow
//! other data. Checksums are not compared.

use std::collections::HashSet;
use std::ops::Range;

const LOCAL: &[u8] = b"PK\x03\x04";
const CENTRAL: &[u8] = b"PK\x01\x02";
const END: &[u8] = b"PK\x05\x06";
const END_64: &[u8] = b"PK\x06\x06";
const LOCATOR_64: &[u8] = b"PK\x06\x07";
/// The bytes of the records, without names, extra fields and comments.
const LOCAL_BYTES: usize = 30;
const CENTRAL_BYTES: usize = 46;
const END_BYTES: usize = 22;
const END_64_BYTES: usize = 56;
const LOCATOR_64_BYTES: usize = 20;
/// The largest comment at the end of an archive.
const MAX_COMMENT: usize = u16::MAX as usize;

/// A file in an archive.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stored<'a> {
    pub(super) name: &'a str,
    /// Its bytes in the archive.
    pub(super) range: Range<usize>,
}

/// Returns true if `bytes` end as an archive does.
pub(super) fn is_archive(bytes: &[u8]) -> bool {
    end_record(bytes).is_some()
}

/// The table of contents of an archive.
#[derive(Debug)]
pub(super) struct Table<'a> {
    bytes: &'a [u8],
    directory: Directory,
    entries: Vec<Central<'a>>,
}

impl<'a> Table<'a> {
    /// Reads the table of contents. The entries themselves can be of any kind.
    ///
    /// # Errors
    /// A message, if the archive is truncated or malformed.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, String> {
        let directory = directory(bytes)?;
        let (mut rest, mut entries) = (&bytes[directory.range.clone()], Vec::new());
        while !rest.is_empty() {
            let (entry, next) = central_entry(rest)?;
            entries.push(entry);
            rest = next;
        }
        if entries.len() != directory.count {
            return Err(format!("it has {} entries, but announces {}", entries.len(), directory.count));
        }
        Ok(Self { bytes, directory, entries })
    }

    /// Returns the names of all entries, in the order of the central directory.
    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.entries.iter().map(|entry| entry.name)
    }

    /// Returns the place of every entry.
    ///
    /// # Errors
    /// A message, if an entry is compressed, encrypted, there twice, outside the file or over another one.
    pub(super) fn stored(&self) -> Result<Vec<Stored<'a>>, String> {
        let (mut files, mut spans, mut names) = (Vec::new(), Vec::new(), HashSet::new());
        for entry in &self.entries {
            let error = |found: &str| Err(format!("its entry `{}` is {found}", entry.name.escape_debug()));
            match entry.packing {
                Packing::Stored => {}
                Packing::Compressed => return error("compressed, expected a stored one, as torch.save writes it"),
                Packing::Encrypted => return error("encrypted, expected a plain one"),
            }
            let start = self.directory.base.saturating_add(entry.header);
            let range = data(self.bytes, start, entry).filter(|range| range.end <= self.directory.range.start);
            let Some(range) = range else { return error("outside the file") };
            if !names.insert(entry.name) {
                return error("there twice");
            }
            spans.push((start, range.end, entry.name));
            files.push(Stored { name: entry.name, range });
        }
        spans.sort_unstable();
        match spans.array_windows().find(|[(_, end, _), (start, ..)]| start < end) {
            None => Ok(files),
            Some([(.., first), (.., second)]) => {
                Err(format!("its entries `{}` and `{}` overlap", first.escape_debug(), second.escape_debug()))
            }
        }
    }
}

/// The place of the central directory.
#[derive(Debug)]
struct Directory {
    range: Range<usize>,
    count: usize,
    /// The position of the archive in the file: the length of the data before it.
    base: usize,
}

/// Returns the position of the record at the end of an archive.
fn end_record(bytes: &[u8]) -> Option<usize> {
    let last = bytes.len().checked_sub(END_BYTES)?;
    (last.saturating_sub(MAX_COMMENT)..=last).rev().find(|&at| {
        bytes[at..].starts_with(END) && u16_at(bytes, at + 20).is_some_and(|it| at + END_BYTES + it == bytes.len())
    })
}

fn directory(bytes: &[u8]) -> Result<Directory, String> {
    let end = end_record(bytes).ok_or("it is a truncated zip archive: the directory at its end is missing")?;
    let found = match end_64(bytes, end) {
        Some(at) => places(at, u64_at(bytes, at + 32), u64_at(bytes, at + 40), u64_at(bytes, at + 48)),
        None => places(end, u16_at(bytes, end + 10), u32_at(bytes, end + 12), u32_at(bytes, end + 16)),
    };
    found.ok_or_else(|| "it is a damaged zip archive: the directory is outside the file".to_owned())
}

/// Returns the position of the record with 64-bit numbers, if there is one.
fn end_64(bytes: &[u8], end: usize) -> Option<usize> {
    let locator = end.checked_sub(LOCATOR_64_BYTES).filter(|at| bytes[*at..].starts_with(LOCATOR_64))?;
    // The record may have data of its own at its end; then only the locator knows where it begins. The locator's
    // position does not count data before the archive.
    let close = locator.checked_sub(END_64_BYTES);
    [close, u64_at(bytes, locator + 8)]
        .into_iter()
        .flatten()
        .find(|at| at.checked_add(END_64_BYTES).is_some_and(|end| end <= locator) && bytes[*at..].starts_with(END_64))
}

/// Returns the directory of this size that ends at `end`.
fn places(end: usize, count: Option<usize>, size: Option<usize>, offset: Option<usize>) -> Option<Directory> {
    let start = end.checked_sub(size?)?;
    Some(Directory { range: start..end, count: count?, base: start.checked_sub(offset?)? })
}

/// An entry of the central directory.
#[derive(Debug)]
struct Central<'a> {
    name: &'a str,
    packing: Packing,
    /// The position of its header in the archive.
    header: usize,
    size: usize,
}

/// Reads an entry and returns it with the rest of the directory.
fn central_entry(bytes: &[u8]) -> Result<(Central<'_>, &[u8]), String> {
    const DAMAGED: &str = "it is a damaged zip archive: an entry of its directory is incomplete";
    let number = |at| u16_at(bytes, at).ok_or(DAMAGED);
    let (name_bytes, extra_bytes, comment_bytes) = (number(28)?, number(30)?, number(32)?);
    let extra = CENTRAL_BYTES + name_bytes;
    let end = extra + extra_bytes + comment_bytes;
    if !bytes.starts_with(CENTRAL) || bytes.len() < end {
        return Err(DAMAGED.to_owned());
    }
    let name = std::str::from_utf8(&bytes[CENTRAL_BYTES..extra]).map_err(|_| "an entry's name is not UTF-8")?;
    let sizes = sizes(bytes, &bytes[extra..extra + extra_bytes]).ok_or(DAMAGED)?;
    let packing = match (number(8)? & 1, number(10)?) {
        (1, _) => Packing::Encrypted,
        (_, 0) if sizes.plain == sizes.stored => Packing::Stored,
        _ => Packing::Compressed,
    };
    Ok((Central { name, packing, header: sizes.header, size: sizes.stored }, &bytes[end..]))
}

/// The form of an entry's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    Stored,
    Compressed,
    Encrypted,
}

/// The numbers of an entry that may have 64 bits.
struct Sizes {
    plain: usize,
    stored: usize,
    header: usize,
}

/// Reads the numbers of an entry: those that do not fit into 32 bits are in the extra field 1, in this order.
fn sizes(entry: &[u8], mut extra: &[u8]) -> Option<Sizes> {
    let mut wide: &[u8] = &[];
    while let (Some(id), Some(length)) = (u16_at(extra, 0), u16_at(extra, 2)) {
        let field = extra.get(4..4 + length)?;
        if id == 1 {
            wide = field;
        }
        extra = &extra[4 + length..];
    }
    let mut number = |at| match u32_at(entry, at)? {
        0xffff_ffff => {
            let number = u64_at(wide, 0)?;
            wide = &wide[8..];
            Some(number)
        }
        number => Some(number),
    };
    let (plain, stored, header) = (number(24)?, number(20)?, number(42)?);
    Some(Sizes { plain, stored, header })
}

/// Returns the bytes of an entry, after its header at `at`, whose name must be that of the directory.
fn data(bytes: &[u8], at: usize, entry: &Central<'_>) -> Option<Range<usize>> {
    let header = bytes.get(at..)?.get(..LOCAL_BYTES).filter(|header| header.starts_with(LOCAL))?;
    let (name_bytes, extra_bytes) = (u16_at(header, 26)?, u16_at(header, 28)?);
    let name = at + LOCAL_BYTES;
    bytes.get(name..name + name_bytes).filter(|name| *name == entry.name.as_bytes())?;
    let start = name + name_bytes + extra_bytes;
    let end = start.checked_add(entry.size).filter(|end| *end <= bytes.len())?;
    Some(start..end)
}

/// Returns the little-endian number at a position, if it is inside `bytes`.
fn u16_at(bytes: &[u8], at: usize) -> Option<usize> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?).into())
}

fn u32_at(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?)).ok()
}

fn u64_at(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torch::testing::zip;

    const FILES: [(&str, &[u8]); 3] = [("a/x", b"xyz"), ("a/empty", b""), ("a/y", b"12345")];

    fn stored(bytes: &[u8]) -> Result<Vec<Stored<'_>>, String> {
        Table::read(bytes)?.stored()
    }

    #[track_caller]
    fn assert_stored(bytes: &[u8]) {
        let found = stored(bytes).unwrap();
        let found: Vec<_> = found.iter().map(|file| (file.name, &bytes[file.range.clone()])).collect();
        assert_eq!(found, FILES);
    }

    /// Returns the position of the `n`th entry of the directory.
    fn central(bytes: &[u8], n: usize) -> usize {
        bytes.windows(4).enumerate().filter(|(_, window)| *window == CENTRAL).nth(n).unwrap().0
    }

    /// Returns the archive with other bytes at a position.
    fn with(bytes: &[u8], at: usize, new: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        bytes[at..at + new.len()].copy_from_slice(new);
        bytes
    }

    #[test]
    fn entries_are_found_after_other_data_and_before_a_comment() {
        let bytes = zip(&FILES);
        assert_stored(&bytes);
        assert_stored(&[b"#!/bin/sh\n", &bytes[..]].concat());
        let end = bytes.len() - 2;
        assert_stored(&[&bytes[..end], &[4, 0], b"PK\x05\x06"].concat());
    }

    #[test]
    fn entries_that_are_not_plain_are_refused() {
        let bytes = zip(&FILES);
        let entry = |n, at, new: &[u8]| with(&bytes, central(&bytes, n) + at, new);
        for (bytes, message) in [
            (entry(0, 10, &[8]), "`a/x` is compressed"),
            (entry(0, 24, &[4]), "`a/x` is compressed"),
            (entry(2, 8, &[1]), "`a/y` is encrypted"),
            (entry(0, 42, &[200]), "`a/x` is outside the file"),
            (entry(0, 42, &[0xff, 0xff, 0xff, 0xfe]), "`a/x` is outside the file"),
            (entry(0, 46, b"b"), "`b/x` is outside the file"), // its header has another name
            (entry(2, 20, &[99, 0, 0, 0, 99]), "`a/y` is outside the file"),
            (entry(0, 20, &[40, 0, 0, 0, 40]), "`a/x` and `a/empty` overlap"),
            (entry(2, 42, &[0, 0, 0, 0, b'a', b'/', b'x']), "`a/x` is there twice"),
            (entry(0, 46, &[0xff]), "not UTF-8"),
            (entry(1, 28, &[0xff, 0xff]), "an entry of its directory is incomplete"),
            (entry(1, 0, b"x"), "an entry of its directory is incomplete"),
            (with(&bytes, bytes.len() - 12, &[2]), "it has 3 entries, but announces 2"),
            (with(&bytes, bytes.len() - 10, &[0xff, 0xff]), "the directory is outside the file"),
            (with(&bytes, bytes.len() - 6, &[0xff, 0xff]), "the directory is outside the file"),
            (bytes[..bytes.len() - 1].to_vec(), "the directory at its end is missing"),
        ] {
            let error = stored(&bytes).unwrap_err();
            assert!(error.contains(message), "`{message}` is not in: {error}");
        }
    }

    /// Writes the numbers of the archive in 64 bits: of the first entry, and at the end.
    fn wide(bytes: &[u8]) -> Vec<u8> {
        let (first, end) = (central(bytes, 0), bytes.len() - END_BYTES);
        let mut entry = bytes[first..first + CENTRAL_BYTES + 3].to_vec();
        let numbers =
            [24, 20, 42].map(|at| u64::from(u32::from_le_bytes(*entry[at..].first_chunk().unwrap())).to_le_bytes());
        [20, 24, 42].into_iter().for_each(|at| entry[at..at + 4].fill(0xff));
        entry[30] = 4 + 1 + 28;
        let extra = [&[9, 9, 1, 0, 7, 1, 0, 24, 0][..], &numbers.concat()].concat();
        let directory = [&entry, &extra, &bytes[first + CENTRAL_BYTES + 3..end]].concat();
        let at = (first + directory.len()) as u64;
        let wide = [[3, 0, 0, 0, 0, 0, 0, 0], [3, 0, 0, 0, 0, 0, 0, 0]].concat();
        let record = [b"PK\x06\x06", &44_u64.to_le_bytes()[..], &[0; 12], &wide].concat();
        let record = [&record[..], &(directory.len() as u64).to_le_bytes(), &(first as u64).to_le_bytes()].concat();
        let locator = [b"PK\x06\x07", &[0; 4][..], &at.to_le_bytes(), &[1, 0, 0, 0]].concat();
        let last = [b"PK\x05\x06", &[0; 4][..], &[0xff; 12], &[0; 2]].concat();
        [&bytes[..first], &directory, &record, &locator, &last].concat()
    }

    #[test]
    fn numbers_of_64_bits_are_read() {
        let bytes = wide(&zip(&FILES));
        assert_stored(&bytes);
        assert_stored(&[b"before", &bytes[..]].concat());
        // The record has data of its own after its fields, so it is found through the locator.
        let locator = bytes.len() - END_BYTES - LOCATOR_64_BYTES;
        let (before, after) = (&bytes[..locator], &bytes[locator..]);
        assert_stored(&[before, b"extra", after].concat());
    }

    #[test]
    fn an_archive_of_five_gigabytes_is_read() {
        use std::io::{Seek, SeekFrom, Write};
        const SIZE: u64 = 5 << 30;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("large.zip");
        // The first entry is a hole; the second one and the directory lie behind the first four gigabytes.
        let mut file = std::fs::File::create(&path).unwrap();
        let lengths = [3, 0, 0, 0];
        file.write_all(&[LOCAL, &[0; 22], &lengths, b"a/x"].concat()).unwrap();
        let second = file.seek(SeekFrom::Current(SIZE as i64)).unwrap();
        file.write_all(&[LOCAL, &[0; 22], &lengths, b"a/y", b"12345"].concat()).unwrap();
        let start = second + 33 + 5;
        let entry = |name: &[u8], size: u64, header: u64| {
            let extra = [&[1, 0, 24, 0][..], &size.to_le_bytes(), &size.to_le_bytes(), &header.to_le_bytes()].concat();
            let all = [0xff; 4];
            [CENTRAL, &[0; 16], &all, &all, &[3, 0, 28, 0, 0, 0], &[0; 8], &all, name, &extra].concat()
        };
        let directory = [entry(b"a/x", SIZE, 0), entry(b"a/y", 5, second)].concat();
        file.write_all(&directory).unwrap();
        let counts = [2_u64, 2, directory.len() as u64, start].map(u64::to_le_bytes).concat();
        file.write_all(&[END_64, &44_u64.to_le_bytes(), &[0; 12], &counts].concat()).unwrap();
        let record = (start + directory.len() as u64).to_le_bytes();
        file.write_all(&[LOCATOR_64, &[0; 4], &record, &[1, 0, 0, 0]].concat()).unwrap();
        file.write_all(&[END, &[0; 4], &[0xff; 12], &[0; 2]].concat()).unwrap();
        let bytes = crate::bytes::Bytes::map(&path).unwrap();
        let files = stored(&bytes).unwrap();
        assert_eq!((files[0].range.len() as u64, &bytes[files[1].range.clone()]), (SIZE, &b"12345"[..]));
    }
}

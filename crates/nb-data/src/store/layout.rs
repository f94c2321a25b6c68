//! The layout of a store's file. All numbers are little endian on every machine.
//!
//! ```text
//! header   magic [8] · version u32 · bytes per token id u32 · key [32] · checksum [32]
//!          rows u64 · tokens u64 · bytes of label names u64 · bytes of news ids u64 · labels u64
//!          per reason for skipping: count u64, first line u64
//!          articles without a translation u64
//! offsets  u64 [rows + 1]   start of each row's tokens; the last is the number of tokens
//! lines    u64 [rows]
//! id ends  u64 [rows]       end of each news id; an empty id means no id
//! ends     u64 [rows]       end of each row's labels
//! seconds  u32 [rows]       start of the second text, counted from the first token of the row and of each window
//! labels   u32 [labels]     positions in the label names, ascending in each row
//! tokens   u16 or u32 [tokens]
//! names    label names as a JSON list
//! ids      news ids, one after the other
//! ```
//!
//! The checksum is BLAKE3 of the complete file with zeros in place of the checksum.

use std::io::{self, Write};
use std::ops::Range;

use crate::read::{Reason, ReasonCount, Skipped};

/// Increased with every change of the layout, or of the result of reading and tokenising the same source.
pub(super) const VERSION: u32 = 6;

const MAGIC: &[u8; 8] = b"nbtokens";
const CHECKSUM: Range<usize> = 48..80;
const HEADER: usize = 128 + 16 * Reason::ALL.len();

/// The content of a store in memory.
#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) offsets: Vec<u64>,
    pub(super) lines: Vec<u64>,
    pub(super) id_ends: Vec<u64>,
    pub(super) seconds: Vec<u32>,
    /// The end of each row's labels in `labels`.
    pub(super) label_ends: Vec<u64>,
    pub(super) labels: Vec<u32>,
    pub(super) tokens: Vec<u32>,
    pub(super) label_names: Vec<String>,
    pub(super) ids: String,
    pub(super) skipped: Skipped,
    /// Articles without a translation, if the source has translations.
    pub(super) untranslated: u64,
}

impl Content {
    /// Writes the file. Token ids take two bytes each if all fit, else four.
    pub(super) fn write(&self, key: &[u8; 32], out: &mut impl Write) -> io::Result<()> {
        let narrow = self.tokens.iter().all(|&id| id <= u32::from(u16::MAX));
        let names = serde_json::to_vec(&self.label_names)?;
        let mut header = Vec::with_capacity(HEADER);
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(&VERSION.to_le_bytes());
        header.extend_from_slice(&(if narrow { 2_u32 } else { 4 }).to_le_bytes());
        header.extend_from_slice(key);
        header.extend_from_slice(&[0; 32]);
        let counts = [self.lines.len(), self.tokens.len(), names.len(), self.ids.len(), self.labels.len()];
        let skipped = self.skipped.counts();
        for count in counts {
            header.extend_from_slice(&(count as u64).to_le_bytes());
        }
        for ReasonCount { rows, first_line } in skipped {
            header.extend_from_slice(&rows.to_le_bytes());
            header.extend_from_slice(&first_line.to_le_bytes());
        }
        header.extend_from_slice(&self.untranslated.to_le_bytes());

        let mut body = Vec::new();
        for numbers in [&self.offsets, &self.lines, &self.id_ends, &self.label_ends] {
            body.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        }
        body.extend(self.seconds.iter().flat_map(|number| number.to_le_bytes()));
        body.extend(self.labels.iter().flat_map(|label| label.to_le_bytes()));
        if narrow {
            body.extend(self.tokens.iter().flat_map(|&id| (id as u16).to_le_bytes()));
        } else {
            body.extend(self.tokens.iter().flat_map(|id| id.to_le_bytes()));
        }
        body.extend_from_slice(&names);
        body.extend_from_slice(self.ids.as_bytes());

        let checksum = checksum(&header, &body);
        header[CHECKSUM].copy_from_slice(&checksum);
        out.write_all(&header)?;
        out.write_all(&body)
    }
}

/// The positions of the parts of a checked file.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) rows: usize,
    pub(super) tokens: usize,
    pub(super) label_names: Vec<String>,
    pub(super) skipped: Skipped,
    pub(super) untranslated: u64,
    width: usize,
    lines: usize,
    id_ends: usize,
    label_ends: usize,
    seconds: usize,
    labels: usize,
    ids: usize,
    news_ids: usize,
}

/// Returns the header and the rest of a file of this version with this key, or its defect.
fn checked_header<'a>(bytes: &'a [u8], key: &[u8; 32]) -> Result<(&'a [u8], &'a [u8]), String> {
    if bytes.len() < HEADER || bytes[..8] != MAGIC[..] {
        return Err("not a token store".into());
    }
    let (header, body) = bytes.split_at(HEADER);
    if u32_at(header, 8) != VERSION {
        return Err(format!("version {} found, expected {VERSION}", u32_at(header, 8)));
    }
    if header[16..48] != key[..] {
        return Err("made from another source".into());
    }
    Ok((header, body))
}

impl Layout {
    /// Checks a complete file and finds its parts, or returns its defect.
    pub(super) fn parse(bytes: &[u8], key: &[u8; 32]) -> Result<Self, String> {
        let (header, body) = checked_header(bytes, key)?;
        let width = u32_at(header, 12) as usize;
        let count = |i: usize| u64_at(header, 80 + 8 * i);
        let [rows, tokens, names, ids, labels] = [0, 1, 2, 3, 4].map(count);
        // In 128 bits the sum cannot overflow, whatever a damaged header contains.
        let wide = |number: u64| u128::from(number);
        let numbers = wide(rows) * 36 + 8 + wide(labels) * 4 + wide(tokens) * width as u128;
        let expected = numbers + wide(names) + wide(ids) + HEADER as u128;
        if expected != bytes.len() as u128 {
            return Err(format!("{} bytes found, expected {expected}", bytes.len()));
        }
        if header[CHECKSUM] != checksum(header, body) {
            return Err("the checksum does not match".into());
        }

        if rows == 0 {
            // A source without a usable row has no store.
            return Err("no row found, expected at least one".into());
        }

        let [rows, tokens, names, news, label_count] = [rows, tokens, names, ids, labels].map(|count| count as usize);
        let lines = HEADER + 8 * (rows + 1);
        let (id_ends, label_ends) = (lines + 8 * rows, lines + 16 * rows);
        let (seconds, labels) = (lines + 24 * rows, lines + 28 * rows);
        let ids = labels + 4 * label_count;
        let (names_start, news_ids) = (ids + width * tokens, ids + width * tokens + names);
        let label_names: Vec<String> =
            serde_json::from_slice(&bytes[names_start..news_ids]).map_err(|err| format!("label names: {err}"))?;
        let by_reason = |i: usize| ReasonCount { rows: count(5 + 2 * i), first_line: count(6 + 2 * i) };
        let skipped = Skipped::from_counts(std::array::from_fn(by_reason));
        let untranslated = count(5 + 2 * Reason::ALL.len());
        let layout = Self {
            rows,
            tokens,
            label_names,
            skipped,
            untranslated,
            width,
            lines,
            id_ends,
            label_ends,
            seconds,
            labels,
            ids,
            news_ids,
        };
        layout.check_rows(bytes, news, label_count)?;
        Ok(layout)
    }

    /// Checks that all rows point into the file, so that no accessor can fail on a file with a valid checksum.
    fn check_rows(&self, bytes: &[u8], news: usize, labels: usize) -> Result<(), String> {
        let ascending = |start: usize, count: usize, last: usize| {
            let at = |i| u64_at(bytes, start + 8 * i);
            (1..count).all(|i| at(i - 1) <= at(i)) && (count == 0 || at(count - 1) == last as u64)
        };
        let is_valid = matches!(self.width, 2 | 4)
            && ascending(HEADER, self.rows + 1, self.tokens)
            && u64_at(bytes, HEADER) == 0
            && ascending(self.id_ends, self.rows, news)
            && ascending(self.label_ends, self.rows, labels)
            && std::str::from_utf8(&bytes[self.news_ids..]).is_ok()
            && (0..self.rows).all(|i| {
                self.second_starts(bytes, i) <= self.tokens_of(bytes, i).len()
                    && self.labels_of(bytes, i).all(|label| label < self.label_names.len())
            });
        if is_valid { Ok(()) } else { Err("rows point outside the file".into()) }
    }

    /// Returns the range of row `i`'s tokens.
    pub(super) fn tokens_of(&self, bytes: &[u8], i: usize) -> Range<usize> {
        assert!(i < self.rows, "row {i} is not in a store of {} rows", self.rows);
        u64_at(bytes, HEADER + 8 * i) as usize..u64_at(bytes, HEADER + 8 * (i + 1)) as usize
    }

    pub(super) fn second_starts(&self, bytes: &[u8], i: usize) -> usize {
        u32_at(bytes, self.seconds + 4 * i) as usize
    }

    /// Returns the positions of row `i`'s labels in the label names, ascending.
    pub(super) fn labels_of<'a>(&self, bytes: &'a [u8], i: usize) -> impl ExactSizeIterator<Item = usize> + use<'a> {
        assert!(i < self.rows, "row {i} is not in a store of {} rows", self.rows);
        let end = |i: usize| u64_at(bytes, self.label_ends + 8 * i) as usize;
        let (start, end) = (i.checked_sub(1).map_or(0, end), end(i));
        let labels = &bytes[self.labels + 4 * start..self.labels + 4 * end];
        labels.as_chunks().0.iter().map(|&label| u32::from_le_bytes(label) as usize)
    }

    pub(super) fn line(&self, bytes: &[u8], i: usize) -> u64 {
        assert!(i < self.rows, "row {i} is not in a store of {} rows", self.rows);
        u64_at(bytes, self.lines + 8 * i)
    }

    pub(super) fn id<'a>(&self, bytes: &'a [u8], i: usize) -> Option<&'a str> {
        assert!(i < self.rows, "row {i} is not in a store of {} rows", self.rows);
        let end = |i: usize| u64_at(bytes, self.id_ends + 8 * i) as usize;
        let start = i.checked_sub(1).map_or(0, end);
        let id = &bytes[self.news_ids + start..self.news_ids + end(i)];
        std::str::from_utf8(id).ok().filter(|id| !id.is_empty())
    }

    /// Returns the ids of the given tokens.
    pub(super) fn ids<'a>(&self, bytes: &'a [u8], tokens: Range<usize>) -> impl Iterator<Item = i64> + 'a {
        let width = self.width;
        bytes[self.ids + width * tokens.start..self.ids + width * tokens.end].chunks_exact(width).map(|id| match *id {
            [a, b] => i64::from(u16::from_le_bytes([a, b])),
            [a, b, c, d] => i64::from(u32::from_le_bytes([a, b, c, d])),
            _ => unreachable!("a store's ids have two or four bytes, which was checked when it was opened"),
        })
    }
}

fn checksum(header: &[u8], body: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&header[..CHECKSUM.start]).update(&[0; 32]).update(&header[CHECKSUM.end..]).update(body);
    *hasher.finalize().as_bytes()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::SkippedRow;

    fn parse(content: &Content) -> Result<Layout, String> {
        let (key, mut bytes) = ([7; 32], Vec::new());
        content.write(&key, &mut bytes).unwrap();
        Layout::parse(&bytes, &key)
    }

    #[test]
    fn a_store_without_rows_is_rejected() {
        let content = Content { offsets: vec![0], ..Content::default() };
        assert_eq!(parse(&content).unwrap_err(), "no row found, expected at least one");
    }

    #[test]
    fn the_largest_counts_do_not_overflow() {
        let mut skipped = Skipped::default();
        Reason::ALL.into_iter().for_each(|reason| skipped.add(SkippedRow { line: 1, reason }));
        let most = Skipped::from_counts(skipped.counts().map(|count| ReasonCount { rows: u64::MAX, ..count }));
        let content = Content {
            offsets: vec![0, 3],
            lines: vec![1],
            id_ends: vec![0],
            seconds: vec![3],
            label_ends: vec![0],
            tokens: vec![2, 9, 3],
            skipped: most,
            untranslated: 7,
            ..Content::default()
        };
        let layout = parse(&content).unwrap();
        assert_eq!(layout.untranslated, 7);
        assert_eq!((layout.rows, layout.skipped.count()), (1, u64::MAX));
        assert!(layout.skipped.check(std::path::Path::new("news.tsv"), 1, 0.5).is_err());
    }
}

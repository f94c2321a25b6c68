//! Turns a stream into impressions. It reads blocks of complete lines; while it reads the next block, it parses the
//! pieces of the last one in parallel. The result depends neither on the cuts nor on the number of threads.

use std::io::{self, Read};
use std::mem;

use memchr::{memchr, memchr_iter, memrchr};
use rayon::prelude::*;

use super::columns::Columns;
use super::parse::{Part, Rules};
use super::report::ReadReport;
use crate::read::SkippedRow;

/// The sizes of the portions in which a stream is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Portions {
    /// Bytes read at a time; a longer line makes a longer block.
    pub(super) block: usize,
    /// Bytes parsed at a time.
    pub(super) piece: usize,
}

impl Portions {
    /// Returns portions with a few pieces per thread, so that no thread waits long for the others.
    pub(super) fn for_threads(threads: usize) -> Self {
        let piece = 1 << 18;
        Self { block: piece * (4 * threads).clamp(16, 256), piece }
    }
}

/// The impressions of a stream, and its read report.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) columns: Columns,
    pub(super) report: ReadReport,
    /// Impressions that list a candidate more than once, in ascending order.
    pub(super) repeating: Vec<u32>,
    /// Number of lines read.
    pub(super) lines: u64,
}

/// The histories of a part.
#[derive(Clone, Copy, Debug)]
pub(super) enum Histories {
    /// It contains them.
    Own,
    /// It refers to those that the content has already.
    #[cfg(feature = "parquet")]
    Shared,
}

/// There are more impressions than 32-bit numbers can count.
#[derive(Debug)]
pub(super) struct TooMany;

/// The reason why reading a stream stopped.
#[derive(Debug)]
pub(super) enum Stopped {
    /// Reading failed after this many lines.
    Read(u64, io::Error),
    TooMany(TooMany),
}

impl From<TooMany> for Stopped {
    fn from(reason: TooMany) -> Self {
        Self::TooMany(reason)
    }
}

impl Content {
    pub(super) fn read(input: impl Read + Send, rules: &Rules, portions: Portions) -> Result<Self, Stopped> {
        let mut content = Self::default();
        let mut blocks = Blocks { input, size: portions.block, rest: Vec::new() };
        let (mut block, mut next) = (Vec::new(), Vec::new());
        let mut parts: Vec<Part> = Vec::new();
        blocks.fill(&mut block).map_err(|source| Stopped::Read(lines_of(&block), source))?;
        if block.starts_with(b"\xEF\xBB\xBF") {
            block.drain(..3);
        }
        while !block.is_empty() {
            let pieces = pieces(&block, portions.piece);
            parts.resize_with(parts.len().max(pieces.len()), Part::default);
            let parts = &mut parts[..pieces.len()];
            let parse = || parts.par_iter_mut().zip(pieces).for_each(|(part, piece)| part.parse(piece, rules));
            let (read, ()) = rayon::join(|| blocks.fill(&mut next), parse);
            for part in parts {
                content.append(part, Histories::Own)?;
            }
            read.map_err(|source| Stopped::Read(content.lines + lines_of(&next), source))?;
            mem::swap(&mut block, &mut next);
        }
        content.columns.shrink_to_fit();
        Ok(content)
    }

    pub(super) fn append(&mut self, part: &Part, histories: Histories) -> Result<(), TooMany> {
        let before = self.columns.len();
        // The numbers of all impressions and their count must fit into 32 bits.
        u32::try_from(before + part.columns.len()).map_err(|_| TooMany)?;
        let history_start = match histories {
            Histories::Own => self.columns.history.len(),
            #[cfg(feature = "parquet")]
            Histories::Shared => 0,
        };
        self.columns.append(&part.columns, self.lines, history_start);
        self.repeating.extend(part.repeating.iter().map(|impression| impression + before as u32));
        for &SkippedRow { line, reason } in &part.skipped {
            self.report.skipped.add(SkippedRow { line: line + self.lines, reason });
        }
        self.report.unknown_history += part.unknown_history;
        self.report.unknown_candidates += part.unknown_candidates;
        self.report.readers_without_history += part.readers_without_history;
        self.report.clicks_not_shown += part.clicks_not_shown;
        self.report.repeated_candidates += part.repeated_candidates;
        self.lines += part.lines;
        Ok(())
    }
}

/// Cuts a stream into blocks of complete lines.
struct Blocks<R> {
    input: R,
    size: usize,
    /// The beginning of a line whose end has not been read yet.
    rest: Vec<u8>,
}

impl<R: Read> Blocks<R> {
    /// Reads the next block into `block`; an empty block ends the stream. After a failure `block` contains the bytes read
    /// so far.
    fn fill(&mut self, block: &mut Vec<u8>) -> io::Result<()> {
        block.clear();
        block.append(&mut self.rest);
        loop {
            // If a line spans many blocks, search only the new bytes, and read in growing steps.
            let start = block.len();
            let wanted = self.size.max(start);
            block.reserve(wanted);
            let read = (&mut self.input).take(wanted as u64).read_to_end(block)?;
            if let Some(end) = memrchr(b'\n', &block[start..]) {
                self.rest.extend_from_slice(&block[start + end + 1..]);
                block.truncate(start + end + 1);
                return Ok(());
            }
            if read == 0 {
                return Ok(());
            }
        }
    }
}

fn lines_of(block: &[u8]) -> u64 {
    memchr_iter(b'\n', block).count() as u64
}

/// Cuts a block into pieces of complete lines, of about `size` bytes each.
fn pieces(block: &[u8], size: usize) -> Vec<&[u8]> {
    let mut pieces = Vec::with_capacity(block.len() / size + 1);
    let mut rest = block;
    while !rest.is_empty() {
        let end = rest.get(size - 1..).and_then(|behind| memchr(b'\n', behind)).map_or(rest.len(), |end| end + size);
        let (piece, behind) = rest.split_at(end);
        pieces.push(piece);
        rest = behind;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::IdIndex;
    use crate::behaviors::ClickRule;
    use proptest::prelude::*;

    fn read(text: impl Read + Send, portions: Portions) -> Result<Content, Stopped> {
        let news = IdIndex::new(["N1", "N2", "N30", "x"].map(Some));
        Content::read(text, &Rules { news: &news, clicks: ClickRule::Required, history: 3 }, portions)
    }

    fn line() -> impl Strategy<Value = String> {
        prop_oneof![
            8 => "[0-9]{1,3}\tU1\t\t(N1|N2|N30|N4|x){1}( (N1|N2|N30|N4|x)){0,9}\t(N[1-4]-[01])( (N1|N30|x|y)-[01]){0,9}\r?",
            1 => "[0-9]\tU\t\t\tN1( N2-1)?",
            1 => "[a-z\t ]{0,20}\r?",
        ]
    }

    proptest! {
        #[test]
        fn block_and_piece_sizes_do_not_change_the_result(
            lines in prop::collection::vec(line(), 0..30), end in "\n?", mark in any::<bool>(),
            block in 1_usize..300, piece in 1_usize..300,
        ) {
            let text = format!("{}{}{end}", if mark { "\u{FEFF}" } else { "" }, lines.join("\n"));
            let uncut = read(text.as_bytes(), Portions { block: 1 << 20, piece: 1 << 20 }).unwrap();
            prop_assert_eq!(read(text.as_bytes(), Portions { block, piece }).unwrap(), uncut);
        }
    }

    #[test]
    fn a_failure_names_the_last_line_before_it() {
        struct Fails;
        impl Read for Fails {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("the disk is gone"))
            }
        }
        let text = "1\tU\t\t\tN1-1\n\n2\tU\t\t\tN1-1\n3\tU";
        let stopped = read(text.as_bytes().chain(Fails), Portions { block: 10, piece: 10 });
        assert!(matches!(stopped, Err(Stopped::Read(3, _))), "{stopped:?}");
        let stopped = read(Fails, Portions { block: 10, piece: 10 });
        assert!(matches!(stopped, Err(Stopped::Read(0, _))), "{stopped:?}");
    }

    #[test]
    fn memory_does_not_grow_with_the_length_of_the_text() {
        let line = b"1\tU\t\tN1 N2 N3 N4\tN1-1 N2-0\n";
        let text = line.repeat(1000);
        let mut blocks = Blocks { input: &text[..], size: 1000, rest: Vec::new() };
        let (mut block, mut bytes) = (Vec::new(), 0);
        loop {
            blocks.fill(&mut block).unwrap();
            if block.is_empty() {
                break;
            }
            bytes += block.len();
            assert!(block.ends_with(b"\n") && block.capacity() + blocks.rest.capacity() < 8000);
        }
        assert_eq!(bytes, text.len());
    }
}

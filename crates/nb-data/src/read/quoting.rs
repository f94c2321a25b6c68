//! Detects whether a file of separated values was written with quoting. Most TSV files were not, and reading one with
//! quoting lets a title that begins with a quote swallow rows.

use std::io::BufRead;

use super::records::{Cut, LONGEST, Record, Records};
use crate::error::DataError;

/// Returns a warning for the log that the quotes of a file are read as ordinary text: `line` shows that they do not pair up.
#[must_use]
pub fn unquoted_warning(name: &dyn std::fmt::Display, line: u64) -> String {
    format!(
        "{name}: the quotes on line {line} do not pair up, so they are read as ordinary text; set `quoting` to `csv` or `none` to \
         choose"
    )
}

/// Returns the line on which a file shows that it was written without quoting, by the rules of
/// [`Quoting::Auto`](super::Quoting::Auto); `None` if no line does.
pub(super) fn unquoted_line(reader: impl BufRead, name: &str, delimiter: u8) -> Result<Option<u64>, DataError> {
    let mut lines = Records::new(reader, name, Cut::Line);
    let (mut line, mut found) = (Record::default(), Found::default());
    let count = |line: &[u8]| 1 + line.iter().filter(|&&byte| byte == delimiter).count();
    while lines.read(&mut line)? {
        if line.bytes.is_empty() {
            continue;
        }
        let columns = count(&line.bytes);
        if !line.bytes.contains(&b'"') {
            found.columns.get_or_insert(columns);
            continue;
        }
        let mut span = Span { line: line.line, plain: vec![columns], quoted: 1 };
        let (mut place, mut bytes) = (Place::Field, line.bytes.len());
        loop {
            match place.scan(&line.bytes, delimiter) {
                Some(delimiters) => span.quoted += delimiters,
                None => return Ok(Some(found.earliest().unwrap_or(span.line))),
            }
            if place == Place::Field {
                break;
            }
            if !lines.read(&mut line)? {
                return Ok(Some(found.earliest().unwrap_or(span.line)));
            }
            bytes += line.bytes.len() + 1;
            if bytes > LONGEST {
                // Too long a field to be read with quoting.
                return Ok(Some(found.earliest().unwrap_or(span.line)));
            }
            span.plain.push(count(&line.bytes));
        }
        found.add(span);
    }
    Ok(found.earliest())
}

/// A record that contains a quote.
struct Span {
    /// Its first line.
    line: u64,
    /// Number of columns of each line if quotes have no meaning.
    plain: Vec<usize>,
    /// Number of columns if quotes delimit fields.
    quoted: usize,
}

#[derive(Default)]
struct Found {
    /// Number of columns of the first line without a quote.
    columns: Option<usize>,
    /// Number of columns of the first record with a quote.
    quoted: Option<usize>,
    /// Records that differ with and without quoting.
    spans: Vec<Span>,
}

impl Found {
    fn add(&mut self, span: Span) {
        self.quoted.get_or_insert(span.quoted);
        if span.plain != [span.quoted] {
            self.spans.push(span);
        }
    }

    /// Returns the line of the first record whose lines are separate rows.
    fn earliest(&self) -> Option<u64> {
        let columns = self.columns.or(self.quoted)?;
        let rows = |span: &&Span| {
            let complete = span.plain.iter().filter(|&&plain| plain == columns).count();
            match span.plain.len() {
                1 => complete == 1 && span.quoted != columns,
                lines => 2 * complete > lines,
            }
        };
        self.spans.iter().find(rows).map(|span| span.line)
    }
}

/// The state of a reader that honours quoting.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Outside quotes.
    Field,
    /// Between quotes.
    Quoted,
}

impl Place {
    /// Advances to the end of a line. Returns the number of delimiters outside quotes, or `None` if a quote closes in
    /// the middle of a field.
    fn scan(&mut self, line: &[u8], delimiter: u8) -> Option<usize> {
        let (mut at, mut delimiters) = (0, 0);
        loop {
            if *self == Self::Field && line.get(at) == Some(&b'"') {
                *self = Self::Quoted;
                at += 1;
            }
            if *self == Self::Quoted {
                let Some(end) = closing(&line[at..]) else { return Some(delimiters) };
                at += end + 1;
                *self = Self::Field;
                if line.get(at).is_some_and(|&byte| byte != delimiter) {
                    return None;
                }
            }
            match line[at..].iter().position(|&byte| byte == delimiter) {
                Some(length) => at += length + 1,
                None => return Some(delimiters),
            }
            delimiters += 1;
        }
    }
}

/// Returns the position of the quote that closes a field; doubled quotes are text.
fn closing(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += text[at..].iter().position(|&byte| byte == b'"')?;
        if text.get(at + 1) != Some(&b'"') {
            return Some(at);
        }
        at += 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(text: &str) -> Option<u64> {
        unquoted_line(text.as_bytes(), "a.tsv", b'\t').unwrap()
    }

    #[test]
    fn paired_quotes_are_quoting() {
        assert_eq!(line(""), None);
        assert_eq!(line("sports\tA goal\nworld\tRain\n"), None);
        assert_eq!(line("sports\t\"A \"\"goal\"\"\"\nworld\t27\" screens\n"), None);
        assert_eq!(line("sports\t\"A\tgoal\"\nworld\tRain\n"), None);
        assert_eq!(line("\u{feff}\"sports\"\t\"A goal\"\r\n\"world\"\t\"Rain\"\r\n"), None);
        // Fields over several lines, in the last, the first and the middle column, and with every field quoted.
        assert_eq!(line("world\tRain\nsports\t\"A goal\nat last\"\nworld\tSun\n"), None);
        assert_eq!(line("Rain\tworld\n\"A goal\nat last\"\tsports\n"), None);
        assert_eq!(line("1\tRain\tworld\n2\t\"A goal\n\n\nat last\"\tsports\n"), None);
        assert_eq!(line("\"sports\"\t\"A goal\nat last\"\n\"world\"\t\"Rain\nand\nsun\"\n"), None);
    }

    #[test]
    fn unpaired_quotes_are_text() {
        // Never closed; closed in the middle of a field, on the same line or on a later one.
        assert_eq!(line("sports\tRain\nworld\t\"We never gave up\n"), Some(2));
        assert_eq!(line("sports\tRain\nworld\t\"We never\" gave up\n"), Some(2));
        assert_eq!(line("world\t\"We never\nworld\tSun\nsports\tA 5\" disk\nworld\tx\n"), Some(1));
        // Closed at the end of a later row: the lines between are separate rows.
        assert_eq!(line("a\tb\nworld\t\"We never\nworld\tSun\nsports\tscreens of 27\"\nworld\tx\n"), Some(2));
        assert_eq!(line("a\tb\nworld\t\"We never\nsports\tscreens of 27\"\n"), Some(2));
        // A row with too few columns among them changes nothing.
        assert_eq!(line("a\tb\nworld\t\"We never\nworld\nsports\tSun\nsports\tscreens of 27\"\n"), Some(2));
        // A quotation that spans title and abstract.
        assert_eq!(line("a\tb\tc\nworld\t\"We never\tgave up\"\n"), Some(2));
    }

    proptest! {
        /// Tab-separated output of the `csv` crate is detected as quoted, unless a text itself contains complete rows.
        #[test]
        fn output_of_the_csv_crate_is_detected_as_quoted(
            rows in prop::collection::vec(prop::collection::vec("[ab\"é]{1,4}(\n[ab\"]{0,3})?", 3..=3), 1..8),
        ) {
            let mut writer = csv::WriterBuilder::new().delimiter(b'\t').from_writer(Vec::new());
            for row in &rows {
                writer.write_record(row).unwrap();
            }
            let text = writer.into_inner().unwrap();
            prop_assert_eq!(unquoted_line(text.as_slice(), "a.tsv", b'\t').unwrap(), None);
        }

        /// Every row written without quoting is read: either the file is detected as unquoted, or quoting changes no
        /// row.
        #[test]
        fn every_row_written_without_quoting_is_read(rows in prop::collection::vec("[ab\" ]{1,6}", 1..12)) {
            let text: String = rows.iter().map(|title| format!("x\t{title}\n")).collect();
            if line(&text).is_none() {
                let mut records = Records::new(text.as_bytes(), "a.tsv", Cut::Quoted { delimiter: b'\t' });
                let (mut record, mut found) = (Record::default(), 0);
                while records.read(&mut record).unwrap() {
                    prop_assert_eq!(record.len(), 2);
                    found += 1;
                }
                prop_assert_eq!(found, rows.len());
            }
        }
    }
}

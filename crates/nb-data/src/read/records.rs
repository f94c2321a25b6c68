//! Splits bytes into records: physical lines, or CSV records that may span several lines. The encoding and the
//! meaning of the fields do not matter here.
//!
//! CSV is read as the `csv` crate and Python's `csv` read it (a test compares with the former), with one difference,
//! which is why this reader exists: an unclosed quote is an error that names its line. The other two take the rest of
//! the file, or everything up to the next quote, as one field.

use std::io::{self, BufRead, Cursor, ErrorKind};

use memchr::{memchr, memmem};

use crate::error::DataError;

/// The longest line, and the longest record of several lines, in bytes. It bounds the memory that a file can claim, which
/// matters for compressed files.
pub(crate) const LONGEST: usize = 64 << 20;

/// The rule that splits a stream into records and fields.
#[derive(Clone, Debug)]
pub(crate) enum Cut {
    /// A line is a record of one field.
    Line,
    /// A non-empty line is a record of one field.
    FilledLine,
    /// A line is a record, this byte ends a field, and quotes have no meaning.
    Plain {
        /// The byte that ends a field.
        delimiter: u8,
    },
    /// Like `Plain`, with a delimiter of several bytes.
    Several {
        /// The text between fields.
        delimiter: String,
    },
    /// CSV records.
    Quoted {
        /// The byte that ends a field.
        delimiter: u8,
    },
}

impl Cut {
    /// Lines of tab-separated fields.
    pub(crate) const TABS: Self = Self::Plain { delimiter: b'\t' };
}

/// A record: its concatenated fields, and the end of each.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) bytes: Vec<u8>,
    pub(crate) ends: Vec<usize>,
    /// The line on which it begins, counted from 1.
    pub(crate) line: u64,
}

impl Record {
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns the range of a field in `bytes`.
    pub(crate) fn range(&self, field: usize) -> Option<std::ops::Range<usize>> {
        let end = *self.ends.get(field)?;
        Some(field.checked_sub(1).map_or(0, |before| self.ends[before])..end)
    }

    fn end_field(&mut self) {
        self.ends.push(self.bytes.len());
    }

    /// Adds the fields of a line without quoting.
    fn push_plain(&mut self, line: &[u8], delimiter: u8) {
        for field in line.split(|&byte| byte == delimiter) {
            self.bytes.extend_from_slice(field);
            self.end_field();
        }
    }

    /// Adds the fields of a line with a delimiter of several bytes.
    fn push_parts(&mut self, line: &[u8], delimiter: &str) {
        let mut start = 0;
        for end in memmem::find_iter(line, delimiter) {
            self.bytes.extend_from_slice(&line[start..end]);
            self.end_field();
            start = end + delimiter.len();
        }
        self.bytes.extend_from_slice(&line[start..]);
        self.end_field();
    }
}

/// The records of a stream.
#[derive(Debug)]
pub(crate) struct Records<R> {
    /// The part of the stream that is already in memory.
    ahead: Cursor<Vec<u8>>,
    reader: R,
    /// The name in errors.
    name: String,
    cut: Cut,
    /// The current line, without its end.
    text: Vec<u8>,
    /// Its number, counted from 1; 0 before the first.
    line: u64,
}

impl<R: BufRead> Records<R> {
    pub(crate) fn new(reader: R, name: &str, cut: Cut) -> Self {
        Self::ahead(Vec::new(), reader, name, cut)
    }

    /// Returns the records of a stream whose beginning `ahead`, up to the end of a line, is already in memory.
    pub(crate) fn ahead(ahead: Vec<u8>, reader: R, name: &str, cut: Cut) -> Self {
        Self { ahead: Cursor::new(ahead), reader, name: name.to_owned(), cut, text: Vec::new(), line: 0 }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Reads the next record into `record`; returns false at the end. Empty lines are skipped, except with
    /// [`Cut::Line`].
    pub(crate) fn read(&mut self, record: &mut Record) -> Result<bool, DataError> {
        record.bytes.clear();
        record.ends.clear();
        loop {
            if !self.next_line()? {
                return Ok(false);
            }
            if !self.text.is_empty() || matches!(self.cut, Cut::Line) {
                break;
            }
        }
        record.line = self.line;
        match self.cut {
            Cut::Line | Cut::FilledLine => {
                std::mem::swap(&mut record.bytes, &mut self.text);
                record.end_field();
            }
            Cut::Plain { delimiter } => record.push_plain(&self.text, delimiter),
            Cut::Several { ref delimiter } => record.push_parts(&self.text, delimiter),
            Cut::Quoted { delimiter } if !self.text.contains(&b'"') => record.push_plain(&self.text, delimiter),
            Cut::Quoted { delimiter } => self.read_quoted(record, delimiter)?,
        }
        Ok(true)
    }

    /// Reads a line into `text`, without LF or CRLF, and without a byte-order mark if it is the first.
    fn next_line(&mut self) -> Result<bool, DataError> {
        self.text.clear();
        let failed = |source, line| match source {
            Failed::Read(source) => DataError::Read { file: self.name.clone(), line, source },
            Failed::TooLong => DataError::LongLine { file: self.name.clone(), line: line + 1, most: LONGEST },
        };
        let mut count = read_line(&mut self.ahead, &mut self.text).map_err(|it| failed(it, self.line))?;
        if count == 0 {
            self.ahead = Cursor::default();
            count = read_line(&mut self.reader, &mut self.text).map_err(|it| failed(it, self.line))?;
        }
        if count == 0 {
            return Ok(false);
        }
        self.line += 1;
        if self.text.last() == Some(&b'\n') {
            self.text.pop();
            if self.text.last() == Some(&b'\r') {
                self.text.pop();
            }
        }
        if self.line == 1 && self.text.starts_with(b"\xEF\xBB\xBF") {
            self.text.drain(..3);
            // A byte-order mark alone is an empty file.
            return Ok(count > 3);
        }
        Ok(true)
    }

    /// Reads a record in which some field may be quoted, starting with the line in `text`.
    fn read_quoted(&mut self, record: &mut Record, delimiter: u8) -> Result<(), DataError> {
        let mut at = 0;
        loop {
            if self.text.get(at) == Some(&b'"') {
                at = self.read_quoted_field(record, at + 1, delimiter)?;
            }
            // The rest of the field: text after a closing quote, or a complete field that does not begin with a quote.
            let rest = &self.text[at..];
            let length = rest.iter().position(|&byte| byte == delimiter);
            record.bytes.extend_from_slice(&rest[..length.unwrap_or(rest.len())]);
            record.end_field();
            match length {
                Some(length) => at += length + 1,
                None => return Ok(()),
            }
        }
    }

    /// Reads a quoted field over as many lines as needed, from the position after its opening quote. Returns the
    /// position after its closing quote, in the last line.
    fn read_quoted_field(&mut self, record: &mut Record, mut at: usize, delimiter: u8) -> Result<usize, DataError> {
        let opened = self.line;
        loop {
            let rest = &self.text[at..];
            match rest.iter().position(|&byte| byte == b'"') {
                Some(length) => {
                    record.bytes.extend_from_slice(&rest[..length]);
                    at += length + 1;
                    match self.text.get(at) {
                        Some(b'"') => {
                            record.bytes.push(b'"');
                            at += 1;
                        }
                        // Text after a closing quote is odd but harmless on the line of the opening quote. On a later
                        // line it means that the quote was never closed, and that this one opens a field of that row.
                        Some(&next) if next != delimiter && self.line > opened => {
                            let found = format!("the next one, on line {}, is in the middle of a field", self.line);
                            return Err(self.open_quote(opened, found));
                        }
                        _ => return Ok(at),
                    }
                }
                None => {
                    record.bytes.extend_from_slice(rest);
                    record.bytes.push(b'\n');
                    if record.bytes.len() > LONGEST {
                        return Err(DataError::LongLine { file: self.name.clone(), line: opened, most: LONGEST });
                    }
                    at = 0;
                    if !self.next_line()? {
                        return Err(self.open_quote(opened, "never closed".into()));
                    }
                }
            }
        }
    }

    /// Returns the number of lines read.
    pub(crate) fn lines(&self) -> u64 {
        self.line
    }

    fn open_quote(&self, line: u64, found: String) -> DataError {
        DataError::OpenQuote { file: self.name.clone(), line, found }
    }
}

/// The reason why a line cannot be read.
enum Failed {
    Read(io::Error),
    TooLong,
}

/// Appends a line with its end to `text`, and returns the number of bytes.
fn read_line(reader: &mut impl BufRead, text: &mut Vec<u8>) -> Result<usize, Failed> {
    let start = text.len();
    loop {
        let bytes = match reader.fill_buf() {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(Failed::Read(error)),
        };
        let end = memchr(b'\n', bytes);
        let taken = end.map_or(bytes.len(), |end| end + 1);
        text.extend_from_slice(&bytes[..taken]);
        reader.consume(taken);
        if text.len() - start - usize::from(end.is_some()) > LONGEST {
            return Err(Failed::TooLong);
        }
        if end.is_some() || taken == 0 {
            return Ok(text.len() - start);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A record's line and its fields.
    type Fields = (u64, Vec<Vec<u8>>);

    fn all(text: &[u8], cut: Cut) -> Result<Vec<Fields>, DataError> {
        let mut records = Records::new(text, "a.csv", cut);
        let (mut record, mut out) = (Record::default(), Vec::new());
        while records.read(&mut record)? {
            let fields = (0..record.len()).map(|field| record.bytes[record.range(field).unwrap()].to_vec());
            out.push((record.line, fields.collect()));
        }
        Ok(out)
    }

    fn check(text: &str, expected: &[(u64, &[&str])]) {
        let found = all(text.as_bytes(), Cut::Quoted { delimiter: b',' }).unwrap();
        let expected: Vec<_> = expected
            .iter()
            .map(|(line, fields)| (*line, fields.iter().map(|field| field.as_bytes().to_vec()).collect::<Vec<_>>()))
            .collect();
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn quoting_line_ends_and_empty_lines() {
        check("", &[]);
        check("\n\r\n", &[]);
        check("a,b\n\nc", &[(1, &["a", "b"]), (3, &["c"])]);
        check("a,\n,", &[(1, &["a", ""]), (2, &["", ""])]);
        check("\u{feff}a,b\r\nc,d\r\n", &[(1, &["a", "b"]), (2, &["c", "d"])]);
        check("\u{feff}\"a\",b\n", &[(1, &["a", "b"])]);
        check("\"a,b\",\"c \"\"d\"\"\"\n", &[(1, &["a,b", "c \"d\""])]);
        check("\"one\r\ntwo\",x\ny", &[(1, &["one\ntwo", "x"]), (3, &["y"])]);
        check("\"\",\"\"\n", &[(1, &["", ""])]);
        check("5\" disk,a \"b\" c\n", &[(1, &["5\" disk", "a \"b\" c"])]);
        check("\"a\" b,c\n", &[(1, &["a b", "c"])]);
        check("\"a\rb\",c\rd\n", &[(1, &["a\rb", "c\rd"])]);
    }

    fn open_quote(text: &str) -> (u64, String) {
        match all(text.as_bytes(), Cut::Quoted { delimiter: b',' }) {
            Err(DataError::OpenQuote { line, found, .. }) => (line, found),
            other => panic!("{text:?} gave {other:?}"),
        }
    }

    #[test]
    fn an_open_quote_names_the_line_where_it_opens() {
        assert_eq!(open_quote("1,a\n2,\"b\n3,c\n"), (2, "never closed".into()));
        assert_eq!(open_quote("1,\"x\ny\",\"z\n\n"), (2, "never closed".into()));
        assert_eq!(open_quote("1,\"").0, 1);
        let (line, found) = open_quote("\"1\",\"a\"\n\"2\",\"b\n\"3\",\"c\"\n");
        assert_eq!((line, found.as_str()), (2, "the next one, on line 3, is in the middle of a field"));
    }

    #[test]
    fn quotes_have_no_meaning_in_tab_separated_lines() {
        let found = all(b"N1\t\"open\ta \"b\"\nN2\t\"\t\n", Cut::TABS).unwrap();
        assert_eq!(found[0].1, [b"N1".to_vec(), b"\"open".to_vec(), b"a \"b\"".to_vec()]);
        assert_eq!(found[1], (2, vec![b"N2".to_vec(), b"\"".to_vec(), Vec::new()]));
    }

    #[test]
    fn delimiters_of_several_bytes_are_found_from_the_left() {
        let cut = Cut::Several { delimiter: "_!_".into() };
        let found = all("1_!_\"a_!_\n_!__!_!_\n\n新_!_闻\r\n".as_bytes(), cut).unwrap();
        let texts = |row: usize| found[row].1.iter().map(|it| str::from_utf8(it).unwrap()).collect::<Vec<_>>();
        assert_eq!((texts(0), texts(1)), (vec!["1", "\"a", ""], vec!["", "", "!_"]));
        assert_eq!((found[2].0, texts(2)), (4, vec!["新", "闻"]));
    }

    #[test]
    fn lines_and_quoted_fields_are_bounded() {
        let mut text = b"1,a\n".to_vec();
        text.resize(text.len() + LONGEST, b'x');
        let cut = || Cut::Quoted { delimiter: b',' };
        assert_eq!(all(&text, cut()).unwrap().len(), 2);
        text.push(b'x');
        let error = all(&text, cut()).unwrap_err().to_string();
        assert_eq!(error, "a.csv:2: a line of more than 67108864 bytes found, expected a shorter one");
        // The same holds for a line that is in the reader's memory as a whole.
        text.push(b'\n');
        assert_eq!(all(&text, cut()).unwrap_err().to_string(), error);
        text.drain(text.len() - 2..);
        text.push(b'\n');
        assert_eq!(all(&text, cut()).unwrap().len(), 2);
        text.truncate(4);
        text.extend_from_slice(b"2,\"");
        text.extend_from_slice(&b"0123456789\n".repeat(LONGEST / 11 + 1));
        assert!(all(&text, cut()).unwrap_err().to_string().starts_with("a.csv:2: a line of more than"));
        assert_eq!(all(&text, Cut::Plain { delimiter: b',' }).unwrap().len(), LONGEST / 11 + 2);
    }

    proptest! {
        /// Any fields that the `csv` crate writes are read back unchanged, and as the crate's reader reads them.
        #[test]
        fn agrees_with_the_csv_crate(
            rows in prop::collection::vec(prop::collection::vec("[ab\",\n;é]{0,6}", 1..4), 0..8),
            crlf in any::<bool>(),
        ) {
            let end = if crlf { csv::Terminator::CRLF } else { csv::Terminator::Any(b'\n') };
            let mut writer = csv::WriterBuilder::new().flexible(true).terminator(end).from_writer(Vec::new());
            for row in &rows {
                writer.write_record(row).unwrap();
            }
            let text = writer.into_inner().unwrap();
            let ours = all(&text, Cut::Quoted { delimiter: b',' }).unwrap();
            let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_slice());
            let theirs: Vec<Vec<Vec<u8>>> =
                reader.byte_records().map(|row| row.unwrap().iter().map(<[u8]>::to_vec).collect()).collect();
            prop_assert_eq!(&ours.into_iter().map(|(_, row)| row).collect::<Vec<_>>(), &theirs);
            let rows: Vec<Vec<Vec<u8>>> =
                rows.into_iter().map(|row| row.into_iter().map(String::into_bytes).collect()).collect();
            prop_assert_eq!(theirs, rows);
        }

        /// Any bytes give records or the error of an open quote, never a panic.
        #[test]
        fn any_bytes_are_read(text in prop::collection::vec(prop::sample::select(b"a\",\n\r\t\0\xff\xef\xbb\xbf".to_vec()), 0..60)) {
            let several = Cut::Several { delimiter: "a\"".into() };
            for cut in [Cut::Line, Cut::FilledLine, Cut::TABS, several, Cut::Quoted { delimiter: b',' }] {
                match all(&text, cut) {
                    Ok(_) | Err(DataError::OpenQuote { .. }) => {}
                    Err(other) => prop_assert!(false, "{other}"),
                }
            }
        }
    }
}

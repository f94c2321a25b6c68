//! The columns of a qrels file: BEIR's three or TREC's four, separated by tabs or white space.

use crate::read::Reason;

/// The layout of a file's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    separator: Separator,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Separator {
    Tab,
    /// Any run of white space, as in TREC's files.
    WhiteSpace,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Query, document, score.
    Beir,
    /// Query, iteration, document, score.
    Trec,
}

impl Kind {
    fn columns(self) -> usize {
        match self {
            Self::Beir => 3,
            Self::Trec => 4,
        }
    }
}

impl Layout {
    /// Three columns between tabs.
    pub(super) const BEIR: Self = Self { separator: Separator::Tab, kind: Kind::Beir };

    /// Returns the layout of a row with three or four columns; `None` for any other.
    pub(super) fn of(line: &[u8]) -> Option<Self> {
        let kind = |separator| match cut(line, separator).1 {
            3 => Some(Kind::Beir),
            4 => Some(Kind::Trec),
            _ => None,
        };
        // Try tabs first, since an id may contain a space.
        if cut(line, Separator::Tab).1 > Kind::Trec.columns() {
            return None;
        }
        [Separator::Tab, Separator::WhiteSpace]
            .into_iter()
            .find_map(|separator| Some(Self { separator, kind: kind(separator)? }))
    }

    /// Splits a row of the file.
    pub(super) fn columns(self, line: &[u8]) -> Columns<'_> {
        let (fields, count) = cut(line, self.separator);
        Columns { fields, count, kind: self.kind }
    }
}

/// Number of columns read from a row: one more than any layout has, to detect rows with too many.
const MOST: usize = 5;

/// The columns of a row, trimmed.
pub(super) struct Columns<'a> {
    fields: [&'a [u8]; MOST],
    count: usize,
    kind: Kind,
}

/// The content of a row.
pub(super) struct Judgement<'a> {
    pub(super) query: &'a [u8],
    pub(super) document: &'a [u8],
    pub(super) score: i64,
}

impl<'a> Columns<'a> {
    /// Returns the judgement, or the reason why the row has none.
    pub(super) fn judgement(&self) -> Result<Judgement<'a>, Reason> {
        match self.count.cmp(&self.kind.columns()) {
            std::cmp::Ordering::Less => return Err(Reason::TooFewColumns),
            std::cmp::Ordering::Greater => return Err(Reason::TooManyColumns),
            std::cmp::Ordering::Equal => {}
        }
        let score = score(self.score()).ok_or(Reason::NoScore)?;
        // In both layouts the document is the column before the score.
        Ok(Judgement { query: self.fields[0], document: self.fields[self.kind.columns() - 2], score })
    }

    /// Returns true if the score is a number, whole or not.
    pub(super) fn has_number(&self) -> bool {
        std::str::from_utf8(self.score()).is_ok_and(|field| field.parse::<f64>().is_ok())
    }

    fn score(&self) -> &'a [u8] {
        self.fields[self.kind.columns() - 1]
    }
}

/// Returns the first fields of a line and their number, at most [`MOST`]. Empty fields at the end do not count.
fn cut(line: &[u8], separator: Separator) -> ([&[u8]; MOST], usize) {
    match separator {
        Separator::Tab => first(line.split(|&byte| byte == b'\t').map(<[u8]>::trim_ascii)),
        Separator::WhiteSpace => first(line.split(u8::is_ascii_whitespace).filter(|part| !part.is_empty())),
    }
}

fn first<'a>(parts: impl Iterator<Item = &'a [u8]>) -> ([&'a [u8]; MOST], usize) {
    let (mut fields, mut count) = ([&[][..]; MOST], 0);
    for (field, (i, part)) in fields.iter_mut().zip(parts.enumerate()) {
        *field = part;
        if !part.is_empty() {
            count = i + 1;
        }
    }
    (fields, count)
}

/// Parses a whole number, which may be written with a decimal point.
fn score(field: &[u8]) -> Option<i64> {
    let field = std::str::from_utf8(field).ok()?;
    let whole = |number: f64| (number.fract() == 0.0).then_some(number as i64);
    field.parse().ok().or_else(|| field.parse().ok().and_then(whole))
}

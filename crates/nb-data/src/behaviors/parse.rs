//! Parses a piece of text into impressions.

use memchr::{memchr, memchr_iter};

use super::clicks::{ClickRule, NO_LABEL, UNKNOWN};
use super::columns::Columns;
use crate::IdIndex;
use crate::read::{Reason, SkippedRow};

/// The known articles and the rules for reading impressions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules<'a> {
    pub(super) news: &'a IdIndex,
    pub(super) clicks: ClickRule,
    /// Longest history.
    pub(super) history: usize,
}

/// The impressions of a piece of text. Its memory is reused for the next piece.
#[derive(Debug, Default)]
pub(super) struct Part {
    /// The impressions; their lines are counted from 1 at the beginning of the piece.
    pub(super) columns: Columns,
    pub(super) skipped: Vec<SkippedRow>,
    /// Number of lines, including empty ones.
    pub(super) lines: u64,
    pub(super) unknown_history: u64,
    pub(super) unknown_candidates: u64,
    /// Impressions whose reader has no history in the file of histories.
    pub(super) readers_without_history: u64,
    /// Clicked articles that are not among the candidates.
    pub(super) clicks_not_shown: u64,
    /// Impressions of this piece that list a candidate more than once.
    pub(super) repeating: Vec<u32>,
    /// Number of candidates that occur earlier in the same impression.
    pub(super) repeated_candidates: u64,
    marks: Marks,
}

impl Part {
    /// Parses a text of complete lines, replacing the previous text's impressions.
    pub(super) fn parse(&mut self, text: &[u8], rules: &Rules) {
        self.columns.clear();
        self.skipped.clear();
        self.repeating.clear();
        (self.lines, self.unknown_history, self.unknown_candidates, self.repeated_candidates) = (0, 0, 0, 0);
        let mut start = 0;
        for end in memchr_iter(b'\n', text).chain([text.len()]) {
            if start < text.len() {
                self.lines += 1;
                let line = &text[start..end];
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                if !line.is_empty()
                    && let Err(reason) = self.line(line, rules)
                {
                    self.skipped.push(SkippedRow { line: self.lines, reason });
                }
            }
            start = end + 1;
        }
    }

    fn line(&mut self, line: &[u8], rules: &Rules) -> Result<(), Reason> {
        let line = std::str::from_utf8(line).map_err(|_| Reason::InvalidUtf8)?;
        let [id, _user, _time, history, candidates] = fields(line).ok_or(Reason::TooFewColumns)?;
        self.candidates(candidates.as_bytes(), rules)?;
        self.history(history.as_bytes(), rules);
        self.columns.ids.push_str(id.trim());
        self.columns.end(self.lines);
        Ok(())
    }

    fn candidates(&mut self, text: &[u8], rules: &Rules) -> Result<(), Reason> {
        self.push_candidates(tokens(text).map(|token| rules.shown(token)))
    }

    fn history(&mut self, text: &[u8], rules: &Rules) {
        self.push_history(tokens(text).map(|token| rules.news.row(token)), rules);
    }

    /// Adds candidates; adds nothing if they cannot be used. `None` is a candidate without a click label.
    pub(super) fn push_candidates(&mut self, shown: impl Iterator<Item = Option<Shown>>) -> Result<(), Reason> {
        let Columns { candidates, clicked, .. } = &mut self.columns;
        let start = candidates.len();
        let mut unknown = 0;
        for candidate in shown {
            let Some(Shown { row, click }) = candidate else {
                candidates.truncate(start);
                clicked.truncate(start);
                return Err(Reason::NoClick);
            };
            unknown += u64::from(row.is_none());
            candidates.push(row.unwrap_or(UNKNOWN));
            clicked.push(click);
        }
        if candidates.len() == start {
            return Err(Reason::NoCandidates);
        }
        self.unknown_candidates += unknown;
        let repeated = self.marks.repeated(&candidates[start..]);
        if repeated > 0 {
            self.repeated_candidates += repeated;
            self.repeating.push(self.columns.lines.len() as u32);
        }
        Ok(())
    }

    /// Adds a history of articles, of which `None` is unknown.
    pub(super) fn push_history(&mut self, rows: impl Iterator<Item = Option<u32>>, rules: &Rules) {
        let history = &mut self.columns.history;
        let start = history.len();
        let mut unknown = 0;
        for row in rows {
            match row {
                Some(row) => history.push(row),
                None => unknown += 1,
            }
        }
        self.unknown_history += unknown;
        let length = (history.len() - start) as u64 + unknown;
        self.columns.history_lengths.push(u32::try_from(length).unwrap_or(u32::MAX));
        let old = (history.len() - start).saturating_sub(rules.history);
        history.drain(start..start + old);
        self.columns.end_history(start);
    }
}

/// A candidate: its row if it is known, and its click label.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown {
    pub(super) row: Option<u32>,
    pub(super) click: u8,
}

impl Rules<'_> {
    /// Reads a candidate with its click label; `None` if it lacks a required one.
    #[inline]
    pub(super) fn shown(&self, token: &[u8]) -> Option<Shown> {
        match self.clicks {
            ClickRule::Required => labelled(token).map(|(id, click)| Shown { row: self.news.row(id), click }),
            // The id itself may end in -0 or -1.
            ClickRule::Optional => Some(match (self.news.row(token), labelled(token)) {
                (None, Some((id, click))) => Shown { row: self.news.row(id), click },
                (row, _) => Shown { row, click: NO_LABEL },
            }),
        }
    }
}

/// Returns the first five columns of a line.
fn fields(line: &str) -> Option<[&str; 5]> {
    let mut rest = line;
    let mut fields = [""; 5];
    for field in &mut fields[..4] {
        let end = memchr(b'\t', rest.as_bytes())?;
        (*field, rest) = (&rest[..end], &rest[end + 1..]);
    }
    fields[4] = &rest[..memchr(b'\t', rest.as_bytes()).unwrap_or(rest.len())];
    Some(fields)
}

/// Returns the words between spaces.
#[inline]
pub(super) fn tokens(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut start = 0;
    memchr_iter(b' ', text)
        .chain([text.len()])
        .map(move |end| &text[std::mem::replace(&mut start, end + 1)..end])
        .filter(|token| !token.is_empty())
}

/// Splits `N1-1` into `N1` and 1.
#[inline]
fn labelled(token: &[u8]) -> Option<(&[u8], u8)> {
    match token {
        [id @ .., b'-', click @ (b'0' | b'1')] => Some((id, click - b'0')),
        _ => None,
    }
}

/// Detects repeated rows in a list: each row sets the bit of its remainder. Repetitions are counted exactly only if
/// a bit was already set.
#[derive(Debug)]
struct Marks(Box<[u64; Self::WORDS]>);

impl Default for Marks {
    fn default() -> Self {
        Self(Box::new([0; Self::WORDS]))
    }
}

impl Marks {
    /// Small enough to stay in the L1 cache, large enough for few false alarms.
    const WORDS: usize = 1024;

    /// Returns the number of known rows that occur earlier in the list.
    fn repeated(&mut self, rows: &[u32]) -> u64 {
        let place = |row: u32| (row as usize / 64 % Self::WORDS, 1 << (row % 64));
        let known = || rows.iter().copied().filter(|&row| row != UNKNOWN);
        let mut met = false;
        for row in known() {
            let (word, bit) = place(row);
            met |= self.0[word] & bit != 0;
            self.0[word] |= bit;
        }
        for row in known() {
            self.0[place(row).0] = 0;
        }
        if !met {
            return 0;
        }
        let mut sorted: Vec<u32> = known().collect();
        sorted.sort_unstable();
        sorted.windows(2).filter(|pair| pair[0] == pair[1]).count() as u64
    }
}

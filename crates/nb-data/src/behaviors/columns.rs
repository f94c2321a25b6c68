//! Impressions stored by column: one list for each kind of value, and the end of each impression's part.

use std::ops::Range;

/// Impressions. Their ids are the only text that is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Columns {
    pub(super) ids: String,
    pub(super) id_ends: Vec<usize>,
    pub(super) lines: Vec<u64>,
    pub(super) history: Vec<u32>,
    /// The start of each impression's part of `history`. Several impressions of a reader may share a part.
    pub(super) history_starts: Vec<usize>,
    /// The length of each impression's part of `history`.
    pub(super) history_used: Vec<u32>,
    /// Number of articles of each history in the file, known or not.
    pub(super) history_lengths: Vec<u32>,
    pub(super) candidates: Vec<u32>,
    /// The click label of each of `candidates`.
    pub(super) clicked: Vec<u8>,
    pub(super) candidate_ends: Vec<usize>,
}

impl Columns {
    pub(super) fn len(&self) -> usize {
        self.lines.len()
    }

    /// Ends an impression, which contains everything pushed since the last one.
    pub(super) fn end(&mut self, line: u64) {
        self.lines.push(line);
        self.id_ends.push(self.ids.len());
        self.candidate_ends.push(self.candidates.len());
    }

    /// Adds the history of an impression: the last `history.len() - start` articles.
    pub(super) fn end_history(&mut self, start: usize) {
        self.history_starts.push(start);
        self.history_used.push((self.history.len() - start) as u32);
    }

    /// Returns the history of impression `i`.
    pub(super) fn history(&self, i: usize) -> &[u32] {
        let start = self.history_starts[i];
        &self.history[start..start + self.history_used[i] as usize]
    }

    /// Adds the impressions of a text that follows `lines_before` lines. Their histories begin at `history_start` of this
    /// list: at its end if the text has its own, at 0 if they are already in this list.
    pub(super) fn append(&mut self, other: &Self, lines_before: u64, history_start: usize) {
        fn shift(ends: &mut Vec<usize>, others: &[usize], by: usize) {
            ends.extend(others.iter().map(|end| end + by));
        }
        shift(&mut self.id_ends, &other.id_ends, self.ids.len());
        shift(&mut self.history_starts, &other.history_starts, history_start);
        self.history_used.extend_from_slice(&other.history_used);
        shift(&mut self.candidate_ends, &other.candidate_ends, self.candidates.len());
        self.history_lengths.extend_from_slice(&other.history_lengths);
        self.lines.extend(other.lines.iter().map(|line| line + lines_before));
        self.ids.push_str(&other.ids);
        self.history.extend_from_slice(&other.history);
        self.candidates.extend_from_slice(&other.candidates);
        self.clicked.extend_from_slice(&other.clicked);
    }

    /// Removes all impressions but keeps the memory.
    pub(super) fn clear(&mut self) {
        self.ids.clear();
        self.lines.clear();
        self.history_lengths.clear();
        self.history_used.clear();
        for ends in [&mut self.id_ends, &mut self.history_starts, &mut self.candidate_ends] {
            ends.clear();
        }
        self.history.clear();
        self.candidates.clear();
        self.clicked.clear();
    }

    pub(super) fn shrink_to_fit(&mut self) {
        self.ids.shrink_to_fit();
        self.lines.shrink_to_fit();
        self.history_lengths.shrink_to_fit();
        self.history_used.shrink_to_fit();
        for ends in [&mut self.id_ends, &mut self.history_starts, &mut self.candidate_ends] {
            ends.shrink_to_fit();
        }
        self.history.shrink_to_fit();
        self.candidates.shrink_to_fit();
        self.clicked.shrink_to_fit();
    }
}

/// Returns the range of the `i`-th of several concatenated lists that end at `ends`.
pub(super) fn range(ends: &[usize], i: usize) -> Range<usize> {
    i.checked_sub(1).map_or(0, |before| ends[before])..ends[i]
}

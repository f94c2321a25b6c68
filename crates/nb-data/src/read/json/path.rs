//! Follows paths of keys through the objects of a line.

use super::super::key_path::KeyPath;
use super::super::value::Value;

/// The value of each path, and the reading of the path that led to it.
pub(super) struct Found<'f, 'de> {
    pub(super) values: &'f mut [Value<'de>],
    pub(super) readings: &'f mut [Option<u32>],
}

impl<'de> Found<'_, 'de> {
    pub(super) fn reborrow(&mut self) -> Found<'_, 'de> {
        Found { values: self.values, readings: self.readings }
    }

    /// Stores a value unless a reading with precedence has led to another one.
    pub(super) fn store(&mut self, open: Open, value: Value<'de>) {
        if self.readings[open.slot].is_none_or(|reading| open.reading <= reading) {
            self.values[open.slot] = value;
            self.readings[open.slot] = Some(open.reading);
        }
    }

    /// Removes what an earlier object of the same key contained: the last of several equal keys counts, as in Python.
    pub(super) fn forget(&mut self, open: Open) {
        if self.readings[open.slot].is_some_and(|reading| reading & open.mask() == open.reading) {
            self.values[open.slot] = Value::Missing;
            self.readings[open.slot] = None;
        }
    }
}

/// A path of which the part before `at` has led to the current object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open {
    /// The path's number.
    pub(super) slot: usize,
    pub(super) at: usize,
    /// Number of dots in the part before `at`.
    pub(super) dots: u32,
    /// A bit per dot, the first dot's the highest: 1 if the dot separates two keys, 0 if it is part of a key. The
    /// smallest reading has precedence.
    pub(super) reading: u32,
}

impl Open {
    /// Follows a key. Returns `None` if it does not continue the path.
    pub(super) fn follow(self, key: &str, paths: &[KeyPath]) -> Option<Step> {
        let rest = &paths[self.slot].as_str()[self.at..];
        let behind = rest.strip_prefix(key)?;
        if behind.is_empty() {
            return Some(Step::Here(self));
        }
        behind.strip_prefix('.')?;
        let before = self.dots + key.bytes().filter(|&byte| byte == b'.').count() as u32;
        let reading = self.reading | 1 << (31 - before);
        Some(Step::Inside(Self { at: self.at + key.len() + 1, dots: before + 1, reading, ..self }))
    }

    /// The bits of the dots before `at`.
    pub(super) fn mask(self) -> u32 {
        !u32::MAX.checked_shr(self.dots).unwrap_or(0)
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// The path ends at this key.
    Here(Open),
    /// The path continues in the key's object.
    Inside(Open),
}

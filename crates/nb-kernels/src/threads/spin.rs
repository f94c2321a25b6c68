//! Waiting that begins with a short spin.

use std::hint::spin_loop;
use std::time::{Duration, Instant};

/// The longest spin: about as long as the system takes to put a thread to sleep and to wake it. The gaps between the kernels of
/// a training step are shorter.
const LONGEST: Duration = Duration::from_micros(50);
/// Turns between two looks at the clock.
const TURNS: u32 = 32;

/// A wait that spins first.
pub(super) struct Spin {
    turns: u32,
    since: Option<Instant>,
}

impl Spin {
    pub(super) fn new() -> Self {
        Self { turns: 0, since: None }
    }

    /// Spins for a moment. Returns false, at once, when the thread should sleep instead.
    pub(super) fn once(&mut self) -> bool {
        if self.turns == u32::MAX {
            return false;
        }
        spin_loop();
        self.turns += 1;
        if self.turns.is_multiple_of(TURNS) && self.since.get_or_insert_with(Instant::now).elapsed() > LONGEST {
            self.turns = u32::MAX;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spin_ends_and_stays_ended() {
        let (mut spin, start) = (Spin::new(), Instant::now());
        while spin.once() {}
        assert!(start.elapsed() > LONGEST && !spin.once());
    }
}

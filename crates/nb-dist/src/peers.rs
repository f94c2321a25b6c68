//! Whether the other processes live, and whether they come along.
//!
//! Each second every process writes a sign into the store: a number that grows, how many exchanges it has entered, how much
//! it has achieved, and whether it is at work that takes its time ([`super::ProcessGroup::at_work`]). Process 0 puts all signs
//! into one table, which the others read. From it a process that waits knows whom it waits for:
//!
//! * no new sign for 20 seconds: the process is gone, or its machine, or the way there;
//! * signs, but behind by an exchange, not at work, and nothing achieved for 40 seconds (or four times the longest it ever
//!   took from one achievement to the next): the process hangs;
//! * no answer from the store: process 0, which keeps it, is gone;
//! * all have come, and the exchange does not end for 50 seconds: some of them do not reach each other.
//!
//! The first to know writes it down for all.

use std::fmt::Write as _;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::shim::Store;

/// Time between two signs.
const BEAT: Duration = Duration::from_secs(1);
/// Without a sign for this long a process is gone.
pub(crate) const GONE: Duration = Duration::from_secs(20);
/// With signs, but nothing achieved for this long, it hangs.
const HANGS: Duration = Duration::from_secs(40);
/// When all are there, an exchange that has not ended after this long never will: at 100 Mbit/s it is for 625 MB.
const STUCK: Duration = Duration::from_secs(50);
/// How often the longest time between two achievements is waited for at least.
const SLOWER: u32 = 4;

/// What a process tells of itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sign {
    beat: u64,
    /// Exchanges entered.
    entered: u64,
    /// Achievements, exchanges among them.
    achieved: u64,
    is_at_work: bool,
}

/// A process as the others see it.
#[derive(Debug, Clone, Copy)]
struct Seen {
    sign: Sign,
    /// When the sign's number last grew.
    beat: Instant,
    /// When it last had achieved something.
    achieved: Instant,
}

/// All that is known of all processes.
#[derive(Debug)]
struct View {
    seen: Vec<Seen>,
    /// When the store last answered.
    answered: Instant,
    /// What the store says instead.
    broken: Option<String>,
    /// What somebody wrote down as the end.
    end: Option<String>,
}

/// What the thread of signs and the rest of the process share.
#[derive(Debug)]
struct Shared {
    own: Mutex<Own>,
    view: Mutex<View>,
    wake: Condvar,
}

#[derive(Debug)]
struct Own {
    sign: Sign,
    /// Pieces of work under way that take their time.
    at_work: u32,
    last: Instant,
    longest: Duration,
    /// What the others are to know as the end.
    farewell: Option<String>,
    is_told: bool,
    leaves: bool,
}

/// The other processes.
#[derive(Debug)]
pub(crate) struct Peers {
    rank: usize,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Peers {
    /// Begins to give signs as `rank` of `size`, and to look for those of the others.
    pub(crate) fn watch(store: Store, rank: usize, size: usize) -> std::io::Result<Self> {
        let now = Instant::now();
        let seen = Seen { sign: Sign::default(), beat: now, achieved: now };
        let own = Own {
            sign: Sign::default(),
            at_work: 0,
            last: now,
            longest: Duration::ZERO,
            farewell: None,
            is_told: false,
            leaves: false,
        };
        let view = View { seen: vec![seen; size], answered: now, broken: None, end: None };
        let shared = Arc::new(Shared { own: Mutex::new(own), view: Mutex::new(view), wake: Condvar::new() });
        let theirs = Arc::clone(&shared);
        let thread =
            thread::Builder::new().name("signs of life".to_owned()).spawn(move || give_signs(&store, rank, &theirs))?;
        Ok(Self { rank, shared, thread: Some(thread) })
    }

    /// Something is achieved: this process comes along.
    pub(crate) fn achieve(&self) {
        let mut own = lock(&self.shared.own);
        own.longest = own.longest.max(own.last.elapsed());
        own.last = Instant::now();
        own.sign.achieved += 1;
    }

    /// An exchange begins.
    pub(crate) fn enter(&self) {
        self.achieve();
        lock(&self.shared.own).sign.entered += 1;
    }

    /// An exchange is done: the time in it was the others'.
    pub(crate) fn left(&self) {
        lock(&self.shared.own).last = Instant::now();
    }

    /// Work that takes its time begins or ends.
    pub(crate) fn set_at_work(&self, begins: bool) {
        let mut own = lock(&self.shared.own);
        own.at_work = if begins { own.at_work + 1 } else { own.at_work - 1 };
        own.last = Instant::now();
        own.sign.achieved += 1;
    }

    /// What keeps the others from coming, while this process has waited since `since`; none if they may still come.
    pub(crate) fn trouble(&self, since: Instant) -> Option<String> {
        let (entered, patience) = {
            let own = lock(&self.shared.own);
            (own.sign.entered, HANGS.max(own.longest * SLOWER))
        };
        let waits = Waits { rank: self.rank, entered, since, patience };
        lock(&self.shared.view).trouble(&waits, Instant::now())
    }

    /// Tells the others that this is the end, and why. The first who does is heard.
    pub(crate) fn tell_end(&self, why: &str, keeps_store: bool) {
        {
            let mut own = lock(&self.shared.own);
            if own.farewell.is_some() {
                return;
            }
            own.farewell = Some(why.to_owned());
        }
        self.shared.wake.notify_all();
        let own = lock(&self.shared.own);
        let is_silent = |own: &mut Own| !own.is_told;
        // Not for ever: the way to the store may be what is broken.
        drop(self.shared.wake.wait_timeout_while(own, 3 * BEAT, is_silent));
        if keeps_store {
            thread::sleep(2 * BEAT); // it ends with this process; the others are to read it before
        }
    }

    /// Gives no more signs.
    pub(crate) fn leave(mut self) {
        lock(&self.shared.own).leaves = true;
        self.shared.wake.notify_all();
        if let Some(thread) = self.thread.take() {
            drop(thread.join()); // a panic there has been printed and says nothing of this process's work
        }
    }
}

/// Who waits for the others.
#[derive(Debug)]
struct Waits {
    rank: usize,
    entered: u64,
    since: Instant,
    patience: Duration,
}

impl View {
    fn trouble(&self, waits: &Waits, now: Instant) -> Option<String> {
        if let Some(end) = &self.end {
            return Some(end.clone());
        }
        const STORE: &str = "process 0, through which the processes find each other";
        if let Some(cause) = &self.broken {
            return Some(format!("{STORE}, is gone ({cause})"));
        }
        let silence = now.saturating_duration_since(self.answered);
        if silence > GONE {
            return Some(format!("{STORE}, cannot be reached: no answer for {} s", silence.as_secs()));
        }
        let others = || self.seen.iter().enumerate().filter(|(rank, _)| *rank != waits.rank);
        let silent = others().find_map(|(rank, seen)| {
            let silence = now.saturating_duration_since(seen.beat);
            let text = || format!("process {rank} is gone: no sign of life for {} s", silence.as_secs());
            (silence > GONE).then(text)
        });
        let hangs = || {
            others().filter(|(_, seen)| seen.sign.entered < waits.entered && !seen.sign.is_at_work).find_map(
                |(rank, seen)| {
                    let idle = now.saturating_duration_since(seen.achieved.max(waits.since));
                    let text = || {
                        let idle = idle.as_secs();
                        format!(
                            "process {rank} hangs: it lives, but has achieved nothing for {idle} s, while others wait"
                        )
                    };
                    (idle > waits.patience).then(text)
                },
            )
        };
        let stuck = || {
            let is_complete = others().all(|(_, seen)| seen.sign.entered >= waits.entered);
            let waited = now.saturating_duration_since(waits.since);
            let text = || {
                let waited = waited.as_secs();
                format!("all processes have come, but for {waited} s the exchange does not end: a connection is broken")
            };
            (is_complete && waited > waits.patience.max(STUCK)).then(text)
        };
        silent.or_else(hangs).or_else(stuck)
    }

    /// Takes in a new table.
    fn note(&mut self, signs: &[Sign], now: Instant) {
        self.answered = now;
        for (seen, sign) in self.seen.iter_mut().zip(signs) {
            if sign.beat > seen.sign.beat {
                seen.beat = now;
            }
            if sign.achieved > seen.sign.achieved || sign.is_at_work {
                seen.achieved = now;
            }
            seen.sign = *sign;
        }
    }
}

/// The thread: signs, until this process leaves or the store is gone.
fn give_signs(store: &Store, rank: usize, shared: &Shared) {
    let mut table = vec![Sign::default(); lock(&shared.view).seen.len()];
    for beat in 1.. {
        let (sign, farewell) = {
            let mut own = lock(&shared.own);
            own.sign.beat = beat;
            own.sign.is_at_work = own.at_work > 0;
            (own.sign, own.farewell.clone().filter(|_| !own.is_told))
        };
        let exchanged = exchange(store, rank, sign, &mut table, farewell.as_deref());
        {
            let mut view = lock(&shared.view);
            match exchanged {
                Ok(end) => {
                    view.note(&table, Instant::now());
                    view.end = end;
                }
                Err(cause) => {
                    view.broken = Some(cause);
                    return;
                }
            }
        }
        let mut own = lock(&shared.own);
        if farewell.is_some() {
            own.is_told = true;
            shared.wake.notify_all();
        }
        let rests = |own: &mut Own| !own.leaves && (own.farewell.is_none() || own.is_told);
        let (own, _) = shared.wake.wait_timeout_while(own, BEAT, rests).unwrap_or_else(PoisonError::into_inner);
        if own.leaves {
            return;
        }
    }
}

/// Writes the own sign, and reads those of all and the end, if somebody has written it down.
fn exchange(
    store: &Store,
    rank: usize,
    sign: Sign,
    table: &mut [Sign],
    farewell: Option<&str>,
) -> Result<Option<String>, String> {
    const END: &str = "end";
    const TABLE: &str = "table";
    let key = |rank: usize| format!("sign/{rank}");
    if rank == 0 {
        table[0] = sign;
        for (rank, seen) in table.iter_mut().enumerate().skip(1) {
            if let Some(bytes) = store.get(&key(rank))? {
                *seen = parse(&bytes).first().copied().unwrap_or(*seen);
            }
        }
        let mut text = String::new();
        table.iter().for_each(|sign| show(sign, &mut text));
        store.set(TABLE, text.as_bytes())?;
    } else {
        let mut text = String::new();
        show(&sign, &mut text);
        store.set(&key(rank), text.as_bytes())?;
        if let Some(bytes) = store.get(TABLE)? {
            table.iter_mut().zip(parse(&bytes)).for_each(|(seen, sign)| *seen = sign);
        }
    }
    let end = store.get(END)?;
    if let (None, Some(why)) = (&end, farewell) {
        store.set(END, why.as_bytes())?;
    }
    Ok(end.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

fn show(sign: &Sign, out: &mut String) {
    let Sign { beat, entered, achieved, is_at_work } = sign;
    let _ = writeln!(out, "{beat} {entered} {achieved} {}", u8::from(*is_at_work)); // a String takes everything
}

/// The signs of a table; one that makes no sense counts as none yet.
fn parse(bytes: &[u8]) -> Vec<Sign> {
    let line = |line: &str| {
        let mut numbers = line.split(' ').map(|word| word.parse::<u64>().unwrap_or_default());
        let mut next = || numbers.next().unwrap_or_default();
        Sign { beat: next(), entered: next(), achieved: next(), is_at_work: next() != 0 }
    };
    String::from_utf8_lossy(bytes).lines().map(line).collect()
}

/// A panic elsewhere leaves numbers as they are.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Three processes, of which each was last seen this many seconds before `now`: (sign, achievement).
    fn view(now: Instant, seen: [(u64, u64); 3]) -> View {
        let ago = |seconds: u64| now - u32::try_from(seconds).unwrap() * SECOND;
        let one = |(beat, achieved)| {
            let sign = Sign { beat: 7, entered: 5, achieved: 9, is_at_work: false };
            Seen { sign, beat: ago(beat), achieved: ago(achieved) }
        };
        View { seen: seen.map(one).into(), answered: now, broken: None, end: None }
    }

    fn start() -> Instant {
        Instant::now() + 1000 * SECOND // so that there is something before it, on a machine that has just started too
    }

    /// Process 1 waits for the exchange after the others' last, for a long time.
    fn waits(now: Instant) -> Waits {
        Waits { rank: 1, entered: 6, since: now - 500 * SECOND, patience: HANGS }
    }

    #[test]
    fn processes_that_come_along_are_no_trouble() {
        let now = start();
        assert_eq!(
            view(now, [(1, 30), (400, 400), (19, 39)]).trouble(&waits(now), now),
            None,
            "nor is the own silence"
        );
    }

    #[test]
    fn a_silent_process_is_gone_and_one_that_does_not_come_hangs() {
        let now = start();
        let text = view(now, [(1, 1), (0, 0), (21, 21)]).trouble(&waits(now), now).unwrap();
        assert_eq!(text, "process 2 is gone: no sign of life for 21 s");
        let text = view(now, [(1, 41), (0, 0), (1, 1)]).trouble(&waits(now), now).unwrap();
        assert!(text.starts_with("process 0 hangs: it lives, but has achieved nothing for 41 s"), "{text}");
    }

    #[test]
    fn patience_is_for_those_at_work_those_that_came_and_as_long_as_somebody_waits() {
        let now = start();
        let mut view = view(now, [(1, 41), (0, 0), (1, 1)]);
        let with = |change: fn(&mut Waits)| {
            let mut waits = waits(now);
            change(&mut waits);
            waits
        };
        assert!(view.trouble(&with(|w| w.patience = 60 * SECOND), now).is_none());
        assert!(view.trouble(&with(|w| w.since += 470 * SECOND), now).is_none());
        let came = |seconds: u32| {
            let mut waits = with(|w| w.entered = 5);
            waits.since = now - seconds * SECOND;
            view.trouble(&waits, now)
        };
        assert_eq!(came(50), None);
        assert!(came(51).is_some_and(|text| text.contains("for 51 s the exchange does not end")));
        view.seen[0].sign.is_at_work = true;
        assert!(view.trouble(&waits(now), now).is_none());
    }

    #[test]
    fn a_store_without_an_answer_is_process_0_gone_and_a_written_end_is_the_reason() {
        let now = start();
        let mut view = view(now, [(1, 1); 3]);
        view.answered = now - 25 * SECOND;
        assert!(view.trouble(&waits(now), now).unwrap().contains("process 0, through which"));
        view.broken = Some("reset".into());
        assert!(view.trouble(&waits(now), now).unwrap().ends_with("is gone (reset)"));
        view.end = Some("process 2: the disk is full".into());
        assert_eq!(view.trouble(&waits(now), now).unwrap(), "process 2: the disk is full");
    }

    #[test]
    fn a_table_reads_as_it_was_written() {
        let signs = [Sign { beat: 3, entered: 2, achieved: 9, is_at_work: true }, Sign::default()];
        let mut text = String::new();
        signs.iter().for_each(|sign| show(sign, &mut text));
        assert_eq!(parse(text.as_bytes()), signs);
        assert_eq!(parse(b"what\n"), [Sign::default()]);
    }
}

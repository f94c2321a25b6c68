//! Supervision of the other processes: each is alive, hangs, or is lost.
//!
//! Every second, each process writes a sign of life to the store: an increasing number, the number of exchanges that it
//! has entered, a count of its progress, and a flag for slow work ([`super::ProcessGroup::busy`]). Process 0 collects
//! all signs in one table, which the others read. From the table, a waiting process infers the state of the others:
//!
//! * no new sign for 20 seconds: the process, its machine or the connection to it is lost;
//! * new signs, but the process is one exchange behind, is not busy, and has made no progress for 40 seconds (or, if
//!   longer, four times the longest time of this process between two heartbeats): the process hangs;
//! * no answer from the store: process 0, which hosts it, is lost;
//! * all have entered the exchange, but it has not completed after 50 seconds: some processes cannot reach each other.
//!
//! The first process that notices a failure writes the reason to the store for all.

use std::fmt::Write as _;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::World;
use crate::shim::Store;

/// Time between two signs of life.
const INTERVAL: Duration = Duration::from_secs(1);
/// A process without a sign of life for this long is lost.
pub(crate) const LOST: Duration = Duration::from_secs(20);
/// A process with signs of life but without progress for this long hangs.
const HANGS: Duration = Duration::from_secs(40);
/// An exchange that all have entered and that does not complete in this time never will. At 100 Mbit/s, the time is
/// enough for 625 MB.
const STUCK: Duration = Duration::from_secs(50);
/// The minimum wait for another process, as a multiple of the longest time between two heartbeats of this one.
const SLOWER: u32 = 4;

/// A process's sign of life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sign {
    number: u64,
    /// Exchanges entered.
    entered: u64,
    /// Heartbeats, exchanges among them.
    progress: u64,
    is_busy: bool,
}

/// A process as seen by this one.
#[derive(Debug, Clone, Copy)]
struct Seen {
    sign: Sign,
    /// The time of the last new sign.
    sign_at: Instant,
    /// The time of the last progress.
    progress_at: Instant,
}

/// The state of all processes, as known to this one.
#[derive(Debug)]
struct View {
    seen: Vec<Seen>,
    /// The time of the store's last answer.
    answered: Instant,
    /// The store's error, after which it does not answer.
    broken: Option<String>,
    /// The reason for aborting, if a process has written one.
    end: Option<String>,
}

/// The state that the sign-of-life thread shares with the rest of the process.
#[derive(Debug)]
struct Shared {
    local: Mutex<Local>,
    view: Mutex<View>,
    wake: Condvar,
}

/// The state of this process.
#[derive(Debug)]
struct Local {
    sign: Sign,
    /// The number of busy guards.
    n_busy: u32,
    last_heartbeat: Instant,
    /// The longest time between two heartbeats.
    longest: Duration,
    /// The reason for aborting, once this process aborts.
    abort: Option<String>,
    /// True once `abort` is in the store.
    is_abort_written: bool,
    is_leaving: bool,
}

/// The other processes.
#[derive(Debug)]
pub(crate) struct Peers {
    rank: usize,
    /// True if the store ends with this process.
    hosts_store: bool,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Peers {
    /// Starts a thread that writes signs of life and reads those of the others.
    pub(crate) fn watch(store: Store, world: &World) -> std::io::Result<Self> {
        let now = Instant::now();
        let seen = Seen { sign: Sign::default(), sign_at: now, progress_at: now };
        let local = Local {
            sign: Sign::default(),
            n_busy: 0,
            last_heartbeat: now,
            longest: Duration::ZERO,
            abort: None,
            is_abort_written: false,
            is_leaving: false,
        };
        let view = View { seen: vec![seen; world.size], answered: now, broken: None, end: None };
        let shared = Arc::new(Shared { local: Mutex::new(local), view: Mutex::new(view), wake: Condvar::new() });
        let (rank, of_thread) = (world.rank, Arc::clone(&shared));
        let thread = thread::Builder::new().name("signs of life".to_owned());
        let thread = thread.spawn(move || send_signs(&store, rank, &of_thread))?;
        Ok(Self { rank, hosts_store: world.hosts_store(), shared, thread: Some(thread) })
    }

    /// Reports progress.
    pub(crate) fn heartbeat(&self) {
        let mut local = lock(&self.shared.local);
        local.longest = local.longest.max(local.last_heartbeat.elapsed());
        local.last_heartbeat = Instant::now();
        local.sign.progress += 1;
    }

    /// Reports that this process has entered an exchange.
    pub(crate) fn enter(&self) {
        self.heartbeat();
        lock(&self.shared.local).sign.entered += 1;
    }

    /// Reports that an exchange is complete. The wait for the others does not count as time between heartbeats of this
    /// process.
    pub(crate) fn exit(&self) {
        lock(&self.shared.local).last_heartbeat = Instant::now();
    }

    /// Reports the start of slow work.
    pub(crate) fn begin_busy(&self) {
        lock(&self.shared.local).add_busy(1);
    }

    /// Reports the end of slow work.
    pub(crate) fn end_busy(&self) {
        lock(&self.shared.local).add_busy(-1);
    }

    /// Returns the reason why the others will not arrive, for a process that has waited since `since`, or `None` if they still may.
    pub(crate) fn trouble(&self, since: Instant) -> Option<String> {
        let (entered, patience) = {
            let local = lock(&self.shared.local);
            (local.sign.entered, HANGS.max(local.longest * SLOWER))
        };
        let wait = Wait { rank: self.rank, entered, since, patience };
        lock(&self.shared.view).trouble(&wait, Instant::now())
    }

    /// Tells the others that this process is ending, and why. Only the first reason that any process writes is read.
    pub(crate) fn abort(&self, reason: &str) {
        {
            let mut local = lock(&self.shared.local);
            if local.abort.is_some() {
                return;
            }
            local.abort = Some(reason.to_owned());
        }
        self.shared.wake.notify_all();
        let local = lock(&self.shared.local);
        let is_pending = |local: &mut Local| !local.is_abort_written;
        // The wait has a time limit, because the connection to the store may be broken.
        drop(self.shared.wake.wait_timeout_while(local, 3 * INTERVAL, is_pending));
        if self.hosts_store {
            thread::sleep(2 * INTERVAL); // the store ends with this process; the others must read it first
        }
    }

    /// Stops the sign-of-life thread.
    pub(crate) fn leave(mut self) {
        lock(&self.shared.local).is_leaving = true;
        self.shared.wake.notify_all();
        if let Some(thread) = self.thread.take() {
            drop(thread.join()); // a panic there was printed and does not affect this process's work
        }
    }
}

impl Local {
    fn add_busy(&mut self, n: i32) {
        self.n_busy = self.n_busy.saturating_add_signed(n);
        self.last_heartbeat = Instant::now();
        self.sign.progress += 1;
    }
}

/// A wait of this process for the others.
#[derive(Debug)]
struct Wait {
    rank: usize,
    entered: u64,
    since: Instant,
    patience: Duration,
}

impl View {
    fn trouble(&self, wait: &Wait, now: Instant) -> Option<String> {
        if let Some(end) = &self.end {
            return Some(end.clone());
        }
        const STORE: &str = "process 0, through which the processes find each other";
        if let Some(cause) = &self.broken {
            return Some(format!("{STORE}, is lost ({cause})"));
        }
        let silence = now.saturating_duration_since(self.answered);
        if silence > LOST {
            return Some(format!("{STORE}, cannot be reached: no answer for {} s", silence.as_secs()));
        }
        self.lost(wait, now).or_else(|| self.hanging(wait, now)).or_else(|| self.stuck(wait, now))
    }

    /// The other processes, each with its rank.
    fn others(&self, wait: &Wait) -> impl Iterator<Item = (usize, &Seen)> {
        let rank = wait.rank;
        self.seen.iter().enumerate().filter(move |(other, _)| *other != rank)
    }

    /// Looks for a process without signs of life.
    fn lost(&self, wait: &Wait, now: Instant) -> Option<String> {
        for (rank, seen) in self.others(wait) {
            let silence = now.saturating_duration_since(seen.sign_at);
            if silence > LOST {
                return Some(format!("process {rank} is lost: no heartbeat for {} s", silence.as_secs()));
            }
        }
        None
    }

    /// Looks for a process that has not entered the exchange and makes no progress.
    fn hanging(&self, wait: &Wait, now: Instant) -> Option<String> {
        for (rank, seen) in self.others(wait) {
            let idle = now.saturating_duration_since(seen.progress_at.max(wait.since));
            if seen.sign.entered < wait.entered && !seen.sign.is_busy && idle > wait.patience {
                let idle = idle.as_secs();
                return Some(format!("process {rank} hangs: it is alive, but has made no progress for {idle} s"));
            }
        }
        None
    }

    /// Looks for an exchange that all processes have entered but that does not complete.
    fn stuck(&self, wait: &Wait, now: Instant) -> Option<String> {
        let all_entered = self.others(wait).all(|(_, seen)| seen.sign.entered >= wait.entered);
        let waited = now.saturating_duration_since(wait.since);
        let seconds = waited.as_secs();
        (all_entered && waited > wait.patience.max(STUCK)).then(|| {
            format!("all processes have entered the exchange, but it is not complete after {seconds} s: a connection is broken")
        })
    }

    /// Records a new table of signs.
    fn record(&mut self, signs: &[Sign], now: Instant) {
        self.answered = now;
        for (seen, sign) in self.seen.iter_mut().zip(signs) {
            if sign.number > seen.sign.number {
                seen.sign_at = now;
            }
            if sign.progress > seen.sign.progress || sign.is_busy {
                seen.progress_at = now;
            }
            seen.sign = *sign;
        }
    }
}

/// Runs the sign-of-life thread until this process leaves or the store is lost.
fn send_signs(store: &Store, rank: usize, shared: &Shared) {
    let mut table = vec![Sign::default(); lock(&shared.view).seen.len()];
    for number in 1.. {
        let (sign, abort) = {
            let mut local = lock(&shared.local);
            local.sign.number = number;
            local.sign.is_busy = local.n_busy > 0;
            (local.sign, local.abort.clone().filter(|_| !local.is_abort_written))
        };
        let exchanged = exchange(store, rank, sign, &mut table, abort.as_deref());
        {
            let mut view = lock(&shared.view);
            match exchanged {
                Ok(end) => {
                    view.record(&table, Instant::now());
                    view.end = end;
                }
                Err(cause) => {
                    view.broken = Some(cause);
                    return;
                }
            }
        }
        let mut local = lock(&shared.local);
        if abort.is_some() {
            local.is_abort_written = true;
            shared.wake.notify_all();
        }
        let idle = |local: &mut Local| !local.is_leaving && (local.abort.is_none() || local.is_abort_written);
        let (local, _) = shared.wake.wait_timeout_while(local, INTERVAL, idle).unwrap_or_else(PoisonError::into_inner);
        if local.is_leaving {
            return;
        }
    }
}

/// Writes this process's sign and its reason for aborting, if there is one. Reads the signs of all processes into
/// `table`, and returns the reason for aborting that a process has written before, if there is one.
fn exchange(
    store: &Store,
    rank: usize,
    sign: Sign,
    table: &mut [Sign],
    abort: Option<&str>,
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
        store.set(TABLE, show(table).as_bytes())?;
    } else {
        store.set(&key(rank), show(&[sign]).as_bytes())?;
        if let Some(bytes) = store.get(TABLE)? {
            table.iter_mut().zip(parse(&bytes)).for_each(|(seen, sign)| *seen = sign);
        }
    }
    let end = store.get(END)?;
    if let (None, Some(reason)) = (&end, abort) {
        store.set(END, reason.as_bytes())?;
    }
    Ok(end.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

/// Writes signs as text, one per line.
fn show(signs: &[Sign]) -> String {
    let mut text = String::new();
    for Sign { number, entered, progress, is_busy } in signs {
        let _ = writeln!(text, "{number} {entered} {progress} {}", u8::from(*is_busy)); // writing to a String cannot fail
    }
    text
}

/// Reads signs from text. Numbers that cannot be read are 0.
fn parse(bytes: &[u8]) -> Vec<Sign> {
    let line = |line: &str| {
        let mut numbers = line.split(' ').map(|word| word.parse::<u64>().unwrap_or_default());
        let mut next = || numbers.next().unwrap_or_default();
        Sign { number: next(), entered: next(), progress: next(), is_busy: next() != 0 }
    };
    String::from_utf8_lossy(bytes).lines().map(line).collect()
}

/// Locks a mutex, even after a panic in another thread: the values are valid at any time.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Three processes, each with the seconds since its last sign and since its last progress.
    fn view(now: Instant, seconds: [[u64; 2]; 3]) -> View {
        let ago = |seconds: u64| now - u32::try_from(seconds).unwrap() * SECOND;
        let seen = |[sign_at, progress_at]: [u64; 2]| {
            let sign = Sign { number: 7, entered: 5, progress: 9, is_busy: false };
            Seen { sign, sign_at: ago(sign_at), progress_at: ago(progress_at) }
        };
        View { seen: seconds.map(seen).into(), answered: now, broken: None, end: None }
    }

    fn start() -> Instant {
        Instant::now() + 1000 * SECOND // so that earlier times exist, even on a machine that has just started
    }

    /// Process 1 has waited for a long time for an exchange that the others have not entered.
    fn wait(now: Instant) -> Wait {
        Wait { rank: 1, entered: 6, since: now - 500 * SECOND, patience: HANGS }
    }

    #[test]
    fn processes_that_make_progress_cause_no_trouble() {
        let now = start();
        assert_eq!(
            view(now, [[1, 30], [400, 400], [19, 39]]).trouble(&wait(now), now),
            None,
            "this process's silence causes no trouble either"
        );
    }

    #[test]
    fn a_silent_process_is_gone_and_one_without_progress_hangs() {
        let now = start();
        let text = view(now, [[1, 1], [0, 0], [21, 21]]).trouble(&wait(now), now).unwrap();
        assert_eq!(text, "process 2 is lost: no heartbeat for 21 s");
        let text = view(now, [[1, 41], [0, 0], [1, 1]]).trouble(&wait(now), now).unwrap();
        assert!(text.starts_with("process 0 hangs: it is alive, but has made no progress for 41 s"), "{text}");
    }

    #[test]
    fn a_wait_is_patient_with_busy_processes_and_those_that_have_entered() {
        let now = start();
        let mut view = view(now, [[1, 41], [0, 0], [1, 1]]);
        assert!(view.trouble(&Wait { patience: 60 * SECOND, ..wait(now) }, now).is_none());
        assert!(view.trouble(&Wait { since: now - 30 * SECOND, ..wait(now) }, now).is_none());
        let all_entered = |seconds: u32| {
            let wait = Wait { entered: 5, since: now - seconds * SECOND, ..wait(now) };
            view.trouble(&wait, now)
        };
        assert_eq!(all_entered(50), None);
        assert!(all_entered(51).is_some_and(|text| text.contains("it is not complete after 51 s")));
        view.seen[0].sign.is_busy = true;
        assert!(view.trouble(&wait(now), now).is_none());
    }

    #[test]
    fn without_answers_process_0_is_gone_unless_another_reason_was_written() {
        let now = start();
        let mut view = view(now, [[1, 1]; 3]);
        view.answered = now - 25 * SECOND;
        assert!(view.trouble(&wait(now), now).unwrap().contains("process 0, through which"));
        view.broken = Some("reset".into());
        assert!(view.trouble(&wait(now), now).unwrap().ends_with("is lost (reset)"));
        view.end = Some("process 2: the disk is full".into());
        assert_eq!(view.trouble(&wait(now), now).unwrap(), "process 2: the disk is full");
    }

    #[test]
    fn a_table_survives_a_round_trip() {
        let signs = [Sign { number: 3, entered: 2, progress: 9, is_busy: true }, Sign::default()];
        assert_eq!(parse(show(&signs).as_bytes()), signs);
        assert_eq!(parse(b"what\n"), [Sign::default()]);
    }
}

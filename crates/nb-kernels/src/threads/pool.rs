//! Threads that help the caller of a kernel with its work.
//!
//! A caller that has work opens a number of seats. Helpers take seats and do the same as the caller: they take pieces of the
//! work until none is left. Then the caller closes the seats and waits for the helpers that have taken one, and for no others.
//! So a helper that the system did not schedule in time delays nobody.
//!
//! One caller at a time has helpers. A second one, on another thread or within a piece of work, does its work alone, which is
//! faster than waiting. Helpers do not survive a `fork`.
#![expect(
    unsafe_code,
    reason = "helpers borrow the caller's closure, which waits for them; the uses state the details"
)]

use std::any::Any;
use std::cell::UnsafeCell;
use std::mem::transmute;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::{self, Builder, Thread};

use super::spin::Spin;

/// The helpers of this process.
pub(super) static POOL: Pool =
    Pool { helpers: Mutex::new(Vec::new()), state: AtomicU64::new(0), job: UnsafeCell::new(None) };

pub(super) struct Pool {
    /// All helpers that have been started. The lock belongs to the caller that has helpers.
    helpers: Mutex<Vec<Thread>>,
    state: AtomicU64,
    /// The current work. Only the owner of `helpers` writes it, while no helper has a seat.
    job: UnsafeCell<Option<Job>>,
}

// SAFETY: `job` is written while no helper has a seat, and read only by helpers that have one; taking a seat and giving it back
// order these accesses. What a job contains may be used on several threads at once.
unsafe impl Sync for Pool {}

struct Job {
    /// Calls the caller's closure and does not unwind. It lives until all helpers have given back their seats.
    work: &'static (dyn Fn() + Sync),
    caller: Thread,
}

impl Pool {
    /// Calls `work` on this thread and on at most `helpers` others, as many as are free in time. Returns when all calls have
    /// ended.
    ///
    /// # Panics
    ///
    /// If a call panics, with the payload of the first one.
    pub(super) fn run(&'static self, helpers: usize, work: &(dyn Fn() + Sync)) {
        match self.helpers.try_lock() {
            Ok(threads) => self.run_with(threads, helpers.min(MOST_SEATS), work),
            Err(TryLockError::Poisoned(threads)) => self.run_with(threads.into_inner(), helpers.min(MOST_SEATS), work),
            Err(TryLockError::WouldBlock) => work(),
        }
    }

    fn run_with(&'static self, mut threads: MutexGuard<'_, Vec<Thread>>, helpers: usize, work: &(dyn Fn() + Sync)) {
        self.start(&mut threads, helpers);
        let panic = Mutex::new(None);
        let work = || {
            // A payload may panic when it is dropped, so later ones are not dropped.
            if let Err(payload) = catch_unwind(AssertUnwindSafe(work))
                && let Some(later) = keep_first(&panic, payload)
            {
                std::mem::forget(later);
            }
        };
        let work: &(dyn Fn() + Sync) = &work;
        // SAFETY: this function returns after every helper has given back its seat. It does not unwind before: `work` catches all
        // panics, and nothing else between here and `close` panics.
        let work = unsafe { transmute::<&(dyn Fn() + Sync), &'static (dyn Fn() + Sync)>(work) };
        // SAFETY: no seat is open or taken, so no helper reads the job. This thread owns `helpers`.
        unsafe { *self.job.get() = Some(Job { work, caller: thread::current() }) };
        self.state.store(open(self.state.load(Ordering::Relaxed), helpers), Ordering::Release);
        threads.iter().take(helpers).for_each(Thread::unpark);
        work();
        self.close();
        // SAFETY: as above; the closure may not outlive this call.
        unsafe { *self.job.get() = None };
        drop(threads);
        if let Some(payload) = panic.into_inner().unwrap_or_else(PoisonError::into_inner) {
            resume_unwind(payload);
        }
    }

    /// Starts helpers until there are `count`. If the system refuses a thread, there are fewer.
    fn start(&'static self, threads: &mut Vec<Thread>, count: usize) {
        while threads.len() < count {
            let seen = number(self.state.load(Ordering::Relaxed));
            let name = format!("nb-kernels-{}", threads.len() + 1);
            let Ok(helper) = Builder::new().name(name).spawn(move || self.help(seen)) else { return };
            threads.push(helper.thread().clone());
        }
    }

    /// Closes the seats and waits until they are empty.
    fn close(&self) {
        let mut spin = Spin::new();
        let mut state = self.state.fetch_and(!SEATS, Ordering::AcqRel);
        while taken(state) > 0 {
            if !spin.once() {
                if state & WAITING == 0 {
                    self.state.fetch_or(WAITING, Ordering::AcqRel);
                } else {
                    thread::park(); // it may return early
                }
            }
            state = self.state.load(Ordering::Acquire);
        }
    }

    /// The life of a helper that has seen the work with the number `seen`.
    fn help(&self, mut seen: u64) {
        loop {
            seen = self.wait_for_work(seen);
            if self.take_seat(seen) {
                // SAFETY: this helper has a seat, so the job stays until it gives the seat back.
                let Some(job) = (unsafe { &*self.job.get() }) else { unreachable!("seats without a job") };
                (job.work)();
                let caller = job.caller.clone(); // the job may end with the seat
                self.give_back_seat(&caller);
            }
        }
    }

    /// Waits until there is other work than `seen` with a free seat, and returns its number.
    fn wait_for_work(&self, seen: u64) -> u64 {
        let mut spin = Spin::new();
        loop {
            let state = self.state.load(Ordering::Acquire);
            if number(state) != seen && state & SEATS > 0 {
                return number(state);
            }
            if !spin.once() {
                // It may return early. A helper that comes too late for a kernel does not spin for the next one: beside other
                // programs it would use up its share of the processor, and then lose it in the middle of a piece.
                thread::park();
            }
        }
    }

    /// Takes a seat of the work with this number. Returns false if no seat is free any more.
    fn take_seat(&self, work: u64) -> bool {
        let take = |state: u64| {
            let is_free = number(state) == work && state & SEATS > 0;
            is_free.then(|| state - ONE_SEAT + ONE_TAKEN)
        };
        self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, take).is_ok()
    }

    fn give_back_seat(&self, caller: &Thread) {
        let before = self.state.fetch_sub(ONE_TAKEN, Ordering::AcqRel);
        if taken(before) == 1 && before & WAITING > 0 {
            caller.unpark();
        }
    }
}

type Payload = Box<dyn Any + Send>;

/// Keeps the first payload, and returns a later one.
fn keep_first(first: &Mutex<Option<Payload>>, payload: Payload) -> Option<Payload> {
    let mut first = first.lock().unwrap_or_else(PoisonError::into_inner);
    if first.is_some() {
        return Some(payload);
    }
    *first = Some(payload);
    None
}

// The state in one word: number of the work (32 bits), free seats (16), taken seats (15), and whether the caller sleeps.
const WAITING: u64 = 1;
const ONE_TAKEN: u64 = 1 << 1;
const MOST_SEATS: usize = 0x7fff;
const ONE_SEAT: u64 = 1 << 16;
const SEATS: u64 = 0xffff << 16;

/// Returns the state of new work after that of `state`, with `seats` free seats.
fn open(state: u64, seats: usize) -> u64 {
    ((state >> 32).wrapping_add(1) << 32) | (seats as u64 * ONE_SEAT)
}

fn number(state: u64) -> u64 {
    state >> 32
}

fn taken(state: u64) -> u64 {
    (state >> 1) & MOST_SEATS as u64
}

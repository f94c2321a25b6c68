//! The threads that kernels run on: the caller's, and helpers that sleep while there is nothing to do.
//!
//! Work is split into pieces, and a thread that has finished one takes the next. So a thread that the system schedules late,
//! on a machine with other programs or in a container with a CPU quota, does fewer pieces. The caller waits only for helpers that
//! have joined in. A helper that finds no work spins for a moment, ready for the next kernel, and then sleeps.
//!
//! One caller at a time has helpers; others, on other threads, do their work alone.

mod pool;
mod spin;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use nb_cpu::Processors;
use pool::POOL;

/// The argument of the last [`set`]; 0 before the first.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Sets the number of threads for all kernels of this process. It affects only the speed, never a result. The setting is
/// global because the threads are: all kernels share the pool of the process.
///
/// # Panics
///
/// If `threads` is 0.
///
/// ```
/// nb_kernels::threads::set(2);
/// assert_eq!(nb_kernels::threads::count(), 2);
/// ```
pub fn set(threads: usize) {
    assert!(threads > 0, "cannot set the number of threads: found 0, expected 1 or more");
    COUNT.store(threads, Ordering::Relaxed);
}

/// Returns the number of threads that kernels use: the argument of the last [`set`], and before the first one the number of
/// processors that this process may use.
pub fn count() -> usize {
    static PROCESSORS: LazyLock<usize> = LazyLock::new(|| Processors::detect().usable());
    match COUNT.load(Ordering::Relaxed) {
        0 => *PROCESSORS,
        threads => threads,
    }
}

/// Calls `f` with every task, on up to [`count`] threads, and returns when all tasks are done. A thread that finishes a task
/// takes the next one, so `f` must not depend on the thread that runs it.
///
/// # Panics
///
/// If `f` panics. Tasks that have not started by then are dropped.
///
/// ```
/// let mut squares = vec![0; 100];
/// let tasks = squares.chunks_mut(7).enumerate();
/// nb_kernels::threads::for_each(tasks, |(piece, out)| {
///     out.iter_mut().enumerate().for_each(|(i, out)| *out = (7 * piece + i).pow(2));
/// });
/// assert_eq!((squares[6], squares[99]), (36, 9801));
/// ```
pub fn for_each<T>(tasks: impl ExactSizeIterator<Item = T> + Send, f: impl Fn(T) + Sync) {
    for_each_with(tasks, || (), |(), task| f(task));
}

/// Does the same as [`for_each`], with a scratch value for each thread.
///
/// # Panics
///
/// As [`for_each`].
pub fn for_each_with<T, S>(
    tasks: impl ExactSizeIterator<Item = T> + Send,
    scratch: impl Fn() -> S + Sync,
    f: impl Fn(&mut S, T) + Sync,
) {
    let threads = tasks.len().min(count());
    if threads <= 1 {
        let mut scratch = scratch();
        return tasks.for_each(|task| f(&mut scratch, task));
    }
    let tasks = Mutex::new(Some(tasks));
    POOL.run(threads - 1, &|| run_tasks(&tasks, &scratch, &f));
}

/// Takes tasks until none is left.
fn run_tasks<I: Iterator, S>(tasks: &Mutex<Option<I>>, scratch: &impl Fn() -> S, f: &impl Fn(&mut S, I::Item)) {
    let mut thread_scratch = None;
    let drop_rest = DropRest(tasks);
    while let Some(task) = next(tasks) {
        f(thread_scratch.get_or_insert_with(scratch), task);
    }
    std::mem::forget(drop_rest);
}

/// Drops the remaining tasks when a task has panicked.
struct DropRest<'a, I>(&'a Mutex<Option<I>>);

impl<I> Drop for DropRest<'_, I> {
    fn drop(&mut self) {
        let rest = lock(self.0).take(); // dropped after the lock
        drop(rest);
    }
}

fn next<I: Iterator>(tasks: &Mutex<Option<I>>) -> Option<I::Item> {
    lock(tasks).as_mut()?.next()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_is_done_once() {
        set(2);
        let mut counts = vec![0; 1000];
        for_each(counts.iter_mut(), |count| *count += 1);
        assert!(counts.iter().all(|count| *count == 1));
        for_each(std::iter::empty::<u8>(), |_| panic!("there is no task"));
    }

    #[test]
    fn scratch_belongs_to_one_thread() {
        set(3);
        let (created, tasks) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        let scratch = || (created.fetch_add(1, Ordering::Relaxed), std::thread::current().id());
        for_each_with(0..1000, scratch, |(index, thread), _| {
            assert_eq!(*thread, std::thread::current().id());
            tasks.lock().unwrap().push(*index);
        });
        let tasks = tasks.into_inner().unwrap();
        assert_eq!(tasks.len(), 1000);
        assert!(created.into_inner() <= 3 && tasks.into_iter().all(|index| index < 3));
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_goes_on() {
        set(3);
        for panicking in 0..40 {
            let panicked = std::panic::catch_unwind(|| for_each(0..40, |i| assert_ne!(i, panicking, "task {i}")));
            let payload = panicked.unwrap_err();
            assert!(payload.downcast_ref::<String>().unwrap().contains(&format!("task {panicking}")));
            let done = AtomicUsize::new(0);
            for_each(0..40, |_| _ = done.fetch_add(1, Ordering::Relaxed));
            assert_eq!(done.into_inner(), 40);
        }
    }

    #[test]
    fn tasks_whose_drop_panics_do_no_harm() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                if !std::thread::panicking() {
                    panic!("drop");
                }
            }
        }
        set(3);
        for _ in 0..20 {
            let bombs: Vec<Bomb> = (0..8).map(|_| Bomb).collect();
            assert!(std::panic::catch_unwind(|| for_each(bombs.into_iter(), drop)).is_err());
        }
    }

    #[test]
    #[should_panic(expected = "found 0, expected 1 or more")]
    fn zero_threads_are_refused() {
        set(0);
    }

    #[test]
    fn callers_on_many_threads_and_within_tasks_get_all_their_tasks_done() {
        set(3);
        std::thread::scope(|scope| {
            for caller in 0..4 {
                scope.spawn(move || {
                    for round in 0..2_000 {
                        let mut sums = [0; 9];
                        for_each(sums.iter_mut().enumerate(), |(i, sum)| {
                            let inner = AtomicUsize::new(0);
                            for_each(0..4, |j| _ = inner.fetch_add(caller + round + i + j, Ordering::Relaxed));
                            *sum = inner.into_inner();
                        });
                        let expected = |i| 4 * (caller + round + i) + 6;
                        assert!((0..9).all(|i| sums[i] == expected(i)));
                    }
                });
            }
        });
    }

    #[test]
    fn helpers_come_and_are_waited_for() {
        set(2);
        let caller = std::thread::current().id();
        let helped = (0..100).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(1)); // long enough for a helper to fall asleep
            let done = AtomicUsize::new(0);
            let by_helper = AtomicUsize::new(0);
            for_each(0..20, |_| {
                std::thread::sleep(std::time::Duration::from_micros(200));
                by_helper.fetch_add(usize::from(std::thread::current().id() != caller), Ordering::Relaxed);
                done.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(done.into_inner(), 20);
            by_helper.into_inner() > 0
        });
        assert!(helped);
    }
}

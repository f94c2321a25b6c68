//! The threads that kernels written in Rust run on: libtorch's own.
//!
//! libtorch's products run on the threads of OpenMP, which spin for a while after each of them, ready for the next. A
//! second pool beside it would find its cores taken by that. So the pieces of a kernel are handed to the same team,
//! through the one call that a compiler makes of `#pragma omp parallel`: `GOMP_parallel` of GNU's OpenMP, which
//! libtorch's builds for Linux bring along. Where there is none the pieces run on rayon's threads.
#![expect(unsafe_code, reason = "calls a C function with a pointer to a closure; the argument stands at the call")]

use std::any::Any;
use std::ffi::{c_uint, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

/// `void GOMP_parallel(void (*body)(void *), void *data, unsigned threads, unsigned flags)`: calls `body(data)` on each of
/// the team's threads, the caller's among them, and returns when all of them have.
type GompParallel = unsafe extern "C" fn(extern "C" fn(*mut c_void), *mut c_void, c_uint, c_uint);

static GOMP: LazyLock<Option<GompParallel>> = LazyLock::new(find_gomp);

#[cfg(target_os = "linux")]
fn find_gomp() -> Option<GompParallel> {
    let program = libloading::os::unix::Library::this();
    // SAFETY: whatever in this process bears that name is GNU's OpenMP or stands in for it, and has its interface. The
    // library stays loaded as long as the process: libtorch depends on it.
    unsafe { program.get::<GompParallel>(b"GOMP_parallel\0").ok().map(|symbol| *symbol) }
}

#[cfg(not(target_os = "linux"))]
fn find_gomp() -> Option<GompParallel> {
    None
}

/// Calls `f` with every task, on as many threads as libtorch uses, and returns when all are done. Threads take the next
/// task when they are done with one, so what `f` does must not depend on which thread does it.
///
/// # Panics
/// If `f` does; tasks that were not begun by then are left out.
///
/// ```
/// let mut squares = vec![0; 100];
/// let tasks = squares.chunks_mut(7).enumerate();
/// nb_model::pool::for_each(tasks, |(piece, out)| {
///     out.iter_mut().enumerate().for_each(|(i, out)| *out = (7 * piece + i).pow(2));
/// });
/// assert_eq!((squares[6], squares[99]), (36, 9801));
/// ```
pub fn for_each<T>(tasks: impl ExactSizeIterator<Item = T> + Send, f: impl Fn(T) + Sync) {
    for_each_with(tasks, || (), |(), task| f(task));
}

/// As [`for_each`], with a value for each thread to work in.
///
/// # Panics
/// As [`for_each`].
pub fn for_each_with<T, S>(
    tasks: impl ExactSizeIterator<Item = T> + Send,
    scratch: impl Fn() -> S + Sync,
    f: impl Fn(&mut S, T) + Sync,
) {
    let threads = tasks.len().min(usize::try_from(tch::get_num_threads()).unwrap_or(1));
    if threads <= 1 {
        let mut own = scratch();
        return tasks.for_each(|task| f(&mut own, task));
    }
    let tasks = Mutex::new(Some(tasks));
    let panicked: Mutex<Option<Box<dyn Any + Send>>> = Mutex::new(None);
    run(threads, &|| {
        let work = AssertUnwindSafe(|| {
            let mut own = None;
            while let Some(task) = next(&tasks) {
                f(own.get_or_insert_with(&scratch), task);
            }
        });
        // A panic may not cross the C function; nobody sees what it left half done, since the caller panics too.
        if let Err(panic) = catch_unwind(work) {
            *lock(&tasks) = None;
            *lock(&panicked) = Some(panic);
        }
    });
    if let Some(panic) = panicked.into_inner().unwrap_or_else(PoisonError::into_inner) {
        resume_unwind(panic);
    }
}

fn next<I: Iterator>(tasks: &Mutex<Option<I>>) -> Option<I::Item> {
    lock(tasks).as_mut()?.next()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Calls `worker`, which does not unwind, on each of `threads` threads.
fn run<W: Fn() + Sync>(threads: usize, worker: &W) {
    extern "C" fn body<W: Fn() + Sync>(data: *mut c_void) {
        // SAFETY: `data` is the `&W` of the call below, which outlives the parallel region.
        let worker = unsafe { &*data.cast::<W>() };
        worker();
    }
    match *GOMP {
        // SAFETY: the function is what `find_gomp` says; `body` reads `worker` as the `&W` that it is, from several
        // threads at once, which `W: Sync` allows, and it is over before this call returns; it does not unwind.
        Some(parallel) => unsafe {
            parallel(body::<W>, std::ptr::from_ref(worker).cast_mut().cast(), threads as c_uint, 0);
        },
        None => rayon::scope(|scope| (0..threads).for_each(|_| scope.spawn(|_| worker()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_is_done_once() {
        let mut counts = vec![0; 1000];
        for_each(counts.iter_mut(), |count| *count += 1);
        assert!(counts.iter().all(|count| *count == 1));
        for_each(std::iter::empty::<u8>(), |_| panic!("there is no task"));
    }

    #[test]
    fn scratch_belongs_to_one_thread() {
        let sums = Mutex::new(0);
        for_each_with(
            0..1000_usize,
            || 0_usize,
            |own, i| {
                *own += 1;
                *sums.lock().unwrap() += i;
            },
        );
        assert_eq!(sums.into_inner().unwrap(), 499_500);
    }

    #[test]
    #[should_panic(expected = "task 3")]
    fn a_panic_reaches_the_caller() {
        for_each(0..10, |i| assert_ne!(i, 3, "task 3"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn libtorchs_team_is_found() {
        assert!(GOMP.is_some());
    }
}

//! The threads that kernels run on: libtorch's team if there is one, otherwise rayon's pool.
//!
//! The products of libtorch run on OpenMP threads, which spin for a while after each product, ready for the next one. A second
//! pool would compete with them for the cores. So the pieces of a kernel run on the same team, through the call to which a
//! compiler translates `#pragma omp parallel`: `GOMP_parallel` of GNU's OpenMP, which comes with libtorch's builds for Linux.
//! In a process without it, the pieces run on rayon's threads.
#![expect(unsafe_code, reason = "calls C functions, one with a pointer to a closure; the calls state why this is safe")]

use std::any::Any;
use std::ffi::{c_int, c_uint, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

/// The argument of the last [`set`]; 0 before the first.
static COUNT: AtomicUsize = AtomicUsize::new(0);

static OPENMP: LazyLock<Option<OpenMp>> = LazyLock::new(OpenMp::find);

/// The OpenMP functions that this module calls.
#[derive(Debug, Clone, Copy)]
struct OpenMp {
    /// `void GOMP_parallel(void (*body)(void *), void *data, unsigned threads, unsigned flags)`: calls `body(data)` on each of
    /// the team's threads, the caller's included, and returns when all calls have returned.
    parallel: unsafe extern "C" fn(extern "C" fn(*mut c_void), *mut c_void, c_uint, c_uint),
    /// `int omp_get_max_threads(void)`: the size of the team that the calling thread would get.
    max_threads: unsafe extern "C" fn() -> c_int,
}

impl OpenMp {
    #[cfg(target_os = "linux")]
    fn find() -> Option<Self> {
        let program = libloading::os::unix::Library::this();
        // SAFETY: a symbol of this process with one of these names belongs to GNU's OpenMP or to a library that replaces it,
        // and has its interface. The library stays loaded as long as the process: libtorch depends on it.
        unsafe {
            let parallel = program.get(b"GOMP_parallel\0").ok()?;
            let max_threads = program.get(b"omp_get_max_threads\0").ok()?;
            Some(Self { parallel: *parallel, max_threads: *max_threads })
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn find() -> Option<Self> {
        None
    }
}

/// The owner of the threads that kernels run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// The OpenMP team of a library in this process, such as libtorch.
    OpenMp,
    /// Rayon's global pool.
    Rayon,
}

/// Returns the owner of the threads, which is detected at the first use and does not change.
pub fn backend() -> Backend {
    if OPENMP.is_some() { Backend::OpenMp } else { Backend::Rayon }
}

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

/// Returns the number of threads that kernels use: the argument of the last [`set`]. Before the first [`set`], it is the size
/// of OpenMP's team if there is one (with libtorch: its number of threads), otherwise the number of processors.
pub fn count() -> usize {
    static PROCESSORS: LazyLock<usize> = LazyLock::new(|| std::thread::available_parallelism().map_or(1, Into::into));
    match (COUNT.load(Ordering::Relaxed), *OPENMP) {
        (0, None) => *PROCESSORS,
        // SAFETY: the function is the one that `OpenMp::find` describes, and has no precondition.
        (0, Some(openmp)) => usize::try_from(unsafe { (openmp.max_threads)() }).unwrap_or(1).max(1),
        (threads, _) => threads,
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
    let panicked: Mutex<Option<Box<dyn Any + Send>>> = Mutex::new(None);
    run(*OPENMP, threads, &|| {
        let work = AssertUnwindSafe(|| run_tasks(&tasks, &scratch, &f));
        // A panic must not unwind through the C function. No code reads the state it leaves behind, since the caller panics
        // too.
        if let Err(panic) = catch_unwind(work) {
            *lock(&tasks) = None;
            *lock(&panicked) = Some(panic);
        }
    });
    if let Some(panic) = panicked.into_inner().unwrap_or_else(PoisonError::into_inner) {
        resume_unwind(panic);
    }
}

/// Takes tasks until none is left.
fn run_tasks<I: Iterator, S>(tasks: &Mutex<Option<I>>, scratch: &impl Fn() -> S, f: &impl Fn(&mut S, I::Item)) {
    let mut thread_scratch = None;
    while let Some(task) = next(tasks) {
        f(thread_scratch.get_or_insert_with(scratch), task);
    }
}

fn next<I: Iterator>(tasks: &Mutex<Option<I>>) -> Option<I::Item> {
    lock(tasks).as_mut()?.next()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Calls `worker`, which does not unwind, on each of `threads` threads, of OpenMP or else of rayon.
fn run<W: Fn() + Sync>(openmp: Option<OpenMp>, threads: usize, worker: &W) {
    extern "C" fn body<W: Fn() + Sync>(data: *mut c_void) {
        // SAFETY: `data` is the `&W` of the call below, which outlives the parallel region.
        let worker = unsafe { &*data.cast::<W>() };
        worker();
    }
    match openmp {
        // SAFETY: the function is the one that `OpenMp` describes. `body` reads `worker` as the `&W` that it is, from several
        // threads at once, which `W: Sync` allows. All its calls return before this one does, and none unwinds.
        Some(openmp) => unsafe {
            (openmp.parallel)(body::<W>, std::ptr::from_ref(worker).cast_mut().cast(), threads as c_uint, 0);
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
            |scratch, i| {
                *scratch += 1;
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

    #[test]
    #[should_panic(expected = "found 0, expected 1 or more")]
    fn zero_threads_are_refused() {
        set(0);
    }

    #[test]
    fn either_backend_runs_the_worker_on_each_thread() {
        for openmp in [None, *OPENMP] {
            let calls = AtomicUsize::new(0);
            run(openmp, 3, &|| _ = calls.fetch_add(1, Ordering::Relaxed));
            assert_eq!(calls.into_inner(), 3, "{:?}", backend());
        }
        assert!(count() > 0);
    }
}

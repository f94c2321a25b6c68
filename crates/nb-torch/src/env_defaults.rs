//! Defaults of environment variables that libtorch reads when it starts. A value set by the user takes precedence.
//!
//! Programs call these functions first in `main`: once the process has a second thread, they change nothing, because another
//! thread may be reading the environment.
#![expect(unsafe_code, reason = "sets environment variables; the argument is at the call")]

/// The variables that are read when the first matrix product is compiled: one by oneDNN, one by libtorch's layer above it,
/// which caches as many again of each kind.
const CAPACITIES: [&str; 2] = ["ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"];
/// A step of teacher and student has about forty shapes.
const ENOUGH: &str = "64";

/// Silences the log of libtorch's network code. It only repeats, with function addresses, this project's errors about lost
/// processes.
pub fn silence_cpp_log() {
    set_default("TORCH_CPP_LOG_LEVEL", "ERROR");
}

/// Limits the cache of compiled matrix products to the last 64, in place of 1,024.
///
/// Each batch of packed tokens has its own number of rows, so a product compiled for one batch is seldom useful for another.
/// The full cache saves 1 % of the time on short texts, but it grows for hundreds of steps and finally takes 0.8 GB.
pub fn limit_primitive_cache() {
    for name in CAPACITIES {
        set_default(name, ENOUGH);
    }
}

fn set_default(name: &str, value: &str) {
    if std::env::var_os(name).is_none() && is_only_thread() {
        // SAFETY: this is the only thread of the process, so nothing reads the environment at the same time.
        unsafe { std::env::set_var(name, value) };
    }
}

/// Returns true if the process certainly has no other thread.
fn is_only_thread() -> bool {
    std::fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1)
}

//! What libtorch reads from the environment when it begins: how many compiled products are kept, and what is logged.
#![allow(unsafe_code)]

/// The variables that are read when the first product is compiled: by oneDNN, and by what libtorch calls it through, which keeps
/// as many again of each kind.
const CAPACITIES: [&str; 2] = ["ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"];
/// A step of teacher and student has some forty shapes.
const ENOUGH: &str = "64";

/// Has libtorch's network code not tell in words of its own, with addresses of functions, what errors here say of lost processes.
/// To be called first in `main`; a value that the user has set stays.
pub fn keep_quiet() {
    set("TORCH_CPP_LOG_LEVEL", "ERROR");
}

/// Has the last 64 products kept in place of 1,024. Batches of packed tokens have a number of rows of their own, so what is
/// compiled for one is seldom of use to another: all of it together saves 1 % of the time of short texts, takes 0.8 GB in the
/// end, and grows for hundreds of steps. To be called first in `main`; a value that the user has set stays.
pub fn keep_few() {
    for name in CAPACITIES {
        set(name, ENOUGH);
    }
}

fn set(name: &str, value: &str) {
    if std::env::var_os(name).is_none() {
        // SAFETY: `main` has started no thread yet, so none reads the environment meanwhile.
        unsafe { std::env::set_var(name, value) };
    }
}

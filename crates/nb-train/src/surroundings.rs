//! What libtorch reads from the environment when it begins: how many compiled products oneDNN keeps, and what is logged.
#![allow(unsafe_code)]

/// The variable that oneDNN reads when it compiles its first product.
const CAPACITY: &str = "ONEDNN_PRIMITIVE_CACHE_CAPACITY";
/// A step of teacher and student has some forty shapes.
const ENOUGH: &str = "64";

/// Has libtorch's network code not tell in words of its own, with addresses of functions, what errors here say of lost processes.
/// To be called first in `main`; a value that the user has set stays.
pub fn keep_quiet() {
    set("TORCH_CPP_LOG_LEVEL", "ERROR");
}

/// Has oneDNN keep the last 64 products in place of 1,024. Batches of packed tokens have a number of rows of their own, so what
/// is compiled for one is hardly ever of use to another, and takes 0.4 GB in the end. To be called first in `main`; a value
/// that the user has set stays.
pub fn keep_few() {
    set(CAPACITY, ENOUGH);
}

fn set(name: &str, value: &str) {
    if std::env::var_os(name).is_none() {
        // SAFETY: `main` has started no thread yet, so none reads the environment meanwhile.
        unsafe { std::env::set_var(name, value) };
    }
}

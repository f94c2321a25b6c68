//! Bounds the products that oneDNN keeps compiled.
#![allow(unsafe_code)]

/// The variable that oneDNN reads when it compiles its first product.
const CAPACITY: &str = "ONEDNN_PRIMITIVE_CACHE_CAPACITY";
/// A step of teacher and student has some forty shapes.
const ENOUGH: &str = "64";

/// Has oneDNN keep the last 64 products in place of 1,024. Batches of packed tokens have a number of rows of their own, so what
/// is compiled for one is hardly ever of use to another, and takes 0.4 GB in the end. To be called first in `main`; a value
/// that the user has set stays.
pub fn keep_few() {
    if std::env::var_os(CAPACITY).is_none() {
        // SAFETY: `main` has started no thread yet, so none reads the environment meanwhile.
        unsafe { std::env::set_var(CAPACITY, ENOUGH) };
    }
}

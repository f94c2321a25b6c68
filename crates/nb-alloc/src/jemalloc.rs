//! jemalloc as the program's allocator, and its settings.
#![allow(unsafe_code)]

use std::ptr;

use tikv_jemalloc_sys::mallctl;

/// The allocator of the program's Rust code. C and C++ code of shared libraries finds jemalloc by name: the program defines
/// `malloc` and related functions, and the dynamic linker prefers the program's definitions.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// * `oversize_threshold:0`: blocks of 8 MB and more are treated like others. By default, they return to the system
///   when they are freed, and a step that allocates them again waits for zeroed pages.
/// * `dirty_decay_ms:-1`: the program keeps free pages until [`purge`]. By default, they return to the system
///   gradually, including pages that the next step needs: even with a decay of 60 seconds, a step of teacher and
///   student takes 1.5 times as long.
const SETTINGS: &[u8; 39] = b"oversize_threshold:0,dirty_decay_ms:-1\0";

/// The symbol from which jemalloc reads a program's settings.
// SAFETY: jemalloc declares `const char *malloc_conf` and reads it before `main`: a pointer to bytes that live as long as the
// program and end with a zero. jemalloc defines a weak symbol of the same name and type, which this one replaces.
#[unsafe(export_name = "malloc_conf")]
static MALLOC_CONF: &[u8; 39] = SETTINGS;

/// Returns all free pages to the system. Later allocations then need a new page per 4 kB, so call this at most every
/// few seconds, not in every step.
pub fn purge() {
    // 4096 means all arenas.
    let name = c"arena.4096.purge";
    // SAFETY: a command without input and output takes null for both. It fails only for an unknown name.
    let failed = unsafe { mallctl(name.as_ptr(), ptr::null_mut(), ptr::null_mut(), ptr::null_mut(), 0) };
    debug_assert_eq!(failed, 0);
}

/// Returns the number of free pages that the program keeps, over all arenas, or `None` if jemalloc does not report it.
pub(crate) fn free_pages() -> Option<u64> {
    let (mut epoch, mut pages) = (1_u64, 0_usize);
    let size = &mut size_of::<usize>();
    // SAFETY: all pointers are valid and have the types that jemalloc's manual gives for these names. The first call
    // refreshes the statistics that the second reads.
    let failed = unsafe {
        let epoch: *mut u64 = &mut epoch;
        let refreshed = mallctl(c"epoch".as_ptr(), ptr::null_mut(), ptr::null_mut(), epoch.cast(), size_of::<u64>());
        refreshed | mallctl(c"stats.arenas.4096.pdirty".as_ptr(), (&raw mut pages).cast(), size, ptr::null_mut(), 0)
    };
    (failed == 0).then_some(pages as u64)
}

#[cfg(test)]
mod tests {
    use std::ffi::{CStr, c_uint, c_void};

    use tch::{Device, Kind, Tensor};

    use super::*;
    use crate::watch::resident_pages;

    /// Reads the value `name` from jemalloc, with `address` as its argument if there is one. Returns `None` if jemalloc
    /// reports an error.
    fn read_value<T: Default>(name: &CStr, mut address: Option<*const c_void>) -> Option<T> {
        let (mut value, mut size) = (T::default(), size_of::<T>());
        let (new, new_size) = match &mut address {
            Some(address) => (ptr::from_mut(address).cast(), size_of::<*const c_void>()),
            None => (ptr::null_mut(), 0),
        };
        // SAFETY: all pointers are valid for the given sizes, which jemalloc compares with those of its types.
        let failed = unsafe { mallctl(name.as_ptr(), ptr::from_mut(&mut value).cast(), &mut size, new, new_size) };
        (failed == 0).then_some(value)
    }

    #[test]
    fn jemalloc_reads_the_settings() {
        assert_eq!(read_value::<usize>(c"opt.oversize_threshold", None), Some(0));
        assert_eq!(read_value::<isize>(c"opt.dirty_decay_ms", None), Some(-1));
    }

    #[test]
    fn libtorch_allocates_with_jemalloc() {
        let arena = |address: *const c_void| read_value::<c_uint>(c"arenas.lookup", Some(address));
        for numel in [3, 1 << 22] {
            let tensor = Tensor::zeros([numel], (Kind::Float, Device::Cpu));
            assert!(arena(tensor.data_ptr()).is_some(), "{numel}");
        }
        let (on_heap, on_stack) = (vec![0_u8; 100], 0_u8);
        assert!(arena(on_heap.as_ptr().cast()).is_some());
        assert!(arena((&raw const on_stack).cast()).is_none());
    }

    #[test]
    fn free_pages_stay_until_they_are_purged() {
        const PAGES: u64 = 1 << 14; // of 4 kB: more than the rest of the test uses
        let before = resident_pages().unwrap();
        drop(Tensor::ones([PAGES as i64 * 1024], (Kind::Float, Device::Cpu)));
        assert!(resident_pages().unwrap() > before + PAGES / 2);
        assert!(free_pages().unwrap() > PAGES / 2);
        purge();
        assert!(free_pages().unwrap() < PAGES / 2);
        assert!(resident_pages().unwrap() < before + PAGES / 2);
    }
}

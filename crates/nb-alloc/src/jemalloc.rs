//! jemalloc in place of the C library's allocator, and its settings.
#![allow(unsafe_code)]

use std::ptr;

use tikv_jemalloc_sys::mallctl;

/// The program's own allocations. The C and C++ of shared libraries finds jemalloc by name: the program defines `malloc` and
/// its kin, and whoever asks the dynamic linker for them is given the program's.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// * `oversize_threshold:0`: blocks of 8 MB and more are like others. By default they go back to the system when they are
///   freed, and a step that asks for them again waits for zeroed pages.
/// * `dirty_decay_ms:-1`: what is free stays with the program until [`purge`]. By default it trickles away, pages that the
///   next step asks for among them: with 60 seconds a step of teacher and student still takes 1.5 times as long.
const SETTINGS: &[u8; 39] = b"oversize_threshold:0,dirty_decay_ms:-1\0";

/// Where jemalloc looks for a program's settings.
// SAFETY: jemalloc declares `const char *malloc_conf` and reads it before `main`: a pointer to bytes that live as long as the
// program, with a zero at their end. jemalloc itself defines the name too, of the same type and weakly: this one counts.
#[unsafe(export_name = "malloc_conf")]
static MALLOC_CONF: &[u8; 39] = SETTINGS;

/// Gives the pages of all that is free back to the system. What is asked for next costs a new page for each 4 kB, so this is for
/// every few seconds, not for every step.
pub fn purge() {
    // 4096 stands for all arenas.
    let name = c"arena.4096.purge";
    // SAFETY: an action without value and answer, which takes null for both. It fails for an unknown name alone.
    let failed = unsafe { mallctl(name.as_ptr(), ptr::null_mut(), ptr::null_mut(), ptr::null_mut(), 0) };
    debug_assert_eq!(failed, 0);
}

/// Pages that are free and not given back, in all arenas; none where jemalloc does not say.
pub(crate) fn free_pages() -> Option<u64> {
    let (mut epoch, mut pages) = (1_u64, 0_usize);
    let size = &mut size_of::<usize>();
    // SAFETY: all places are there, of the types that jemalloc's manual gives for these names. The first refreshes what the
    // second tells.
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
    use crate::watch::own_pages;

    /// What jemalloc answers to `name`, where it has an answer; asked about an address if there is one.
    fn ask<T: Default>(name: &CStr, mut address: Option<*const c_void>) -> Option<T> {
        let (mut answer, mut size) = (T::default(), size_of::<T>());
        let (new, new_size) = match &mut address {
            Some(address) => (ptr::from_mut(address).cast(), size_of::<*const c_void>()),
            None => (ptr::null_mut(), 0),
        };
        // SAFETY: all places are there and as large as said; jemalloc compares the sizes with those of its own types.
        let failed = unsafe { mallctl(name.as_ptr(), ptr::from_mut(&mut answer).cast(), &mut size, new, new_size) };
        (failed == 0).then_some(answer)
    }

    #[test]
    fn the_settings_are_read() {
        assert_eq!(ask::<usize>(c"opt.oversize_threshold", None), Some(0));
        assert_eq!(ask::<isize>(c"opt.dirty_decay_ms", None), Some(-1));
    }

    #[test]
    fn libtorchs_memory_is_jemallocs() {
        let arena = |address: *const c_void| ask::<c_uint>(c"arenas.lookup", Some(address));
        for numel in [3, 1 << 22] {
            let tensor = Tensor::zeros([numel], (Kind::Float, Device::Cpu));
            assert!(arena(tensor.data_ptr()).is_some(), "{numel}");
        }
        let (own, on_stack) = (vec![0_u8; 100], 0_u8);
        assert!(arena(own.as_ptr().cast()).is_some());
        assert!(arena((&raw const on_stack).cast()).is_none());
    }

    #[test]
    fn what_is_free_stays_until_it_is_given_back() {
        const PAGES: u64 = 1 << 14; // of 4 kB: more than anything else here takes
        let before = own_pages().unwrap();
        drop(Tensor::ones([PAGES as i64 * 1024], (Kind::Float, Device::Cpu)));
        assert!(own_pages().unwrap() > before + PAGES / 2);
        assert!(free_pages().unwrap() > PAGES / 2);
        purge();
        assert!(free_pages().unwrap() < PAGES / 2);
        assert!(own_pages().unwrap() < before + PAGES / 2);
    }
}

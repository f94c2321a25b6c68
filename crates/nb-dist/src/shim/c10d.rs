//! Safe types over the shim in `cpp/shim.cpp`.
#![allow(unsafe_code)]
// Every call passes pointers that are valid during the call: C strings and slices are borrowed for it, handles are
// created by `open` and freed only by `drop`. A tensor is passed as the pointer to its `at::Tensor`, which the shim
// copies (one more reference to its memory), so a pending exchange may outlive the Rust value. The result is either a
// handle or a message, which `checked` copies and frees. Tests in `group/tests.rs` call every function.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::net::TcpListener;
use std::os::fd::IntoRawFd;
use std::ptr::{NonNull, null_mut};
use std::time::Duration;

use tch::Tensor;

use super::{Reduce, StoreAddress, StoreHost};

#[repr(C)]
struct RawStore(c_void);
#[repr(C)]
struct RawGroup(c_void);
#[repr(C)]
struct RawWork(c_void);

unsafe extern "C" {
    fn nb_dist_free(memory: *mut c_void);
    fn nb_store_open(
        host: *const c_char,
        port: u16,
        serves: c_int,
        listener: c_int,
        prefix: *const c_char,
        timeout_ms: i64,
        out: *mut *mut RawStore,
        error: *mut *mut c_char,
    ) -> c_int;
    fn nb_store_set(
        store: *mut RawStore,
        key: *const c_char,
        bytes: *const u8,
        len: usize,
        error: *mut *mut c_char,
    ) -> c_int;
    fn nb_store_get(
        store: *mut RawStore,
        key: *const c_char,
        bytes: *mut *mut u8,
        len: *mut usize,
        error: *mut *mut c_char,
    ) -> c_int;
    fn nb_store_close(store: *mut RawStore);
    fn nb_group_open(
        store: *mut RawStore,
        rank: c_int,
        size: c_int,
        address: *const c_char,
        timeout_ms: i64,
        out: *mut *mut RawGroup,
        error: *mut *mut c_char,
    ) -> c_int;
    #[cfg(nb_nccl)]
    fn nb_group_open_nccl(
        store: *mut RawStore,
        rank: c_int,
        size: c_int,
        timeout_ms: i64,
        out: *mut *mut RawGroup,
        error: *mut *mut c_char,
    ) -> c_int;
    fn nb_group_set_timeout(group: *mut RawGroup, timeout_ms: i64, error: *mut *mut c_char) -> c_int;
    fn nb_group_close(group: *mut RawGroup);
    fn nb_group_all_reduce(
        group: *mut RawGroup,
        tensor: *const c_void,
        op: c_int,
        out: *mut *mut RawWork,
        error: *mut *mut c_char,
    ) -> c_int;
    fn nb_group_broadcast(
        group: *mut RawGroup,
        tensor: *const c_void,
        root: c_int,
        out: *mut *mut RawWork,
        error: *mut *mut c_char,
    ) -> c_int;
    fn nb_work_wait(work: *mut RawWork, ms: i64, done: *mut c_int, error: *mut *mut c_char) -> c_int;
    fn nb_work_close(work: *mut RawWork);
}

/// A key-value store for small values that processes exchange besides tensors. One process hosts it.
#[derive(Debug)]
pub(crate) struct Store(NonNull<RawStore>);

// SAFETY: c10d's stores lock each of their operations, and nothing in them is bound to a thread.
unsafe impl Send for Store {}

impl Store {
    pub(crate) const AVAILABLE: bool = true;

    /// Connects to the store, or hosts it, within `timeout`.
    pub(crate) fn open(at: &StoreAddress<'_>, timeout: Duration) -> Result<Self, String> {
        let (host, prefix) = (c_string(at.host)?, c_string(at.prefix)?);
        let serves = c_int::from(at.hosted_by != StoreHost::Other);
        let listener = match at.hosted_by {
            StoreHost::ThisOnLoopback => {
                let bound = TcpListener::bind((at.host, at.port));
                bound.map_err(|e| format!("cannot listen on this address: {e}"))?.into_raw_fd() // the store owns it from here on
            }
            _ => -1,
        };
        // SAFETY: see the top of the file.
        handle(|out, error| unsafe {
            nb_store_open(host.as_ptr(), at.port, serves, listener, prefix.as_ptr(), millis(timeout), out, error)
        })
        .map(Self)
    }

    pub(crate) fn set(&self, key: &str, value: &[u8]) -> Result<(), String> {
        let key = c_string(key)?;
        // SAFETY: see the top of the file.
        checked(|error| unsafe { nb_store_set(self.0.as_ptr(), key.as_ptr(), value.as_ptr(), value.len(), error) })
    }

    /// Returns the value of a key, or `None` if no process has set it yet.
    pub(crate) fn get(&self, key: &str) -> Result<Option<Vec<u8>>, String> {
        let key = c_string(key)?;
        let (mut bytes, mut len) = (null_mut(), 0);
        // SAFETY: see the top of the file.
        checked(|error| unsafe { nb_store_get(self.0.as_ptr(), key.as_ptr(), &mut bytes, &mut len, error) })?;
        if bytes.is_null() {
            return Ok(None);
        }
        // SAFETY: the shim has allocated `len` + 1 bytes; they are copied, then freed once.
        let value = unsafe { std::slice::from_raw_parts(bytes, len) }.to_vec();
        // SAFETY: as above.
        unsafe { nb_dist_free(bytes.cast()) };
        Ok(Some(value))
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // SAFETY: created by `open`, freed only here.
        unsafe { nb_store_close(self.0.as_ptr()) }
    }
}

/// A process group.
#[derive(Debug)]
pub(crate) struct Backend(NonNull<RawGroup>);

impl Backend {
    /// Joins a group that exchanges tensors on GPUs through NCCL, as `rank` of `size`.
    #[cfg(nb_nccl)]
    pub(crate) fn nccl(store: &Store, rank: usize, size: usize, timeout: Duration) -> Result<Self, String> {
        let (rank, size) = (rank as c_int, size as c_int);
        // SAFETY: see the top of the file; the group holds a reference to the store.
        handle(|out, error| unsafe { nb_group_open_nccl(store.0.as_ptr(), rank, size, millis(timeout), out, error) })
            .map(Self)
    }

    /// Fails: this build has no NCCL.
    #[cfg(not(nb_nccl))]
    pub(crate) fn nccl(_: &Store, _: usize, _: usize, _: Duration) -> Result<Self, String> {
        Err("this program was built without NCCL's headers".to_owned())
    }

    /// Joins a group that exchanges tensors on the CPU through Gloo, as `rank` of `size` processes that share `store`. The others
    /// reach this process at `address`.
    pub(crate) fn gloo(
        store: &Store,
        rank: usize,
        size: usize,
        address: &str,
        timeout: Duration,
    ) -> Result<Self, String> {
        let address = c_string(address)?;
        let (rank, size) = (rank as c_int, size as c_int);
        // SAFETY: see the top of the file; the group holds a reference to the store.
        handle(|out, error| unsafe {
            nb_group_open(store.0.as_ptr(), rank, size, address.as_ptr(), millis(timeout), out, error)
        })
        .map(Self)
    }

    /// Sets the time limit of later exchanges.
    pub(crate) fn set_timeout(&self, timeout: Duration) -> Result<(), String> {
        // SAFETY: see the top of the file.
        checked(|error| unsafe { nb_group_set_timeout(self.0.as_ptr(), millis(timeout), error) })
    }

    /// Starts an all-reduce of a contiguous tensor in place.
    pub(crate) fn all_reduce(&self, tensor: &Tensor, reduce: Reduce) -> Result<Pending, String> {
        let op = match reduce {
            Reduce::Sum => 0,
            Reduce::Max => 1,
        };
        // SAFETY: see the top of the file.
        handle(|out, error| unsafe { nb_group_all_reduce(self.0.as_ptr(), tensor.as_ptr().cast(), op, out, error) })
            .map(Pending)
    }

    /// Starts a broadcast, which overwrites a contiguous tensor with that of process 0.
    pub(crate) fn broadcast(&self, tensor: &Tensor) -> Result<Pending, String> {
        // SAFETY: see the top of the file.
        handle(|out, error| unsafe { nb_group_broadcast(self.0.as_ptr(), tensor.as_ptr().cast(), 0, out, error) })
            .map(Pending)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        // SAFETY: created by `gloo` or `nccl`, freed only here.
        unsafe { nb_group_close(self.0.as_ptr()) }
    }
}

/// An exchange that has started.
#[derive(Debug)]
pub(crate) struct Pending(NonNull<RawWork>);

impl Pending {
    /// Waits for the exchange for at most `timeout`. Returns true if it is complete.
    pub(crate) fn wait(&self, timeout: Duration) -> Result<bool, String> {
        let mut done = 0;
        // SAFETY: see the top of the file.
        checked(|error| unsafe { nb_work_wait(self.0.as_ptr(), millis(timeout), &mut done, error) })?;
        Ok(done != 0)
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        // SAFETY: created by one of [`Backend`]'s exchanges, freed only here.
        unsafe { nb_work_close(self.0.as_ptr()) }
    }
}

/// Converts the status and the message of a call into a result.
fn checked(call: impl FnOnce(*mut *mut c_char) -> c_int) -> Result<(), String> {
    let mut error = null_mut();
    if call(&mut error) == 0 {
        return Ok(());
    }
    if error.is_null() {
        return Err("libtorch failed, and there was no memory for its message".to_owned());
    }
    // SAFETY: the shim has allocated a C string, which is copied, then freed once.
    let text = unsafe { CStr::from_ptr(error) }.to_string_lossy().into_owned();
    // SAFETY: as above.
    unsafe { nb_dist_free(error.cast()) };
    Err(text.lines().next().unwrap_or_default().to_owned()) // further lines are locations in libtorch's source
}

/// Returns the handle that a call creates.
fn handle<T>(call: impl FnOnce(*mut *mut T, *mut *mut c_char) -> c_int) -> Result<NonNull<T>, String> {
    let mut out = null_mut();
    checked(|error| call(&mut out, error))?;
    NonNull::new(out).ok_or_else(|| "libtorch returned nothing".to_owned())
}

fn c_string(text: &str) -> Result<CString, String> {
    CString::new(text).map_err(|_| format!("{text:?} contains a zero byte"))
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

//! Files and folders that appear complete or not at all.
//!
//! Each is written under a temporary name, by default in the folder of its target, then renamed. Readers see the old or
//! the new content, never a part of it. While a folder replaces another, there is a moment without either. A program that
//! has the old file open or mapped still sees the old bytes, because a rename replaces the name and not the file.
//!
//! * [`write()`], [`write_with`]: a whole file in one call, flushed to disk.
//! * [`AtomicFile`]: a file in progress.
//! * [`StagedFolder`]: a folder in progress, which replaces an earlier one.
//! * [`cache_folder`]: the folder for files that can be computed again.
//!
//! The crate has no dependencies. It does not create missing parent folders.

mod atomic_file;
mod cache;
mod staged_folder;
mod temporary;

pub use atomic_file::{AtomicFile, write, write_with};
pub use cache::cache_folder;
pub use staged_folder::StagedFolder;
pub use temporary::is_temporary;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

//! Files and folders that appear complete or not at all.
//!
//! Each is written under a temporary name in the folder of its target, then renamed. Readers see the old content or the new
//! one, and a program that has the old file open or mapped keeps the old bytes: a rename replaces the name and not the file
//! behind it.
//!
//! * [`write()`], [`write_with`]: a whole file in one call, flushed to disk.
//! * [`AtomicFile`]: a file in progress.
//! * [`StagedFolder`]: a folder in progress, which replaces an earlier one.
//!
//! The crate depends on nothing and creates no missing parent folders.

mod atomic_file;
mod staged_folder;
mod temporary;

pub use atomic_file::{AtomicFile, write, write_with};
pub use staged_folder::StagedFolder;
pub use temporary::is_temporary;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

//! CUDA for a program that was linked without it: loads libtorch's CUDA library before anything asks for it.
//!
//! libtorch registers its CUDA backend when `libtorch_cuda.so` is loaded. A program linked against a folder with that library
//! may still not load it, since the linker drops libraries of which no symbol is used. A program linked against a folder
//! without it never does. [`preload`] loads it from the folder of `libtorch_cpu.so`: both must come from one build, so it
//! searches no other folder and no search path.

use std::fs;
use std::path::{Path, PathBuf};

const CPU_LIBRARY: &str = "libtorch_cpu.so";
const CUDA_LIBRARY: &str = "libtorch_cuda.so";

/// The result of [`preload`].
#[derive(Debug)]
pub enum Preload {
    /// The library was loaded from this path. libtorch then finds out whether there is a device.
    Loaded(PathBuf),
    /// This program uses libraries without CUDA.
    WithoutCuda,
    /// The library at this path cannot be loaded, with the reason.
    Failed(PathBuf, libloading::Error),
}

/// Loads `libtorch_cuda.so` if it is next to the `libtorch_cpu.so` that this process uses.
///
/// Call it first in `main`: libtorch looks for CUDA only once.
pub fn preload() -> Preload {
    // Without this file, on other systems, libraries are linked in the usual way.
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let Some(path) = beside_cpu_library(&maps).filter(|path| path.is_file()) else {
        return Preload::WithoutCuda;
    };
    match load(&path) {
        Ok(()) => Preload::Loaded(path),
        Err(error) => Preload::Failed(path, error),
    }
}

/// Returns the path of `libtorch_cuda.so` next to the `libtorch_cpu.so` that the process's memory map names.
fn beside_cpu_library(maps: &str) -> Option<PathBuf> {
    maps.lines()
        // Address, rights, offset, device, inode; then the path, which may contain spaces.
        .filter_map(|line| line.find('/').map(|start| Path::new(&line[start..])))
        .find(|path| path.file_name().is_some_and(|name| name == CPU_LIBRARY))
        .map(|path| path.with_file_name(CUDA_LIBRARY))
}

#[cfg(unix)]
fn load(path: &Path) -> Result<(), libloading::Error> {
    use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_LAZY};

    // SAFETY: loading runs the library's initialisers. `path` is absolute and in the folder of the libtorch that this process
    // already uses, so its code comes from the same build and is equally trusted. Its initialisers only register kernels, for
    // which libtorch's registry takes a lock, and the dynamic linker lets one thread load at a time. The handle is forgotten
    // below: nothing that the library registers is ever unmapped.
    #[expect(unsafe_code, reason = "there is no safe way to load a library by its path; the argument is above")]
    let library = unsafe { Library::open(Some(path), RTLD_LAZY | RTLD_GLOBAL) }?;
    std::mem::forget(library);
    Ok(())
}

#[cfg(not(unix))]
fn load(path: &Path) -> Result<(), libloading::Error> {
    // `beside_cpu_library` finds nothing without /proc.
    unreachable!("{} was found without a memory map", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cuda_library_is_next_to_the_loaded_cpu_library() {
        let maps = "\
55d0c1a00000-55d0c1a01000 r--p 00000000 fe:00 131 /srv/news bert/target/release/nb
7f0000000000-7f0000100000 r--p 00000000 fe:00 777 /usr/lib/libtorch_cpu.so.2.4/decoy.so
7f1000000000-7f1000100000 r-xp 00000000 fe:00 778 /opt/lib torch/lib/libtorch_cpu.so
7f2000000000-7f2000001000 rw-p 00000000 00:00 0 
7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0 [stack]
";
        assert_eq!(beside_cpu_library(maps), Some(PathBuf::from("/opt/lib torch/lib/libtorch_cuda.so")));
        assert_eq!(beside_cpu_library("7f2000000000-7f2000001000 rw-p 00000000 00:00 0 [heap]\n"), None);
    }

    #[test]
    fn a_file_that_is_not_a_library_is_reported_and_not_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(CUDA_LIBRARY);
        fs::write(&path, "no library").unwrap();
        let error = load(&path).unwrap_err();
        assert!(matches!(error, libloading::Error::DlOpen { .. }), "{error:?}");
    }

    #[test]
    fn preload_follows_the_libraries_of_this_process() {
        let has_cuda = fs::read_to_string("/proc/self/maps").ok().and_then(|maps| beside_cpu_library(&maps));
        let has_cuda = has_cuda.is_some_and(|path| path.is_file());
        assert_eq!(matches!(preload(), Preload::Loaded(_)), has_cuda);
    }
}

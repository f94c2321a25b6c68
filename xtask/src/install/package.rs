//! Packages of wheels, and the mark of an installed package.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The mark of a finished installation: a line with size and path for each file that is not a header.
const MARK: &str = "installed.txt";

/// One file that pip downloads.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wheel {
    /// The name of the package.
    pub(crate) name: &'static str,
    /// The version of the package.
    pub(crate) version: &'static str,
    /// The platform tag to request: that of the file, so that any pip accepts it.
    pub(crate) platform: &'static str,
    /// The size of the file.
    pub(crate) bytes: u64,
    /// The SHA-256 of the file, in hexadecimal.
    pub(crate) sha256: &'static str,
}

impl Wheel {
    /// Returns the path of the complete file.
    pub(super) fn path(&self, folder: &Path) -> PathBuf {
        folder.join(format!("{}-{}.whl", self.name, self.version))
    }
}

/// A folder of the cache that is made from wheels.
pub(crate) struct Package {
    /// The name for the user.
    pub(crate) title: String,
    /// The folder to create.
    pub(crate) folder: PathBuf,
    /// The wheels to unpack.
    pub(crate) wheels: &'static [Wheel],
    /// The largest unpacked size.
    pub(crate) unpacked_bytes: u64,
    /// Returns the path of a wheel's entry, relative to the folder; `None` if it is not needed.
    pub(crate) place: fn(&str) -> Option<&str>,
    /// Completes or checks the unpacked folder.
    pub(crate) finish: fn(&Path) -> Result<()>,
}

/// Returns true if `folder` is a complete installation: it is marked, and its files have the recorded sizes.
pub(crate) fn is_installed(folder: &Path) -> bool {
    let Ok(mark) = fs::read_to_string(folder.join(MARK)) else {
        return false;
    };
    !mark.is_empty()
        && mark.lines().all(|line| {
            line.split_once(' ').is_some_and(|(bytes, path)| {
                let found = fs::metadata(folder.join(path)).map(|metadata| metadata.len());
                found.is_ok_and(|found| bytes.parse() == Ok(found))
            })
        })
}

pub(super) fn write_mark(folder: &Path) -> Result<()> {
    let mut lines = Vec::new();
    list_files(folder, folder, &mut lines)?;
    lines.sort();
    let path = folder.join(MARK);
    fs::write(&path, lines.concat()).with_context(|| format!("cannot write {}", path.display()))
}

fn list_files(root: &Path, folder: &Path, lines: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let entry = entry?;
        let path = entry.path();
        if !entry.file_type()?.is_dir() {
            let name = path.strip_prefix(root).unwrap_or(&path);
            lines.push(format!("{} {}\n", entry.metadata()?.len(), name.display()));
        } else if entry.file_name() != "include" {
            // There are thousands of headers: checking each would take longer than the rest of a set-up with nothing to do.
            list_files(root, &path, lines)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_marked_folder_with_all_its_bytes_is_installed() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir_all(root.join("torch/lib")).unwrap();
        fs::create_dir_all(root.join("torch/include")).unwrap();
        fs::write(root.join("torch/lib/libc10.so"), "four").unwrap();
        fs::write(root.join("torch/include/a.h"), "").unwrap();
        assert!(!is_installed(root));
        write_mark(root).unwrap();
        assert_eq!(fs::read_to_string(root.join(MARK)).unwrap(), "4 torch/lib/libc10.so\n");
        assert!(is_installed(root));
        fs::write(root.join("torch/lib/libc10.so"), "fou").unwrap();
        assert!(!is_installed(root));
        fs::write(root.join(MARK), "").unwrap();
        assert!(!is_installed(root));
    }
}

//! Unpacks the needed files of wheels, which are zip files, as a stream.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;

use anyhow::{Context, Result};
use indicatif::ProgressBar;
use zip::ZipArchive;

use super::disk::create_dir;
use super::package::Package;
use crate::{interrupt, progress};

/// Unpacks the wheels of `package` from the folder `wheels` into the folder `into`.
pub(super) fn all(package: &Package, wheels: &Path, into: &Path) -> Result<()> {
    let bar = progress::bytes("unpacking".to_owned(), package.unpacked_bytes);
    for wheel in package.wheels {
        bar.set_message(format!("unpacking {}", wheel.name));
        let path = wheel.path(wheels);
        one(&path, into, package.place, &bar).with_context(|| format!("cannot unpack {}", path.display()))?;
    }
    bar.finish_and_clear();
    Ok(())
}

fn one(wheel: &Path, into: &Path, place: fn(&str) -> Option<&str>, bar: &ProgressBar) -> Result<()> {
    let mut archive = ZipArchive::new(File::open(wheel)?)?;
    let mut buffer = vec![0; 1 << 20];
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index)?;
        // Names that point outside the folder are skipped.
        let (false, Some(_)) = (entry.is_dir(), entry.enclosed_name()) else {
            continue;
        };
        let name = entry.name()?.into_owned();
        let Some(path) = place(&name).map(|path| into.join(path)) else {
            continue;
        };
        if let Some(folder) = path.parent() {
            create_dir(folder)?;
        }
        copy(&mut entry, &path, &mut buffer, bar).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn copy(entry: &mut impl Read, path: &Path, buffer: &mut [u8], bar: &ProgressBar) -> Result<()> {
    let mut file = fs::File::create(path)?;
    loop {
        interrupt::check()?;
        match entry.read(buffer)? {
            0 => return Ok(()),
            n => {
                file.write_all(&buffer[..n])?;
                bar.inc(n as u64);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    #[test]
    fn only_needed_files_are_unpacked_and_nothing_outside() {
        let folder = tempfile::tempdir().unwrap();
        let wheel = folder.path().join("a.whl");
        let mut writer = ZipWriter::new(File::create(&wheel).unwrap());
        for (name, text) in [("torch/lib/a.so", "library"), ("torch/a.py", "python"), ("torch/../../out.so", "evil")] {
            writer.start_file(name, SimpleFileOptions::default()).unwrap();
            writer.write_all(text.as_bytes()).unwrap();
        }
        writer.finish().unwrap();

        let into = folder.path().join("into");
        one(&wheel, &into, |entry| entry.ends_with(".so").then_some(entry), &ProgressBar::hidden()).unwrap();
        assert_eq!(fs::read_to_string(into.join("torch/lib/a.so")).unwrap(), "library");
        assert!(!into.join("torch/a.py").exists());
        assert!(!folder.path().join("out.so").exists());
    }
}

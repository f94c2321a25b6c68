//! The version of libtorch: the required one, and that in a folder.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// The version of libtorch that the bindings (`tch` 0.24) require.
pub(crate) const VERSION: &str = "2.11.0";

/// Headers with the version macros: the first since 2.9, the second before.
const HEADERS: [&str; 2] = ["include/torch/headeronly/version.h", "include/torch/csrc/api/include/torch/version.h"];

/// Reads the version of the libtorch in `root`, without a local part: "2.11.0" for "2.11.0+cu130".
///
/// # Errors
///
/// Neither `build-version` (in the zip files) nor the headers (also in the wheels) contain it.
pub(super) fn read(root: &Path) -> Result<String> {
    if let Ok(text) = fs::read_to_string(root.join("build-version")) {
        let version = text.trim();
        return Ok(version.split_once('+').map_or(version, |(public, _)| public).to_owned());
    }
    HEADERS
        .iter()
        .filter_map(|header| fs::read_to_string(root.join(header)).ok())
        .find_map(|text| from_header(&text))
        .with_context(|| format!("{} has neither build-version nor {}", root.display(), HEADERS[0]))
}

fn from_header(text: &str) -> Option<String> {
    let number = |name: &str| {
        text.lines().find_map(|line| {
            let mut words = line.split_whitespace();
            (words.next() == Some("#define") && words.next() == Some(name)).then(|| words.next())?
        })
    };
    let parts = [number("TORCH_VERSION_MAJOR")?, number("TORCH_VERSION_MINOR")?, number("TORCH_VERSION_PATCH")?];
    Some(parts.join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_s_macros_make_a_version() {
        let text = "#pragma once\n/// major\n#define TORCH_VERSION_MAJOR 2\n#define TORCH_VERSION_MINOR 11\n\
                    #define TORCH_VERSION_PATCH 0\n#define TORCH_VERSION \\\n  \"2.11.0\"\n";
        assert_eq!(from_header(text).as_deref(), Some("2.11.0"));
        assert_eq!(from_header("#include <torch/headeronly/version.h>\n"), None);
    }

    #[test]
    fn build_version_counts_without_its_local_part() {
        let root = tempfile::tempdir().unwrap();
        assert!(read(root.path()).is_err());
        fs::write(root.path().join("build-version"), "2.11.0+cu130\n").unwrap();
        assert_eq!(read(root.path()).unwrap(), "2.11.0");
    }
}

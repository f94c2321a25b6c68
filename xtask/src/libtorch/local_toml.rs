//! `.cargo/local.toml`: cargo's settings for this machine, so that plain `cargo build` and editors work.
//!
//! `.cargo/config.toml` includes it, and git ignores it. It is written only if it changes, since cargo rebuilds
//! everything that was built with other flags.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::project;

fn path() -> PathBuf {
    project::root().join(".cargo").join("local.toml")
}

/// Returns the folder that an earlier set-up chose for a variable; `None` if there is none or the file is invalid.
pub(crate) fn read(variable: &str) -> Option<PathBuf> {
    parse(variable, &fs::read_to_string(path()).ok()?)
}

/// Makes cargo use the libtorch in `libtorch` and, if given, Gloo's headers in `gloo` and the C++ compiler `cxx`.
pub(crate) fn write(libtorch: &Path, gloo: Option<&Path>, cxx: Option<&str>) -> Result<()> {
    let (path, text) = (path(), render(libtorch, gloo, cxx)?);
    match fs::read_to_string(&path) {
        Ok(old) if old == text => return Ok(()),
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
    // Atomically: a cargo that starts meanwhile reads the old file or the new one.
    nb_files::write(&path, text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
}

/// Returns the flags for rustc and rustdoc with which programs find the libraries of `libtorch` at run time.
pub(crate) fn rpath_flags(libtorch: &Path) -> Result<[String; 2]> {
    let lib = libtorch.join("lib");
    let lib = lib.to_str().with_context(|| format!("{} is not UTF-8, which cargo requires", lib.display()))?;
    Ok(["-C".to_owned(), format!("link-arg=-Wl,-rpath,{lib}")])
}

fn render(libtorch: &Path, gloo: Option<&Path>, cxx: Option<&str>) -> Result<String> {
    // A JSON string is also a TOML string.
    let root = serde_json::to_string(libtorch)?;
    let [option, argument] = rpath_flags(libtorch)?;
    let flags = format!("{}, {}", serde_json::to_string(&option)?, serde_json::to_string(&argument)?);
    let gloo = match gloo {
        Some(folder) => format!("{} = {}\n", project::GLOO_INCLUDE, serde_json::to_string(folder)?),
        None => String::new(),
    };
    let cxx = cxx.map(|cxx| format!("CXX = {cxx:?}\n")).unwrap_or_default();
    Ok(format!(
        "# Written by `cargo xtask setup`: the location of libtorch on this machine.\n\
         [env]\nLIBTORCH = {root}\n{gloo}{cxx}\n[build]\nrustflags = [{flags}]\nrustdocflags = [{flags}]\n"
    ))
}

fn parse(variable: &str, text: &str) -> Option<PathBuf> {
    let value = text.lines().find_map(|line| line.strip_prefix(variable)?.strip_prefix(" = "))?;
    serde_json::from_str(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_names_libtorch_and_gives_programs_a_path_to_it() {
        let text = render(Path::new("/c/torch"), None, None).unwrap();
        let expected = "# Written by `cargo xtask setup`: the location of libtorch on this machine.\n[env]\n\
            LIBTORCH = \"/c/torch\"\n\n[build]\nrustflags = [\"-C\", \"link-arg=-Wl,-rpath,/c/torch/lib\"]\n\
            rustdocflags = [\"-C\", \"link-arg=-Wl,-rpath,/c/torch/lib\"]\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn written_values_are_read_back() {
        for root in ["/with a blank/torch", "/with \"quotes\"/torch", "/ü/torch"] {
            let text = render(Path::new(root), Some(Path::new("/g h")), Some("clang++")).unwrap();
            assert_eq!(parse("LIBTORCH", &text), Some(PathBuf::from(root)));
            assert_eq!(parse(project::GLOO_INCLUDE, &text), Some(PathBuf::from("/g h")));
            assert!(text.contains("\nCXX = \"clang++\"\n"));
        }
        assert_eq!(parse("LIBTORCH", "[env]\nLIBTORCH = half a lin"), None);
    }
}

//! `cargo xtask setup`: installs libtorch and configures cargo for it. All other commands do the same if needed.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;

use crate::libtorch::{self, Libtorch, Set, Source, gloo, local_toml};
use crate::progress::say;
use crate::project;

pub(crate) const EXAMPLES: &str = "\
Examples:
  cargo xtask setup                         install what this machine needs, if it is missing
  cargo xtask setup --device cpu            install the CPU-only set, even on a machine with a GPU
  LIBTORCH=/opt/libtorch cargo xtask setup  use your own libtorch
  eval \"$(cargo xtask setup --print-env)\"   build a crate outside this workspace

libtorch is searched for in LIBTORCH, in the folder of the last set-up, then in the user's cache folder. If it is
missing, it is installed there with pip, from wheels pinned by their hashes. Training on several processes needs Gloo's
headers: from NB_GLOO_INCLUDE, from /usr/include, or from Debian's package libgloo-dev, unpacked into the cache. Without
them, the build supports a single process only.";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Set of libraries to install [default: cuda on a machine with NVIDIA's driver, else cpu]
    #[arg(long, value_enum)]
    device: Option<Set>,

    /// Print shell commands that let a crate outside this workspace build and run with this libtorch
    #[arg(long)]
    print_env: bool,
}

impl Args {
    pub(crate) fn run(&self) -> Result<ExitCode> {
        gloo::forget_failure()?;
        let libtorch = libtorch::ensure(self.device)?;
        if self.print_env {
            for (name, value) in environment(&libtorch, gloo_headers().as_deref())? {
                println!("export {name}={}", quoted(&value));
            }
        } else {
            say(format!("libtorch {} ({})", libtorch.root.display(), describe(&libtorch)));
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Returns the folder of Gloo's headers, unless builds find them by themselves or there are none.
pub(crate) fn gloo_headers() -> Option<PathBuf> {
    local_toml::read(project::GLOO_INCLUDE)
}

/// Returns the environment in which a crate outside the workspace builds with `libtorch` and the headers in `gloo`, and
/// its programs find libtorch.
pub(crate) fn environment(libtorch: &Libtorch, gloo: Option<&Path>) -> Result<Vec<(&'static str, String)>> {
    let root = libtorch.root.display().to_string();
    let [option, argument] = local_toml::rpath_flags(&libtorch.root)?;
    // cargo splits these variables at white space; a path that contains some goes to the loader instead.
    let paths = if argument.contains(char::is_whitespace) {
        vec![("LD_LIBRARY_PATH", format!("{root}/lib"))]
    } else {
        let flags = format!("{option} {argument}");
        vec![("RUSTFLAGS", flags.clone()), ("RUSTDOCFLAGS", flags)]
    };
    let gloo = gloo.map(|folder| (project::GLOO_INCLUDE, folder.display().to_string()));
    Ok([("LIBTORCH", root)].into_iter().chain(gloo).chain(paths).collect())
}

fn describe(libtorch: &Libtorch) -> &'static str {
    match libtorch.source {
        Source::Environment => "from LIBTORCH",
        Source::Remembered if libtorch::has_cuda(&libtorch.root) => "with CUDA",
        Source::Remembered => "for the CPU",
        Source::Cache(Set::Cpu) => "for the CPU, from the cache",
        Source::Cache(Set::Cuda) => "with CUDA, from the cache",
    }
}

/// Quotes `value` as one word for a POSIX shell.
fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn libtorch(root: &str) -> Libtorch {
        Libtorch { root: root.into(), source: Source::Environment }
    }

    #[test]
    fn the_environment_holds_libtorch_and_a_run_path() {
        let expected = [
            ("LIBTORCH", "/c/torch".to_owned()),
            ("RUSTFLAGS", "-C link-arg=-Wl,-rpath,/c/torch/lib".to_owned()),
            ("RUSTDOCFLAGS", "-C link-arg=-Wl,-rpath,/c/torch/lib".to_owned()),
        ];
        assert_eq!(environment(&libtorch("/c/torch"), None).unwrap(), expected);
        let expected = [
            ("LIBTORCH", "/c d/torch".to_owned()),
            ("NB_GLOO_INCLUDE", "/g".to_owned()),
            ("LD_LIBRARY_PATH", "/c d/torch/lib".to_owned()),
        ];
        assert_eq!(environment(&libtorch("/c d/torch"), Some(Path::new("/g"))).unwrap(), expected);
    }

    #[test]
    fn a_shell_reads_a_quoted_value_as_one_word() {
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}

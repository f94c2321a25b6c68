//! Extensions of cargo for checks and fuzzing: built once, in pinned versions, in the user's cache.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::{install, project};

/// Finds unused dependencies.
pub(crate) const MACHETE: Tool = Tool { name: "cargo-machete", version: "0.9.2" };

/// Checks licences, sources, versions and advisories of all dependencies.
pub(crate) const DENY: Tool = Tool { name: "cargo-deny", version: "0.20.2" };

/// Builds and runs fuzz targets.
pub(crate) const FUZZ: Tool = Tool { name: "cargo-fuzz", version: "0.13.2" };

/// Disk space that building one needs, at most.
const BYTES: u64 = 2_000_000_000;

/// An extension of cargo.
pub(crate) struct Tool {
    name: &'static str,
    version: &'static str,
}

impl Tool {
    /// Returns the path of the program; builds it if it is missing.
    pub(crate) fn ensure(&self) -> Result<PathBuf> {
        let Self { name, version } = self;
        let folder = project::cache()?.join("tools").join(format!("{name}-{version}"));
        let program = |folder: &Path| folder.join("bin").join(name);
        let title = format!("{name} {version}");
        install::make(&title, &folder, BYTES, |folder| program(folder).is_file(), |folder| self.build(folder))?;
        Ok(program(&folder))
    }

    fn build(&self, folder: &Path) -> Result<()> {
        let build = folder.join("build");
        let mut command = project::cargo();
        command
            .args(["install", self.name, "--version", self.version, "--locked", "--quiet", "--root"])
            .arg(folder)
            // Optimising would take longer than these programs run.
            .args(["--profile", "dev"])
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            .env("CARGO_TARGET_DIR", &build)
            // These programs do not need the flags that find libtorch.
            .env_remove("RUSTFLAGS");
        install::run(&mut command)?;
        install::remove(&build)
    }
}

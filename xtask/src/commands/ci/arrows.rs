//! Checks the dependencies between crates against the arrows of `docs/architecture.md`.

use anyhow::{Context, Result, bail, ensure};

use crate::project;

/// Crates that depend on no other crate of the workspace.
const ALONE: [&str; 8] =
    ["nb-kernels", "nb-files", "nb-testing", "nb-eval", "nb-loss", "nb-torch", "nb-dist", "nb-alloc"];

/// A crate, and the only crates of the workspace that it may depend on.
const ONLY: [(&str, &[&str]); 7] = [
    ("nb-checkpoint", &["nb-files"]),
    ("nb-data", &["nb-files"]),
    ("nb-report", &["nb-eval", "nb-files"]),
    ("nb-momentum", &["nb-kernels", "nb-torch"]),
    ("nb-model", &["nb-checkpoint", "nb-files", "nb-kernels", "nb-torch"]),
    ("nb-share", &["nb-model", "nb-checkpoint", "nb-files", "nb-kernels", "nb-torch"]),
    ("xtask", &["nb-data", "nb-files"]),
];

/// A crate, and the crates that it must not depend on, directly or indirectly.
const NEVER: [(&str, &[&str]); 11] = [
    ("nb-kernels", &["torch-sys"]),
    ("nb-checkpoint", &["torch-sys"]),
    ("nb-files", &["torch-sys"]),
    ("nb-data", &["torch-sys"]),
    ("nb-eval", &["torch-sys"]),
    ("nb-report", &["torch-sys"]),
    ("nb-alloc", &["torch-sys"]),
    ("nb-testing", &["torch-sys"]),
    ("nb-train", &["clap", "nb", "nb-bench"]),
    ("nb-bench", &["nb"]),
    ("xtask", &["torch-sys", "tokenizers", "nb"]),
];

/// Crates that only the integration tests may depend on: the binary, and a helper of unit tests.
const UNUSED: [&str; 2] = ["nb", "nb-testing"];

/// The package of the integration tests.
const TESTS: &str = "nb-tests";

pub(super) fn check() -> Result<()> {
    let alone = ALONE.map(|name| (name, &[][..]));
    for (name, allowed) in alone.into_iter().chain(ONLY) {
        let is_forbidden =
            |other: &&String| other.starts_with("nb-") && *other != name && !allowed.contains(&other.as_str());
        if let Some(other) = reached(name)?.iter().find(is_forbidden) {
            let expected = if allowed.is_empty() { "none".to_owned() } else { allowed.join(" and ") };
            bail!(
                "{name} depends on {other}, expected {expected} among the workspace's crates; see `cargo tree --package \
                 {name}`"
            );
        }
    }
    for (name, forbidden) in NEVER {
        let reached = reached(name)?;
        for other in forbidden {
            ensure!(
                !reached.iter().any(|it| it == other),
                "{name} depends on {other}, expected it not to; see `cargo tree --package {name}`"
            );
        }
    }
    for name in UNUSED {
        let user = tree(&["--workspace", "--invert", name])?.into_iter().find(|user| user != name && user != TESTS);
        ensure!(
            user.is_none(),
            "{} depends on {name}, expected no crate to; see `cargo tree --workspace --invert {name}`",
            user.unwrap_or_default()
        );
    }
    Ok(())
}

/// Returns all crates that `name` depends on, with the features it is used with.
fn reached(name: &str) -> Result<Vec<String>> {
    tree(&["--package", name])
}

/// Returns the crates in the output of `cargo tree`, without development dependencies.
fn tree(selection: &[&str]) -> Result<Vec<String>> {
    let mut command = project::cargo();
    command.arg("tree").args(selection).args(["--edges", "normal,build", "--prefix", "none", "--format", "{p}"]);
    let output = command.output().context("cannot start cargo")?;
    ensure!(output.status.success(), "cargo tree failed: {}", String::from_utf8_lossy(&output.stderr).trim_end());
    Ok(names(&String::from_utf8_lossy(&output.stdout)))
}

/// Returns the names in the lines of `cargo tree`: "serde v1.0.1 (*)".
fn names(tree: &str) -> Vec<String> {
    tree.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_first_words_of_a_tree() {
        assert_eq!(names("xtask v0.1.0 (/p/xtask)\nserde v1.0.1 (*)\n"), ["xtask", "serde"]);
    }
}

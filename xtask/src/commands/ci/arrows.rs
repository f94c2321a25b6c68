//! Checks the dependencies between crates against the arrows of `docs/architecture.md`.

use anyhow::{Context, Result, bail, ensure};

use crate::project;

/// Crates that depend on no other crate of the workspace.
const ALONE: [&str; 7] = ["nb-cpu", "nb-files", "nb-eval", "nb-loss", "nb-torch", "nb-dist", "nb-alloc"];

/// A crate, and the only crates of the workspace that it may depend on.
const ONLY: [(&str, &[&str]); 12] = [
    ("nb-kernels", &["nb-cpu"]),
    ("nb-testing", &["nb-cpu"]),
    ("nb-checkpoint", &["nb-files"]),
    ("nb-data", &["nb-files"]),
    ("nb-report", &["nb-eval", "nb-files"]),
    ("nb-rank", &["nb-checkpoint", "nb-cpu", "nb-data", "nb-eval", "nb-files", "nb-kernels", "nb-report"]),
    ("nb-export", &["nb-checkpoint", "nb-cpu", "nb-files", "nb-kernels"]),
    ("nb-infer", &["nb-checkpoint", "nb-cpu", "nb-data", "nb-files", "nb-kernels"]),
    ("nb-momentum", &["nb-cpu", "nb-kernels", "nb-torch"]),
    ("nb-model", &["nb-checkpoint", "nb-cpu", "nb-files", "nb-kernels", "nb-torch"]),
    ("nb-share", &["nb-model", "nb-checkpoint", "nb-cpu", "nb-files", "nb-kernels", "nb-torch"]),
    ("xtask", &["nb-cpu", "nb-data", "nb-files"]),
];

/// A crate, and the crates that it must not depend on, directly or indirectly.
const NEVER: [(&str, &[&str]); 15] = [
    ("nb-cpu", &["torch-sys"]),
    ("nb-kernels", &["torch-sys"]),
    ("nb-checkpoint", &["torch-sys"]),
    ("nb-files", &["torch-sys"]),
    ("nb-data", &["torch-sys"]),
    ("nb-eval", &["torch-sys"]),
    ("nb-report", &["torch-sys"]),
    ("nb-rank", &["torch-sys", "clap"]),
    ("nb-export", &["torch-sys", "clap"]),
    ("nb-infer", &["torch-sys", "clap"]),
    ("nb-alloc", &["torch-sys"]),
    ("nb-testing", &["torch-sys"]),
    ("nb-train", &["clap", "nb", "nb-bench"]),
    ("nb-bench", &["nb"]),
    ("xtask", &["torch-sys", "tokenizers", "nb"]),
];

/// A crate, and the only crates of the workspace that may depend on it directly: nothing builds on a binary or uses a
/// helper of unit tests, only programs choose an allocator, and only they read a command line.
const USERS: [(&str, &[&str]); 4] = [
    ("nb", &[TESTS]),
    ("nb-testing", &[TESTS]),
    ("nb-alloc", &["nb", "nb-bench", TESTS]),
    ("clap", &["nb", "nb-bench", "xtask"]),
];

/// The package of the integration tests, which builds copies of the programs.
const TESTS: &str = "nb-tests";

pub(super) fn check() -> Result<()> {
    let alone = ALONE.map(|name| (name, &[][..]));
    for (name, allowed) in alone.into_iter().chain(ONLY) {
        check_only(name, allowed)?;
    }
    for (name, forbidden) in NEVER {
        check_never(name, forbidden)?;
    }
    for (name, allowed) in USERS {
        check_users(name, allowed)?;
    }
    check_without_training()
}

/// Fails if `nb` without training needs libtorch.
fn check_without_training() -> Result<()> {
    let reached = tree(&["--package", "nb", "--no-default-features", "--features", "infer"])?;
    ensure!(
        !reached.iter().any(|it| it == "torch-sys"),
        "nb with the feature infer alone depends on torch-sys, expected it not to"
    );
    Ok(())
}

/// Fails if `name` depends on a crate of the workspace that is not in `allowed`.
fn check_only(name: &str, allowed: &[&str]) -> Result<()> {
    let is_forbidden =
        |other: &&String| other.starts_with("nb-") && *other != name && !allowed.contains(&other.as_str());
    if let Some(other) = reached(name)?.iter().find(is_forbidden) {
        bail!(
            "{name} depends on {other}, expected {} among the workspace's crates; see `cargo tree --package {name}`",
            listed(allowed)
        );
    }
    Ok(())
}

/// Fails if `name` depends on a crate in `forbidden`.
fn check_never(name: &str, forbidden: &[&str]) -> Result<()> {
    let reached = reached(name)?;
    for other in forbidden {
        ensure!(
            !reached.iter().any(|it| it == other),
            "{name} depends on {other}, expected it not to; see `cargo tree --package {name}`"
        );
    }
    Ok(())
}

/// Fails if a crate of the workspace that is not in `allowed` depends on `name` directly.
fn check_users(name: &str, allowed: &[&str]) -> Result<()> {
    let users = tree(&["--workspace", "--invert", name, "--depth", "1"])?;
    if let Some(user) = forbidden_user(&users, name, allowed) {
        bail!(
            "{user} depends on {name}, expected {} among the workspace's crates; see `cargo tree --workspace --invert \
             {name}`",
            listed(allowed)
        );
    }
    Ok(())
}

/// Returns the first of `users` that belongs to the workspace and is neither `name` nor in `allowed`.
fn forbidden_user<'a>(users: &'a [String], name: &str, allowed: &[&str]) -> Option<&'a str> {
    let is_of_workspace = |user: &str| user == "nb" || user.starts_with("nb-") || user == "xtask";
    let mut users = users.iter().map(String::as_str);
    users.find(|user| is_of_workspace(user) && *user != name && !allowed.contains(user))
}

fn listed(allowed: &[&str]) -> String {
    if allowed.is_empty() { "none".to_owned() } else { allowed.join(" and ") }
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

    #[test]
    fn only_listed_crates_of_the_workspace_may_use_a_crate() {
        let users = names("clap v4.6.0\nclap_complete v4.6.0\nnb v0.1.0 (/p)\nnb-train v0.1.0 (/p)\n");
        assert_eq!(forbidden_user(&users, "clap", &["nb"]), Some("nb-train"));
        assert_eq!(forbidden_user(&users, "clap", &["nb", "nb-train"]), None);
        assert_eq!(forbidden_user(&names("nb-alloc v0.1.0 (/p)\nnb v0.1.0 (/p)\n"), "nb-alloc", &[]), Some("nb"));
    }
}

//! Builds and runs each crate's README example outside the workspace, as a user who depends on that crate alone.
//!
//! The builds use the output of `cargo xtask setup --print-env`, and only the lock file and profiles of the workspace,
//! so that they reuse libtorch's bindings, which take minutes to build.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::process::succeed;
use crate::commands::setup;
use crate::scratch::Scratch;
use crate::{libtorch, project};

/// The published crates, those without libtorch first.
const CRATES: [&str; 19] = [
    "nb-eval",
    "nb-cpu",
    "nb-kernels",
    "nb-files",
    "nb-checkpoint",
    "nb-data",
    "nb-infer",
    "nb-report",
    "nb-rank",
    "nb-export",
    "nb-alloc",
    "nb-loss",
    "nb-torch",
    "nb-dist",
    "nb-model",
    "nb-share",
    "nb-momentum",
    "nb-train",
    "nb-bench",
];

pub(super) fn check() -> Result<()> {
    let libtorch = libtorch::ensure(None)?;
    // Outside the project, so that cargo finds none of its configuration.
    let folder = Scratch::new("ci-outside");
    for name in CRATES {
        let package = write_package(&folder.0, name)?;
        let mut command = project::cargo();
        command
            .current_dir(&package)
            .args(["run", "--quiet", "--release"])
            .envs(setup::environment(&libtorch, setup::gloo_headers().as_deref())?)
            .env("CARGO_TARGET_DIR", project::target());
        succeed(&mut command).with_context(|| format!("the README example of {name}"))?;
    }
    Ok(())
}

/// Writes a package whose `main` is the first example in the README of the crate `name`.
fn write_package(folder: &Path, name: &str) -> Result<PathBuf> {
    let root = project::root();
    let readme = root.join("crates").join(name).join("README.md");
    let text = fs::read_to_string(&readme).with_context(|| format!("cannot read {}", readme.display()))?;
    let example = first_example(&text).with_context(|| format!("{} has no example in Rust", readme.display()))?;
    let workspace = fs::read_to_string(root.join("Cargo.toml")).context("cannot read the workspace's Cargo.toml")?;

    let package = folder.join(name);
    fs::create_dir_all(package.join("src")).with_context(|| format!("cannot create {}", package.display()))?;
    fs::write(package.join("Cargo.toml"), manifest(name, &example, &root, &workspace)?)?;
    fs::copy(root.join("Cargo.lock"), package.join("Cargo.lock")).context("cannot copy Cargo.lock")?;
    fs::write(package.join("src/main.rs"), program(&example))?;
    Ok(package)
}

fn manifest(name: &str, example: &str, root: &Path, workspace: &str) -> Result<String> {
    let profile = table(workspace, "[profile.release]");
    ensure!(!profile.is_empty(), "the workspace's Cargo.toml has no [profile.release]");
    let named = |other: &str| other == name || example.contains(&format!("{}::", other.replace('-', "_")));
    let ours = CRATES.into_iter().filter(|other| named(other)).map(|other| {
        let path = serde_json::to_string(&root.join("crates").join(other))?;
        Ok(format!("{other} = {{ path = {path} }}\n"))
    });
    // The dependencies of the workspace that the example names.
    let versions = table(workspace, "[workspace.dependencies]");
    let others = versions.lines().filter_map(|line| {
        let (other, _) = line.split_once(" = ")?;
        (!CRATES.contains(&other) && named(other)).then(|| Ok(format!("{line}\n")))
    });
    let dependencies: String = ours.chain(others).collect::<Result<_>>()?;
    Ok(format!(
        "[package]\nname = \"outside-{name}\"\nversion = \"0.0.0\"\nedition = \"2024\"\npublish = false\n\n[workspace]\n\n\
         [dependencies]\n{dependencies}\n{profile}"
    ))
}

/// Returns the table of a manifest that begins with the line `header`, unchanged.
fn table(manifest: &str, header: &str) -> String {
    let mut lines = manifest.lines().skip_while(|line| line.trim() != header);
    let Some(first) = lines.next() else {
        return String::new();
    };
    let rest = lines.take_while(|line| !line.starts_with('['));
    [first].into_iter().chain(rest).map(|line| format!("{line}\n")).collect()
}

/// Returns the first Rust code block of a README.
fn first_example(readme: &str) -> Option<String> {
    let mut lines = readme.lines().skip_while(|line| !line.starts_with("```rust"));
    lines.next()?;
    let code: Vec<_> = lines.take_while(|line| !line.starts_with("```")).collect();
    Some(code.join("\n"))
}

/// Turns a documentation example into a program: reveals lines hidden by `#` and adds a `main` if there is none.
fn program(example: &str) -> String {
    let shown = example.lines().map(|line| line.strip_prefix("# ").unwrap_or(if line == "#" { "" } else { line }));
    let code: Vec<_> = shown.collect();
    let code = code.join("\n");
    if code.contains("fn main()") {
        return code;
    }
    if code.contains("Ok::<") {
        // rustdoc infers the error type from the example's last line; here a closure does.
        return format!(
            "fn main() -> Result<(), Box<dyn std::error::Error>> {{\nlet run = || {{\n{code}\n}};\nrun()?;\nOk(())\n}}\n"
        );
    }
    format!("fn main() {{\n{code}\n}}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_example_of_a_readme_becomes_a_program() {
        let readme = "# nb-loss\n\n```text\nno\n```\n\n```rust\nuse nb_loss::soft;\n# let x = 1;\nassert!(x > 0);\n```\n\n```rust\nsecond\n```\n";
        let example = first_example(readme).unwrap();
        assert_eq!(program(&example), "fn main() {\nuse nb_loss::soft;\nlet x = 1;\nassert!(x > 0);\n}\n");
        assert_eq!(program("fn main() {}"), "fn main() {}");
        assert!(program("a()?;\n# Ok::<(), Error>(())").contains("a()?;\nOk::<(), Error>(())\n};\nrun()?;"));
    }

    #[test]
    fn the_package_is_a_separate_workspace_with_the_project_s_profile() {
        let workspace = "[workspace]\n\n[workspace.dependencies]\ntch = \"=0.24.0\"\n\n[profile.release]\ndebug = 1\n\n[profile.dev]\nopt-level = 1\n";
        let example = "use tch::Tensor;\nnb_loss::soft();\n";
        let manifest = manifest("nb-loss", example, Path::new("/p"), workspace).unwrap();
        assert!(manifest.contains("[workspace]\n"));
        assert!(manifest.contains("nb-loss = { path = \"/p/crates/nb-loss\" }\ntch = \"=0.24.0\"\n"));
        assert!(manifest.ends_with("[profile.release]\ndebug = 1\n\n"));
    }
}

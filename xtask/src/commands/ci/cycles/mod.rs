//! Checks that the files of a crate have no import cycles, except those listed with a reason.
//!
//! Only reads the sources and compiles nothing. [`lexer`] splits a file into tokens, [`parse`] finds its imports, and
//! [`resolve`] finds the files that define the imported names.

mod lexer;
mod parse;
mod resolve;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::project;
use resolve::Imports;

/// An allowed cycle.
struct Exception {
    /// All files of the cycle, relative to the project.
    files: &'static [&'static str],
    /// The reason not to merge the files, or to move what they share to a file that all import.
    reason: &'static str,
}

const EXCEPTIONS: &[Exception] = &[
    Exception {
        files: &["xtask/src/cli.rs", "xtask/src/commands/bench.rs", "xtask/src/commands/nb.rs"],
        reason: "the command line contains the commands, and these two print its help before a binary is built",
    },
    Exception {
        files: &["crates/nb-train/src/run/mod.rs", "crates/nb-train/src/run/teacher.rs"],
        reason: "a run may need a trained teacher, and training the teacher is a run",
    },
];

/// Checks the crates of the workspace and the fuzz targets' library.
pub(super) fn check() -> Result<()> {
    let root = project::root();
    let read = |path: &Path| fs::read_to_string(root.join(path)).ok();
    let mut cycles = Vec::new();
    for crate_root in crate_roots(&root)? {
        cycles.extend(find_cycles(resolve::imports(&crate_root, &read)?));
    }
    let problems = compare(&cycles, EXCEPTIONS);
    ensure!(problems.is_empty(), "{problems}");
    Ok(())
}

/// The `lib.rs` and `main.rs` of all crates, relative to the project.
fn crate_roots(project: &Path) -> Result<Vec<PathBuf>> {
    let mut folders = vec![PathBuf::from("xtask"), PathBuf::from("fuzz")];
    for entry in fs::read_dir(project.join("crates")).context("cannot read the folder of the crates")? {
        folders.push(Path::new("crates").join(entry?.file_name()));
    }
    folders.sort();
    let roots = folders.iter().flat_map(|folder| ["src/lib.rs", "src/main.rs"].map(|file| folder.join(file)));
    Ok(roots.filter(|file| project.join(file).is_file()).collect())
}

/// Files that import one another, directly or through others, with the imports between them.
struct Cycle {
    files: BTreeSet<PathBuf>,
    imports: Imports,
}

/// The strongly connected components of more than one file.
fn find_cycles(imports: Imports) -> Vec<Cycle> {
    let reached: BTreeMap<&PathBuf, BTreeSet<&PathBuf>> =
        imports.keys().map(|file| (file, reachable(file, &imports))).collect();
    let mut seen = BTreeSet::new();
    let mut cycles = Vec::new();
    for (file, others) in &reached {
        if !others.contains(*file) || seen.contains(*file) {
            continue;
        }
        let is_mutual = |other: &PathBuf| reached.get(other).is_some_and(|back| back.contains(*file));
        let files: BTreeSet<_> = others.iter().filter(|other| is_mutual(other)).map(|other| (*other).clone()).collect();
        seen.extend(files.iter().cloned());
        let within = imports.iter().filter(|(file, _)| files.contains(*file)).map(|(file, others)| {
            let others = others.iter().filter(|(other, _)| files.contains(*other));
            (file.clone(), others.map(|(other, names)| (other.clone(), names.clone())).collect())
        });
        cycles.push(Cycle { imports: within.collect(), files });
    }
    cycles
}

/// All files that `start` imports, directly or through others.
fn reachable<'a>(start: &PathBuf, imports: &'a Imports) -> BTreeSet<&'a PathBuf> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<_> = imports[start].keys().collect();
    while let Some(file) = next.pop() {
        if reached.insert(file) {
            next.extend(imports.get(file).into_iter().flat_map(BTreeMap::keys));
        }
    }
    reached
}

/// Describes every cycle without an exception, and every exception without a cycle.
fn compare(cycles: &[Cycle], exceptions: &[Exception]) -> String {
    let is_same = |cycle: &Cycle, exception: &Exception| {
        exception.files.iter().map(PathBuf::from).collect::<BTreeSet<_>>() == cycle.files
    };
    let mut text = String::new();
    for cycle in cycles.iter().filter(|cycle| !exceptions.iter().any(|exception| is_same(cycle, exception))) {
        // Writing to a string cannot fail.
        _ = writeln!(text, "import cycle of {} files, expected none:", cycle.files.len());
        for (file, others) in &cycle.imports {
            for (other, names) in others {
                _ = writeln!(text, "  {} -> {}: {}", file.display(), other.display(), names.join(", "));
            }
        }
        text.push_str("  move what both sides use into a file that imports neither\n");
    }
    for exception in exceptions.iter().filter(|exception| !cycles.iter().any(|cycle| is_same(cycle, exception))) {
        let files = exception.files.join(", ");
        _ = writeln!(text, "no import cycle is left between {files}: delete this exception ({})", exception.reason);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the cycles of a crate in which each file imports those in its list.
    fn cycles(files: &[(&str, &[&str])]) -> Vec<Cycle> {
        let mut imports = Imports::new();
        for (file, others) in files {
            let others = others.iter().map(|other| (PathBuf::from(other), vec!["Name".to_owned()]));
            imports.insert(PathBuf::from(file), others.collect());
        }
        find_cycles(imports)
    }

    #[test]
    fn files_that_import_one_another_are_one_cycle() {
        assert!(cycles(&[("a", &["b", "c"]), ("b", &["c"])]).is_empty());
        let found = cycles(&[("a", &["b"]), ("b", &["c"]), ("c", &["b", "d"]), ("e", &["f"]), ("f", &["e", "a"])]);
        let files: Vec<Vec<_>> =
            found.iter().map(|cycle| cycle.files.iter().map(|it| it.to_str().unwrap()).collect()).collect();
        assert_eq!(files, [["b", "c"], ["e", "f"]]);
        assert_eq!(found[0].imports.values().map(BTreeMap::len).sum::<usize>(), 2);
    }

    #[test]
    fn the_workspace_has_only_the_listed_cycles() {
        check().unwrap();
    }

    #[test]
    fn only_a_listed_cycle_passes_and_only_while_it_exists() {
        let found = cycles(&[("a", &["b"]), ("b", &["a"])]);
        let listed = Exception { files: &["a", "b"], reason: "they recurse" };
        let other = Exception { files: &["a", "c"], reason: "gone" };
        assert_eq!(compare(&found, &[]).lines().nth(1), Some("  a -> b: Name"));
        assert_eq!(compare(&found, &[listed]), "");
        let message = compare(&[], &[other]);
        assert_eq!(message, "no import cycle is left between a, c: delete this exception (gone)\n");
    }
}

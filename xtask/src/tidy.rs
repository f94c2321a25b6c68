//! The project's rules for its files, as tests. They read files and need no build.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory;

use crate::cli::Cli;
use crate::project;

/// Most lines of a source file before its tests. A longer file contains more than one thing.
const MAX_LINES: usize = 400;

/// Most lines of a function, from the line of `fn` to its closing brace.
const MAX_FUNCTION_LINES: usize = 50;

#[test]
fn every_source_file_starts_with_a_module_comment() {
    let without: Vec<_> = sources().into_iter().filter(|file| !file.text.starts_with("//!")).collect();
    assert!(without.is_empty(), "no `//!` at the top of {}", names(&without));
}

/// Copies would diverge from the original. `sources` skips links.
#[test]
fn the_build_script_for_libtorch_is_linked_and_not_copied() {
    let original = fs::read_to_string(project::root().join("build/libtorch.rs")).unwrap();
    let same: Vec<_> = sources().into_iter().filter(|file| file.text == original).collect();
    assert_eq!(names(&same), "build/libtorch.rs");
}

#[test]
fn no_source_file_is_too_long() {
    let code_lines = |file: &SourceFile| file.text.lines().take_while(|line| *line != "#[cfg(test)]").count();
    let long: Vec<_> = sources()
        .into_iter()
        // Tests and word lists repeat one pattern; each part can be read alone.
        .filter(|file| !file.path.iter().any(|part| part == "tests" || part == "words.rs"))
        .filter(|file| code_lines(file) > MAX_LINES)
        .collect();
    assert!(long.is_empty(), "more than {MAX_LINES} lines before the tests in {}", names(&long));
}

#[test]
fn no_function_is_too_long() {
    let mut long = Vec::new();
    for SourceFile { path, text } in sources().into_iter().filter(|file| !is_test(&file.path)) {
        let too_long = functions(&text).into_iter().filter(|function| function.line_count > MAX_FUNCTION_LINES);
        long.extend(too_long.map(|it| format!("{}:{}: {} lines", path.display(), it.first_line, it.line_count)));
    }
    assert!(long.is_empty(), "functions of more than {MAX_FUNCTION_LINES} lines:\n{}", long.join("\n"));
}

#[test]
fn the_length_of_a_function_includes_its_signature_and_braces() {
    let text = "\
trait Shape {
    fn declared(
        &self,
    ) -> usize;
    fn one_line(&self) -> usize { 1 }
}

impl Shape for Square {
    pub(crate) const unsafe fn area<T>(&self) -> usize
    where
        T: Copy,
    {
        fn inner() {
            if true {}
        }
        4
    }
}

#[cfg(test)]
mod tests {
    fn skipped() {
    }
}

fn last() {
}
";
    let span = |first_line, line_count| FunctionSpan { first_line, line_count };
    assert_eq!(functions(text), [span(9, 9), span(13, 3), span(26, 2)]);
}

#[test]
fn no_file_has_unfinished_work_or_machine_specific_paths() {
    // In two parts each, since this file is checked too.
    let forbidden = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("todo", "!("),
        concat!("/home", "/"),
        concat!("/ro", "ot/"),
        concat!("/wo", "rk/"),
        concat!("/Use", "rs/"),
        concat!("pypi", ".org"),
        concat!("pythonhosted", ".org"),
        concat!("crates", ".io"),
    ];
    let mut found = Vec::new();
    for SourceFile { path, text } in texts() {
        for (number, line) in text.lines().enumerate() {
            for word in forbidden.iter().filter(|word| line.contains(*word)) {
                found.push(format!("{}:{}: {word}", path.display(), number + 1));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_readme_and_the_help_name_the_same_commands() {
    let cli = Cli::command();
    let known: BTreeSet<_> = cli.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    let readme = fs::read_to_string(project::root().join("README.md")).unwrap();
    let named = commands_named_in(&readme);
    assert_eq!(named, known, "left: the README's commands, right: those of `cargo xtask --help`");

    let documents = texts().into_iter().filter(|file| file.path.extension().is_some_and(|it| it == "md"));
    for SourceFile { path, text } in documents {
        let unknown: Vec<_> = commands_named_in(&text).difference(&known).cloned().collect();
        assert!(unknown.is_empty(), "{} names unknown commands: {unknown:?}", path.display());
    }
}

#[test]
fn every_command_s_help_has_an_example() {
    for command in Cli::command().get_subcommands() {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let example = format!("cargo xtask {}", command.get_name());
        assert!(help.contains(&example), "the help of {:?} has no example", command.get_name());
    }
}

#[test]
fn every_published_crate_has_the_metadata_for_a_registry() {
    let inherited = ["version", "edition", "rust-version", "license", "repository"];
    for entry in fs::read_dir(project::root().join("crates")).unwrap() {
        let folder = entry.unwrap().path();
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        let has = |line: &str| manifest.lines().any(|it| it.starts_with(line));
        assert!(manifest.contains("[lints]\nworkspace = true\n"), "{}: lints are not inherited", folder.display());
        for key in inherited {
            assert!(has(&format!("{key}.workspace = true")), "{}: {key} is not inherited", folder.display());
        }
        if has("publish = false") {
            continue;
        }
        for key in ["description = ", "keywords", "categories", "readme = \"README.md\""] {
            assert!(has(key), "{}: no {key} in Cargo.toml", folder.display());
        }
        let needs_libtorch = manifest.contains("doc-only");
        let documents_without = has("[package.metadata.docs.rs]") && has("features = [\"doc-only\"]");
        assert!(!needs_libtorch || documents_without, "{}: docs would need libtorch", folder.display());
        let readme = fs::read_to_string(folder.join("README.md")).unwrap_or_default();
        assert!(readme.contains("```rust"), "{}: no README.md with an example", folder.display());
    }
}

/// Returns true for a file that only tests use.
fn is_test(path: &Path) -> bool {
    let is_in_tests_folder = path.iter().any(|part| part == "tests");
    is_in_tests_folder || path.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with("tests"))
}

/// The position and the length of a function.
#[derive(Debug, PartialEq)]
struct FunctionSpan {
    /// The number of the line with `fn`.
    first_line: usize,
    line_count: usize,
}

/// Returns the functions of several lines in a source file, without items under `#[cfg(test)]`.
fn functions(text: &str) -> Vec<FunctionSpan> {
    let lines: Vec<_> = text.lines().collect();
    let mut functions = Vec::new();
    let mut start = 0;
    while let Some(line) = lines.get(start) {
        if line.trim() == "#[cfg(test)]" {
            start += block_lines(&lines[start + 1..]).unwrap_or(1);
        } else if declares_function(line)
            && let Some(line_count) = block_lines(&lines[start..])
        {
            functions.push(FunctionSpan { first_line: start + 1, line_count });
        }
        start += 1;
    }
    functions
}

fn declares_function(line: &str) -> bool {
    let is_qualifier =
        |word: &str| word.starts_with("pub") || ["const", "async", "unsafe", "extern", "\"C\""].contains(&word);
    line.split_once("fn ").is_some_and(|(before, _)| before.split_whitespace().all(is_qualifier))
}

/// Returns the number of lines of the item that starts with the first line, if it has a block of several lines.
/// rustfmt formats all files, so the closing brace has the indentation of the first line.
fn block_lines(lines: &[&str]) -> Option<usize> {
    let indentation = |line: &str| line.len() - line.trim_start().len();
    let first = lines.first()?;
    let is_level = |line: &&str| !line.is_empty() && indentation(line) == indentation(first);
    let level = lines.iter().enumerate().filter(|(_, line)| is_level(line));
    let mut ends = level.filter(|(_, line)| line.ends_with([';', '}']));
    let (index, last) = ends.next()?;
    (index > 0 && last.trim() == "}").then_some(index + 1)
}

struct SourceFile {
    /// Relative to the project.
    path: PathBuf,
    text: String,
}

/// Returns the words that follow `cargo xtask` in `text`.
fn commands_named_in(text: &str) -> BTreeSet<String> {
    let rest = text.split("cargo xtask ").skip(1);
    let words = rest.map(|rest| rest.chars().take_while(char::is_ascii_lowercase).collect::<String>());
    words.filter(|word| !word.is_empty()).collect()
}

fn sources() -> Vec<SourceFile> {
    texts().into_iter().filter(|file| file.path.extension().is_some_and(|extension| extension == "rs")).collect()
}

/// Returns the hand-written files of the project. Links are not followed.
fn texts() -> Vec<SourceFile> {
    const KINDS: [&str; 7] = ["rs", "md", "toml", "yaml", "py", "sh", "json"];
    const NOT_HAND_WRITTEN: [&str; 6] = ["target", ".git", "data", "runs", "local.toml", "golden"];
    let root = project::root();
    let mut files = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let (kind, path) = (entry.file_type().unwrap(), entry.path());
            if NOT_HAND_WRITTEN.iter().any(|name| entry.file_name() == *name) {
                continue;
            } else if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() && KINDS.iter().any(|it| path.extension() == Some(Path::new(it).as_os_str())) {
                let text = fs::read_to_string(&path).unwrap();
                files.push(SourceFile { path: path.strip_prefix(&root).unwrap().to_owned(), text });
            }
        }
    }
    assert!(files.len() > 20, "found no project in {}", root.display());
    files
}

fn names(files: &[SourceFile]) -> String {
    files.iter().map(|file| file.path.display().to_string()).collect::<Vec<_>>().join(", ")
}

//! The module tree of one crate, and the file that a path in it leads to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::parse::{Import, ModuleSource, parse};

/// Reads the file at a path; `None` if there is none.
pub(super) type ReadFile<'a> = &'a dyn Fn(&Path) -> Option<String>;

/// Names used, by the file that uses them and the file that defines them.
pub(super) type Imports = BTreeMap<PathBuf, BTreeMap<PathBuf, Vec<String>>>;

/// The largest number of re-exports in a row. A longer chain counts as a circle.
const MAX_REEXPORTS: usize = 16;

/// All modules of a crate; the first is its root.
struct ModuleTree {
    modules: Vec<Module>,
}

struct Module {
    file: PathBuf,
    /// The root is its own parent.
    parent: usize,
    children: BTreeMap<String, usize>,
    source: ModuleSource,
}

/// The end of a path.
#[derive(Clone, Debug, PartialEq)]
enum Target {
    Module(usize),
    Item {
        module: usize,
        name: String,
    },
    /// Another crate, or a local name.
    Elsewhere,
}

/// Returns the names that the files of a crate use from one another, ignoring tests.
///
/// A re-exported item belongs to the file that defines it. A re-export alone is not a use.
///
/// # Errors
///
/// The file of a module is missing.
pub(super) fn imports(root: &Path, read: ReadFile) -> Result<Imports> {
    let mut tree = ModuleTree { modules: Vec::new() };
    let source = read(root).with_context(|| format!("cannot read {}", root.display()))?;
    let folder = root.parent().unwrap_or(Path::new(""));
    tree.add(parse(&source), Place { file: root, folder, parent: 0 }, read)?;
    Ok(tree.imports())
}

/// The position of a module in the crate, and the folder of its children.
#[derive(Clone, Copy)]
struct Place<'a> {
    file: &'a Path,
    folder: &'a Path,
    parent: usize,
}

impl ModuleTree {
    /// Adds a module and its descendants; returns its index.
    fn add(&mut self, mut source: ModuleSource, place: Place, read: ReadFile) -> Result<usize> {
        let index = self.modules.len();
        let files = std::mem::take(&mut source.files);
        let inline = std::mem::take(&mut source.inline);
        let Place { file, folder, parent } = place;
        self.modules.push(Module { file: file.to_owned(), parent, children: BTreeMap::new(), source });
        for name in files {
            let candidates = [folder.join(format!("{name}.rs")), folder.join(&name).join("mod.rs")];
            let found = candidates.iter().find_map(|path| Some((path, read(path)?)));
            let (path, text) = found.with_context(|| format!("found no file of `mod {name}` in {}", file.display()))?;
            let child_place = Place { file: path, folder: &folder.join(&name), parent: index };
            let child = self.add(parse(&text), child_place, read)?;
            self.modules[index].children.insert(name, child);
        }
        for (name, source) in inline {
            let child = self.add(source, Place { file, folder: &folder.join(&name), parent: index }, read)?;
            self.modules[index].children.insert(name, child);
        }
        Ok(index)
    }

    fn imports(&self) -> Imports {
        let mut imports = Imports::new();
        for (index, module) in self.modules.iter().enumerate() {
            let declared = module.source.imports.iter().filter(|import| !import.is_reexport);
            let declared = declared.filter_map(|import| self.used_by_import(index, import));
            let in_code = module.source.paths.iter().filter_map(|path| self.used_by_path(index, path));
            for (other, name) in declared.chain(in_code) {
                let file = &self.modules[other].file;
                if *file != module.file {
                    let names = imports.entry(module.file.clone()).or_default().entry(file.clone()).or_default();
                    names.push(name);
                }
            }
        }
        for names in imports.values_mut().flat_map(BTreeMap::values_mut) {
            names.sort();
            names.dedup();
        }
        imports
    }

    /// The module and the name that a `use` declaration takes from it.
    fn used_by_import(&self, module: usize, import: &Import) -> Option<(usize, String)> {
        match self.resolve(module, &import.path, 0) {
            Target::Item { module, name } => Some((module, name)),
            Target::Module(other) if import.name == "*" => Some((other, "*".to_owned())),
            Target::Module(other) => {
                // For `use crate::a;` with `a::f()` in the code, only the path counts, since it is more specific.
                let source = &self.modules[module].source;
                let is_prefix = source.paths.iter().any(|path| path.len() > 1 && path[0] == import.name);
                (!is_prefix).then(|| (other, import.name.clone()))
            }
            Target::Elsewhere => None,
        }
    }

    /// The module and the name that a path in the code takes from it.
    fn used_by_path(&self, module: usize, path: &[String]) -> Option<(usize, String)> {
        if let [name] = path {
            // A single word matters only if it names a re-export of this module; all other imports are counted already.
            let import = self.modules[module].source.imports.iter().find(|import| import.name == *name)?;
            return import.is_reexport.then(|| self.used_by_import(module, import))?;
        }
        match self.resolve(module, path, 0) {
            Target::Item { module, name } => Some((module, name)),
            Target::Module(_) | Target::Elsewhere => None,
        }
    }

    /// Follows `path` from `module`, through `reexports` re-exports so far.
    fn resolve(&self, module: usize, path: &[String], reexports: usize) -> Target {
        let Some((first, rest)) = path.split_first() else { return Target::Module(module) };
        let mut target = match first.as_str() {
            "crate" => Target::Module(0),
            "self" => Target::Module(module),
            "super" => Target::Module(self.modules[module].parent),
            name => self.look_up(module, name, reexports).unwrap_or(Target::Elsewhere),
        };
        for name in rest {
            let Target::Module(current) = target else { break };
            target = match name.as_str() {
                "super" => Target::Module(self.modules[current].parent),
                name => {
                    let found = self.look_up(current, name, reexports);
                    found.unwrap_or_else(|| Target::Item { module: current, name: name.to_owned() })
                }
            };
        }
        target
    }

    /// Returns the target of `name` in `module`.
    fn look_up(&self, module: usize, name: &str, reexports: usize) -> Option<Target> {
        let Module { children, source, .. } = &self.modules[module];
        if let Some(child) = children.get(name) {
            return Some(Target::Module(*child));
        }
        if source.items.contains(name) {
            return Some(Target::Item { module, name: name.to_owned() });
        }
        if reexports > MAX_REEXPORTS {
            return None;
        }
        if let Some(import) = source.imports.iter().find(|import| import.name == name) {
            return Some(self.resolve(module, &import.path, reexports + 1));
        }
        let globs = source.imports.iter().filter(|import| import.name == "*");
        globs.into_iter().find_map(|glob| match self.resolve(module, &glob.path, reexports + 1) {
            Target::Module(other) if other != module => self.look_up(other, name, reexports + 1),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The imports of a crate of these files, as `file -> file: names`.
    fn lines(files: &[(&str, &str)]) -> Vec<String> {
        let read = |path: &Path| {
            let file = files.iter().find(|(name, _)| Path::new(name) == path);
            file.map(|(_, text)| (*text).to_owned())
        };
        let mut lines = Vec::new();
        for (file, others) in imports(Path::new("lib.rs"), &read).unwrap() {
            for (other, names) in others {
                lines.push(format!("{} -> {}: {}", file.display(), other.display(), names.join(", ")));
            }
        }
        lines
    }

    #[test]
    fn paths_lead_to_the_file_that_defines_the_name() {
        let files = [
            ("lib.rs", "mod a; mod b; mod f;"),
            ("a.rs", "use crate::b::{C, e::E}; fn f() { super::b::d(); self::g(); }"),
            ("b/mod.rs", "mod c; mod e; pub use c::C; pub(crate) fn d() {}"),
            ("b/c.rs", "pub struct C;"),
            ("b/e.rs", "pub struct E;"),
            ("f.rs", "use crate::b; fn g() { b::d(); b::C::new(); Vec::new(); }"),
        ];
        let expected = [
            "a.rs -> b/c.rs: C",
            "a.rs -> b/e.rs: E",
            "a.rs -> b/mod.rs: d",
            "f.rs -> b/c.rs: C",
            "f.rs -> b/mod.rs: d",
        ];
        assert_eq!(lines(&files), expected);
    }

    #[test]
    fn a_facade_imports_only_names_that_its_code_uses() {
        let child = ("a.rs", "pub struct A;");
        assert!(lines(&[("lib.rs", "mod a; pub use a::A;"), child]).is_empty());
        assert_eq!(lines(&[("lib.rs", "mod a; pub use a::A; struct B(A);"), child]), ["lib.rs -> a.rs: A"]);
        assert_eq!(lines(&[("lib.rs", "mod a; use a::A;"), child]), ["lib.rs -> a.rs: A"]);
        assert_eq!(lines(&[("lib.rs", "mod a; fn f() { a::A; }"), child]), ["lib.rs -> a.rs: A"]);
    }

    #[test]
    fn globs_renames_and_private_imports_are_followed() {
        let files = [
            ("lib.rs", "mod a; mod b; mod c; use a::A as Renamed;"),
            ("a.rs", "pub struct A; pub struct B;"),
            ("b.rs", "pub use crate::a::*;"),
            ("c.rs", "use crate::b::B; use super::Renamed; use crate::a;"),
        ];
        assert_eq!(lines(&files), ["c.rs -> a.rs: A, B, a", "lib.rs -> a.rs: A"]);
    }

    #[test]
    fn inline_modules_belong_to_their_file() {
        let files =
            [("lib.rs", "mod a; mod b { pub struct C; use super::a::A; }"), ("a.rs", "use crate::b::C; struct A;")];
        assert_eq!(lines(&files), ["a.rs -> lib.rs: C", "lib.rs -> a.rs: A"]);
    }

    #[test]
    fn a_missing_file_is_an_error() {
        let read = |path: &Path| (path == Path::new("lib.rs")).then(|| "mod a;".to_owned());
        let message = imports(Path::new("lib.rs"), &read).unwrap_err().to_string();
        assert_eq!(message, "found no file of `mod a` in lib.rs");
    }
}

//! The imports, paths and items of one source file.

use std::collections::{BTreeMap, BTreeSet};

use super::lexer::{Token, tokens};

/// The parts of a module that determine its imports.
#[derive(Debug, Default, PartialEq)]
pub(super) struct ModuleSource {
    /// Names of `mod child;`.
    pub(super) files: Vec<String>,
    /// The modules written in place: `mod child { … }`.
    pub(super) inline: BTreeMap<String, ModuleSource>,
    /// Names of the structs, functions and other items defined here.
    pub(super) items: BTreeSet<String>,
    pub(super) imports: Vec<Import>,
    /// The paths in the code, and single words, which may name an import.
    pub(super) paths: BTreeSet<Vec<String>>,
}

/// One name of a `use` declaration.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Import {
    pub(super) path: Vec<String>,
    /// The name in this module; `*` for a glob import.
    pub(super) name: String,
    /// True for an import with a visibility: `pub use`, `pub(crate) use`, ….
    pub(super) is_reexport: bool,
}

/// Reads `source`. Items under `#[cfg(test)]` are ignored.
pub(super) fn parse(source: &str) -> ModuleSource {
    Parser { tokens: tokens(source), at: 0 }.module()
}

struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    at: usize,
}

const ITEM_KEYWORDS: [&str; 8] = ["struct", "enum", "union", "trait", "type", "fn", "const", "static"];

impl<'a> Parser<'a> {
    /// Reads up to the end of the module that starts here.
    fn module(&mut self) -> ModuleSource {
        let mut module = ModuleSource::default();
        let mut depth = 0;
        let mut is_public = false;
        while let Some(token) = self.next() {
            let was_public = std::mem::take(&mut is_public);
            match token {
                Token::Punctuation('{') => depth += 1,
                Token::Punctuation('}') if depth == 0 => break,
                Token::Punctuation('}') => depth -= 1,
                Token::Punctuation('#') if self.is_test_attribute() => self.skip_item(),
                Token::Punctuation('.') => {
                    // A field or a method: no path begins with it.
                    self.next_if(|token| matches!(token, Token::Word(_)));
                }
                Token::Word("pub") => {
                    self.skip_group('(', ')');
                    is_public = true;
                }
                Token::Word("use") if self.peek() != Some(Token::Punctuation('<')) => {
                    self.use_tree(&[], was_public, &mut module.imports);
                }
                Token::Word("mod") if depth == 0 => self.child(&mut module),
                // `const fn f()` is the function `f`.
                Token::Word("const") if matches!(self.peek(), Some(Token::Word("fn" | "unsafe"))) => {}
                Token::Word(word) if ITEM_KEYWORDS.contains(&word) => {
                    let name = self.word();
                    if depth == 0 {
                        module.items.extend(name.map(str::to_owned));
                    }
                }
                Token::Word("macro_rules") => {
                    self.next();
                    module.items.extend(self.word().map(str::to_owned));
                }
                Token::Word(first) => {
                    module.paths.insert(self.path(first));
                }
                _ => {}
            }
        }
        module
    }

    /// Reads `child;` or `child { … }`.
    fn child(&mut self, module: &mut ModuleSource) {
        let Some(name) = self.word() else { return };
        if self.next_if(|token| token == Token::Punctuation('{')).is_some() {
            let child = self.module();
            module.inline.insert(name.to_owned(), child);
        } else {
            module.files.push(name.to_owned());
        }
    }

    /// The path whose first word has been read.
    fn path(&mut self, first: &str) -> Vec<String> {
        let mut path = vec![first.to_owned()];
        while let (Some(Token::PathSeparator), Some(&Token::Word(word))) = (self.peek(), self.tokens.get(self.at + 1)) {
            path.push(word.to_owned());
            self.at += 2;
        }
        // What follows a generic argument (`Vec::<u8>::new`) belongs to a type and names no module.
        self.next_if(|token| token == Token::PathSeparator);
        path
    }

    /// Reads the part of a `use` declaration below `prefix`.
    fn use_tree(&mut self, prefix: &[String], is_reexport: bool, imports: &mut Vec<Import>) {
        let mut path = prefix.to_vec();
        let mut name = None;
        loop {
            match self.next() {
                Some(Token::PathSeparator) => {}
                Some(Token::Word("as")) => name = self.word().map(str::to_owned),
                Some(Token::Word("self")) if !path.is_empty() => {}
                Some(Token::Word(word)) => path.push(word.to_owned()),
                Some(Token::Punctuation('*')) => name = Some("*".to_owned()),
                Some(Token::Punctuation('{')) => {
                    while !matches!(self.peek(), None | Some(Token::Punctuation('}'))) {
                        self.use_tree(&path, is_reexport, imports);
                        self.next_if(|token| token == Token::Punctuation(','));
                    }
                    self.next();
                    return;
                }
                Some(Token::Punctuation(',' | '}')) => {
                    self.at -= 1;
                    break;
                }
                _ => break,
            }
        }
        if let Some(last) = path.last().cloned() {
            imports.push(Import { path, name: name.unwrap_or(last), is_reexport });
        }
    }

    /// True after the `#` of `#[cfg(test)]` or `#[cfg(all(test, …))]`.
    fn is_test_attribute(&self) -> bool {
        let rest = &self.tokens[self.at..];
        let end = rest.iter().position(|token| *token == Token::Punctuation(']')).unwrap_or(rest.len());
        let attribute = &rest[..end];
        let has = |word| attribute.contains(&Token::Word(word));
        attribute.get(1) == Some(&Token::Word("cfg")) && has("test") && !has("not")
    }

    /// Skips the attribute that starts here, those after it, and the item they belong to.
    fn skip_item(&mut self) {
        self.skip_group('[', ']');
        while self.next_if(|token| token == Token::Punctuation('#')).is_some() {
            self.skip_group('[', ']');
        }
        loop {
            match self.peek() {
                None | Some(Token::Punctuation('}')) => return,
                Some(Token::Punctuation('{')) => return self.skip_group('{', '}'),
                Some(Token::Punctuation('(')) => self.skip_group('(', ')'),
                Some(Token::Punctuation('[')) => self.skip_group('[', ']'),
                Some(token) => {
                    self.at += 1;
                    if token == Token::Punctuation(';') {
                        return;
                    }
                }
            }
        }
    }

    /// Skips from `open` to its `close`, if `open` comes next.
    fn skip_group(&mut self, open: char, close: char) {
        let mut depth = 0;
        while let Some(token) = self.peek() {
            if token == Token::Punctuation(open) {
                depth += 1;
            } else if token == Token::Punctuation(close) {
                depth -= 1;
            }
            if depth == 0 && token != Token::Punctuation(close) {
                return;
            }
            self.at += 1;
            if depth == 0 {
                return;
            }
        }
    }

    fn peek(&self) -> Option<Token<'a>> {
        self.tokens.get(self.at).copied()
    }

    fn next(&mut self) -> Option<Token<'a>> {
        let token = self.peek()?;
        self.at += 1;
        Some(token)
    }

    fn next_if(&mut self, is_wanted: impl Fn(Token<'a>) -> bool) -> Option<Token<'a>> {
        let token = self.peek().filter(|token| is_wanted(*token))?;
        self.at += 1;
        Some(token)
    }

    fn word(&mut self) -> Option<&'a str> {
        match self.next_if(|token| matches!(token, Token::Word(_)))? {
            Token::Word(word) => Some(word),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The imports of `source`, as `path as name`, with `pub` in front of a re-export.
    fn imports(source: &str) -> Vec<String> {
        let line = |it: &Import| {
            let visibility = if it.is_reexport { "pub " } else { "" };
            format!("{visibility}{} as {}", it.path.join("::"), it.name)
        };
        parse(source).imports.iter().map(line).collect()
    }

    #[test]
    fn a_use_declaration_is_one_import_for_each_name() {
        assert_eq!(imports("use crate::a::B;"), ["crate::a::B as B"]);
        assert_eq!(
            imports("use a::{self, b::{C as D, E},\n    f::*,\n};"),
            ["a as a", "a::b::C as D", "a::b::E as E", "a::f as *"]
        );
        assert_eq!(imports("use ::a::B; fn f() { use self::c::D; }"), ["a::B as B", "self::c::D as D"]);
        assert_eq!(
            imports("pub(crate) use a::B; pub use c::*; use d::E;"),
            ["pub a::B as B", "pub c as *", "d::E as E"]
        );
        assert_eq!(imports("use super::a; fn f<'a>() -> impl Fn() + use<'a> {}"), ["super::a as a"]);
    }

    #[test]
    fn code_under_cfg_test_is_ignored() {
        assert_eq!(imports("#[cfg(test)]\nmod tests { use super::*; fn f() { g(); } }\nuse a::B;"), ["a::B as B"]);
        assert_eq!(imports("#[cfg(test)]\n#[allow(x)]\nuse a::B;\nuse c::D;"), ["c::D as D"]);
        assert_eq!(imports("#[cfg(all(test, unix))]\nfn f(x: [u8; 2]) { use a::B; }\nuse c::D;"), ["c::D as D"]);
        assert_eq!(imports("#[cfg(not(test))]\nuse a::B;"), ["a::B as B"]);
        assert!(parse("#[cfg(test)]\nmod tests;").files.is_empty());
    }

    #[test]
    fn modules_items_and_paths_are_distinguished() {
        let module = parse(
            "mod a; pub mod b { use super::C; }\npub const fn o() {}\npub struct C { x: crate::d::E }\n\
             fn f() { g::h(); x.i::<J>(); K::<L>::m(); let y = \"n::o\"; const P: u8 = 1; }",
        );
        assert_eq!(module.files, ["a"]);
        assert_eq!(module.inline["b"].imports.len(), 1);
        assert_eq!(module.items, BTreeSet::from(["C", "f", "o"].map(str::to_owned)));
        let paths: Vec<_> = module.paths.iter().map(|path| path.join("::")).collect();
        for path in ["crate::d::E", "g::h", "J", "K", "L"] {
            assert!(paths.contains(&path.to_owned()), "{path} is not in {paths:?}");
        }
        for path in ["i", "n::o", "super::C"] {
            assert!(!paths.contains(&path.to_owned()), "{path} is in {paths:?}");
        }
    }
}

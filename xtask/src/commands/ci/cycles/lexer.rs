//! Rust source as words and punctuation, without comments and literals.

/// A token, in the detail that imports require.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Token<'a> {
    /// A keyword, a name or a number.
    Word(&'a str),
    /// `::`
    PathSeparator,
    Punctuation(char),
}

/// Splits `source` into tokens. Comments, strings, characters and lifetimes are dropped.
pub(super) fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            _ if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            _ if rest.starts_with("/*") => block_comment(rest),
            _ if raw_string(rest).is_some() => raw_string(rest).unwrap_or(1),
            '"' => quoted(rest, '"'),
            '\'' => character_or_lifetime(rest),
            _ if is_word(first) => {
                let raw = if rest.starts_with("r#") { 2 } else { 0 };
                let length = raw + rest[raw..].find(|c| !is_word(c)).unwrap_or(rest.len() - raw);
                tokens.push(Token::Word(&rest[raw..length]));
                length
            }
            _ if rest.starts_with("::") => {
                tokens.push(Token::PathSeparator);
                2
            }
            _ => {
                if !first.is_whitespace() {
                    tokens.push(Token::Punctuation(first));
                }
                first.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    tokens
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The length of the block comment that `text` starts with; block comments nest.
fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

/// The length of the raw string (`r"…"`, `br#"…"#`, …) that `text` starts with.
fn raw_string(text: &str) -> Option<usize> {
    let after_prefix = ["r", "br", "cr"].into_iter().find_map(|prefix| text.strip_prefix(prefix))?;
    let content = after_prefix.trim_start_matches('#');
    let hashes = "#".repeat(after_prefix.len() - content.len());
    let content = content.strip_prefix('"')?;
    let start = text.len() - content.len();
    let end = format!("\"{hashes}");
    Some(content.find(&end).map_or(text.len(), |at| start + at + end.len()))
}

/// The length of the literal between `quote`s that `text` starts with.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if !escaped && c == quote {
            return at + c.len_utf8();
        }
        escaped = !escaped && c == '\\';
    }
    text.len()
}

fn character_or_lifetime(text: &str) -> usize {
    let mut after = text.chars().skip(1);
    let (first, second) = (after.next(), after.next());
    if first == Some('\\') || second == Some('\'') {
        return quoted(text, '\'');
    }
    1 + text[1..].find(|c| !is_word(c)).unwrap_or(text.len() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(source: &str) -> Vec<&str> {
        let words = tokens(source).into_iter().filter_map(|token| match token {
            Token::Word(word) => Some(word),
            _ => None,
        });
        words.collect()
    }

    #[test]
    fn comments_and_literals_are_not_words() {
        assert_eq!(words("a // b\nc /* d /* e */ f */ g"), ["a", "c", "g"]);
        assert_eq!(words(r#####"a "b \" c" d r#"e " f"# g b"h" br"i" j"#####), ["a", "d", "g", "b", "j"]);
        assert_eq!(words(r"a 'b' '\'' '\u{1F600}' c<'d> &'static e"), ["a", "c", "e"]);
        assert_eq!(words("r#type r \u{e9}t\u{e9}"), ["type", "r", "\u{e9}t\u{e9}"]);
    }

    #[test]
    fn a_path_is_its_words_with_separators() {
        let expected =
            [Token::Word("use"), Token::Word("crate"), Token::PathSeparator, Token::Word("a"), Token::Punctuation(';')];
        assert_eq!(tokens("use crate::a;"), expected);
    }
}

//! Patterns of file names, as `datasets` resolves them.

/// Returns true if a path matches a pattern, both relative and with `/`. `*` and `?` match within a name, `**` any number
/// of folders, and `[…]` one of its characters.
pub(super) fn matches(pattern: &str, path: &str) -> bool {
    let pattern: Vec<&str> = pattern.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    let path: Vec<&str> = path.split('/').collect();
    let is_hidden = |part: &&&str| part.starts_with('.');
    let is_special = |part: &&&str| part.starts_with("__");
    let folders = |parts: &[&str]| parts[..parts.len().saturating_sub(1)].iter().filter(is_special).count();
    // Hidden and special folders match only if the pattern names as many.
    pattern.iter().filter(is_hidden).count() == path.iter().filter(is_hidden).count()
        && folders(&pattern) == folders(&path)
        && match_parts(&pattern, &path)
}

fn match_parts(pattern: &[&str], path: &[&str]) -> bool {
    // reachable[i]: the pattern so far matches the first i names. This takes time proportional to the product of the
    // lengths, whatever the pattern.
    let mut reachable: Vec<bool> = (0..=path.len()).map(|i| i == 0).collect();
    for (place, &part) in pattern.iter().enumerate() {
        if part == "**" {
            // At the end, at least one name is left.
            let least = usize::from(place + 1 == pattern.len());
            let first = reachable.iter().position(|&it| it);
            reachable = (0..=path.len()).map(|i| first.is_some_and(|first| i >= first + least)).collect();
            continue;
        }
        let next = |i: usize| i > 0 && reachable[i - 1] && match_name(part, path[i - 1]);
        reachable = (0..=path.len()).map(next).collect();
    }
    reachable[path.len()]
}

/// A part of a pattern of a name.
enum Token {
    Any,
    One(char),
    Class { is_negated: bool, members: Vec<std::ops::RangeInclusive<char>> },
    Star,
}

fn tokens(pattern: &str) -> Vec<Token> {
    let characters: Vec<char> = pattern.chars().collect();
    let (mut tokens, mut at) = (Vec::new(), 0);
    while at < characters.len() {
        let token = match characters[at] {
            '*' => Token::Star,
            '?' => Token::Any,
            '[' => match class(&characters[at + 1..]) {
                Some((token, length)) => {
                    at += length;
                    token
                }
                None => Token::One('['),
            },
            other => Token::One(other),
        };
        tokens.push(token);
        at += 1;
    }
    tokens
}

/// Reads a class after its `[`; also returns its length with the `]`.
fn class(characters: &[char]) -> Option<(Token, usize)> {
    let is_negated = matches!(characters.first(), Some('!' | '^'));
    let start = usize::from(is_negated);
    // A bracket at the beginning is a member.
    let end = start + 1 + characters.get(start + 1..)?.iter().position(|&it| it == ']')?;
    let (mut members, mut at) = (Vec::new(), start);
    while at < end {
        if at + 2 < end && characters[at + 1] == '-' {
            members.push(characters[at]..=characters[at + 2]);
            at += 3;
        } else {
            members.push(characters[at]..=characters[at]);
            at += 1;
        }
    }
    Some((Token::Class { is_negated, members }, end + 1))
}

fn match_name(pattern: &str, name: &str) -> bool {
    let name: Vec<char> = name.chars().collect();
    let mut reachable: Vec<bool> = (0..=name.len()).map(|i| i == 0).collect();
    for token in tokens(pattern) {
        if matches!(token, Token::Star) {
            let first = reachable.iter().position(|&it| it);
            reachable = (0..=name.len()).map(|i| first.is_some_and(|first| i >= first)).collect();
            continue;
        }
        let fits = |found: char| match &token {
            Token::Any | Token::Star => true,
            Token::One(expected) => found == *expected,
            Token::Class { is_negated, members } => members.iter().any(|range| range.contains(&found)) != *is_negated,
        };
        reachable = (0..=name.len()).map(|i| i > 0 && reachable[i - 1] && fits(name[i - 1])).collect();
    }
    reachable[name.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_data_sets() {
        for (pattern, path, expected) in [
            ("data/train-*", "data/train-00000-of-00002.parquet", true),
            ("data/train-*", "data/a/train-0.parquet", false),
            ("**", "a/b/c.csv", true),
            ("**", ".cache/c.csv", false),
            ("**/.cache/*", "a/.cache/c.csv", true),
            ("**", "__pycache__/c.csv", false),
            ("**/train[-._ 0-9]*", "train.csv", true),
            ("**/train[-._ 0-9]*", "a/b/train_1.csv", true),
            ("**/train[-._ 0-9]*", "a/trainer.csv", false),
            ("**/*[-._ 0-9]train[-._ 0-9]*", "a/my-train.csv", true),
            ("**/train/**", "x/train/y/z.csv", true),
            ("**/train/**", "train", false),
            ("a?[!b]", "axc", true),
            ("a?[!b]", "axb", false),
            ("[", "[", true),
            ("*.csv", "a.csv.gz", false),
            ("./a.csv", "a.csv", true),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
        // Many stars take no longer.
        assert!(!matches(&"*a".repeat(2000), &"a".repeat(1999)));
    }
}

//! A page of headings, and of names with their values, not wider than a terminal.

use std::fmt;

/// Columns of the page.
const WIDTH: usize = 100;
/// Column in which values start.
const VALUE: usize = 13;

/// Text of the page so far.
#[derive(Debug, Default)]
pub(super) struct Page(String);

impl Page {
    /// Starts a section.
    pub(super) fn heading(&mut self, title: &str) {
        if !self.0.is_empty() {
            self.0.push('\n');
        }
        self.0 += &format!("{title}\n{}\n", "─".repeat(title.chars().count()));
    }

    /// Adds a name and its value, which wraps at the page's width.
    pub(super) fn line(&mut self, name: &str, value: impl fmt::Display) {
        let (mut line, mut column) = (format!("{name:<VALUE$}"), VALUE.max(name.chars().count()));
        let mut started = false;
        let value = value.to_string();
        for word in words(&value) {
            let width = word.chars().count();
            if started && column + 1 + width > WIDTH {
                self.0 += line.trim_end();
                self.0.push('\n');
                (line, column, started) = (" ".repeat(VALUE), VALUE, false);
            }
            if started {
                line.push(' ');
                column += 1;
            }
            line += word;
            column += width;
            started = true;
        }
        self.0 += line.trim_end();
        self.0.push('\n');
    }
}

/// Splits at spaces outside brackets, so that a shape is one word.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0;
    text.split(move |c| {
        depth += i32::from(c == '[') - i32::from(c == ']');
        c == ' ' && depth == 0
    })
}

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Formats a number of parameters, in millions if it is large.
pub(super) fn millions(n: i64) -> String {
    match n {
        0..1_000_000 => n.to_string(),
        _ => format!("{:.2} M", n as f64 / 1e6),
    }
}

/// Formats a number with its noun: `1 layer`, `2 layers`, `2 batches`.
pub(super) fn count(n: u64, noun: &str) -> String {
    match (n, noun.ends_with("ch")) {
        (1, _) => format!("{n} {noun}"),
        (_, true) => format!("{n} {noun}es"),
        (_, false) => format!("{n} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_value_wraps() {
        let mut page = Page::default();
        page.heading("Data");
        page.line("steps", 18);
        page.line("term", ["word"; 30].join(" "));
        page.line("path", "/x".repeat(60));
        let text = page.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..3], ["Data", "────", "steps        18"]);
        assert!(lines[3].starts_with("term         word word") && lines[4].starts_with("             word"));
        assert!(lines[3..5].iter().all(|line| line.len() <= WIDTH));
        assert_eq!(text.matches("word").count(), 30);
        assert_eq!(lines.last().unwrap().trim_start(), format!("path         {}", "/x".repeat(60)));
    }

    #[test]
    fn a_shape_is_one_word() {
        assert_eq!(words("weight [200, 384]: one").collect::<Vec<_>>(), ["weight", "[200, 384]:", "one"]);
    }

    #[test]
    fn large_numbers_are_in_millions_and_nouns_have_plurals() {
        assert_eq!([millions(988), millions(22_565_376)], ["988", "22.57 M"]);
        assert_eq!([count(1, "layer"), count(2, "layer"), count(0, "batch")], ["1 layer", "2 layers", "0 batches"]);
    }
}

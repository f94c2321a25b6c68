//! Numbers and names in a readable form.

use serde_json::Value;

/// The text shown for a missing number.
pub(crate) const NONE: &str = "–";

/// Formats a score from 0 to 1 with four decimals, as the commands print it.
pub(crate) fn score(value: f64) -> String {
    if value.is_finite() { format!("{value:.4}").replace('-', "−") } else { NONE.to_owned() }
}

/// Formats a score for a headline, with three decimals.
pub(crate) fn headline(value: f64) -> String {
    if value.is_finite() { format!("{value:.3}").replace('-', "−") } else { NONE.to_owned() }
}

/// Formats a difference with its sign.
pub(crate) fn signed(value: f64) -> String {
    match value {
        _ if !value.is_finite() => NONE.to_owned(),
        _ if value.abs() < 5e-5 => "0.0000".to_owned(),
        _ => format!("{value:+.4}").replace('-', "−"),
    }
}

/// Formats a share as a percentage.
pub(crate) fn percent(share: f64) -> String {
    if share.is_finite() { format!("{:.1}\u{a0}%", 100.0 * share).replace('-', "−") } else { NONE.to_owned() }
}

/// Formats a p-value.
pub(crate) fn p_value(p: f64) -> String {
    match p {
        _ if !p.is_finite() => NONE.to_owned(),
        _ if p < 0.001 => "< 0.001".to_owned(),
        _ => format!("{p:.3}"),
    }
}

/// Formats a count compactly: 950, 13.7 k, 66 M.
pub(crate) fn count(value: f64) -> String {
    let (value, unit) = match value.abs() {
        1e9.. => (value / 1e9, "\u{a0}G"),
        1e6.. => (value / 1e6, "\u{a0}M"),
        1e4.. => (value / 1e3, "\u{a0}k"),
        v if v.is_finite() => return format!("{value:.0}"),
        _ => return NONE.to_owned(),
    };
    format!("{value:.*}{unit}", usize::from(value.abs() < 100.0))
}

/// Formats an integer with thin spaces between groups of thousands.
pub(crate) fn integer(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// Formats any number with about three significant digits.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        v if !v.is_finite() => NONE.to_owned(),
        1e4.. => count(value),
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        1e-3.. => format!("{value:.4}"),
        _ => format!("{value:.1e}"),
    }
    .replace('-', "−")
}

/// Formats seconds as a duration.
pub(crate) fn duration(seconds: f64) -> String {
    match seconds {
        3600.0.. => format!("{:.0} h {:02.0} min", (seconds / 3600.0).floor(), ((seconds % 3600.0) / 60.0).floor()),
        60.0.. => format!("{:.0} min {:02.0} s", (seconds / 60.0).floor(), (seconds % 60.0).floor()),
        _ => format!("{} s", number(seconds)),
    }
}

/// Formats a count with its noun, given in the singular: `1 layer`, `2 layers`.
pub(crate) fn plural(n: u64, noun: &str) -> String {
    match (n, noun) {
        (1, _) => format!("1 {noun}"),
        (_, "query") => format!("{} queries", integer(n)),
        _ => format!("{} {noun}s", integer(n)),
    }
}

/// Returns the singular of a unit in the plural, such as `queries`.
pub(crate) fn singular(unit: &str) -> String {
    match unit.strip_suffix("ies") {
        Some(stem) => format!("{stem}y"),
        None => unit.strip_suffix('s').unwrap_or(unit).to_owned(),
    }
}

/// Returns the display name of a metric or a key.
pub(crate) fn name(key: &str) -> String {
    match key {
        "macro_f1" => "macro-F1".to_owned(),
        "micro_f1" => "micro-F1".to_owned(),
        "map" => "mean average precision".to_owned(),
        "auc" => "AUC".to_owned(),
        "ms" | "milliseconds_per_text" => "ms per text".to_owned(),
        _ if key.starts_with("mrr") => key.replacen("mrr", "MRR", 1),
        _ if key.starts_with("ndcg") => key.replacen("ndcg", "nDCG", 1),
        _ => key.replace('_', " "),
    }
}

/// Formats a JSON value for a table cell: strings without quotation marks, numbers in a readable form, other values as
/// JSON.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::Null => NONE.to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(n) => match n.as_u64() {
            Some(n) => integer(n),
            None => n.as_f64().map_or_else(|| n.to_string(), number),
        },
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!(
            [0.0, 1.2345, 0.00012, -3.5, 66_362_880.0].map(number),
            ["0", "1.23", "1.2e−4", "−3.50", "66.4\u{a0}M"]
        );
        assert_eq!([f64::NAN, f64::INFINITY].map(number), ["–", "–"]);
        assert_eq!([950.0, 13_700.0, 110e6].map(count), ["950", "13.7\u{a0}k", "110\u{a0}M"]);
        assert_eq!([integer(0), integer(999), integer(1_234_567)], ["0", "999", "1\u{202f}234\u{202f}567"]);
        assert_eq!([signed(0.01234), signed(-0.5), signed(-1e-9)], ["+0.0123", "−0.5000", "0.0000"]);
        assert_eq!([duration(5.25), duration(61.0), duration(3725.0)], ["5.25 s", "1 min 01 s", "1 h 02 min"]);
        assert_eq!([p_value(0.0002), p_value(0.04), p_value(f64::NAN)], ["< 0.001", "0.040", "–"]);
    }

    #[test]
    fn names_are_readable() {
        assert_eq!(
            ["macro_f1", "ndcg@10", "mrr@10", "auc", "recall@100"].map(name).join(" "),
            "macro-F1 nDCG@10 MRR@10 AUC recall@100"
        );
        assert_eq!(
            [plural(1, "query"), plural(1000, "query"), plural(2, "text")],
            ["1 query", "1\u{202f}000 queries", "2 texts"]
        );
    }
}

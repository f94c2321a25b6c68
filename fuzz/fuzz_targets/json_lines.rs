//! JSON lines with any keys. The first line holds the paths of the label, and up to three texts, separated by
//! spaces; a path that is missing is not read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nb_data::read::{Format, KeyLayout, KeyPath, LabelLayout, LabelRule};
use nb_fuzz::read;

fuzz_target!(|data: &[u8]| {
    let end = data.iter().position(|&byte| byte == b'\n').unwrap_or(data.len());
    let (head, text) = data.split_at(end);
    let head = String::from_utf8_lossy(head);
    let mut paths = head.split(' ').filter_map(|path| path.parse::<KeyPath>().ok());
    let (label, text_paths): (Option<KeyPath>, Vec<KeyPath>) = (paths.next(), paths.take(3).collect());
    for label in [
        None,
        label.clone().map(LabelLayout::One),
        label.clone().map(|column| LabelLayout::Several { columns: vec![column], separator: Some("|".into()) }),
        label.clone().map(|column| LabelLayout::Flags(vec![column])),
    ] {
        let labels = if label.is_some() { LabelRule::Required } else { LabelRule::Optional };
        let layout = KeyLayout { label, text: text_paths.clone(), id: text_paths.first().cloned() };
        let articles = read(text.get(1..).unwrap_or_default(), &Format::JsonLines(layout), labels);
        assert!(articles.iter().all(|article| article.label.is_some() || article.more_labels.is_empty()));
    }
});

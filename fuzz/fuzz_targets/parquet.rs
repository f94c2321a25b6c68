//! A Parquet file, read as articles and as impressions.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nb_data::IdIndex;
use nb_data::behaviors::{BehaviorSource, Behaviors, CandidateColumns, ClickRule, HistoryColumns, ImpressionLayout};
use nb_data::read::{Format, KeyLayout, KeyPath, LabelRule, Row, Source};
use nb_fuzz::folder;

// The reader turns panics of the `parquet` crate into errors; libfuzzer-sys would end the fuzzer at each of them. A panic that
// nothing catches still ends it.
fuzz_target!(init: std::panic::set_hook(Box::new(|_| {})), |data: &[u8]| {
    let folder = folder(&[("a.parquet", data)]);
    let file = folder.path().join("a.parquet");
    let path = |text: &str| text.parse::<KeyPath>().expect("a path");
    for (label, text) in [("tags", "title"), ("number", "body"), ("flag", "meta.title"), ("label", "text")] {
        let layout = KeyLayout { label: Some(path(label).into()), text: vec![path(text)], id: None };
        let source = Source { labels: LabelRule::Optional, ..Source::labelled(&file, Format::Parquet(layout)) };
        let mut last = 0;
        for row in source.open().into_iter().flatten() {
            let line = match row {
                Ok(Row::Article(article)) => {
                    assert!(!article.first.trim().is_empty());
                    article.line
                }
                Ok(Row::Skipped(row)) => row.line,
                Err(_) => break,
            };
            assert_eq!(line, last + 1);
            last = line;
        }
    }
    let news = IdIndex::new(["N1", "N2", "9000007"].map(Some));
    let shown =
        CandidateColumns::ShownAndClicked { shown: path("article_ids_inview"), clicked: path("article_ids_clicked") };
    let ebnerd = ImpressionLayout { id: path("impression_id"), candidates: shown, history: HistoryColumns::Absent };
    for layout in [ImpressionLayout::mind(), ebnerd, ImpressionLayout::ebnerd(&file)] {
        let (path, clicks) = (file.clone(), ClickRule::Optional);
        let source = BehaviorSource { path, history: 3, clicks, allowed_unusable: 1.0 };
        if let Ok(behaviors) = Behaviors::read_parquet(&source, &layout, &news) {
            assert!(
                (0..behaviors.len()).all(|i| !behaviors.candidates(i).is_empty() && behaviors.history(i).len() <= 3)
            );
        }
    }
});

//! The ids of articles, one per line, and MIND's `behaviors.tsv`, in this order.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nb_data::IdIndex;
use nb_data::behaviors::{BehaviorSource, Behaviors, ClickRule, Draw, ReaderBatch, UNKNOWN};
use nb_fuzz::{folder, parts};

fuzz_target!(|data: &[u8]| {
    let [ids, text] = parts(data);
    let ids = String::from_utf8_lossy(ids);
    let ids: Vec<Option<&str>> = ids.lines().map(|id| Some(id).filter(|id| !id.is_empty())).collect();
    let news = IdIndex::new(ids.iter().copied());
    for (row, id) in ids.iter().enumerate() {
        let found = id.and_then(|id| news.row(id.as_bytes()));
        assert!(found.is_none_or(|found| found as usize <= row), "the id of row {row} is found in row {found:?}");
    }
    let folder = folder(&[("behaviors.tsv", text)]);
    for clicks in [ClickRule::Required, ClickRule::Optional] {
        let path = folder.path().join("behaviors.tsv");
        let source = BehaviorSource { path, history: 3, clicks, allowed_unusable: 1.0 };
        if let Ok(behaviors) = Behaviors::read(&source, &news) {
            use_impressions(&behaviors, ids.len());
        }
    }
});

/// Uses impressions as training and ranking do.
fn use_impressions(behaviors: &Behaviors, news: usize) {
    for i in 0..behaviors.len() {
        let (candidates, history) = (behaviors.candidates(i), behaviors.history(i));
        assert!(!candidates.is_empty() && candidates.len() == behaviors.clicked(i).len());
        assert!(history.len() <= behaviors.history_length(i).min(3));
        assert!(candidates.iter().all(|&row| row == UNKNOWN || (row as usize) < news));
        assert!(history.iter().all(|&row| (row as usize) < news));
        let _ = (behaviors.id(i), behaviors.line(i), behaviors.report().to_string());
    }
    let impressions: Vec<u32> = (0..behaviors.len() as u32).collect();
    assert_eq!(behaviors.seen(impressions.iter().copied()).len(), news);
    let samples = behaviors.samples(&impressions).samples;
    for &sample in &samples {
        assert_eq!(behaviors.negatives(sample, 4, 1, 2).len(), 4);
    }
    let draw = Draw { negatives: 2, seed: 1, epoch: 0, clicked_before: nb_data::behaviors::ClickedBefore::LeaveOut };
    assert_eq!(ReaderBatch::new(behaviors, &samples, &draw, |row| row as usize % 7).readers(), samples.len());
}

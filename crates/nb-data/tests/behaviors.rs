//! Behaviors: small and hostile files, samples, negatives and batches of readers.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use nb_data::behaviors::{
    BehaviorSource, Behaviors, ClickRule, ClickedBefore, Draw, NO_LABEL, ReaderBatch, Sample, UNKNOWN, cut_distinct,
};
use nb_data::read::{Reason, ReasonCount};
use nb_data::{BatchSize, IdIndex, batch};
use proptest::prelude::*;

/// The articles `N0`, `N1`, … as rows 0, 1, …
fn news(count: usize) -> IdIndex {
    let ids: Vec<String> = (0..count).map(|row| format!("N{row}")).collect();
    IdIndex::new(ids.iter().map(|id| Some(id.as_str())))
}

fn read_with(
    text: impl AsRef<[u8]>,
    news: &IdIndex,
    change: impl Fn(&mut BehaviorSource),
) -> Result<Behaviors, String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("behaviors.tsv");
    fs::write(&path, text).expect("a temporary folder can be written");
    let mut source = BehaviorSource { path, history: 50, clicks: ClickRule::Required, allowed_unusable: 0.1 };
    change(&mut source);
    let place = format!("{}/", folder.path().display());
    Behaviors::read(&source, news).map_err(|err| err.to_string().replace(&place, ""))
}

/// Reads a text of clicks with the articles `N0` to `N9`.
fn read(text: impl AsRef<[u8]>) -> Behaviors {
    read_with(text, &news(10), |source| source.allowed_unusable = 1.0).expect("behaviors")
}

/// Formats an impression: `line id|history|candidate:click …`.
fn show(behaviors: &Behaviors, i: usize) -> String {
    let history: Vec<String> = behaviors.history(i).iter().map(u32::to_string).collect();
    let shown: Vec<String> = behaviors
        .candidates(i)
        .iter()
        .zip(behaviors.clicked(i))
        .map(|(&row, &click)| {
            let row = if row == UNKNOWN { "?".into() } else { row.to_string() };
            if click == NO_LABEL { row } else { format!("{row}:{click}") }
        })
        .collect();
    format!("{} {}|{}|{}", behaviors.line(i), behaviors.id(i), history.join(" "), shown.join(" "))
}

fn check(behaviors: &Behaviors, expected: &[&str]) {
    let shown: Vec<String> = (0..behaviors.len()).map(|i| show(behaviors, i)).collect();
    assert_eq!(shown, expected);
}

#[test]
fn a_small_file_is_read() {
    let behaviors = read(
        "\u{FEFF}1\tU1\t11/12/2019 2:14:46 PM\tN3 N77 N1 N3\tN2-0 N1-1\r\n\
         \r\n\
         \n\
         é 2\tU2\t\t\tN5-1\tanother\tcolumn\n\
         3\t\t\t  N1   N2 \t N9-0  N99-1 N9-0 N99-0 \n\
         1\tU1\t\0\tN01 n1 N -\tN-0 -1 N1-1-0 N0-0",
    );
    check(&behaviors, &["1 1|3 1 3|2:0 1:1", "4 é 2||5:1", "5 3|1 2|9:0 ?:1 9:0 ?:0", "6 1||?:0 ?:1 ?:0 0:0"]);
    let report = behaviors.report();
    assert_eq!(
        report.to_string(),
        "unknown articles in histories: 5; unknown candidates: 5; impressions with a repeated id: 1; candidates repeated \
         in their impression: 1"
    );
    assert_eq!((report.skipped.count(), behaviors.news()), (0, 10));
    let seen = [true, true, true, true, false, true, false, false, false, true];
    assert_eq!(behaviors.seen(0..behaviors.len() as u32), seen);
    assert_eq!(read("1\tU\t\t\tN1-1").report().to_string(), "nothing skipped");
}

#[test]
fn a_test_set_needs_no_clicks() {
    let ids = ["N1", "N2-1", "N2", "N3-0"];
    let news = IdIndex::new(ids.map(Some));
    let text = "1\tU\t\tN2-1 N2 N1-1\tN1 N2 N9\n2\tU\t\t\tN2-1 N2-0 N3-0 N3-0-1 N9-1 N1-2 N1-\n";
    let behaviors = read_with(text, &news, |source| source.clicks = ClickRule::Optional).unwrap();
    // The unchanged candidate is looked up first; only then is a click label split off.
    check(&behaviors, &["1 1|1 2|0 2 ?", "2 2||1 2:0 3 3:1 ?:1 ? ?"]);
    assert_eq!(behaviors.report().unknown_candidates, 4);
}

#[test]
fn unusable_lines_are_reported_by_reason_and_add_nothing() {
    let behaviors = read(
        b"1\tU\t\tN1 N77\tN1-1 N2-0\n\
          2\tU\t\tN1 N77 N1-1\n\
          3\tU\t\tN1 N77\t\n\
          4\tU\t\tN1 N77\t  \n\
          5\tU\t\tN1 N77\tN1-1 N1-1 N78-0 N2 N3-0\n\
          6\tU\t\tN1 N77\xff\tN1-1\n\
          7\tU\t\tN1 N77\tN1-2\n\
          8\tU\t\tN1 N77\tN3-0\n",
    );
    check(&behaviors, &["1 1|1|1:1 2:0", "8 8|1|3:0"]);
    let report = behaviors.report();
    assert_eq!((report.unknown_history, report.unknown_candidates, report.repeated_candidates), (2, 0, 0));
    assert_eq!(
        report.skipped.to_string(),
        "1 that are not valid text in their encoding, first on line 6; 1 with too few columns, first on line 2; 2 without \
         a candidate, first on line 3; 2 with a candidate without a click label, first on line 5"
    );
    assert_eq!(report.skipped.by_reason(Reason::NoClick), Some(ReasonCount { rows: 2, first_line: 5 }));
}

#[test]
fn unusable_files_are_errors_that_give_the_reason() {
    let error = |text: &[u8]| read_with(text, &news(10), |_| ()).unwrap_err();
    assert_eq!(
        error(b"\n1\tU\t\tN1\tN1 N2\n2\tU\t\tN1\tN1-1\n"),
        "behaviors.tsv:2: 1 of 2 impressions have a candidate without a click label, expected N1-0 or N1-1 as in \
         MIND's train and dev folders"
    );
    for (empty, skipped) in [(&b""[..], "none skipped"), (b"\xEF\xBB\xBF", "none skipped"), (b"\n\r\n", "none skipped")]
    {
        assert_eq!(error(empty), format!("behaviors.tsv: no usable row found ({skipped}), expected at least one"));
    }
    assert_eq!(
        error(b"N1\tsports\n"),
        "behaviors.tsv: no usable row found (1 with too few columns, first on line 1), expected at least one"
    );
    assert_eq!(
        error(b"1\tU\t\t\tN1-1\n2\n"),
        "behaviors.tsv: 1 of 2 rows cannot be used (1 with too few columns, first on line 2), expected at most 10.0000 %"
    );
    assert_eq!(
        error(b"1\tU\t\tN1\tN77-1\n2\tU\t\tN1\tN78-0\n"),
        "behaviors.tsv: none of the 2 impressions shows any of the 10 known articles, expected behaviors and news \
         from the same folder"
    );
    let folder = read_with("", &news(1), |source| {
        source.path.pop();
    })
    .unwrap_err();
    assert!(folder.starts_with("cannot open "), "{folder}");
    let missing = read_with("", &news(1), |source| source.path.set_file_name("missing.tsv")).unwrap_err();
    assert_eq!(missing, "cannot open missing.tsv");
}

#[test]
fn long_lines_are_read_and_the_most_recent_news_kept() {
    let history: Vec<String> = (0..10_000).map(|i| format!("N{}", i % 2000)).collect();
    let shown: Vec<String> = (0..1000).map(|row| format!("N{row}-{}", u8::from(row == 7))).collect();
    let line = format!("1\tU\t\t{}\t{}\n", history.join(" "), shown.join(" "));
    // Every second article is known, so the most recent known articles go back twice as far.
    let known: Vec<Option<String>> = (0..2000).map(|row| (row % 2 == 1).then(|| format!("N{row}"))).collect();
    let news = IdIndex::new(known.iter().map(Option::as_deref));
    for (most, length) in [(0, 0), (50, 50), (usize::MAX, 5000)] {
        let behaviors = read_with(line.repeat(100), &news, |source| source.history = most).unwrap();
        assert_eq!((behaviors.len(), behaviors.line(99)), (100, 100));
        let expected: Vec<u32> = (0..10_000).map(|i| i % 2000).filter(|row| row % 2 == 1).collect();
        assert_eq!(behaviors.history(99), &expected[5000 - length..]);
        assert_eq!((behaviors.candidates(99)[7], behaviors.clicked(99)[7]), (7, 1));
        assert_eq!(behaviors.report().unknown_history, 100 * 5000);
        assert_eq!((behaviors.report().repeated_ids, behaviors.report().repeated_candidates), (99, 0));
    }
    let long = format!("{}\tU{}\t\t\tN1-1\n{line}", "i".repeat(9 << 20), "u".repeat(9 << 20));
    let behaviors = read_with(long, &news, |_| ()).unwrap();
    assert_eq!((behaviors.len(), behaviors.id(0).len(), behaviors.line(1)), (2, 9 << 20, 2));
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let line = |i: u32| format!("{i}\tU\t\tN{} N{} N77\tN{}-1 N{}-0\n", i % 7, i % 10, i % 9, i % 8);
    // More than one block, with an unusable line here and there.
    let lines: String = (0..200_000).map(|i| if i % 501 == 0 { "?\n".into() } else { line(i) }).collect();
    let read = || read_with(&lines, &news(10), |_| ()).unwrap();
    let [one, three] = [1, 3].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(read)
    });
    assert_eq!((one.len(), one.report().skipped.count(), one.line(199_599)), (199_600, 400, 199_999 + 1));
    assert!(one == three);
}

#[test]
fn samples_are_clicks_of_impressions_with_a_negative() {
    let behaviors = read(
        "0\tU\t\t\tN1-1 N2-0 N3-1\n\
         1\tU\t\t\tN1-0 N2-0 N77-1\n\
         2\tU\t\t\tN1-1 N2-1 N77-0\n\
         3\tU\t\t\tN1-1 N1-0 N2-1\n\
         4\tU\t\t\tN4-1 N3-1 N4-1 N4-0 N5-0 N5-0\n",
    );
    let all = behaviors.samples(&[4, 0, 1, 2, 3]);
    let places: Vec<(u32, u32)> = all.samples.iter().map(|sample| (sample.impression, sample.candidate)).collect();
    assert_eq!(places, [(4, 0), (4, 1), (0, 0), (0, 2)]);
    assert_eq!((all.no_click, all.no_other), (1, 2));
    assert_eq!(behaviors.negatives(all.samples[0], 4, 0, 0), [5; 4]);
    assert_eq!(behaviors.negatives(all.samples[2], 0, 0, 0), [0; 0]);
    assert!(behaviors.samples(&[]).samples.is_empty());
}

#[test]
fn candidates_without_a_click_are_neither_clicked_nor_negatives() {
    let text = "1\tU\t\t\tN1-1 N2 N3-0\n2\tU\t\t\tN1-1 N2\n";
    let behaviors = read_with(text, &news(10), |source| source.clicks = ClickRule::Optional).unwrap();
    let samples = behaviors.samples(&[0, 1]);
    assert_eq!(samples.samples, [Sample { impression: 0, candidate: 0 }]);
    assert_eq!((samples.no_click, samples.no_other), (0, 1));
    assert_eq!(behaviors.negatives(samples.samples[0], 2, 0, 0), [3, 3]);
}

#[test]
fn negatives_are_pinned() {
    let behaviors = read("0\tU\t\t\tN0-1 N1-0 N2-0 N3-0 N4-0 N5-0 N6-0\n1\tU\t\t\tN0-1 N1-0 N2-0\n");
    let [first, second] = [0, 1].map(|impression| Sample { impression, candidate: 0 });
    assert_eq!(behaviors.negatives(first, 4, 0, 0), [4, 1, 6, 3]);
    assert_eq!(behaviors.negatives(first, 4, 0, 1), [3, 2, 4, 6]);
    assert_eq!(behaviors.negatives(first, 4, 1, 0), [6, 5, 2, 4]);
    assert_eq!(behaviors.negatives(second, 4, 0, 0), [1, 2, 1, 2]);
}

#[test]
fn negatives_are_drawn_uniformly() {
    let behaviors = read("0\tU\t\t\tN0-1 N1-0 N2-0 N3-0 N4-0 N5-0\n");
    let sample = Sample { impression: 0, candidate: 0 };
    let mut counts = [[0_u32; 6]; 2];
    for epoch in 0..5000 {
        for (place, &row) in behaviors.negatives(sample, 2, 3, epoch).iter().enumerate() {
            counts[place][row as usize] += 1;
        }
    }
    // The limit is five standard deviations of a count, 28 each.
    assert!(counts.iter().all(|counts| counts[1..].iter().all(|count| count.abs_diff(1000) < 140)), "{counts:?}");
}

#[test]
fn a_small_batch_is_correct() {
    let behaviors = read("0\tU\t\tN3 N1 N3\tN2-0 N1-1\n1\tU\t\t\tN3-1 N5-0\n");
    let lengths = [0, 4, 7, 4, 9, 9];
    let samples = behaviors.samples(&[0, 1]).samples;
    let draw = Draw { negatives: 2, seed: 0, epoch: 0, clicked_before: ClickedBefore::Keep };
    let batch = ReaderBatch::new(&behaviors, &samples, &draw, |row| lengths[row as usize]);
    assert_eq!(batch.news, [5, 2, 1, 3]);
    assert_eq!(batch.history, [3, 2, 3]);
    assert_eq!(batch.history_lengths, [3, 0]);
    assert_eq!(batch.candidates, [2, 1, 1, 3, 0, 0]);
    assert_eq!((batch.readers(), batch.negatives), (2, 2));

    let repeated = batch.repeated();
    assert_eq!(repeated.news, [5, 5, 2, 2, 1, 1, 3, 3, 3]);
    assert_eq!(repeated.history, [6, 4, 7]);
    assert_eq!(repeated.candidates, [5, 2, 3, 8, 0, 1]);
    assert_eq!((repeated.history_lengths, repeated.negatives), (batch.history_lengths, 2));

    let empty = ReaderBatch::new(&behaviors, &[], &draw, |_| 1);
    assert_eq!((empty.readers(), empty.news.len()), (0, 0));
}

#[test]
fn a_cut_counts_each_news_once() {
    let behaviors = read("0\tU\t\tN1 N2 N1\tN3-1 N4-0\n1\tU\t\tN1 N2\tN4-1 N3-0\n2\tU\t\tN5\tN4-1 N3-0\n");
    let samples = behaviors.samples(&[0, 1, 2]).samples;
    let draw = Draw { negatives: 3, seed: 0, epoch: 0, clicked_before: ClickedBefore::Keep };
    let cut =
        |tokens, order: &[u32]| cut_distinct(&behaviors, &samples, order, &draw, |_| 10, BatchSize::Tokens(tokens));
    assert_eq!(cut(40, &[0, 1, 2]), [vec![0, 1], vec![2]]);
    assert_eq!(cut(49, &[0, 2, 1]), [[0], [2], [1]]);
    assert_eq!(cut(50, &[0, 2, 1]), [[0, 2, 1]]);
    assert_eq!(cut(0, &[1, 0]), [[1], [0]]);
    assert!(cut(0, &[]).is_empty());
    let by_samples = cut_distinct(&behaviors, &samples, &[2, 1, 0], &draw, |_| 10, BatchSize::Sequences(2));
    assert_eq!(by_samples, [vec![2, 1], vec![0]]);
}

/// A candidate's id and click, as in a line.
fn candidate() -> impl Strategy<Value = (u32, u8)> {
    (0_u32..14, 0_u8..2)
}

/// History and candidates; rows from 10 on are unknown.
type Impression = (Vec<u32>, Vec<(u32, u8)>);

fn impression() -> impl Strategy<Value = Impression> {
    (prop::collection::vec(0_u32..14, 0..12), prop::collection::vec(candidate(), 1..12))
}

/// The impressions as lines, plus an impression that guarantees a sample.
fn text(impressions: &[Impression]) -> String {
    let line = |(history, shown): &Impression| {
        let history: Vec<String> = history.iter().map(|row| format!("N{row}")).collect();
        let shown: Vec<String> = shown.iter().map(|(row, click)| format!("N{row}-{click}")).collect();
        format!("7\tU\t\t{}\t{}\n", history.join(" "), shown.join(" "))
    };
    format!("{}0\tU\t\t\tN0-1 N1-0\n", impressions.iter().map(line).collect::<String>())
}

proptest! {
    #[test]
    fn written_lines_are_read_back(
        impressions in prop::collection::vec(impression(), 0..20), most in 0_usize..14,
    ) {
        let behaviors = read_with(text(&impressions), &news(10), |source| source.history = most).unwrap();
        prop_assert_eq!(behaviors.len(), impressions.len() + 1);
        let (mut unknown, mut twice) = ([0, 0], 0);
        for (i, (history, shown)) in impressions.iter().enumerate() {
            let known: Vec<u32> = history.iter().copied().filter(|&row| row < 10).collect();
            prop_assert_eq!(behaviors.history(i), &known[known.len().saturating_sub(most)..]);
            let rows: Vec<u32> = shown.iter().map(|&(row, _)| if row < 10 { row } else { UNKNOWN }).collect();
            prop_assert_eq!(behaviors.candidates(i), &rows);
            let clicks: Vec<u8> = shown.iter().map(|&(_, click)| click).collect();
            prop_assert_eq!(behaviors.clicked(i), &clicks);
            unknown[0] += history.len() - known.len();
            let known: Vec<u32> = rows.iter().copied().filter(|&row| row != UNKNOWN).collect();
            unknown[1] += rows.len() - known.len();
            twice += known.len() - known.iter().collect::<BTreeSet<_>>().len();
        }
        let report = behaviors.report();
        prop_assert_eq!([report.unknown_history, report.unknown_candidates], unknown.map(|count| count as u64));
        prop_assert_eq!(report.repeated_candidates, twice as u64);
        prop_assert_eq!(report.repeated_ids, impressions.len().saturating_sub(1) as u64);
    }

    #[test]
    fn no_input_causes_a_panic(bytes in prop::collection::vec(
        prop_oneof![Just(b'\t'), Just(b'\n'), Just(b' '), Just(b'-'), Just(b'1'), Just(b'N'), any::<u8>()], 0..200,
    )) {
        for clicks in [ClickRule::Required, ClickRule::Optional] {
            if let Ok(behaviors) = read_with(&bytes, &news(3), |source| {
                (source.clicks, source.allowed_unusable) = (clicks, 1.0);
            }) {
                let all: Vec<u32> = (0..behaviors.len() as u32).collect();
                let samples = behaviors.samples(&all);
                prop_assert!(samples.samples.iter().all(|&sample| behaviors.negatives(sample, 2, 0, 0).len() == 2));
            }
        }
    }

    #[test]
    fn negatives_are_other_news_of_the_impression(
        impressions in prop::collection::vec(impression(), 0..8), count in 1_usize..8, seed in any::<u64>(),
    ) {
        let behaviors = read(text(&impressions));
        let all: Vec<u32> = (0..behaviors.len() as u32).collect();
        let samples = behaviors.samples(&all);
        let mut usable = BTreeMap::new();
        for i in 0..behaviors.len() {
            let rows = |click| -> BTreeSet<u32> {
                let shown = behaviors.candidates(i).iter().zip(behaviors.clicked(i));
                shown.filter(|&(&row, &it)| row != UNKNOWN && it == click).map(|(&row, _)| row).collect()
            };
            usable.insert(i as u32, (rows(1), &rows(0) - &rows(1)));
        }
        let clicks = |(clicked, others): &(BTreeSet<_>, BTreeSet<_>)| if others.is_empty() { 0 } else { clicked.len() };
        prop_assert_eq!(samples.samples.len(), usable.values().map(clicks).sum::<usize>());
        prop_assert_eq!(samples.no_click, usable.values().filter(|it| it.0.is_empty()).count() as u64);
        let no_other = usable.values().filter(|it| !it.0.is_empty() && it.1.is_empty()).count();
        prop_assert_eq!(samples.no_other, no_other as u64);
        for &sample in &samples.samples {
            let (clicked, others) = &usable[&sample.impression];
            let row = behaviors.candidates(sample.impression as usize)[sample.candidate as usize];
            prop_assert!(clicked.contains(&row));
            let mut drawn = BTreeSet::new();
            for epoch in 0..30 {
                let negatives = behaviors.negatives(sample, count, seed, epoch);
                prop_assert_eq!(&negatives, &behaviors.negatives(sample, count, seed, epoch));
                let distinct: BTreeSet<u32> = negatives.iter().copied().collect();
                prop_assert_eq!(negatives.len(), count);
                prop_assert!(distinct.is_subset(others));
                prop_assert!(others.len() < count || distinct.len() == count);
                drawn.insert(negatives);
            }
            // Thirty draws with at least two outcomes are all the same with a probability of at most 2^-29.
            prop_assert!(others.len() == 1 || drawn.len() > 1);
        }
    }

    #[test]
    fn a_batch_contains_the_articles_of_its_samples(
        impressions in prop::collection::vec(impression(), 0..10), negatives in 0_usize..5, seed in any::<u64>(),
        lengths in prop::collection::vec(1_usize..6, 10),
    ) {
        let behaviors = read(text(&impressions));
        let all: Vec<u32> = (0..behaviors.len() as u32).collect();
        let samples = behaviors.samples(&all).samples;
        let draw = Draw { negatives, seed, epoch: 2, clicked_before: ClickedBefore::Keep };
        let length = |row: u32| lengths[row as usize];
        let batch = ReaderBatch::new(&behaviors, &samples, &draw, length);
        let sorted = batch.news.windows(2).all(|pair| {
            let key = |row| (std::cmp::Reverse(length(row)), row);
            key(pair[0]) < key(pair[1])
        });
        prop_assert!(sorted, "{:?}", batch.news);

        let rows = |batch: &ReaderBatch, places: &[i64]| -> Vec<u32> {
            places.iter().map(|&place| batch.news[place as usize]).collect()
        };
        let mut history = Vec::new();
        let mut candidates = Vec::new();
        for &sample in &samples {
            let i = sample.impression as usize;
            history.extend_from_slice(behaviors.history(i));
            candidates.push(behaviors.candidates(i)[sample.candidate as usize]);
            candidates.extend(behaviors.negatives(sample, negatives, seed, 2));
        }
        let mentioned: BTreeSet<u32> = history.iter().chain(&candidates).copied().collect();
        prop_assert_eq!(mentioned, batch.news.iter().copied().collect::<BTreeSet<_>>());
        let repeated = batch.repeated();
        for batch in [&batch, &repeated] {
            prop_assert_eq!(rows(batch, &batch.history), history.clone());
            prop_assert_eq!(rows(batch, &batch.candidates), candidates.clone());
            prop_assert_eq!(batch.history_lengths.iter().sum::<i64>() as usize, history.len());
            prop_assert_eq!((batch.readers(), batch.candidates.len()), (samples.len(), samples.len() * (1 + negatives)));
        }
        let mut places = [repeated.history.clone(), repeated.candidates.clone()].concat();
        places.sort_unstable();
        prop_assert_eq!(places, (0..repeated.news.len() as i64).collect::<Vec<_>>());
        prop_assert!(repeated.news.windows(2).all(|pair| length(pair[0]) >= length(pair[1])));
    }

    #[test]
    fn a_cut_keeps_every_sample_and_fills_each_batch(
        impressions in prop::collection::vec(impression(), 0..20), seed in any::<u64>(), most in 0_usize..80,
        lengths in prop::collection::vec(1_usize..12, 10), sequences in any::<bool>(),
    ) {
        let behaviors = read(text(&impressions));
        let all: Vec<u32> = (0..behaviors.len() as u32).collect();
        let samples = behaviors.samples(&all).samples;
        let order = batch::order(samples.len(), seed, 0);
        let draw = Draw { negatives: 3, seed, epoch: 0, clicked_before: ClickedBefore::Keep };
        let length = |row: u32| lengths[row as usize];
        let size = if sequences { BatchSize::Sequences(most / 10) } else { BatchSize::Tokens(most) };
        let batches = cut_distinct(&behaviors, &samples, &order, &draw, length, size);
        prop_assert_eq!(batches.concat(), order.clone());
        let tokens = |numbers: &[u32]| -> usize {
            let samples: Vec<Sample> = numbers.iter().map(|&number| samples[number as usize]).collect();
            ReaderBatch::new(&behaviors, &samples, &draw, length).news.iter().map(|&row| length(row)).sum()
        };
        let mut end = 0;
        for (i, batch) in batches.iter().enumerate() {
            end += batch.len();
            let next = order.get(end);
            if sequences {
                prop_assert!(batch.len() == (most / 10).max(1) || i + 1 == batches.len());
            } else {
                prop_assert!(batch.len() == 1 || tokens(batch) <= most);
                prop_assert!(next.is_none_or(|&next| tokens(&[&batch[..], &[next]].concat()) > most));
            }
        }
    }
}

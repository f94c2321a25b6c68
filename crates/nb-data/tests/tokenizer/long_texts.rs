//! Articles of more tokens than fit: their beginning and their end (`golden/make_head_tail.py`), and windows.

use nb_data::read::Article;
use nb_data::tokenizer::{Truncation, Windows};
use nb_data::{DataError, TokenBatch, Tokenizer};
use proptest::prelude::*;
use serde_json::Value;

use crate::common::golden_tokenizer;

fn head_tail() -> Tokenizer {
    golden_tokenizer().with_truncation(Truncation::HeadTail)
}

#[test]
fn beginning_and_end_match_the_tokens_of_transformers() {
    let golden: Value = serde_json::from_str(include_str!("../golden/head_tail.json")).unwrap();
    let cases = golden["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 105);
    let tokenizer = head_tail();
    for case in cases {
        let text = |key: &str| case[key].as_u64().map(|text| golden["texts"][text as usize].as_str().unwrap());
        let most = case["max_tokens"].as_u64().unwrap() as usize;
        let tokens = tokenizer.encode(text("first").unwrap(), text("second"), most).unwrap();
        assert_eq!(Value::from(tokens.ids), case["ids"], "{case}");
        assert_eq!(Value::from(tokens.second_starts), case["second_starts"], "{case}");
    }
}

#[test]
fn a_truncation_changes_the_fingerprint_and_the_default_does_not() {
    let default = golden_tokenizer();
    assert_ne!(head_tail().fingerprint(), default.fingerprint());
    assert_eq!(head_tail().with_truncation(Truncation::Head).fingerprint(), default.fingerprint());
    assert_eq!(head_tail().files(9), default.files(9), "other programs cannot truncate in this way");
}

fn text() -> impl Strategy<Value = Vec<&'static str>> {
    prop::collection::vec(prop::sample::select(vec!["rain", "goal", "paris", "in", "the", "news"]), 0..40)
}

fn cut(size: usize, stride: usize) -> Tokenizer {
    golden_tokenizer().with_windows(Some(Windows { size, stride }))
}

/// Returns the ids of each window.
fn windows(tokenizer: &Tokenizer, first: &str, second: Option<&str>, most: usize) -> Vec<Vec<u32>> {
    tokenizer.encode(first, second, most).expect("tokens").windows().map(|window| window.ids.to_vec()).collect()
}

#[test]
fn a_window_begins_with_the_title_and_strides_over_the_text() {
    let ids = |text: &str| {
        let ids = golden_tokenizer().encode(text, None, 999).unwrap().ids;
        ids[1..ids.len() - 1].to_vec()
    };
    let (title, text) = (ids("rain goal"), ids("the in on a storm news paris york"));
    let window = |from: usize, to: usize| [&[2], &title[..], &[3], &text[from..to], &[3]].concat();
    let found =
        |size, stride, most| windows(&cut(size, stride), "rain goal", Some("the in on a storm news paris york"), most);
    assert_eq!(found(13, 2, 99), [window(0, 8)]);
    assert_eq!(found(10, 3, 99), [window(0, 5), window(3, 8)]);
    assert_eq!(found(9, 2, 99), [window(0, 4), window(2, 6), window(4, 8)]);
    assert_eq!(found(9, 4, 99), [window(0, 4), window(4, 8)]);
    assert_eq!(found(9, 7, 99), [window(0, 4), window(4, 8)], "no token is skipped");
    assert_eq!(found(9, 4, 11), [window(0, 4), window(4, 6)], "max_tokens limits the article");
    let ends = cut(9, 4).with_truncation(Truncation::HeadTail);
    let kept = [&text[..2], &text[4..]].concat(); // 6 of 8: the first 2 and the last 4
    let of_kept = |from: usize, to: usize| [&[2], &title[..], &[3], &kept[from..to], &[3]].concat();
    assert_eq!(
        windows(&ends, "rain goal", Some("the in on a storm news paris york"), 11),
        [of_kept(0, 4), of_kept(4, 6)]
    );

    // A long title leaves half of the room, or what the text needs if that is less.
    let long = "the in on a storm news paris york";
    let pair = |title: &[u32], text: &[u32]| [&[2], title, &[3], text, &[3]].concat();
    assert_eq!(windows(&cut(9, 9), long, Some("rain goal"), 99), [pair(&text[..4], &title)]);
    assert_eq!(
        windows(&cut(9, 2), long, Some(long), 99),
        [(0, 3), (2, 5), (4, 7), (6, 8)].map(|(from, to)| pair(&text[..3], &text[from..to]))
    );
    assert!(cut(9, 2).sequence(long, Some(long), 99).unwrap().is_truncated);
    let error = cut(4, 2).encode("rain", None, 99).unwrap_err();
    assert!(matches!(error, DataError::WindowSize { found: 4, smallest: 5 }), "{error}");
}

#[test]
fn batches_and_stores_contain_the_windows_of_their_rows() {
    let tokenizer = cut(8, 3);
    let article = |first: &str, second: Option<&str>| Article {
        first: first.into(),
        second: second.map(str::to_owned),
        ..Article::default()
    };
    let long = "the in on a storm news paris york";
    let articles = [article("rain", None), article(long, None), article("goal", Some(long)), article("a", Some("the"))];
    let tokens = tokenizer.encode_all(&articles, 99).unwrap();
    let batch = TokenBatch::pack(&tokens, &[0, 1, 2, 3]);
    assert_eq!(batch.rows, [0, 1, 2, 3]);
    assert_eq!(batch.windows, [1, 2, 3, 1]);
    assert_eq!(batch.lengths, [3, 8, 7, 8, 8, 6, 5]);
    assert_eq!(batch.segments[3..18], [0; 15]);
    assert_eq!(batch.segments[18..40], [0, 0, 0, 1, 1, 1, 1, 1, 0, 0, 0, 1, 1, 1, 1, 1, 0, 0, 0, 1, 1, 1]);
    let parts: Vec<TokenBatch> = batch.each_row().collect();
    assert_eq!(parts.iter().map(|part| part.windows.clone()).collect::<Vec<_>>(), [vec![], vec![2], vec![3], vec![]]);
    let mut again = TokenBatch::default();
    parts.into_iter().for_each(|part| again.append(part));
    assert_eq!(again, batch);
    let plain = golden_tokenizer().encode_all(&articles[..1], 99).unwrap();
    assert_eq!(TokenBatch::pack(&tokens, &[0]), TokenBatch::pack(&plain, &[0]));

    let folder = crate::common::folder();
    let rows = format!("x,rain,\nx,{long},\nx,goal,{long}\nx,a,the\n");
    let layout = nb_data::read::CsvLayout {
        label: None,
        text: [1, 2].map(nb_data::read::Column::Number).to_vec(),
        header: nb_data::read::Header::Absent,
        delimiter: nb_data::read::Delimiter::COMMA,
        quoting: nb_data::read::Quoting::Auto,
    };
    let source = nb_data::read::Source {
        labels: nb_data::read::LabelRule::Optional,
        ..nb_data::read::Source::labelled(
            crate::common::file(&folder, "a.csv", rows),
            nb_data::read::Format::Csv(layout),
        )
    };
    let open =
        |tokenizer: &Tokenizer| nb_data::TokenStore::open_or_build(folder.path(), &source, tokenizer, 99).unwrap();
    for _ in 0..2 {
        let store = open(&tokenizer); // built, then found
        assert_eq!(store.batch(&[0, 1, 2, 3]), batch);
        assert_eq!((store.length(1), store.length(2)), (15, 22));
    }
    let others = [cut(8, 2), cut(9, 3), golden_tokenizer()].map(|tokenizer| open(&tokenizer).path().to_owned());
    assert!(!others.contains(&open(&tokenizer).path().to_owned()));
}

proptest! {
    #[test]
    fn windows_cover_every_token(
        first in text(), second in prop::option::of(text()), most in 8_usize..80, size in 8_usize..20, stride in 1_usize..20,
    ) {
        let (one, two) = (first.join(" "), second.as_ref().map(|second| second.join(" ")));
        let whole = golden_tokenizer().encode(&one, two.as_deref(), most).unwrap();
        let tokens = cut(size, stride).encode(&one, two.as_deref(), most).unwrap();
        if whole.ids.len() <= size {
            prop_assert_eq!(&tokens, &whole);
        }
        let windows: Vec<_> = tokens.windows().collect();
        prop_assert!(windows.iter().all(|window| window.ids.len() <= size));
        prop_assert!(windows.iter().rev().skip(1).all(|window| window.ids.len() == size));
        // What remains of the text that is cut is what one sequence of `most` tokens has.
        let is_pair = whole.second_starts < whole.ids.len();
        let from = if is_pair { whole.second_starts } else { 1 };
        let text = &whole.ids[from..whole.ids.len() - 1];
        let begins = if is_pair { tokens.second_starts } else { 1 };
        let (mut covered, mut start) = (0, 0);
        for window in &windows {
            let piece = &window.ids[begins..window.ids.len() - 1];
            prop_assert_eq!(piece, &text[start..start + piece.len()]);
            prop_assert!(start <= covered);
            covered = start + piece.len();
            start += stride.min(size - 1 - begins);
        }
        prop_assert_eq!(covered, text.len());
    }

    #[test]
    fn the_ends_of_a_text_remain(first in text(), second in prop::option::of(text()), most in 3_usize..50) {
        let (one, two) = (first.join(" "), second.as_ref().map(|second| second.join(" ")));
        let ends = head_tail().sequence(&one, two.as_deref(), most).unwrap();
        let head = golden_tokenizer().sequence(&one, two.as_deref(), most).unwrap();
        prop_assert!(ends.tokens.ids.len() <= most);
        prop_assert_eq!(ends.tokens.ids.len(), head.tokens.ids.len());
        prop_assert_eq!(ends.tokens.second_starts, head.tokens.second_starts);
        prop_assert_eq!(ends.is_truncated, head.is_truncated);
        if !ends.is_truncated {
            prop_assert_eq!(&ends.tokens, &head.tokens);
        }
        // The text that is cut, if both of its ends fit.
        let ids = |text: &str| golden_tokenizer().encode(text, None, 99).unwrap().ids;
        let is_pair = ends.tokens.second_starts < ends.tokens.ids.len();
        let (cut, from) = match (&two, is_pair) {
            (Some(two), true) => (ids(two), ends.tokens.second_starts),
            _ => (ids(&one), 1),
        };
        let kept = &ends.tokens.ids[from..ends.tokens.ids.len() - 1];
        if kept.len() >= 2 {
            prop_assert_eq!((kept[0], kept[kept.len() - 1]), (cut[1], cut[cut.len() - 2]));
        }
    }
}

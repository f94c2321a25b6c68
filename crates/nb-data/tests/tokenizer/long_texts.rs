//! Texts of more tokens than fit: their beginning and their end (`golden/make_head_tail.py`).

use nb_data::Tokenizer;
use nb_data::tokenizer::Truncation;
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

proptest! {
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

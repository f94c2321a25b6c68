//! The tokenizer of a checkpoint's folder: `vocab.txt`, `tokenizer_config.json`, `tokenizer.json`,
//! `special_tokens_map.json`, `added_tokens.json`, in this order; an empty part is a missing file.
#![no_main]

use std::panic;

use libfuzzer_sys::fuzz_target;
use nb_data::Tokenizer;
use nb_data::read::{Format, LabelRule};
use nb_fuzz::{folder, parts, read};

fuzz_target!(init: panic::set_hook(Box::new(show_ours)), |data: &[u8]| {
    let [vocab, config, json, special, added] = parts(data);
    let files = [
        ("vocab.txt", vocab),
        ("tokenizer_config.json", config),
        ("tokenizer.json", json),
        ("special_tokens_map.json", special),
        ("added_tokens.json", added),
    ];
    let present: Vec<_> = files.into_iter().filter(|(_, bytes)| !bytes.is_empty()).collect();
    let folder = folder(&present);
    let Ok(tokenizer) = Tokenizer::from_folder(folder.path()) else { return };
    assert!(!tokenizer.files(6).is_empty());
    let texts = "A goal, in Paris!\nÄrger\u{1F600}\n日本 [CLS] [MASK]\n";
    let texts = read(texts.as_bytes(), &Format::Lines, LabelRule::Optional);
    for tokens in tokenizer.encode_all(&texts, 6).into_iter().flatten() {
        assert!((1..=6).contains(&tokens.ids.len()), "{:?}", tokens.ids);
        assert!(tokens.second_starts <= tokens.ids.len(), "{}", tokens.second_starts);
        assert!(tokens.ids.iter().all(|&id| (id as usize) < tokenizer.vocab_size()), "{:?}", tokens.ids);
    }
});

/// Replaces libFuzzer's hook, which ends the program at every panic: panics of the `tokenizers` crate become errors of
/// the reader. Any other panic still ends the program.
fn show_ours(panic: &panic::PanicHookInfo<'_>) {
    if panic.location().is_none_or(|at| !at.file().contains("/registry/")) {
        eprintln!("{panic}");
    }
}

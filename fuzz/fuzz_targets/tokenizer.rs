//! The tokenizer of a checkpoint's folder: `vocab.txt`, `tokenizer_config.json`, `tokenizer.json`, in this order; an empty
//! part is a file that is not there.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nb_data::Tokenizer;
use nb_data::read::{Format, LabelRule};
use nb_fuzz::{folder, parts, read};

fuzz_target!(|data: &[u8]| {
    let [vocab, config, json] = parts(data);
    let files = [("vocab.txt", vocab), ("tokenizer_config.json", config), ("tokenizer.json", json)];
    let there: Vec<_> = files.into_iter().filter(|(_, bytes)| !bytes.is_empty()).collect();
    let folder = folder(&there);
    let Ok(tokenizer) = Tokenizer::from_folder(folder.path()) else { return };
    let texts =
        read("A goal, in Paris!\nÄrger\u{1F600}\n日本 [CLS] [MASK]\n".as_bytes(), &Format::Lines, LabelRule::Optional);
    for tokens in tokenizer.encode_all(&texts, 6).into_iter().flatten() {
        assert!((2..=6).contains(&tokens.ids.len()), "{:?}", tokens.ids);
        assert!(tokens.ids.iter().all(|&id| (id as usize) < tokenizer.vocab_size()), "{:?}", tokens.ids);
    }
});

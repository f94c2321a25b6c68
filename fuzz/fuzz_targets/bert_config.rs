//! `config.json` of a BERT, with the weights of a small model. For any configuration, loading must not allocate more
//! memory than the weights fill.
#![no_main]

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use nb_checkpoint::{BertConfig, CONFIG_FILE, WEIGHTS_FILE};
use nb_fuzz::folder;
use nb_fuzz::torch::small_bert;
use nb_model::{Bert, Precision};
use tch::Device;

static WEIGHTS: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let folder = small_bert();
    fs::read(folder.path().join(WEIGHTS_FILE)).expect("weights just written")
});

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(config) = BertConfig::parse(text, Path::new(CONFIG_FILE)) else { return };
    let saved = config.to_json().to_string();
    let again = BertConfig::parse(&saved, Path::new(CONFIG_FILE)).unwrap_or_else(|e| panic!("{e}\n{saved}"));
    assert_eq!(again.first_difference(&config), None, "{saved}");
    let folder = folder(&[(CONFIG_FILE, data), (WEIGHTS_FILE, &WEIGHTS)]);
    let _ = Bert::load(folder.path(), Device::Cpu, Precision::F32);
});

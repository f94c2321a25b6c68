//! MIND's `news.tsv`, and files of plain lines.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nb_data::read::{Field, Format, LabelRule};
use nb_fuzz::read;

fuzz_target!(|data: &[u8]| {
    read(data, &Format::MindNews { fields: vec![Field::Title, Field::Abstract] }, LabelRule::Optional);
    read(data, &Format::MindNews { fields: vec![Field::Title] }, LabelRule::Required);
    read(data, &Format::Lines, LabelRule::Optional);
});

//! CSV and TSV. The first byte chooses the layout, see [`layout`].
#![no_main]

use libfuzzer_sys::fuzz_target;
use nb_data::read::{Column, CsvLayout, Format, Header, LabelRule, Quoting};
use nb_fuzz::read;

fuzz_target!(|data: &[u8]| {
    let Some((&choice, text)) = data.split_first() else { return };
    let layout = layout(choice);
    let labels = if layout.label.is_some() { LabelRule::Required } else { LabelRule::Optional };
    read(text, &Format::Csv(layout), labels);
});

/// Returns the layout of a byte: `0` to `?` have a label, the characters before them have none, and every fourth has
/// the same delimiter.
fn layout(choice: u8) -> CsvLayout {
    let name = |name: &str| Column::Name(name.to_owned());
    let named = choice & 8 != 0;
    CsvLayout {
        label: (choice & 16 != 0).then(|| if named { name("label") } else { Column::Number(0) }.into()),
        text: match (named, choice & 32 != 0) {
            (true, true) => vec![name("title"), name("text")],
            (true, false) => vec![name("text")],
            (false, true) => vec![Column::Number(1), Column::Number(2)],
            (false, false) => vec![Column::Number(usize::MAX)],
        },
        header: if choice & 4 != 0 { Header::Present } else { Header::Absent },
        delimiter: [",", "\t", ";", "_!_"][usize::from(choice & 3)].parse().expect("a delimiter"),
        quoting: [Quoting::Auto, Quoting::Csv, Quoting::None, Quoting::Auto][usize::from(choice >> 6)],
    }
}

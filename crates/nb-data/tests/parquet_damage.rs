//! Damaged and hostile Parquet files: every one is read or is an error, within bounded memory.
//!
//! `NB_MUTATIONS` sets the number of random mutations per file; a few hundred by default.

use std::fs;
use std::path::{Path, PathBuf};

use nb_data::IdIndex;
use nb_data::behaviors::{BehaviorSource, Behaviors, ClickRule, ImpressionLayout};
use nb_data::random::Stream;
use nb_data::read::{Format, KeyLayout, LabelRule, Source};
use tempfile::TempDir;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn layout(label: &str, text: &str) -> KeyLayout {
    KeyLayout {
        label: Some(label.parse::<nb_data::read::KeyPath>().expect("a path").into()),
        ..KeyLayout::text(text).expect("a path")
    }
}

/// Reads a file with layouts that cover its kinds of columns. Returns the number of rows, or the first error.
fn read(path: &Path) -> Result<usize, String> {
    let mut rows = 0;
    for layout in [layout("tags", "title"), layout("number", "body"), layout("flag", "meta.title")] {
        let source = Source { labels: LabelRule::Optional, ..Source::labelled(path, Format::Parquet(layout)) };
        for row in source.open().map_err(|error| format!("{error}: {error:?}"))? {
            row.map_err(|error| format!("{error}: {error:?}"))?;
            rows += 1;
        }
    }
    Ok(rows)
}

fn write(folder: &TempDir, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join("a.parquet");
    fs::write(&path, bytes).expect("a temporary folder can be written");
    path
}

/// The largest memory of this process so far, in MiB.
fn peak() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? / 1024)
}

/// Changes a few bytes, or cuts, or repeats a part.
fn mutate(bytes: &mut Vec<u8>, random: &mut Stream) {
    let mut below = |n: usize| random.below(n as u64) as usize;
    for _ in 0..=below(4) {
        let (at, kind) = (below(bytes.len()), below(8));
        match kind {
            0 => bytes[at] ^= 1 << below(8),
            1 => bytes[at] = 0xFF,
            2 => bytes[at] = 0,
            // A number of several bytes in the footer's encoding.
            3 => (at..bytes.len().min(at + 5)).for_each(|at| bytes[at] = 0xFF),
            4 if at > 0 => bytes.truncate(at),
            5 => {
                let part = bytes[at..bytes.len().min(at + 20)].to_vec();
                let to = below(bytes.len());
                bytes.splice(to..to, part);
            }
            _ => bytes[at] = below(256) as u8,
        }
    }
}

#[test]
fn no_mutation_escapes() {
    let count: usize = std::env::var("NB_MUTATIONS").ok().and_then(|it| it.parse().ok()).unwrap_or(300);
    let folder = tempfile::tempdir().unwrap();
    let before = peak();
    let (mut good, mut bad) = (0, 0);
    let hook = std::panic::take_hook();
    // Caught panics of the `parquet` crate would fill the output.
    std::panic::set_hook(Box::new(|_| {}));
    for (seed, name) in [
        "variant-none-v1-plain",
        "variant-snappy-v1-dictionary",
        "variant-zstd-v2-dictionary",
        "variant-gzip-v2-plain",
        "variant-lz4-v1-dictionary",
        "variant-brotli-v2-plain",
        "variant-delta",
        "variant-pages",
        "polars-groups",
    ]
    .iter()
    .enumerate()
    {
        let original = fs::read(data(&format!("{name}.parquet"))).unwrap();
        let mut random = Stream::new(seed as u64);
        for _ in 0..count {
            let mut bytes = original.clone();
            mutate(&mut bytes, &mut random);
            match read(&write(&folder, &bytes)) {
                Ok(_) => good += 1,
                Err(_) => bad += 1,
            }
        }
    }
    std::panic::set_hook(hook);
    assert!(good > 0 && bad > 0, "{good} files read, {bad} errors");
    if let (Some(before), Some(after)) = (before, peak()) {
        println!("{good} files read, {bad} errors, peak memory {before} MiB before and {after} MiB after");
        assert!(after < before + 1200, "{before} MiB before, {after} MiB after");
    }
}

#[test]
fn no_mutation_of_impressions_escapes() {
    let count: usize = std::env::var("NB_MUTATIONS").ok().and_then(|it| it.parse().ok()).unwrap_or(300);
    let folder = tempfile::tempdir().unwrap();
    let news = IdIndex::new((0..40).map(|i| format!("N{i}")).collect::<Vec<_>>().iter().map(|id| Some(id.as_str())));
    let numbers = IdIndex::new(
        (0..30).map(|i| (9_000_000 + 7 * i).to_string()).collect::<Vec<_>>().iter().map(|id| Some(id.as_str())),
    );
    let history = data("ebnerd/train/history.parquet");
    let (mut good, mut bad) = (0, 0);
    for (seed, name) in
        ["mind-list.parquet", "mind-text.parquet", "ebnerd/train/behaviors.parquet", "ebnerd/train/history.parquet"]
            .iter()
            .enumerate()
    {
        let original = fs::read(data(name)).unwrap();
        let mut random = Stream::new(100 + seed as u64);
        for _ in 0..count {
            let mut bytes = original.clone();
            mutate(&mut bytes, &mut random);
            let damaged = write(&folder, &bytes);
            let (path, layout, news) = match seed {
                0 | 1 => (damaged, ImpressionLayout::mind(), &news),
                2 => (damaged, ImpressionLayout::ebnerd(&history), &numbers),
                _ => (data("ebnerd/train/behaviors.parquet"), ImpressionLayout::ebnerd(&damaged), &numbers),
            };
            let source = BehaviorSource { path, history: 3, clicks: ClickRule::Optional, allowed_unusable: 1.0 };
            match Behaviors::read_parquet(&source, &layout, news) {
                Ok(behaviors) => {
                    assert!((0..behaviors.len()).all(|i| behaviors.history(i).len() <= 3));
                    good += 1;
                }
                Err(_) => bad += 1,
            }
        }
    }
    println!("{good} files of impressions read, {bad} errors");
    assert!(good > 0 && bad > 0, "{good} files read, {bad} errors");
}

#[test]
fn files_cut_at_any_byte_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let whole = fs::read(data("variant-snappy-v1-dictionary.parquet")).unwrap();
    assert_eq!(read(&write(&folder, &whole)).unwrap(), 3 * 23);
    for end in (0..whole.len()).step_by(7) {
        let error = read(&write(&folder, &whole[..end])).unwrap_err();
        assert!(error.contains("a.parquet: cannot read Parquet: "), "{end}: {error}");
    }
    // The beginning is missing, so everything lies elsewhere.
    assert!(read(&write(&folder, &whole[whole.len() / 2..])).is_err());
    assert!(read(&write(&folder, b"title,topic\nA goal,sports\n")).is_err());
}

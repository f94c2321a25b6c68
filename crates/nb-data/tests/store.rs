//! The token store: it preserves the content, every setting has a separate store, and damage is detected and repaired.

mod common;

use std::fs;
use std::path::Path;

use common::{checkpoint, file, folder, golden_tokenizer, tokenizer};
use nb_data::read::{
    Column, CsvLayout, Delimiter, Field, Format, Header, LabelLayout, LabelRule, Quoting, Reason, ReasonCount, Source,
    read,
};
use nb_data::store::Origin;
use nb_data::{DataError, Labels, TokenBatch, TokenStore, Tokenizer};
use proptest::prelude::*;

const NEWS: &str = "N1\tsports\tx\tA goal in Paris\tThe goalkeeper saved\tu\t[]\t[]\n\
    N2\tweather\tx\tRain\t\tu\t[]\t[]\n\
    N3\tweather\n\
    N4\tautos\tx\tThe news\tafter the storm\tu\t[]\t[]\n";

fn mind(path: impl Into<std::path::PathBuf>) -> Source {
    let fields = vec![Field::Title, Field::Abstract];
    Source { allowed_unusable: 0.5, ..Source::labelled(path, Format::MindNews { fields }) }
}

fn open(cache: &Path, source: &Source, tokenizer: &Tokenizer) -> TokenStore {
    TokenStore::open_or_build(cache, source, tokenizer, 16).expect("a store")
}

#[test]
fn a_store_holds_all_articles_of_its_source() {
    let folder = folder();
    let source = mind(file(&folder, "news.tsv", NEWS));
    let tokenizer = golden_tokenizer();
    for origin in [Origin::Built, Origin::Found] {
        let store = open(&folder.path().join("cache"), &source, &tokenizer);
        assert_eq!(store.origin(), &origin);
        assert_eq!(store.built(), origin == Origin::Built);
        assert_eq!((store.len(), store.label_names()), (3, &["autos", "sports", "weather"].map(String::from)[..]));
        let rows: Vec<_> = (0..3).map(|i| (store.id(i), store.label(i), store.line(i))).collect();
        let expected = [("N1", "sports", 1), ("N2", "weather", 2), ("N4", "autos", 4)];
        assert_eq!(rows, expected.map(|(id, label, line)| (Some(id), Some(label), line)));
        assert_eq!(store.skipped().by_reason(Reason::TooFewColumns), Some(ReasonCount { rows: 1, first_line: 3 }));
        assert_eq!(store.source(), source.path);
        let lengths: Vec<usize> = (0..3).map(|i| store.length(i)).collect();
        assert_eq!(store.token_count(), lengths.iter().sum::<usize>() as u64);

        let tokens = tokenizer.encode_all(&read(&source).unwrap().articles, 16).unwrap();
        assert_eq!(store.batch(&[2, 0, 1, 0]), TokenBatch::pack(&tokens, &[2, 0, 1, 0]));
        assert_eq!(store.batch(&[]), TokenBatch::default());
    }
}

#[test]
fn labels_are_numbered_by_the_training_set() {
    let folder = folder();
    let tokenizer = golden_tokenizer();
    let store = open(folder.path(), &mind(file(&folder, "news.tsv", NEWS)), &tokenizer);
    let labels = Labels::learn(["weather", "sports", "autos", "zoo"]).unwrap();
    let numbers = store.encode_labels(&labels).unwrap();
    assert_eq!([0, 1, 2].map(|i| numbers.of(i)), [[1], [2], [0]]);
    let labels = Labels::learn(["weather", "sports"]).unwrap();
    let text = store.encode_labels(&labels).unwrap_err().to_string();
    let tail = "news.tsv:4: unknown label \"autos\", expected one of the labels in the training data: [\"sports\", \"weather\"]";
    assert!(text.ends_with(tail), "{text}");
}

#[test]
fn an_article_may_have_any_number_of_labels() {
    let folder = folder();
    let text = "world|sports,A goal in Paris\n,Rain\nzoo,The news\n";
    let label = LabelLayout::Several { columns: vec![Column::Number(0)], separator: Some("|".into()) };
    let layout = CsvLayout {
        label: Some(label),
        text: vec![Column::Number(1)],
        header: Header::Absent,
        delimiter: Delimiter::COMMA,
        quoting: Quoting::Csv,
    };
    let source = Source::labelled(file(&folder, "a.csv", text), Format::Csv(layout));
    let source = Source { labels: LabelRule::AnyNumber, ..source };
    for origin in [Origin::Built, Origin::Found] {
        let store = open(&folder.path().join("cache"), &source, &golden_tokenizer());
        assert_eq!(store.origin(), &origin);
        let labels = |i| store.labels(i).collect::<Vec<_>>();
        assert_eq!([labels(0), labels(1), labels(2)], [vec!["sports", "world"], vec![], vec!["zoo"]]);
        assert_eq!((store.label(0), store.label(1)), (Some("sports"), None));
        let known = Labels::learn(["sports", "zoo"]).unwrap();
        let numbers = store.known_labels(&known);
        assert_eq!([0, 1, 2].map(|i| numbers.of(i)), [&[0][..], &[], &[1]]);
        let error = store.encode_labels(&known).unwrap_err().to_string();
        assert!(error.contains("a.csv:1: unknown label \"world\""), "{error}");
    }
}

#[test]
fn every_setting_has_a_separate_store() {
    let folder = folder();
    let cache = folder.path().join("cache");
    let source = mind(file(&folder, "news.tsv", NEWS));
    let tokenizer = golden_tokenizer();
    let cased = common::tokenizer(checkpoint(Some(r#"{"do_lower_case": false}"#)).path());
    let title = Source { format: Format::MindNews { fields: vec![Field::Title] }, ..source.clone() };
    let optional = Source { labels: LabelRule::Optional, ..source.clone() };
    let any = Source { labels: LabelRule::AnyNumber, ..source.clone() };
    let changed = mind(file(&folder, "other.tsv", NEWS.replace("goal", "storm")));
    for (source, tokenizer, max_tokens) in [
        (&source, &tokenizer, 16),
        (&source, &tokenizer, 15),
        (&source, &cased, 16),
        (&title, &tokenizer, 16),
        (&optional, &tokenizer, 16),
        (&any, &tokenizer, 16),
        (&changed, &tokenizer, 16),
    ] {
        assert!(TokenStore::open_or_build(&cache, source, tokenizer, max_tokens).unwrap().built());
    }
    assert_eq!(fs::read_dir(&cache).unwrap().count(), 7);

    // The same content under another path has the same store, whose name begins with the file's.
    fs::create_dir(folder.path().join("copy")).unwrap();
    let copy = mind(file(&folder, "copy/news.tsv", NEWS));
    let store = open(&cache, &copy, &tokenizer);
    assert!(!store.built());
    assert_eq!(store.source(), copy.path);
    assert!(store.path().file_name().unwrap().to_str().unwrap().starts_with("news-"));
}

#[test]
fn an_existing_store_is_checked_against_the_allowed_share() {
    let folder = folder();
    let mut source = mind(file(&folder, "news.tsv", NEWS));
    let tokenizer = golden_tokenizer();
    assert!(open(folder.path(), &source, &tokenizer).built());
    source.allowed_unusable = 0.1;
    let error = TokenStore::open_or_build(folder.path(), &source, &tokenizer, 16).unwrap_err();
    assert!(matches!(error, DataError::TooManyUnusable { rows: 4, .. }), "{error}");
}

/// Replaces a store by a new file of the same name, as another program would.
fn replace(path: &Path, bytes: &[u8]) {
    fs::remove_file(path).expect("the store exists");
    fs::write(path, bytes).expect("its folder can be written");
}

#[test]
fn damage_is_detected_and_repaired() {
    let folder = folder();
    let cache = folder.path().join("cache");
    let source = mind(file(&folder, "news.tsv", NEWS));
    let tokenizer = golden_tokenizer();
    let store = open(&cache, &source, &tokenizer);
    let (path, batch) = (store.path().to_owned(), store.batch(&[0, 1, 2]));
    let intact = fs::read(&path).unwrap();

    // Truncated files, and a file that is too long.
    let mut damaged: Vec<Vec<u8>> = (0..intact.len()).step_by(7).map(|length| intact[..length].to_vec()).collect();
    damaged.push([intact.as_slice(), b"x"].concat());
    // A flipped bit in every byte.
    damaged.extend((0..intact.len()).map(|at| {
        let mut bytes = intact.clone();
        bytes[at] ^= 1 << (at % 8);
        bytes
    }));
    damaged.push(b"something else entirely".repeat(100));
    damaged.push(vec![0xff; intact.len()]);
    for bytes in damaged {
        replace(&path, &bytes);
        let store = open(&cache, &source, &tokenizer);
        assert!(matches!(store.origin(), Origin::Rebuilt(_)), "{:?} after {} bytes", store.origin(), bytes.len());
        assert_eq!(store.batch(&[0, 1, 2]), batch);
        assert_eq!(fs::read(&path).unwrap(), intact);
    }
    assert_eq!(fs::read_dir(&cache).unwrap().count(), 1);
}

#[test]
fn a_store_of_another_source_is_rejected() {
    let folder = folder();
    let tokenizer = golden_tokenizer();
    let one = open(folder.path(), &mind(file(&folder, "one.tsv", NEWS)), &tokenizer);
    let other_source = mind(file(&folder, "two.tsv", NEWS.replace("goal", "storm")));
    let other = open(folder.path(), &other_source, &tokenizer);
    let expected = other.batch(&[0]);
    replace(other.path(), &fs::read(one.path()).unwrap());
    let other = open(folder.path(), &other_source, &tokenizer);
    assert_eq!(other.origin(), &Origin::Rebuilt("made from another source".into()));
    assert_eq!(other.batch(&[0]), expected);
}

#[test]
fn several_threads_may_build_at_the_same_time() {
    let folder = folder();
    let cache = folder.path().join("cache");
    let source = mind(file(&folder, "news.tsv", NEWS.repeat(50)));
    let tokenizer = golden_tokenizer();
    let expected = open(&folder.path().join("alone"), &source, &tokenizer).batch(&[0, 149]);
    std::thread::scope(|scope| {
        let workers: Vec<_> =
            (0..8).map(|_| scope.spawn(|| open(&cache, &source, &tokenizer).batch(&[0, 149]))).collect();
        for worker in workers {
            assert_eq!(worker.join().unwrap(), expected);
        }
    });
    assert_eq!(fs::read_dir(&cache).unwrap().count(), 1);
}

#[test]
fn an_unusable_source_leaves_no_store() {
    let folder = folder();
    let cache = folder.path().join("cache");
    let tokenizer = golden_tokenizer();
    let error = |source: &Source| TokenStore::open_or_build(&cache, source, &tokenizer, 16).unwrap_err();
    assert!(matches!(error(&mind(folder.path().join("no.tsv"))), DataError::Open { .. }));
    assert!(matches!(error(&mind(file(&folder, "empty.tsv", ""))), DataError::NoRows { .. }));
    assert!(matches!(error(&mind(file(&folder, "bad.tsv", "N1\nN2\n"))), DataError::NoRows { .. }));
    let layout = CsvLayout {
        label: Some(Column::Number(0).into()),
        text: vec![Column::Number(1)],
        header: Header::Absent,
        delimiter: Delimiter::COMMA,
        quoting: Quoting::Auto,
    };
    let open_quote = Source::labelled(file(&folder, "open.csv", "1,a\n2,\"b\n"), Format::Csv(layout));
    assert!(matches!(error(&open_quote), DataError::OpenQuote { line: 2, .. }));
    assert!(!cache.exists());
    let too_short = TokenStore::open_or_build(&cache, &mind(file(&folder, "a.tsv", NEWS)), &tokenizer, 2);
    assert!(matches!(too_short, Err(DataError::MaxTokens { found: 2, fewest: 3 })));
    let blocked = file(&folder, "blocked", "a file where the cache should be");
    let written = TokenStore::open_or_build(&blocked, &mind(file(&folder, "a.tsv", NEWS)), &tokenizer, 16);
    assert!(matches!(written, Err(DataError::Write { .. })), "{written:?}");
}

/// On a read-only file system, or without a home folder, the store is in memory, and its origin gives the reason.
#[cfg(target_os = "linux")]
#[test]
fn a_store_that_cannot_be_written_is_in_memory() {
    let folder = folder();
    let source = mind(file(&folder, "news.tsv", NEWS));
    let tokenizer = golden_tokenizer();
    let on_disk = open(folder.path(), &source, &tokenizer);
    // Nobody can create a folder there, not even the superuser.
    for _ in 0..2 {
        let store = open(Path::new("/sys/newsbert-test"), &source, &tokenizer);
        let Origin::InMemory(reason) = store.origin() else { panic!("{:?}", store.origin()) };
        assert!(reason.starts_with("cannot write /sys/newsbert-test/news-") && store.built(), "{reason}");
        assert_eq!(store.batch(&[2, 0, 1]), on_disk.batch(&[2, 0, 1]));
        let rows = |store: &TokenStore| (0..store.len()).map(|i| (store.line(i), store.length(i))).collect::<Vec<_>>();
        assert_eq!(rows(&store), rows(&on_disk));
        assert_eq!((store.label_names(), store.id(2)), (on_disk.label_names(), on_disk.id(2)));
    }
}

#[test]
fn ids_beyond_sixteen_bits_survive() {
    let words: String = (0..70_000).map(|i| format!("w{i}\n")).collect();
    let vocab = folder();
    file(&vocab, "vocab.txt", format!("[UNK]\n[CLS]\n[SEP]\n{words}"));
    let tokenizer = tokenizer(vocab.path());
    // [PAD] and [MASK] are added to the vocabulary, as in transformers.
    assert_eq!(tokenizer.vocab_size(), 70_005);
    let source =
        Source { labels: LabelRule::Optional, ..Source::labelled(file(&vocab, "a.txt", "w69999 w1\n"), Format::Lines) };
    assert_eq!(open(vocab.path(), &source, &tokenizer).batch(&[0]).ids, [1, 70_002, 4, 2]);
}

#[test]
fn a_store_depends_on_how_its_bytes_are_read() {
    let (folder, tokenizer) = (folder(), golden_tokenizer());
    let plain = mind(file(&folder, "news.tsv", NEWS));
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut encoder, NEWS.as_bytes()).unwrap();
    let packed = mind(file(&folder, "news.tsv.gz", encoder.finish().unwrap()));
    let latin = Source { encoding: Some("latin1".parse().unwrap()), ..plain.clone() };
    let parts = Source { parts: vec![plain.path.clone(), packed.path.clone()], ..mind(folder.path()) };
    let translations = Some(file(&folder, "de.tsv", "N1\train\tstorm\n"));
    let translated = Source { translations, ..plain.clone() };
    let stores = [&plain, &packed, &latin, &parts, &translated].map(|source| open(folder.path(), source, &tokenizer));
    let paths: std::collections::BTreeSet<_> = stores.iter().map(|store| store.path().to_owned()).collect();
    assert_eq!(paths.len(), 5);
    let rows: Vec<u32> = (0..stores[0].len() as u32).collect();
    assert_eq!(stores[1].batch(&rows), stores[0].batch(&rows));
    assert_eq!(stores[3].len(), 2 * stores[0].len());
    assert_eq!(stores[3].label(stores[0].len()), stores[0].label(0));
    // Two files of articles are not a file and its translations.
    let translated = Source { translations: Some(packed.path.clone()), ..plain.clone() };
    assert_ne!(open(folder.path(), &translated, &tokenizer).path(), stores[3].path());
    assert!(open(folder.path(), &parts, &tokenizer).origin() == &nb_data::store::Origin::Found);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// For any texts and labels, a store has the same content as the result of reading and tokenising.
    #[test]
    fn round_trip(rows in prop::collection::vec(("[a-c\"\n,é]{0,2}", "[a-z ,\"]{0,30}", "[a-z \n]{0,30}"), 1..30)) {
        let folder = folder();
        let path = folder.path().join("a.csv");
        let mut writer = csv::Writer::from_path(&path).unwrap();
        writer.write_record(["label", "title", "text"]).unwrap();
        for row in &rows {
            writer.write_record([&row.0, &row.1, &row.2]).unwrap();
        }
        writer.flush().unwrap();
        let name = |name: &str| Column::Name(name.into());
        let layout = CsvLayout { label: Some(name("label").into()), text: vec![name("title"), name("text")], header: Header::Present, delimiter: Delimiter::COMMA, quoting: Quoting::Auto };
        let source = Source { labels: LabelRule::Optional, allowed_unusable: 1.0, ..Source::labelled(path, Format::Csv(layout)) };
        let tokenizer = golden_tokenizer();
        let Ok(corpus) = read(&source) else {
            prop_assert!(rows.iter().all(|row| row.1.trim().is_empty() && row.2.trim().is_empty()));
            return Ok(());
        };
        open(folder.path(), &source, &tokenizer);
        let store = open(folder.path(), &source, &tokenizer);
        prop_assert!(!store.built());
        prop_assert_eq!(store.len(), corpus.articles.len());
        prop_assert_eq!(store.skipped(), &corpus.skipped);
        for (i, article) in corpus.articles.iter().enumerate() {
            prop_assert_eq!((store.label(i), store.line(i), store.id(i)), (article.label.as_deref(), article.line, None));
        }
        let all: Vec<u32> = (0..store.len() as u32).rev().collect();
        let tokens = tokenizer.encode_all(&corpus.articles, 16).unwrap();
        prop_assert_eq!(store.batch(&all), TokenBatch::pack(&tokens, &all));
    }
}

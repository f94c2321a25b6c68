//! The sample corpus: its content, and evidence that counting words does not solve it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs;
use std::path::Path;

use nb_data::IdIndex;
use nb_data::behaviors::{BehaviorSource, Behaviors, ClickRule, ReadReport};
use nb_data::beir::{self, Qrels, Split};
use nb_data::random::mix;
use nb_data::read::{Article, Field, Format, LabelRule, Source, read};
use nb_data::sample::{FILES, Sample, SampleSize, write};
use tempfile::TempDir;

fn corpus(seed: u64, size: SampleSize) -> (Vec<Article>, Vec<Article>) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let sample = write(folder.path(), seed, size).expect("the corpus is written");
    let articles = |path| {
        let fields = vec![Field::Title, Field::Abstract];
        let corpus = read(&Source::labelled(path, Format::MindNews { fields })).expect("the corpus is read");
        assert_eq!(corpus.skipped.count(), 0);
        corpus.articles
    };
    (articles(sample.train), articles(sample.dev))
}

/// The default corpus of a seed; it exists as long as the folder.
fn sample(seed: u64) -> (TempDir, Sample) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let sample = write(folder.path(), seed, SampleSize::default()).expect("the corpus is written");
    (folder, sample)
}

/// The articles and impressions of a folder in MIND's layout.
fn recommend(folder: &Path) -> (Vec<Article>, Behaviors) {
    let fields = vec![Field::Title, Field::Abstract];
    let news = read(&Source::labelled(folder.join("news.tsv"), Format::MindNews { fields })).expect("news").articles;
    let index = IdIndex::new(news.iter().map(|article| article.id.as_deref()));
    assert_eq!(index.repeated(), 0);
    let path = folder.join("behaviors.tsv");
    let source = BehaviorSource { path, history: 1000, clicks: ClickRule::Required, allowed_unusable: 0.0 };
    (news, Behaviors::read(&source, &index).expect("behaviors"))
}

fn label(article: &Article) -> &str {
    article.label.as_deref().expect("every row has a label")
}

fn words(article: &Article) -> Vec<String> {
    let text = format!("{} {}", article.first, article.second.as_deref().unwrap_or_default()).to_lowercase();
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_owned).collect()
}

/// The accuracy on `dev` of a multinomial naive Bayes classifier over words, with add-one smoothing, trained on
/// `train`.
fn bag_of_words(train: &[Article], dev: &[Article]) -> f64 {
    let mut counts: BTreeMap<&str, (f64, f64, HashMap<String, f64>)> = BTreeMap::new();
    let mut vocabulary = HashSet::new();
    for article in train {
        let (rows, total, words_of) = counts.entry(label(article)).or_default();
        *rows += 1.0;
        for word in words(article) {
            vocabulary.insert(word.clone());
            *total += 1.0;
            *words_of.entry(word).or_default() += 1.0;
        }
    }
    let guess = |article: &Article| {
        let known: Vec<String> = words(article).into_iter().filter(|word| vocabulary.contains(word)).collect();
        let score = |(rows, total, words_of): &(f64, f64, HashMap<String, f64>)| {
            let share = |word: &String| (words_of.get(word).unwrap_or(&0.0) + 1.0) / (total + vocabulary.len() as f64);
            rows.ln() + known.iter().map(|word| share(word).ln()).sum::<f64>()
        };
        let scores = counts.iter().map(|(label, count)| (*label, score(count)));
        scores.max_by(|a, b| a.1.total_cmp(&b.1)).expect("there are labels").0
    };
    dev.iter().filter(|article| guess(article) == label(article)).count() as f64 / dev.len() as f64
}

/// A two-layer student of all-MiniLM-L6-v2 reaches 0.88 on the rows of seed 0 after two epochs, and 0.08 before
/// training.
#[test]
fn a_bag_of_words_scores_far_below_an_encoder() {
    for seed in 0..3 {
        let (train, dev) = corpus(seed, SampleSize::default());
        assert_eq!((train.len(), dev.len()), (3000, 600));
        let accuracy = bag_of_words(&train, &dev);
        println!("seed {seed}: a bag of words gets {accuracy:.3} of the development rows right");
        assert!((0.66..0.78).contains(&accuracy), "seed {seed}: {accuracy}");
    }
}

#[test]
fn no_topic_dominates() {
    let (train, dev) = corpus(0, SampleSize::default());
    for rows in [train, dev] {
        let mut counts: HashMap<String, usize> = HashMap::new();
        for article in &rows {
            *counts.entry(label(article).to_owned()).or_default() += 1;
        }
        assert!(counts.len() >= 12);
        let largest = *counts.values().max().unwrap() as f64 / rows.len() as f64;
        assert!(largest < 0.12, "always guessing one topic would score {largest}");
    }
}

#[test]
fn texts_are_short_news() {
    let (train, dev) = corpus(0, SampleSize::default());
    for article in train.iter().chain(&dev) {
        let (title, summary) = (&article.first, article.second.as_deref().unwrap());
        for text in [title, summary] {
            assert!(text.starts_with(|c: char| c.is_uppercase()) && !text.contains(['{', '}', '\t']), "{text}");
            assert!((5..=26).contains(&text.split(' ').count()), "{text}");
        }
        assert!(summary.ends_with('.'), "{summary}");
    }
    let titles: HashSet<&str> = train.iter().map(|article| article.first.as_str()).collect();
    assert!(titles.len() > 2950, "{} different titles", titles.len());
}

#[test]
fn rows_depend_only_on_seed_and_number() {
    let small = SampleSize { train: 30, dev: 7 };
    let (train, dev) = corpus(5, small);
    assert_eq!(corpus(5, small), (train.clone(), dev.clone()));
    let (longer, _) = corpus(5, SampleSize { train: 60, dev: 1 });
    assert_eq!(longer[..30], train);
    assert_ne!(corpus(6, small).0, train);
    assert!(dev.iter().zip(&train).all(|(dev, train)| dev.first != train.first));
}

#[test]
fn readers_are_shown_news_and_click_some() {
    let (_folder, sample) = sample(0);
    let (train_news, train) = recommend(&sample.recommend_train);
    let (dev_news, dev) = recommend(&sample.recommend_dev);
    assert_eq!((sample.impressions, train_news.len()), ([2000, 500], 3000));
    assert_eq!((train.len(), dev.len()), (2000, 500));
    let mut cold = 0;
    for behaviors in [&train, &dev] {
        assert_eq!(behaviors.report(), &ReadReport::default());
        for i in 0..behaviors.len() {
            let (history, candidates) = (behaviors.history(i), behaviors.candidates(i));
            cold += usize::from(history.is_empty());
            assert!(history.len() <= 30 && (5..=20).contains(&candidates.len()), "{}", behaviors.id(i));
            assert_eq!(history.iter().collect::<HashSet<_>>().len(), history.len(), "{}", behaviors.id(i));
            assert!(candidates.iter().all(|row| !history.contains(row)), "{}", behaviors.id(i));
            let clicks = behaviors.clicked(i).iter().filter(|&&clicked| clicked == 1).count();
            assert!((1..=3).contains(&clicks) && clicks < candidates.len(), "{}", behaviors.id(i));
        }
    }
    // About 480 readers, each without a history with a probability of 0.1: the standard deviation is 1.4 %.
    assert!((0.05..0.15).contains(&(cold as f64 / 2500.0)), "{cold} without a history");

    // As in MIND, development candidates are articles that training never shows, and histories are from training.
    let titles: HashSet<&str> = train_news.iter().map(|article| article.first.as_str()).collect();
    for i in 0..dev.len() {
        let title = |row: &u32| dev_news[*row as usize].first.as_str();
        assert!(dev.candidates(i).iter().all(|row| *row < 600 && !titles.contains(title(row))), "{}", dev.id(i));
        assert!(dev.history(i).iter().all(|row| *row >= 600 && titles.contains(title(row))), "{}", dev.id(i));
    }
}

/// Area under the ROC curve of one impression; a tie counts one half.
fn auc(clicked: &[u8], scores: &[f64]) -> f64 {
    let of = |class: u8| clicked.iter().zip(scores).filter(move |(label, _)| **label == class).map(|(_, score)| *score);
    let wins =
        of(1).flat_map(|yes| of(0).map(move |no| f64::from(u8::from(yes > no)) + f64::from(u8::from(yes == no)) / 2.0));
    wins.sum::<f64>() / (of(1).count() * of(0).count()) as f64
}

/// The mean AUC of ranking candidates by the sum of their similarities to the history.
fn mean_auc(behaviors: &Behaviors, similarity: impl Fn(u32, u32) -> f64) -> f64 {
    let of = |i: usize| {
        let score = |&row: &u32| behaviors.history(i).iter().map(|&read| similarity(row, read)).sum();
        auc(behaviors.clicked(i), &behaviors.candidates(i).iter().map(score).collect::<Vec<f64>>())
    };
    (0..behaviors.len()).map(of).sum::<f64>() / behaviors.len() as f64
}

/// The TF-IDF vector of each article, normalised to length 1.
fn vectors(news: &[Article]) -> Vec<HashMap<String, f64>> {
    let mut counts: HashMap<String, f64> = HashMap::new();
    for word in news.iter().flat_map(|article| words(article).into_iter().collect::<HashSet<_>>()) {
        *counts.entry(word).or_default() += 1.0;
    }
    let vector = |article: &Article| {
        let mut vector: HashMap<String, f64> = HashMap::new();
        for word in words(article) {
            let weight = (news.len() as f64 / counts[&word]).ln();
            *vector.entry(word).or_default() += weight;
        }
        let length = vector.values().map(|weight| weight * weight).sum::<f64>().sqrt();
        vector.values_mut().for_each(|weight| *weight /= length);
        vector
    };
    news.iter().map(vector).collect()
}

/// all-MiniLM-L6-v2 without fine-tuning ranks the titles of seed 0 with an AUC of 0.67. Ranking by the true topics is
/// not perfect either, since readers also click on other topics, and one in ten has no history.
#[test]
fn a_bag_of_words_ranks_far_below_the_true_topics() {
    for seed in 0..3 {
        let (_folder, sample) = sample(seed);
        let (news, dev) = recommend(&sample.recommend_dev);
        let topics = mean_auc(&dev, |a, b| f64::from(u8::from(news[a as usize].label == news[b as usize].label)));
        let vectors = vectors(&news);
        let common = |a: u32, b: u32| {
            let other = &vectors[b as usize];
            vectors[a as usize].iter().map(|(word, weight)| weight * other.get(word).unwrap_or(&0.0)).sum()
        };
        let words = mean_auc(&dev, common);
        println!("seed {seed}: AUC {words:.3} by common words, {topics:.3} by topic");
        assert!((0.52..0.62).contains(&words), "seed {seed}: {words}");
        assert!((0.72..0.82).contains(&topics), "seed {seed}: {topics}");
    }
}

#[test]
fn headlines_are_queries_for_their_stories() {
    let (_folder, sample) = sample(0);
    let beir::Written { folder, documents, queries, incomplete, repeated, .. } = sample.beir;
    let (dev_news, _) = recommend(&sample.recommend_dev);
    // Each story is one document, although stories of histories are in both folders.
    assert_eq!((documents, incomplete, repeated), (3600, 0, dev_news.len() as u64 - 600));
    assert!(queries.iter().sum::<usize>() > 3550 && queries[1..].iter().all(|&n| n > 280), "{queries:?}");
    let texts = |path, format| {
        read(&Source { labels: LabelRule::Optional, ..Source::labelled(path, format) }).unwrap().articles
    };
    let query_texts = texts(folder.queries(), Format::BeirQueries);
    let corpus = texts(folder.corpus(), Format::BeirCorpus { fields: vec![Field::Abstract] });
    let index = |articles: &[Article]| IdIndex::new(articles.iter().map(|article| article.id.as_deref()));
    for (split, n) in Split::ALL.into_iter().zip(queries) {
        let qrels = Qrels::read(&folder.qrels(split), &index(&query_texts), &index(&corpus), 0.0).unwrap();
        assert_eq!((qrels.queries.len(), qrels.report.to_string().as_str()), (n, "nothing skipped"));
    }
}

#[test]
fn the_smallest_corpora_are_written() {
    for (train, dev) in [(1, 1), (2, 2), (3, 40), (40, 3)] {
        let folder = tempfile::tempdir().unwrap();
        let sample = write(folder.path(), 0, SampleSize { train, dev }).unwrap();
        assert!(sample.impressions[0] <= train && sample.impressions[1] <= dev);
        assert_eq!(sample.beir.documents, train + dev);
    }
    let folder = tempfile::tempdir().unwrap();
    let error = write(folder.path(), 0, SampleSize { train: 0, dev: 0 }).unwrap_err().to_string();
    assert!(error.contains("no usable row found"), "{error}");
}

/// The hash of every file under a folder, by relative path.
fn hashes(folder: &Path) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if path.is_dir() {
            found.extend(hashes(&path).into_iter().map(|(inner, hash)| (format!("{name}/{inner}"), hash)));
        } else {
            let bytes = fs::read(&path).expect("a file");
            found.insert(name, mix(&bytes.into_iter().map(u64::from).collect::<Vec<_>>()));
        }
    }
    found
}

#[test]
fn the_corpus_is_pinned() {
    let (folder, sample) = sample(0);
    let found = hashes(folder.path());
    assert_eq!(found.keys().collect::<BTreeSet<_>>(), FILES.map(str::to_owned).iter().collect());
    let expected = [
        ("beir/corpus.jsonl", 2_220_588_242_645_600_936),
        ("beir/qrels/dev.tsv", 1_372_689_531_016_431_408),
        ("beir/qrels/test.tsv", 1_705_800_512_740_565_420),
        ("beir/qrels/train.tsv", 17_839_662_321_291_194_314),
        ("beir/queries.jsonl", 11_672_753_965_342_087_532),
        ("dev/news.tsv", 7_684_780_201_620_944_653),
        ("recommend/dev/behaviors.tsv", 5_700_576_295_825_840_852),
        ("recommend/dev/news.tsv", 10_801_005_699_554_844_322),
        ("recommend/train/behaviors.tsv", 9_113_134_074_946_586_365),
        ("recommend/train/news.tsv", 9_180_361_694_280_152_378),
        ("train/news.tsv", 12_963_533_260_747_463_616_u64),
    ];
    let expected: BTreeMap<_, _> = expected.into_iter().map(|(name, hash)| (name.to_owned(), hash)).collect();
    assert_eq!(found, expected);
    let first = fs::read_to_string(&sample.train).unwrap();
    assert_eq!(first.lines().next().unwrap().split('\t').count(), 8);
}

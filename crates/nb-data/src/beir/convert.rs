//! Converts articles to a retrieval data set: a headline is a query, and its article's text is the document to find.

use std::collections::HashMap;
use std::path::Path;

use serde_json::json;

use super::folder::{Folder, Split};
use crate::atomic;
use crate::error::DataError;
use crate::random::{Stream, mix};
use crate::read::{Article, Row, Skipped, Source};

/// Separates the randomness of the split from other uses of the same seed.
const SPLIT: u64 = 0x62_65_69_72; // "beir"

/// The settings of a conversion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conversion {
    /// The seed of the split into training, development and test queries.
    pub seed: u64,
}

/// The data set that [`from_news()`] wrote, and the articles it skipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The folder of the data set.
    pub folder: Folder,
    /// Number of documents in the corpus.
    pub documents: usize,
    /// Number of queries for each split of [`Split::ALL`].
    pub queries: [usize; 3],
    /// Articles without a title or without a text.
    pub incomplete: u64,
    /// Articles that add no document because an earlier one has their id or text.
    pub repeated: u64,
    /// The unusable rows of each input.
    pub skipped: Vec<Skipped>,
}

/// Writes articles as a retrieval data set in BEIR's layout under `output`: the first text of an article is a query,
/// the second the only document that is relevant to it.
///
/// - The title of a document stays empty, because it is the query and would give the answer away.
/// - A hash of the seed and the position assigns 80 % of the documents to training and 10 % each to dev and test. A
///   query belongs to the split of its first document. Every split searches the complete corpus.
/// - Articles with the same id or the same text become one document, to which all their titles are queries. Articles
///   with the same title become one query, to which each of their documents is relevant.
/// - The id of a document is the id of its article, or `d<line>` if the article has none (`d<input>-<line>` with
///   several inputs). The id of a query is `q-` followed by the id of its first document. A repeated id gets a
///   suffix: `-2`, `-3`, ….
///
/// All inputs are read before the first file is written, and each file is written atomically.
///
/// ```
/// use nb_data::beir::{Conversion, Split, from_news};
/// use nb_data::read::{Field, Format, LabelRule, Source};
///
/// let folder = tempfile::tempdir()?;
/// let news = folder.path().join("news.tsv");
/// std::fs::write(&news, "N1\tsports\tx\tA goal at last\tIt took three years.\nN2\tweather\tx\tRain\t\n")?;
/// let format = Format::MindNews { fields: vec![Field::Title, Field::Abstract] };
/// let source = Source { labels: LabelRule::Optional, ..Source::labelled(news, format) };
/// let written = from_news(&[source], &folder.path().join("beir"), Conversion::default())?;
/// assert_eq!((written.documents, written.incomplete), (1, 1));
/// assert_eq!(
///     std::fs::read_to_string(written.folder.queries())?,
///     "{\"_id\":\"q-N1\",\"text\":\"A goal at last\"}\n"
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// If an input does not have two texts, cannot be read, has no usable row or too many unusable ones; if no row has both
/// texts; or if a file cannot be written.
pub fn from_news(inputs: &[Source], output: &Path, conversion: Conversion) -> Result<Written, DataError> {
    let mut collection = Collection::default();
    let mut skipped = Vec::with_capacity(inputs.len());
    for (number, input) in inputs.iter().enumerate() {
        let prefix = if inputs.len() == 1 { "d".to_owned() } else { format!("d{}-", number + 1) };
        skipped.push(collection.read(input, &prefix)?);
    }
    if collection.documents.is_empty() {
        return Err(DataError::NoPairs {
            files: inputs.iter().map(|input| input.path.display().to_string()).collect::<Vec<_>>().join(", "),
            incomplete: collection.incomplete,
        });
    }
    let folder = Folder::new(output);
    let queries = collection.write(&folder, conversion)?;
    let Collection { documents, incomplete, repeated, .. } = collection;
    Ok(Written { folder, documents: documents.len(), queries, incomplete, repeated, skipped })
}

struct Document {
    id: String,
    text: String,
}

struct Query {
    id: String,
    text: String,
    /// Positions of the documents; one or more.
    documents: Vec<usize>,
}

/// A data set that is being built.
#[derive(Default)]
struct Collection {
    documents: Vec<Document>,
    queries: Vec<Query>,
    /// Position of the document of each article id.
    by_id: HashMap<String, usize>,
    /// Position of the document of each text.
    by_text: HashMap<String, usize>,
    /// Position of the query of each title.
    by_title: HashMap<String, usize>,
    document_ids: Ids,
    query_ids: Ids,
    incomplete: u64,
    repeated: u64,
}

impl Collection {
    /// Adds one file. `prefix` begins the ids of articles without one.
    fn read(&mut self, input: &Source, prefix: &str) -> Result<Skipped, DataError> {
        let found = input.format.texts();
        if found != 2 {
            return Err(DataError::OneText { path: input.path.clone(), found });
        }
        let (mut usable, mut skipped) = (0, Skipped::default());
        for row in input.open()? {
            match row? {
                Row::Article(article) => {
                    usable += 1;
                    self.add(article, prefix);
                }
                Row::Skipped(row) => skipped.add(row),
            }
        }
        input.check(usable, &skipped)?;
        Ok(skipped)
    }

    fn add(&mut self, article: Article, prefix: &str) {
        let Article { line, id, first: title, second, .. } = article;
        let Some(text) = second else {
            self.incomplete += 1;
            return;
        };
        let known = id.as_ref().and_then(|id| self.by_id.get(id)).or_else(|| self.by_text.get(&text)).copied();
        let document = match known {
            Some(document) => {
                self.repeated += 1;
                document
            }
            None => {
                let wanted = id.clone().unwrap_or_else(|| format!("{prefix}{line}"));
                let new = Document { id: self.document_ids.unique(wanted), text: text.clone() };
                self.documents.push(new);
                self.by_text.insert(text, self.documents.len() - 1);
                self.documents.len() - 1
            }
        };
        if let Some(id) = id {
            self.by_id.entry(id).or_insert(document);
        }
        self.add_query(title, document);
    }

    /// Adds `title` as a query for `document`.
    fn add_query(&mut self, title: String, document: usize) {
        if let Some(&query) = self.by_title.get(&title) {
            let documents = &mut self.queries[query].documents;
            if !documents.contains(&document) {
                documents.push(document);
            }
            return;
        }
        self.by_title.insert(title.clone(), self.queries.len());
        let id = self.query_ids.unique(format!("q-{}", self.documents[document].id));
        self.queries.push(Query { id, text: title, documents: vec![document] });
    }

    /// Writes all files; returns the number of queries for each split.
    fn write(&self, folder: &Folder, conversion: Conversion) -> Result<[usize; 3], DataError> {
        atomic::write_lines(
            &folder.corpus(),
            self.documents
                .iter()
                .map(|document| json!({"_id": document.id, "title": "", "text": document.text}).to_string()),
        )?;
        let query = |query: &Query| json!({"_id": query.id, "text": query.text}).to_string();
        atomic::write_lines(&folder.queries(), self.queries.iter().map(query))?;

        let mut parts: [Vec<&Query>; 3] = Default::default();
        for query in &self.queries {
            // The first document determines the split.
            parts[split(query.documents[0], conversion.seed) as usize].push(query);
        }
        for (split, queries) in Split::ALL.into_iter().zip(&parts) {
            let judgements = queries.iter().flat_map(|query| {
                query.documents.iter().map(|&document| format!("{}\t{}\t1", query.id, self.documents[document].id))
            });
            atomic::write_lines(
                &folder.qrels(split),
                std::iter::once("query-id\tcorpus-id\tscore".to_owned()).chain(judgements),
            )?;
        }
        Ok(parts.map(|part| part.len()))
    }
}

/// Returns the split of a document.
fn split(document: usize, seed: u64) -> Split {
    match Stream::new(mix(&[seed, SPLIT, document as u64])).unit() {
        draw if draw < 0.8 => Split::Train,
        draw if draw < 0.9 => Split::Dev,
        _ => Split::Test,
    }
}

/// The ids in use, each with the last number appended to it.
#[derive(Default)]
struct Ids(HashMap<String, usize>);

impl Ids {
    /// Returns an unused id based on `wanted`, without tabs and line breaks.
    fn unique(&mut self, wanted: String) -> String {
        let wanted = wanted.replace(['\t', '\n', '\r'], " ");
        let mut id = wanted.clone();
        while self.0.contains_key(&id) {
            let count = self.0.entry(wanted.clone()).or_insert(1);
            *count += 1;
            id = format!("{wanted}-{count}");
        }
        self.0.insert(id.clone(), 1);
        id
    }
}

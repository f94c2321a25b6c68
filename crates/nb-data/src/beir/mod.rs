//! BEIR's layout of a retrieval data set: queries, a corpus to search, and judgements of relevance.
//!
//! ```text
//! corpus.jsonl     {"_id": "d1", "title": "…", "text": "…"}      read as Format::BeirCorpus
//! queries.jsonl    {"_id": "q1", "text": "…"}                    read as Format::BeirQueries
//! qrels/train.tsv  query-id ⇥ corpus-id ⇥ score                  read by Qrels::read; also dev.tsv and test.tsv
//! ```
//!
//! Qrels with TREC's four columns (query, iteration, document, score) are read too. If several rows of the corpus or of
//! the queries have the same `_id`, the last one counts, as in BEIR's loader.
//!
//! [`Folder`] defines the file names. Texts are read like any other [`Source`](crate::read::Source), so a token store
//! accepts them unchanged. [`Qrels`] joins the judgements with their rows, [`QueryBatch`] is the input of a training
//! step, and [`from_news()`] makes such a folder from articles: the title is the query, the abstract the text to find.

mod batch;
mod columns;
mod convert;
mod folder;
mod qrels;
mod query_log;
mod report;

pub use batch::{Pair, QueryBatch};
pub use convert::{Conversion, Written, from_news};
pub use folder::{Folder, Split};
pub use qrels::{Judged, Qrels};
pub use query_log::QueryLog;
pub use report::ReadReport;

//! BEIR's layout of a retrieval data set: queries, a corpus to search, and judgements of what is relevant to what.
//!
//! ```text
//! corpus.jsonl     {"_id": "d1", "title": "…", "text": "…"}      read as Format::BeirCorpus
//! queries.jsonl    {"_id": "q1", "text": "…"}                    read as Format::BeirQueries
//! qrels/train.tsv  query-id ⇥ corpus-id ⇥ score                  read by Qrels::read; also dev.tsv and test.tsv
//! ```
//!
//! Qrels of TREC's four columns (query, iteration, document, score) are read too. Of several rows with one `_id`, in the
//! corpus or among the queries, the last holds, as in BEIR's loader.
//!
//! [`Folder`] knows the names. Texts are read like any other [`Source`](crate::read::Source), so a token store takes
//! them as they are; [`Qrels`] joins the judgements with their rows, [`QueryBatch`] puts together what a training step
//! encodes, and [`from_news()`] makes such a folder of news: the title is the query, the abstract the text to find.

mod batch;
mod columns;
mod convert;
mod folder;
mod qrels;
mod report;

pub use batch::{Pair, QueryBatch};
pub use convert::{Conversion, Written, from_news};
pub use folder::{Folder, Split};
pub use qrels::{Judged, Qrels};
pub use report::ReadReport;

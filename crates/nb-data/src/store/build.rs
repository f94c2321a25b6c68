//! Builds a store: while all cores tokenise one block of articles, the next block is read.

use std::collections::BTreeMap;

use super::layout::Content;
use crate::batch::Tokens;
use crate::error::DataError;
use crate::read::{Article, LabelRule, Reason, Row, SkippedRow, Source};
use crate::tokenizer::Tokenizer;

/// Articles per block: enough to keep all cores busy, few enough to hold in memory.
const BLOCK: usize = 4096;

/// Reads and tokenises `source`.
pub(super) fn build(source: &Source, tokenizer: &Tokenizer, max_tokens: usize) -> Result<Content, DataError> {
    let mut rows = source.open()?;
    let needs_one_label = source.labels == LabelRule::Required;
    let mut builder = Builder { needs_one_label, ..Builder::default() };
    builder.content.offsets.push(0);
    let mut block = builder.next_block(&mut rows)?;
    while !block.is_empty() {
        let (tokens, next) = rayon::join(|| tokenizer.encode_all(&block, max_tokens), || builder.next_block(&mut rows));
        // Check the tokens first: their error is on an earlier line than an error in the next block.
        builder.push(&block, &tokens?);
        block = next?;
    }
    builder.content.untranslated = rows.untranslated();
    let content = builder.finish();
    if rows.untranslated() == content.lines.len() as u64
        && let Some(path) = &source.translations
    {
        return Err(DataError::NoTranslation { path: path.clone(), articles: source.path.clone() });
    }
    source.check(content.lines.len() as u64, &content.skipped)?;
    if u32::try_from(content.lines.len()).is_err() {
        return Err(DataError::TooManyRows { path: source.path.clone() });
    }
    Ok(content)
}

/// A store that is being built.
#[derive(Default)]
struct Builder {
    content: Content,
    /// True if a row with several labels cannot be used.
    needs_one_label: bool,
    /// Number of each label, in order of first occurrence until all labels are known.
    labels: BTreeMap<String, u32>,
}

impl Builder {
    /// Reads the next block of articles, which is empty at the end.
    fn next_block(
        &mut self,
        rows: &mut impl Iterator<Item = Result<Row, DataError>>,
    ) -> Result<Vec<Article>, DataError> {
        let mut block = Vec::with_capacity(BLOCK);
        while block.len() < BLOCK {
            match rows.next().transpose()? {
                // The first of several labels would be as wrong as the others.
                Some(Row::Article(article)) if self.needs_one_label && !article.more_labels.is_empty() => {
                    self.content.skipped.add(SkippedRow { line: article.line, reason: Reason::SeveralLabels });
                }
                Some(Row::Article(article)) => block.push(article),
                Some(Row::Skipped(row)) => self.content.skipped.add(row),
                None => break,
            }
        }
        Ok(block)
    }

    fn push(&mut self, articles: &[Article], tokens: &[Tokens]) {
        for (article, tokens) in articles.iter().zip(tokens) {
            let content = &mut self.content;
            content.tokens.extend_from_slice(&tokens.ids);
            content.offsets.push(content.tokens.len() as u64);
            content.seconds.push(tokens.second_starts as u32);
            content.lines.push(article.line);
            content.ids.push_str(article.id.as_deref().unwrap_or_default());
            content.id_ends.push(content.ids.len() as u64);
            content.labels.extend(article.labels().map(|label| number(&mut self.labels, label)));
            content.label_ends.push(content.labels.len() as u64);
        }
    }

    /// Renumbers the labels in their final order.
    fn finish(mut self) -> Content {
        let mut places = vec![0; self.labels.len()];
        for (place, (name, &number)) in self.labels.iter().enumerate() {
            places[number as usize] = place as u32;
            self.content.label_names.push(name.clone());
        }
        let Content { labels, label_ends, .. } = &mut self.content;
        labels.iter_mut().for_each(|label| *label = places[*label as usize]);
        let mut start = 0;
        for &end in &*label_ends {
            labels[start..end as usize].sort_unstable();
            start = end as usize;
        }
        self.content
    }
}

/// Returns the number of a label; a new label gets the next number.
fn number(labels: &mut BTreeMap<String, u32>, label: &str) -> u32 {
    if let Some(&number) = labels.get(label) {
        return number;
    }
    let number = labels.len() as u32;
    labels.insert(label.to_owned(), number);
    number
}

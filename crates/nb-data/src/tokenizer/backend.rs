//! Builds a tokenizer of the `tokenizers` crate from a folder, by the rules of its class.

use std::collections::HashSet;

use serde_json::{Value, json};
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{Result, Tokenizer};

use super::class::Class;
use super::file::wrong;
use super::folder::Folder;
use super::guard::{check_growth, guarded};
use super::special::SpecialTokens;
use super::switches::Switches;
use super::vocabulary::Vocabulary;
use super::{roberta, unigram, wordpiece};
use crate::error::{DataError, TokenizerError};

/// Builds the tokenizer, added tokens and template included.
///
/// # Errors
/// If the vocabulary is invalid or does not fit the class.
pub(super) fn build(class: Class, folder: &Folder, special: &SpecialTokens, switches: Switches) -> Result<Tokenizer> {
    if let Vocabulary::Json { value, .. } = &folder.vocabulary {
        check_growth(value)?;
    }
    let vocabulary = &folder.vocabulary;
    let mut tokenizer = match class {
        Class::Bert => wordpiece::bert(vocabulary, special, switches)?,
        Class::Japanese(subwords) => wordpiece::japanese(subwords, vocabulary, special, switches)?,
        Class::Roberta => roberta::build(vocabulary, switches)?,
        Class::XlmRoberta | Class::Camembert => unigram::build(class, vocabulary, special, switches)?,
        Class::AsSaved => as_saved(vocabulary)?,
    };
    add_tokens(&mut tokenizer, folder, special)?;
    match class {
        Class::Bert | Class::Japanese(_) => template(&mut tokenizer, special, BERT_ENDS, &BERT_PAIR)?,
        Class::Roberta => roberta::template(&mut tokenizer, special, switches, BERT_ENDS),
        Class::XlmRoberta | Class::Camembert => {
            template(&mut tokenizer, special, XLM_ROBERTA_ENDS, &XLM_ROBERTA_PAIR)?;
        }
        Class::AsSaved => {}
    }
    // The caller truncates, and packed batches have no padding.
    tokenizer.with_padding(None).with_truncation(None)?;
    tokenizer.set_encode_special_tokens(switches.split_special);
    Ok(tokenizer)
}

/// Rejects a vocabulary without the tokens that begin and end a sequence.
///
/// # Errors
/// [`TokenizerError::NoSpecialToken`] with the token.
pub(super) fn check_ends(class: Class, folder: &Folder, special: &SpecialTokens) -> std::result::Result<(), DataError> {
    let ends = match class {
        Class::Bert | Class::Japanese(_) | Class::Roberta => BERT_ENDS,
        Class::XlmRoberta | Class::Camembert => XLM_ROBERTA_ENDS,
        Class::AsSaved => return Ok(()), // its template names them
    };
    for key in ends {
        let Some(token) = special.get(key) else {
            let found = format!("{key} is null, expected a token, because sequences begin and end with it");
            return Err(wrong(folder.settings.config.path.clone())(found.into()));
        };
        if !folder.vocabulary.contains(token) && !special.declares(token) {
            return Err(TokenizerError::NoSpecialToken {
                path: folder.vocabulary.path().to_owned(),
                token: token.to_owned(),
            }
            .into());
        }
    }
    Ok(())
}

fn as_saved(vocabulary: &Vocabulary) -> Result<Tokenizer> {
    match vocabulary {
        Vocabulary::Json { bytes, .. } => guarded(|| Tokenizer::from_bytes(bytes)),
        _ => Err("found vocab.txt, expected tokenizer.json, because PreTrainedTokenizerFast reads nothing \
             else; set tokenizer_class in tokenizer_config.json to BertTokenizer to read the vocabulary as BERT's"
            .into()),
    }
}

/// Adds the special and added tokens. Tokens without an id in any file are appended to the vocabulary only if the model
/// has rows for them: `transformers` always appends them, and the model then fails on the first text that contains one.
fn add_tokens(tokenizer: &mut Tokenizer, folder: &Folder, special: &SpecialTokens) -> Result<()> {
    let known: HashSet<String> =
        tokenizer.get_added_tokens_decoder().into_values().map(|token| token.content).collect();
    let vocabulary = tokenizer.get_vocab_size(true) as u64;
    let rows = folder.settings.model.value.get("vocab_size").and_then(Value::as_u64);
    let mut tokens = special.to_add(|token| known.contains(token));
    let mut next = vocabulary;
    tokens.retain(|token| {
        let is_new = tokenizer.token_to_id(&token.content).is_none();
        let fits = !is_new || special.declares(&token.content) || rows.is_none_or(|rows| next < rows);
        next += u64::from(is_new && fits);
        fits
    });
    // Add all tokens at once, because the crate rebuilds its tables at each call.
    tokenizer.add_tokens(tokens)?;
    Ok(())
}

/// A part of a template.
#[derive(Clone, Copy)]
enum Part {
    Begin,
    First,
    End,
    Second,
}

/// Keys of the tokens at the two ends of a sequence.
const BERT_ENDS: [&str; 2] = ["cls_token", "sep_token"];
const XLM_ROBERTA_ENDS: [&str; 2] = ["bos_token", "eos_token"];

/// The template of a pair: each part with its segment.
const BERT_PAIR: [(Part, u32); 5] =
    [(Part::Begin, 0), (Part::First, 0), (Part::End, 0), (Part::Second, 1), (Part::End, 1)];
const XLM_ROBERTA_PAIR: [(Part, u32); 6] =
    [(Part::Begin, 0), (Part::First, 0), (Part::End, 0), (Part::End, 0), (Part::Second, 0), (Part::End, 0)];
const SINGLE: [(Part, u32); 3] = [(Part::Begin, 0), (Part::First, 0), (Part::End, 0)];

/// Sets the template of a class. A vocabulary without one of the end tokens gets no template; the caller rejects it.
fn template(tokenizer: &mut Tokenizer, special: &SpecialTokens, ends: [&str; 2], pair: &[(Part, u32)]) -> Result<()> {
    let [begin, end] = ends.map(|key| special.get(key).unwrap_or_default());
    let (Some(first), Some(last)) = (tokenizer.token_to_id(begin), tokenizer.token_to_id(end)) else {
        return Ok(());
    };
    let part = |&(part, segment): &(Part, u32)| match part {
        Part::Begin => json!({"SpecialToken": {"id": begin, "type_id": segment}}),
        Part::End => json!({"SpecialToken": {"id": end, "type_id": segment}}),
        Part::First => json!({"Sequence": {"id": "A", "type_id": segment}}),
        Part::Second => json!({"Sequence": {"id": "B", "type_id": segment}}),
    };
    // Build from JSON, because the builder reads a colon in a token as the start of a segment id.
    let template = json!({
        "type": "TemplateProcessing",
        "single": SINGLE.iter().map(part).collect::<Vec<_>>(),
        "pair": pair.iter().map(part).collect::<Vec<_>>(),
        "special_tokens": {
            begin: {"id": begin, "ids": [first], "tokens": [begin]},
            end: {"id": end, "ids": [last], "tokens": [end]},
        },
    });
    tokenizer.with_post_processor(Some(serde_json::from_value::<TemplateProcessing>(template)?));
    Ok(())
}

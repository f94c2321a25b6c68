//! RoBERTa's tokenizer: BPE over bytes.

use serde_json::{Map, Value};
use tokenizers::models::bpe::BPE;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::processors::roberta::RobertaProcessing;
use tokenizers::{Result, Tokenizer};

use super::special::SpecialTokens;
use super::switches::Switches;
use super::vocabulary::{Vocabulary, pair};

/// Ids by token, and the merges in their order.
struct Content {
    ids: Vec<(String, u32)>,
    merges: Vec<[String; 2]>,
}

/// Builds the tokenizer, without its template. As in `transformers`, the model has no unknown token: a byte that the
/// vocabulary lacks is dropped.
///
/// # Errors
/// If the vocabulary is not one of BPE, or if a merge refers to a token that it lacks.
pub(super) fn build(vocabulary: &Vocabulary, switches: Switches) -> Result<Tokenizer> {
    let Content { ids, merges } = match vocabulary {
        Vocabulary::Json { value, .. } => Content::of_tokenizer_file(&value["model"])?,
        Vocabulary::Merges { ids, merges, .. } => Content { ids: tokens(ids)?, merges: merges.clone() },
        Vocabulary::Lines { .. } | Vocabulary::Pieces { .. } => {
            return Err("expected tokenizer.json, or vocab.json and merges.txt".into());
        }
    };
    let mut vocab = WordPiece::read_bytes(&[])?; // an empty map of the builder's type, which cannot be named here
    vocab.extend(ids);
    let merges = merges.into_iter().map(|[left, right]| (left, right)).collect();
    let model = BPE::builder()
        .vocab_and_merges(vocab, merges)
        .continuing_subword_prefix(String::new())
        .end_of_word_suffix(String::new());
    let mut tokenizer = Tokenizer::new(model.build()?);
    // The other two parameters do not change tokens, except the last: split at words as GPT-2 does.
    let bytes = ByteLevel::new(switches.prefix_space, true, true);
    tokenizer.with_pre_tokenizer(Some(bytes)).with_decoder(Some(ByteLevel::default()));
    Ok(tokenizer)
}

/// Sets the template `<s> first </s>`, or `<s> first </s> </s> second </s>`, with segment 0. A vocabulary without one of
/// the end tokens gets no template; the caller rejects it.
pub(super) fn template(tokenizer: &mut Tokenizer, special: &SpecialTokens, switches: Switches, ends: [&str; 2]) {
    let [begin, end] = ends.map(|key| {
        let token = special.get(key)?;
        Some((token.to_owned(), tokenizer.token_to_id(token)?))
    });
    if let (Some(begin), Some(end)) = (begin, end) {
        let template = RobertaProcessing::new(end, begin)
            .trim_offsets(switches.trim_offsets)
            .add_prefix_space(switches.prefix_space);
        tokenizer.with_post_processor(Some(template));
    }
}

/// Reads ids by token.
fn tokens(ids: &Map<String, Value>) -> Result<Vec<(String, u32)>> {
    let token = |(token, id): (&String, &Value)| {
        let read = id.as_u64().and_then(|id| u32::try_from(id).ok());
        read.map(|read| (token.clone(), read)).ok_or_else(|| format!("{token:?} is {id}, expected an id"))
    };
    Ok(ids.iter().map(token).collect::<std::result::Result<_, _>>()?)
}

impl Content {
    /// Reads the model of a `tokenizer.json`; a list of tokens is in the order of their ids.
    fn of_tokenizer_file(model: &Value) -> Result<Self> {
        let wrong = "expected a BPE vocabulary with merges, which RobertaTokenizer needs; set tokenizer_class in \
                     tokenizer_config.json to PreTrainedTokenizerFast to use tokenizer.json unchanged";
        if let Some(found) = model["type"].as_str().filter(|&kind| kind != "BPE") {
            return Err(format!("found a {found} model, {wrong}").into());
        }
        let token = |(id, token): (u32, &Value)| Some((token.as_str().or(token[0].as_str())?.to_owned(), id));
        let ids = match &model["vocab"] {
            Value::Object(ids) => Some(tokens(ids)?),
            Value::Array(tokens) => (0..).zip(tokens).map(token).collect(),
            _ => None,
        };
        let merges = model["merges"].as_array().and_then(|merges| merges.iter().map(merge).collect());
        let content = ids.zip(merges).map(|(ids, merges)| Self { ids, merges });
        content.ok_or_else(|| format!("found an invalid vocabulary, {wrong}").into())
    }
}

/// Reads a merge: two tokens in a list, or in a text with a space between them.
fn merge(value: &Value) -> Option<[String; 2]> {
    let text = |value: &Value| Some(value.as_str()?.to_owned());
    if let Some(both) = value.as_str() {
        return pair(both);
    }
    match value.as_array()?.as_slice() {
        [left, right] => Some([text(left)?, text(right)?]),
        _ => None,
    }
}

//! Builds a tokenizer of the `tokenizers` crate from a folder, by the rules of its class.

use std::collections::HashSet;

use serde_json::{Value, json};
use tokenizers::decoders::metaspace::Metaspace as MetaspaceDecoder;
use tokenizers::decoders::wordpiece::WordPiece as WordPieceDecoder;
use tokenizers::models::unigram::Unigram;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::{BertNormalizer, Precompiled};
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::whitespace::WhitespaceSplit;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{ModelWrapper, PreTokenizerWrapper, Result, Tokenizer};

use super::class::Class;
use super::file::wrong;
use super::folder::{Folder, Object, Vocabulary};
use super::guard::{check_growth, guarded};
use super::special::SpecialTokens;
use crate::error::DataError;

/// XLM-R's character for a space.
const SPACE: char = '\u{2581}';

/// The switches of `tokenizer_config.json`, with the class's defaults for missing ones.
#[derive(Clone, Copy, Debug)]
pub(super) struct Switches {
    pub(super) lower_case: bool,
    /// The same as `lower_case` if not set.
    pub(super) strip_accents: Option<bool>,
    pub(super) chinese_characters: bool,
    /// Insert a space before the first word, for XLM-R.
    prefix_space: bool,
    /// Split special tokens in a text like other words.
    split_special: bool,
}

impl Switches {
    /// Reads the keys that apply to the class.
    ///
    /// # Errors
    /// If a value is neither true nor false.
    pub(super) fn of(class: Class, config: &Object) -> std::result::Result<Self, DataError> {
        let bert = |key: &str| if class == Class::Bert { config.switch(key) } else { Ok(None) };
        let strip_accents = match config.value.get("strip_accents") {
            Some(Value::Null) => None, // null is a value, not a missing key
            _ => bert("strip_accents")?,
        };
        Ok(Self {
            lower_case: bert("do_lower_case")?.unwrap_or(true),
            strip_accents,
            chinese_characters: bert("tokenize_chinese_chars")?.unwrap_or(true),
            prefix_space: class != Class::XlmRoberta || config.switch("add_prefix_space")?.unwrap_or(true),
            split_special: config.switch("split_special_tokens")?.unwrap_or(false),
        })
    }
}

/// Builds the tokenizer, added tokens and template included.
///
/// # Errors
/// If the vocabulary is invalid or does not fit the class.
pub(super) fn build(class: Class, folder: &Folder, special: &SpecialTokens, switches: Switches) -> Result<Tokenizer> {
    if let Vocabulary::Json { value, .. } = &folder.vocabulary {
        check_growth(value)?;
    }
    let mut tokenizer = match class {
        Class::Bert => bert(folder, special, switches)?,
        Class::XlmRoberta => xlm_roberta(folder, switches)?,
        Class::AsSaved => as_saved(folder)?,
    };
    add_tokens(&mut tokenizer, folder, special)?;
    match class {
        Class::Bert => template(&mut tokenizer, special, BERT_ENDS, &BERT_PAIR)?,
        Class::XlmRoberta => template(&mut tokenizer, special, XLM_ROBERTA_ENDS, &XLM_ROBERTA_PAIR)?,
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
/// [`DataError::NoSpecialToken`] with the token.
pub(super) fn check_ends(class: Class, folder: &Folder, special: &SpecialTokens) -> std::result::Result<(), DataError> {
    let ends = match class {
        Class::Bert => BERT_ENDS,
        Class::XlmRoberta => XLM_ROBERTA_ENDS,
        Class::AsSaved => return Ok(()), // its template names them
    };
    for key in ends {
        let Some(token) = special.get(key) else {
            let found = format!("{key} is null, expected a token, because sequences begin and end with it");
            return Err(wrong(folder.config.path.clone())(found.into()));
        };
        if !folder.vocabulary.contains(token) && !special.declares(token) {
            return Err(DataError::NoSpecialToken {
                path: folder.vocabulary.path().to_owned(),
                token: token.to_owned(),
            });
        }
    }
    Ok(())
}

fn bert(folder: &Folder, special: &SpecialTokens, switches: Switches) -> Result<Tokenizer> {
    let unknown = special.get("unk_token").unwrap_or_default().to_owned();
    let vocab = match &folder.vocabulary {
        Vocabulary::Lines { bytes, .. } => {
            std::str::from_utf8(bytes)?; // the error gives the position of the bad byte
            WordPiece::read_bytes(bytes)?
        }
        Vocabulary::Json { value, .. } => {
            let mut vocab = WordPiece::read_bytes(&[])?; // an empty map of the builder's type
            vocab.extend(word_pieces(&value["model"])?);
            vocab
        }
    };
    if !vocab.contains_key(&unknown) {
        return Err(format!("no token {unknown:?} found, expected it for words that the vocabulary lacks").into());
    }
    let model = WordPiece::builder().vocab(vocab).unk_token(unknown);
    let mut tokenizer = Tokenizer::new(model.build()?);
    let Switches { lower_case, strip_accents, chinese_characters, .. } = switches;
    tokenizer
        .with_normalizer(Some(BertNormalizer::new(true, chinese_characters, strip_accents, lower_case)))?
        .with_pre_tokenizer(Some(BertPreTokenizer))
        .with_decoder(Some(WordPieceDecoder::new("##".into(), true)));
    Ok(tokenizer)
}

/// Reads the vocabulary of a WordPiece model: ids by token, or tokens in the order of their ids.
fn word_pieces(model: &Value) -> Result<Vec<(String, u32)>> {
    let kind = model["type"].as_str();
    let wrong = "expected a WordPiece vocabulary, which its class needs; set tokenizer_class in tokenizer_config.json to \
                 PreTrainedTokenizerFast to use tokenizer.json unchanged";
    if let Some(found) = kind.filter(|&kind| kind != "WordPiece") {
        return Err(format!("found a {found} model, {wrong}").into());
    }
    let id = |(token, id): (&String, &Value)| Some((token.clone(), u32::try_from(id.as_u64()?).ok()?));
    let pieces = match &model["vocab"] {
        Value::Object(ids) => ids.iter().map(id).collect::<Option<_>>(),
        Value::Array(tokens) => (0..).zip(tokens).map(|(id, token)| Some((token.as_str()?.to_owned(), id))).collect(),
        _ => None,
    };
    pieces.ok_or_else(|| format!("found an invalid vocabulary, {wrong}").into())
}

fn xlm_roberta(folder: &Folder, switches: Switches) -> Result<Tokenizer> {
    /// The id of `<unk>` in every vocabulary of this family.
    const UNKNOWN: usize = 3;
    let Vocabulary::Json { value, .. } = &folder.vocabulary else {
        return Err(
            "found vocab.txt, expected tokenizer.json, because XLMRobertaTokenizer needs pieces and their scores"
                .into(),
        );
    };
    let piece = |pair: &Value| Some((pair[0].as_str()?.to_owned(), pair[1].as_f64()?));
    let pieces = value["model"]["vocab"].as_array().and_then(|list| list.iter().map(piece).collect::<Option<Vec<_>>>());
    let Some(pieces) = pieces else {
        return Err(
            "no Unigram vocabulary found, expected one because XLMRobertaTokenizer needs pieces and their scores; set \
             tokenizer_class in tokenizer_config.json to PreTrainedTokenizerFast to use tokenizer.json unchanged"
                .into(),
        );
    };
    let mut tokenizer = Tokenizer::new(ModelWrapper::Unigram(guarded(|| Unigram::from(pieces, Some(UNKNOWN), false))?));
    if let Some(map) = precompiled(&value["normalizer"]) {
        let map: Precompiled = serde_json::from_str(&map.to_string())?; // it borrows from the text
        tokenizer.with_normalizer(Some(map))?;
    }
    let scheme = if switches.prefix_space { PrependScheme::Always } else { PrependScheme::Never };
    let words: Vec<PreTokenizerWrapper> = vec![WhitespaceSplit.into(), Metaspace::new(SPACE, scheme, true).into()];
    tokenizer
        .with_pre_tokenizer(Some(Sequence::new(words)))
        .with_decoder(Some(MetaspaceDecoder::new(SPACE, scheme, true)));
    Ok(tokenizer)
}

/// Returns the first precompiled character map of a normaliser.
fn precompiled(normalizer: &Value) -> Option<&Value> {
    let each = normalizer["normalizers"].as_array().map_or(std::slice::from_ref(normalizer), Vec::as_slice);
    each.iter().find(|it| it["type"] == "Precompiled")
}

fn as_saved(folder: &Folder) -> Result<Tokenizer> {
    match &folder.vocabulary {
        Vocabulary::Json { bytes, .. } => guarded(|| Tokenizer::from_bytes(bytes)),
        Vocabulary::Lines { .. } => {
            Err("found vocab.txt, expected tokenizer.json, because PreTrainedTokenizerFast reads nothing \
             else; set tokenizer_class in tokenizer_config.json to BertTokenizer to read the vocabulary as BERT's"
                .into())
        }
    }
}

/// Adds the special and added tokens. Tokens without an id in any file are appended to the vocabulary only if the model
/// has rows for them: `transformers` always appends them, and the model then fails on the first text that contains one.
fn add_tokens(tokenizer: &mut Tokenizer, folder: &Folder, special: &SpecialTokens) -> Result<()> {
    let known: HashSet<String> =
        tokenizer.get_added_tokens_decoder().into_values().map(|token| token.content).collect();
    let vocabulary = tokenizer.get_vocab_size(true) as u64;
    let rows = folder.model.value.get("vocab_size").and_then(Value::as_u64);
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
pub(super) const BERT_ENDS: [&str; 2] = ["cls_token", "sep_token"];
pub(super) const XLM_ROBERTA_ENDS: [&str; 2] = ["bos_token", "eos_token"];

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

//! The WordPiece tokenizers: BERT's, and that of Japanese models over words that were split before.

use serde_json::Value;
use tokenizers::decoders::wordpiece::WordPiece as WordPieceDecoder;
use tokenizers::models::wordpiece::{WordPiece, WordPieceBuilder};
use tokenizers::normalizers::replace::{Replace, ReplacePattern};
use tokenizers::normalizers::utils::Lowercase;
use tokenizers::normalizers::{BertNormalizer, NFKC, Sequence as Normalizers};
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{Model, NormalizerWrapper, Result, SplitDelimiterBehavior, Tokenizer};

use super::class::Subwords;
use super::special::SpecialTokens;
use super::switches::Switches;
use super::vocabulary::Vocabulary;
use super::words;

/// Builds BERT's tokenizer.
///
/// # Errors
/// If the vocabulary is not one of WordPiece or lacks the unknown token.
pub(super) fn bert(vocabulary: &Vocabulary, special: &SpecialTokens, switches: Switches) -> Result<Tokenizer> {
    let mut vocab = WordPiece::read_bytes(&[])?; // an empty map of the builder's type
    match vocabulary {
        Vocabulary::Lines { bytes, .. } => {
            std::str::from_utf8(bytes)?; // the error gives the position of the bad byte
            vocab = WordPiece::read_bytes(bytes)?;
        }
        Vocabulary::Json { value, .. } => vocab.extend(word_pieces(&value["model"])?),
        Vocabulary::Merges { .. } | Vocabulary::Pieces { .. } => {
            return Err("expected tokenizer.json or vocab.txt".into());
        }
    }
    let mut tokenizer = Tokenizer::new(model(WordPiece::builder().vocab(vocab), special)?);
    let Switches { lower_case, strip_accents, chinese_characters, .. } = switches;
    tokenizer
        .with_normalizer(Some(BertNormalizer::new(true, chinese_characters, strip_accents, lower_case)))?
        .with_pre_tokenizer(Some(BertPreTokenizer))
        .with_decoder(Some(WordPieceDecoder::new("##".into(), true)));
    Ok(tokenizer)
}

/// Builds the tokenizer of a Japanese model for texts that were split into words before: it splits them at white space.
///
/// # Errors
/// If the vocabulary is not a `vocab.txt` or lacks the unknown token.
pub(super) fn japanese(
    subwords: Subwords,
    vocabulary: &Vocabulary,
    special: &SpecialTokens,
    switches: Switches,
) -> Result<Tokenizer> {
    let Vocabulary::Lines { bytes, .. } = vocabulary else { return Err("expected vocab.txt".into()) };
    // Python reads lines that end with any of three line breaks, and strips nothing else.
    let text = std::str::from_utf8(bytes)?.replace("\r\n", "\n").replace('\r', "\n");
    let lines = text.strip_suffix('\n').unwrap_or(&text).split('\n');
    let mut vocab = WordPiece::read_bytes(&[])?;
    vocab.extend(lines.zip(0_u32..).map(|(line, id)| (line.to_owned(), id)));
    let mut tokenizer = Tokenizer::new(model(WordPiece::builder().vocab(vocab), special)?);
    let mut normalizers: Vec<NormalizerWrapper> = Vec::new();
    if switches.lower_case {
        // Python writes ς at the end of a word, and the crate σ everywhere.
        let last_sigma = ReplacePattern::Regex(r"(?<=\p{L})Σ(?!\p{L})".into());
        normalizers.extend([Replace::new(last_sigma, "ς")?.into(), Lowercase.into()]);
    }
    let mut pre_tokenizer = words::splitter()?;
    if subwords == Subwords::Characters {
        // The normal form of a few characters contains a space, which must not split their word; so the white space
        // between words becomes line breaks first.
        let spaces = ReplacePattern::Regex(words::pattern());
        // The crate's tables are older than this sign of an era.
        let era = Replace::new(ReplacePattern::String("㋿".into()), "令和")?;
        normalizers.extend([Replace::new(spaces, "\n")?.into(), era.into(), NFKC.into()]);
        let breaks = Split::new(SplitPattern::String("\n".into()), SplitDelimiterBehavior::Removed, false)?;
        let characters = Split::new(SplitPattern::Regex(r"[\s\S]".into()), SplitDelimiterBehavior::Isolated, false)?;
        pre_tokenizer = Sequence::new(vec![breaks.into(), characters.into()]).into();
    }
    if !normalizers.is_empty() {
        tokenizer.with_normalizer(Some(Normalizers::new(normalizers)))?;
    }
    tokenizer.with_pre_tokenizer(Some(pre_tokenizer)).with_decoder(Some(WordPieceDecoder::new("##".into(), true)));
    Ok(tokenizer)
}

/// Builds the model with the unknown token, which the vocabulary must contain.
fn model(builder: WordPieceBuilder, special: &SpecialTokens) -> Result<WordPiece> {
    let unknown = special.get("unk_token").unwrap_or_default();
    let model = builder.unk_token(unknown.to_owned()).build()?;
    if model.token_to_id(unknown).is_none() {
        return Err(format!("no token {unknown:?} found, expected it for words that the vocabulary lacks").into());
    }
    Ok(model)
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

//! The Unigram tokenizers: XLM-R's and CamemBERT's.

use serde_json::Value;
use tokenizers::decoders::metaspace::Metaspace as MetaspaceDecoder;
use tokenizers::models::unigram::Unigram;
use tokenizers::normalizers::Precompiled;
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::whitespace::WhitespaceSplit;
use tokenizers::{ModelWrapper, PreTokenizerWrapper, Result, Tokenizer};

use super::class::Class;
use super::guard::guarded;
use super::sentencepiece::Model;
use super::special::SpecialTokens;
use super::switches::Switches;
use super::vocabulary::Vocabulary;

/// SentencePiece's character for a space.
const SPACE: char = '\u{2581}';

/// Builds the tokenizer of XLM-R or CamemBERT, without its template.
///
/// # Errors
/// If the vocabulary is not one of Unigram, or if its character map is invalid.
pub(super) fn build(
    class: Class,
    vocabulary: &Vocabulary,
    special: &SpecialTokens,
    switches: Switches,
) -> Result<Tokenizer> {
    let (pieces, map) = match vocabulary {
        Vocabulary::Json { value, .. } => {
            let map = precompiled(&value["normalizer"]).map(|map| serde_json::from_str(&map.to_string())); // it borrows
            (of_tokenizer_file(class, value)?, map.transpose()?)
        }
        Vocabulary::Pieces { model, .. } => {
            let map = &model.character_map;
            let map = (!map.is_empty()).then(|| Precompiled::from(map)).transpose()?;
            (of_sentencepiece(class, special, model), map)
        }
        Vocabulary::Lines { .. } | Vocabulary::Merges { .. } => {
            return Err("expected tokenizer.json or sentencepiece.bpe.model".into());
        }
    };
    let unknown = unknown(class, special, &pieces);
    let model = guarded(|| Unigram::from(pieces, Some(unknown), false))?;
    let mut tokenizer = Tokenizer::new(ModelWrapper::Unigram(model));
    if let Some(map) = map {
        tokenizer.with_normalizer(Some::<Precompiled>(map))?;
    }
    let scheme = if switches.prefix_space { PrependScheme::Always } else { PrependScheme::Never };
    let words: Vec<PreTokenizerWrapper> = vec![WhitespaceSplit.into(), Metaspace::new(SPACE, scheme, true).into()];
    tokenizer
        .with_pre_tokenizer(Some(Sequence::new(words)))
        .with_decoder(Some(MetaspaceDecoder::new(SPACE, scheme, true)));
    Ok(tokenizer)
}

/// Returns the pieces and scores of a `tokenizer.json`.
fn of_tokenizer_file(class: Class, value: &Value) -> Result<Vec<(String, f64)>> {
    let piece = |pair: &Value| Some((pair[0].as_str()?.to_owned(), pair[1].as_f64()?));
    let pieces = value["model"]["vocab"].as_array().and_then(|list| list.iter().map(piece).collect());
    let message = || {
        let name = class.name();
        format!(
            "no Unigram vocabulary found, expected one because {name} needs pieces and their scores; set tokenizer_class \
             in tokenizer_config.json to PreTrainedTokenizerFast to use tokenizer.json unchanged"
        )
    };
    Ok(pieces.ok_or_else(message)?)
}

/// Returns the pieces and scores of a SentencePiece model, with the class's special tokens in their places: XLM-R's
/// replace the first three pieces, CamemBERT's the first one.
fn of_sentencepiece(class: Class, special: &SpecialTokens, model: &Model) -> Vec<(String, f64)> {
    let named = |key: &str| special.get(key).unwrap_or("None").to_owned(); // the text of Python's missing value
    let [begin, pad, end, unknown, mask] =
        ["bos_token", "pad_token", "eos_token", "unk_token", "mask_token"].map(|key| (named(key), 0.0));
    let unused = |token: &str, score: f64| (format!("{token}NOTUSED"), score);
    let (mut pieces, replaced) = match class {
        Class::Camembert => (vec![unused("<s>", 0.0), pad, unused("</s>", 0.0), unknown, unused("<unk>", -100.0)], 1),
        _ => (vec![begin, pad, end, unknown], 3),
    };
    pieces.extend(model.pieces.iter().skip(replaced).map(|piece| (piece.text.clone(), f64::from(piece.score))));
    pieces.push(mask);
    pieces
}

/// Returns the id of the piece for unknown characters. CamemBERT's is the piece of that name, or the first piece; XLM-R's
/// has the same id in every vocabulary, even if that piece is another one.
fn unknown(class: Class, special: &SpecialTokens, pieces: &[(String, f64)]) -> usize {
    const XLM_ROBERTA: usize = 3;
    match class {
        Class::Camembert => {
            let token = special.get("unk_token").unwrap_or("None"); // the text of Python's missing value
            pieces.iter().position(|(piece, _)| piece == token).unwrap_or(0)
        }
        _ => XLM_ROBERTA,
    }
}

/// Returns the first precompiled character map of a normaliser.
fn precompiled(normalizer: &Value) -> Option<&Value> {
    let each = normalizer["normalizers"].as_array().map_or(std::slice::from_ref(normalizer), Vec::as_slice);
    each.iter().find(|it| it["type"] == "Precompiled")
}

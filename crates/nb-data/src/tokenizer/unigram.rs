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
    let name = class.name();
    let Vocabulary::Json { value, .. } = vocabulary else {
        let message = "found vocab.txt, expected tokenizer.json, because";
        return Err(format!("{message} {name} needs pieces and their scores").into());
    };
    let piece = |pair: &Value| Some((pair[0].as_str()?.to_owned(), pair[1].as_f64()?));
    let pieces = value["model"]["vocab"].as_array().and_then(|list| list.iter().map(piece).collect::<Option<Vec<_>>>());
    let Some(pieces) = pieces else {
        return Err(format!(
            "no Unigram vocabulary found, expected one because {name} needs pieces and their scores; set tokenizer_class \
             in tokenizer_config.json to PreTrainedTokenizerFast to use tokenizer.json unchanged"
        )
        .into());
    };
    let unknown = unknown(class, special, &pieces);
    let model = guarded(|| Unigram::from(pieces, Some(unknown), false))?;
    let mut tokenizer = Tokenizer::new(ModelWrapper::Unigram(model));
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

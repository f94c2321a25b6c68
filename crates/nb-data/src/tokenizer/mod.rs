//! The tokenizer of a checkpoint: turns text into the token ids of one sequence, truncated to a maximum length.
//!
//! The tokens are those of `AutoTokenizer` in `transformers` 5.24 for the same folder; [`Tokenizer::from_folder`] lists
//! the files and keys that are used. The template is the same too, for one text and for two: BERT's is `[CLS] first
//! [SEP]`, or `[CLS] first [SEP] second [SEP]` with segment id 0 up to and including the first `[SEP]` and 1 after it;
//! RoBERTa's, XLM-R's and CamemBERT's is `<s> first </s>`, or `<s> first </s> </s> second </s>` without segments. If a
//! sequence has more than `max_tokens` tokens, special tokens included,
//!
//! 1. the second text loses tokens from its end;
//! 2. if no token of it would remain, it is dropped together with its special tokens;
//! 3. then the first text loses tokens from its end.
//!
//! So the title stays complete as long as it fits, and a title alone has more room than one with an abstract. A second
//! text without tokens (only characters that the tokenizer drops) is ignored. A tokenizer whose `truncation_side` is
//! `left` drops tokens from the beginning of a text instead. With [`Truncation::HeadTail`], the order is the same, but a
//! text that loses tokens loses them from its middle.
//!
//! With [`Windows`], what remains of an article with too many tokens for one sequence becomes several.
//!
//! The padding and truncation settings of `tokenizer.json` are ignored.

mod backend;
mod class;
mod file;
mod folder;
mod guard;
mod long_articles;
mod roberta;
mod saved;
mod sentencepiece;
mod side;
mod special;
mod switches;
mod template;
mod truncation;
mod unigram;
mod vocabulary;
mod warning;
mod windows;
mod wordpiece;
mod words;

use std::fmt;
use std::path::Path;

use rayon::prelude::*;

use self::class::{Class, Segments};
pub use self::file::TokenizerFile;
use self::file::wrong;
use self::folder::{Folder, Settings};
use self::guard::guarded;
use self::long_articles::LongArticles;
pub use self::long_articles::Sequence;
use self::saved::Saved;
use self::side::Side;
use self::special::SpecialTokens;
use self::switches::Switches;
use self::template::Templates;
pub use self::truncation::Truncation;
use self::vocabulary::Vocabulary;
pub use self::warning::TokenizerWarning;
pub use self::windows::{MIN_WINDOW, Windows};
pub use self::words::Words;
use crate::batch::Tokens;
use crate::error::{DataError, TokenizerError};
use crate::read::Article;

/// The largest id of a token. Serialisation takes time and memory for each id below the largest one, even if no token has it.
const LARGEST_ID: u32 = 1 << 24;

/// The tokenizer of a BERT checkpoint.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    words: Words,
    templates: Templates,
    side: Side,
    long: LongArticles,
    max_length: Option<usize>,
    vocab_size: usize,
    /// `tokenizer.json`, with the settings of the folder's other files.
    json: Vec<u8>,
    saved: Saved,
    warnings: Vec<TokenizerWarning>,
    fingerprint: [u8; 32],
}

impl Tokenizer {
    /// Loads the tokenizer of a checkpoint's folder, as `AutoTokenizer` in `transformers` 5.24 does.
    ///
    /// The vocabulary comes from `tokenizer.json`, or else from the files of the class. The class also determines the
    /// rest: `tokenizer_class` of `tokenizer_config.json`, else of `config.json`, else that of the model type, which is
    /// `BertTokenizer` for `bert`, `distilbert` and `electra`.
    ///
    /// - `BertTokenizer` (with or without `Fast`, and the equivalent classes of DistilBERT, ELECTRA and others): BERT's
    ///   rules, with the keys `do_lower_case` (true if missing, for any vocabulary), `strip_accents` and
    ///   `tokenize_chinese_chars` of `tokenizer_config.json`. Only the vocabulary and the added tokens of
    ///   `tokenizer.json` are used; without that file, `vocab.txt`, one token per line.
    /// - `RobertaTokenizer`: BPE over bytes, with the keys `add_prefix_space` (false if missing) and `trim_offsets`. Only
    ///   the vocabulary, the merges and the added tokens of `tokenizer.json` are used; without that file, `vocab.json` and
    ///   `merges.txt`.
    /// - `XLMRobertaTokenizer` and `CamembertTokenizer`: XLM-R's rules, with the key `add_prefix_space` (true if missing).
    ///   Only the pieces, the character map and the added tokens of `tokenizer.json` are used; without that file,
    ///   `sentencepiece.bpe.model`.
    /// - `PreTrainedTokenizerFast`: `tokenizer.json`, unchanged; the keys above have no effect. Models see segment ids
    ///   only if `model_input_names` lists them.
    ///
    /// Special and added tokens come from `tokenizer_config.json` (with `added_tokens_decoder`),
    /// `special_tokens_map.json`, `added_tokens.json` and `tokenizer.json`. [`Tokenizer::warnings`] lists
    /// interpretations that may not be intended.
    ///
    /// # Errors
    /// If the folder has no vocabulary, a file is invalid, the class is not supported, or a token that begins or ends
    /// sequences is not in the vocabulary. The words of `BertJapaneseTokenizer` need [`Tokenizer::with_words`].
    pub fn from_folder(folder: &Path) -> Result<Self, DataError> {
        Self::with_words(folder, Words::AsClass)
    }

    /// Loads the tokenizer of a checkpoint's folder for texts whose words come from `words`.
    ///
    /// With [`Words::Pretokenized`], texts are split at white space, and each word is encoded on its own, as with
    /// `is_split_into_words=True` in `transformers`. The class `BertJapaneseTokenizer` needs this: its words come from a
    /// program such as MeCab, which must have split the texts before. Its subword tokens are those of `vocab.txt`:
    /// WordPiece, or characters if `subword_tokenizer_type` is `character`. It is saved as a `PreTrainedTokenizerFast`
    /// that splits at white space, so the saved folder loads with [`Tokenizer::from_folder`] too.
    ///
    /// ```
    /// use nb_data::Tokenizer;
    /// use nb_data::tokenizer::Words;
    ///
    /// # let folder = tempfile::tempdir()?;
    /// # let folder = folder.path();
    /// let class = r#"{"tokenizer_class": "BertJapaneseTokenizer", "word_tokenizer_type": "mecab"}"#;
    /// std::fs::write(folder.join("tokenizer_config.json"), class)?;
    /// std::fs::write(folder.join("vocab.txt"), "[PAD]\n[UNK]\n[CLS]\n[SEP]\n東京\nで\n大雨\n")?;
    /// let error = Tokenizer::from_folder(folder).unwrap_err();
    /// assert!(error.to_string().contains("data.pretokenized"));
    /// let tokenizer = Tokenizer::with_words(folder, Words::Pretokenized)?;
    /// assert_eq!(tokenizer.encode("東京 で 大雨", None, 8)?.ids, [2, 4, 5, 6, 3]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The same as [`Tokenizer::from_folder`]. [`Words::Pretokenized`] is also an error for a `RobertaTokenizer` whose
    /// `add_prefix_space` is not true, because its words would lose the spaces between them.
    pub fn with_words(folder: &Path, words: Words) -> Result<Self, DataError> {
        let settings = Settings::read(folder)?;
        let (class, segments) = Class::of(&settings, words)?;
        let switches = Switches::of(class, &settings.config)?;
        let folder = settings.with_vocabulary(class.form())?;
        let special = SpecialTokens::of(&folder, class.default_tokens())?;
        let path = folder.vocabulary.path();
        let inner = guarded(|| backend::build(class, &folder, &special, switches)).map_err(wrong(path.to_owned()))?;

        backend::check_ends(class, &folder, &special)?;
        let config = &folder.settings.config.value;
        let words = words_before(words, class, &folder, switches)?;
        let side = folder.truncation_side()?;
        let mut templates = guarded(|| Templates::of(&inner, side)).map_err(wrong(path.to_owned()))?;
        let mut warnings = warning::all(class, &folder, &special, &inner);
        if Segments::listed(config).unwrap_or(segments) == Segments::Zero {
            let silent = matches!(class, Class::AsSaved | Class::Japanese(_)) && Segments::listed(config).is_none();
            if silent && templates.has_segments() {
                warnings.push(TokenizerWarning::NoSegments { path: folder.settings.config.path.clone() });
            }
            templates.without_segments();
        }
        let vocab_size = vocab_size(&inner, &templates).map_err(|found| wrong(path.to_owned())(found.into()))?;
        let json = guarded(|| inner.to_string(false)).map_err(wrong(path.to_owned()))?.into_bytes();
        let mut tokenizer = Self {
            vocab_size,
            saved: Saved::new(class, config, &special, switches, &inner),
            warnings,
            fingerprint: [0; 32],
            inner,
            words,
            templates,
            side,
            long: LongArticles::default(),
            max_length: folder.settings.max_length(),
            json,
        };
        tokenizer.fingerprint = tokenizer.hash();
        Ok(tokenizer)
    }

    /// Returns the tokenizer for a model with this many segments: with fewer than two, as in a BERT with
    /// `type_vocab_size` 1, every token has segment 0.
    #[must_use]
    pub fn for_segments(mut self, segments: usize) -> Self {
        if segments < 2 && self.templates.has_segments() {
            self.templates.without_segments();
            self.fingerprint = self.hash();
        }
        self
    }

    /// Returns the tokenizer with another rule for the part that remains of a text with too many tokens.
    ///
    /// ```
    /// use nb_data::Tokenizer;
    /// use nb_data::tokenizer::Truncation;
    ///
    /// # let folder = tempfile::tempdir()?;
    /// # let folder = folder.path();
    /// std::fs::write(folder.join("vocab.txt"), "[PAD]\n[UNK]\n[CLS]\n[SEP]\na\nb\nc\nd\ne\nf\n")?;
    /// let tokenizer = Tokenizer::from_folder(folder)?;
    /// assert_eq!(tokenizer.encode("a b c d e f", None, 6)?.ids, [2, 4, 5, 6, 7, 3]);
    /// let tokenizer = tokenizer.with_truncation(Truncation::HeadTail);
    /// assert_eq!(tokenizer.encode("a b c d e f", None, 6)?.ids, [2, 4, 7, 8, 9, 3]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_truncation(mut self, truncation: Truncation) -> Self {
        self.long.truncation = truncation;
        self.fingerprint = self.hash();
        self
    }

    /// Returns the tokenizer with windows for articles of more than [`Windows::size`] tokens; `None` for one sequence per
    /// article. `max_tokens` is then the number of tokens of the article that remain, with one set of special tokens, before
    /// it is cut into windows.
    ///
    /// ```
    /// use nb_data::Tokenizer;
    /// use nb_data::tokenizer::Windows;
    ///
    /// # let folder = tempfile::tempdir()?;
    /// # let folder = folder.path();
    /// std::fs::write(folder.join("vocab.txt"), "[PAD]\n[UNK]\n[CLS]\n[SEP]\na\nb\nc\nd\ne\nf\n")?;
    /// let tokenizer = Tokenizer::from_folder(folder)?.with_windows(Some(Windows { size: 5, stride: 2 }));
    /// let windows = |first, second| -> Result<Vec<Vec<u32>>, nb_data::DataError> {
    ///     Ok(tokenizer.encode(first, second, 100)?.windows().map(|window| window.ids.to_vec()).collect())
    /// };
    /// assert_eq!(windows("a b c", None)?, [[2, 4, 5, 6, 3]]);
    /// assert_eq!(windows("a b c d e", None)?, [[2, 4, 5, 6, 3], [2, 6, 7, 8, 3]]);
    /// assert_eq!(windows("a", Some("b c"))?, [[2, 4, 3, 5, 3], [2, 4, 3, 6, 3]]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_windows(mut self, windows: Option<Windows>) -> Self {
        self.long.windows = windows;
        self.fingerprint = self.hash();
        self
    }

    /// Returns the windows for long articles, if there are any.
    #[must_use]
    pub fn windows(&self) -> Option<Windows> {
        self.long.windows
    }

    /// Returns the largest token id plus one: the smallest possible number of rows of a model's token embedding.
    #[must_use]
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// Returns warnings about interpretations of the folder that may not be intended, to be shown once.
    #[must_use]
    pub fn warnings(&self) -> &[TokenizerWarning] {
        &self.warnings
    }

    /// Returns the files to save with a model for sequences of at most `max_tokens`, from which other tools load the
    /// same tokenizer: they contain every setting that affects tokens, including the folder's implicit defaults. There
    /// is no `vocab.txt` if the vocabulary cannot be written as one.
    #[must_use]
    pub fn files(&self, max_tokens: usize) -> Vec<TokenizerFile> {
        let segments = if self.templates.has_segments() { Segments::Template } else { Segments::Zero };
        self.saved.files(&self.json, max_tokens, segments, self.side)
    }

    /// Returns the length in `tokenizer_config.json` to which `transformers` truncates texts; `None` if it is missing
    /// or not a length. Very large values, which mean "no limit", exceed any number of positions.
    #[must_use]
    pub fn model_max_length(&self) -> Option<usize> {
        self.max_length
    }

    /// Returns a hash of every setting that affects the tokens of a text.
    #[must_use]
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    fn hash(&self) -> [u8; 32] {
        let mut rules = format!("{:?} {}", self.templates, self.inner.get_encode_special_tokens());
        if self.words == Words::Pretokenized {
            rules.push_str(" words");
        }
        // The default adds nothing, so that token stores without it stay valid.
        if self.long.truncation == Truncation::HeadTail {
            rules.push_str(" head and tail");
        }
        if let Some(Windows { size, stride }) = self.long.windows {
            rules.push_str(&format!(" windows {size} {stride}"));
        }
        let mut hasher = blake3::Hasher::new();
        for part in [self.json.as_slice(), rules.as_bytes()] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
        *hasher.finalize().as_bytes()
    }

    /// Tokenises one article, truncated to `max_tokens` as the [module](self) describes.
    ///
    /// # Errors
    /// [`DataError::MaxTokens`] if `max_tokens` leaves no room for a token of the text, [`TokenizerError::Encode`] if the
    /// tokenizer fails.
    pub fn encode(&self, first: &str, second: Option<&str>, max_tokens: usize) -> Result<Tokens, DataError> {
        Ok(self.sequence(first, second, max_tokens)?.tokens)
    }

    /// Does the same as [`Tokenizer::encode`], and tells if the article was truncated.
    ///
    /// # Errors
    /// The same as [`Tokenizer::encode`].
    pub fn sequence(&self, first: &str, second: Option<&str>, max_tokens: usize) -> Result<Sequence, DataError> {
        let fewest = self.templates.fewest();
        if max_tokens < fewest {
            return Err(DataError::MaxTokens { found: max_tokens, fewest });
        }
        let smallest = self.templates.smallest_window();
        if let Some(Windows { size, .. }) = self.long.windows.filter(|windows| windows.size < smallest) {
            return Err(DataError::WindowSize { found: size, smallest });
        }
        let first = self.pieces(first)?;
        let second = second.map(|text| self.pieces(text)).transpose()?;
        let second = second.as_ref().map_or(&[][..], |second| second.get_ids());
        Ok(self.long.assemble(&self.templates, first.get_ids(), second, max_tokens))
    }

    /// Tokenises articles on all cores, in their order.
    ///
    /// # Errors
    /// The same as [`Tokenizer::encode`].
    pub fn encode_all(&self, articles: &[Article], max_tokens: usize) -> Result<Vec<Tokens>, DataError> {
        articles.par_iter().map(|article| self.encode(&article.first, article.second.as_deref(), max_tokens)).collect()
    }

    /// Like [`Tokenizer::encode_all`], but also returns the number of articles that were truncated.
    ///
    /// # Errors
    /// The same as [`Tokenizer::encode`].
    pub fn encode_all_counting_truncated(
        &self,
        articles: &[Article],
        max_tokens: usize,
    ) -> Result<(Vec<Tokens>, usize), DataError> {
        let sequence = |article: &Article| self.sequence(&article.first, article.second.as_deref(), max_tokens);
        let sequences: Vec<Sequence> = articles.par_iter().map(sequence).collect::<Result<_, _>>()?;
        let truncated = sequences.iter().filter(|sequence| sequence.is_truncated).count();
        Ok((sequences.into_iter().map(|sequence| sequence.tokens).collect(), truncated))
    }

    fn pieces(&self, text: &str) -> Result<tokenizers::Encoding, DataError> {
        let encode = || match self.words {
            Words::AsClass => self.inner.encode_fast(text, false),
            Words::Pretokenized => self.inner.encode_fast(words::split(text), false),
        };
        guarded(encode)
            .map_err(|source| TokenizerError::Encode { start: text.chars().take(40).collect(), source }.into())
    }
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokenizer").field("vocab_size", &self.vocab_size).finish_non_exhaustive()
    }
}

/// Returns the words to split before the `tokenizers` crate sees a text: none if its own rules split them at white space.
fn words_before(words: Words, class: Class, folder: &Folder, switches: Switches) -> Result<Words, DataError> {
    let inside = match (class, &folder.vocabulary) {
        (Class::Japanese(_), _) => true,
        (Class::AsSaved, Vocabulary::Json { value, .. }) => words::are_split_by(value), // a saved Japanese tokenizer
        _ => false,
    };
    if words == Words::Pretokenized && class == Class::Roberta && !switches.prefix_space {
        let found = "add_prefix_space is not true, expected true for texts that were split into words, because words \
                     would lose the spaces between them";
        return Err(wrong(folder.settings.config.path.clone())(found.into()));
    }
    Ok(if inside { Words::AsClass } else { words })
}

/// Returns the largest id plus one. A post_processor may add ids that the vocabulary does not have.
fn vocab_size(inner: &tokenizers::Tokenizer, templates: &Templates) -> Result<usize, String> {
    let largest = inner.get_vocab(true).into_iter().max_by_key(|(_, id)| *id);
    if let Some((token, id)) = largest.as_ref().filter(|(_, id)| *id > LARGEST_ID) {
        return Err(format!("token {token:?} has the id {id}, expected at most {LARGEST_ID}"));
    }
    let largest = largest.map(|(_, id)| id).into_iter().chain(templates.largest_id()).max();
    Ok(largest.map_or(0, |largest| largest as usize + 1))
}

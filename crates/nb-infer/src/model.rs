//! A model folder, opened.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use nb_checkpoint::{ArticleField, BertConfig, CONFIG_FILE, DESCRIPTION_FILE, Description, SavedEncoder};
use nb_data::batch::MIN_TOKENS;
use nb_data::{DataError, Tokenizer, Tokens};
use nb_kernels::gemm::Int8Linear;
use nb_kernels::threads;
use rayon::prelude::*;

use crate::batch::groups;
use crate::encoder::{Buffers, Encoder};
use crate::error::InferError;
use crate::head::Head;
use crate::options::{Options, Precision};
use crate::text::Text;
use crate::weights::Weights;

/// A trained model, or a Hugging Face BERT that says how to pool. One model serves all threads of a program at once.
///
/// ```no_run
/// use nb_infer::{Model, Options};
/// let model = Model::open("runs/quickstart/student", &Options::default())?;
/// let vectors = model.vectors(&["Shares fall".into(), ("Rain in York", "The Ouse may flood.").into()])?;
/// assert_eq!(Some(vectors[0].len()), model.width());
/// # Ok::<(), nb_infer::InferError>(())
/// ```
#[derive(Debug)]
pub struct Model {
    folder: PathBuf,
    encoder: Encoder,
    head: Option<Head>,
    description: Option<Description>,
    tokenizer: Tokenizer,
    max_tokens: usize,
}

impl Model {
    /// Opens the model folder of a run, or any Hugging Face BERT folder. Unless the options set another length, texts are truncated to
    /// the longest sequence of the model's training; without a run, to the smaller of `max_position_embeddings` of `config.json` and
    /// `model_max_length` of `tokenizer_config.json`. If the options set a number of threads, it changes for the whole process.
    ///
    /// # Errors
    /// If a file is missing, damaged, or does not fit the others, or if the options do not fit the model. The number of threads does
    /// not change then.
    pub fn open(folder: impl AsRef<Path>, options: &Options) -> Result<Self, InferError> {
        let folder = folder.as_ref();
        if !folder.is_dir() {
            return Err(InferError::NotAFolder { path: folder.to_owned() });
        }
        if let Some(found) = options.threads {
            check_option("threads", found, 1, Options::MAX_THREADS)?;
        }
        let SavedEncoder { config, weights } = SavedEncoder::read(folder)?;
        check_widths(folder, &config, options.precision)?;
        let tokenizer = tokenizer(folder, &config)?;
        let description = Description::read(folder)?;
        let most = config.max_position_embeddings.unsigned_abs() as usize;
        let max_tokens = match options.max_tokens {
            Some(found) => {
                check_option("max_tokens", found, MIN_TOKENS, most)?;
                found
            }
            None => trained_length(folder, description.as_ref(), &tokenizer)?.unwrap_or(most).min(most),
        };
        tokenizer.encode("", None, max_tokens)?; // an error if the special tokens leave no room for a text
        let encoder = Encoder::new(&config, &Weights::of_encoder(&weights)?, options.precision)?;
        let head = Head::read(folder, description.as_ref(), encoder.hidden())?;
        options.threads.into_iter().for_each(threads::set);
        Ok(Self { folder: folder.to_owned(), encoder, head, description, tokenizer, max_tokens })
    }

    /// Returns the labels by class number; none if the model was not trained for topics.
    pub fn labels(&self) -> &[String] {
        self.description.as_ref().map_or(&[], |description| &description.labels)
    }

    /// Returns the parts of an article that the model was trained on; none if that is unknown.
    pub fn fields(&self) -> &[ArticleField] {
        self.description.as_ref().map_or(&[], |description| &description.fields)
    }

    /// Returns the width of vectors; `None` if the folder does not say how to pool.
    pub fn width(&self) -> Option<usize> {
        self.head.as_ref().map(|head| head.width(self.encoder.hidden()))
    }

    /// Returns a sentence about each file of the tokenizer that permits two interpretations.
    pub fn warnings(&self) -> Vec<String> {
        self.tokenizer.warnings().iter().map(ToString::to_string).collect()
    }

    /// Computes the vectors of texts, each of [`Model::width`] entries, in the order of the texts: pooled, projected, and of length
    /// 1 if the model's score is a cosine.
    ///
    /// # Errors
    /// If the folder does not say how to pool, if a text cannot be tokenised, or if an output is NaN or infinite.
    pub fn vectors(&self, texts: &[Text<'_>]) -> Result<Vec<Vec<f32>>, InferError> {
        let head = self.head.as_ref().ok_or_else(|| InferError::NoPooling { path: self.folder.clone() })?;
        let hidden = self.encoder.hidden();
        self.run(texts, head.width(hidden), |buffers| head.vectors(buffers, hidden))
    }

    /// Computes the probability of each label, in the order of [`Model::labels`], for each text.
    ///
    /// # Errors
    /// If the model was not trained for topics, if a text cannot be tokenised, or if an output is NaN or infinite.
    pub fn probabilities(&self, texts: &[Text<'_>]) -> Result<Vec<Vec<f32>>, InferError> {
        let Some(head) = self.head.as_ref().filter(|head| head.classifies()) else {
            return Err(self.no_labels());
        };
        let hidden = self.encoder.hidden();
        self.run(texts, self.labels().len(), |buffers| head.probabilities(&head.vectors(buffers, hidden)))
    }

    fn no_labels(&self) -> InferError {
        let reason = match &self.description {
            Some(description) if description.task == "topic" => format!("{DESCRIPTION_FILE} lists none"),
            Some(description) => format!("it was trained for {}, expected topic", description.task),
            None => "it is an encoder without a head".to_owned(),
        };
        InferError::NoLabels { path: self.folder.clone(), reason }
    }

    /// Encodes texts in groups, and returns the rows of `f`'s results, of `width` entries, in the order of the texts.
    fn run(
        &self,
        texts: &[Text<'_>],
        width: usize,
        f: impl Fn(&mut Buffers) -> Vec<f32> + Sync,
    ) -> Result<Vec<Vec<f32>>, InferError> {
        let tokens = self.tokens(texts)?;
        let groups = groups(&tokens, threads::count());
        let rows: Mutex<Vec<Vec<f32>>> = Mutex::new(vec![Vec::new(); texts.len()]);
        let run = |buffers: &mut Buffers, group: Vec<usize>| {
            self.encoder.encode(group.iter().map(|&text| &tokens[text]), buffers);
            let results: Vec<Vec<f32>> = f(buffers).chunks_exact(width).map(<[f32]>::to_vec).collect();
            let mut rows = rows.lock().unwrap_or_else(PoisonError::into_inner);
            group.into_iter().zip(results).for_each(|(text, row)| rows[text] = row);
        };
        if 2 * groups.len() <= threads::count() {
            // All threads work on each product of a group.
            let buffers = &mut Buffers::default();
            groups.into_iter().for_each(|group| run(buffers, group));
        } else {
            threads::for_each_with(groups.into_iter(), Buffers::default, run);
        }
        let rows = rows.into_inner().unwrap_or_else(PoisonError::into_inner);
        match rows.iter().position(|row| row.iter().any(|x| !x.is_finite())) {
            None => Ok(rows),
            Some(text) => Err(InferError::NotFinite { path: self.folder.clone(), text }),
        }
    }

    /// Tokenises texts, many of them on all cores.
    fn tokens(&self, texts: &[Text<'_>]) -> Result<Vec<Tokens>, DataError> {
        let encode = |text: &Text<'_>| self.tokenizer.encode(text.first, text.second, self.max_tokens);
        if texts.len() == 1 || threads::count() == 1 {
            texts.iter().map(encode).collect()
        } else {
            texts.par_iter().map(encode).collect()
        }
    }
}

fn check_option(option: &'static str, found: usize, least: usize, most: usize) -> Result<(), InferError> {
    if (least..=most).contains(&found) { Ok(()) } else { Err(InferError::Option { option, found, least, most }) }
}

/// Checks that the widths of layers are possible in this precision.
fn check_widths(folder: &Path, config: &BertConfig, precision: Precision) -> Result<(), InferError> {
    let widths = [("hidden_size", config.hidden_size), ("intermediate_size", config.intermediate_size)];
    let is_too_large = |&(_, width): &(&str, i64)| width.unsigned_abs() as usize > Int8Linear::MAX_INPUTS;
    match widths.into_iter().find(is_too_large) {
        Some((key, width)) if precision == Precision::Int8 => Err(InferError::Value {
            path: folder.join(CONFIG_FILE),
            key,
            found: width.to_string(),
            expected: format!("at most {} in int8", Int8Linear::MAX_INPUTS),
        }),
        _ => Ok(()),
    }
}

/// Returns the longest sequence of a model's training, or the length that its tokenizer states.
fn trained_length(
    folder: &Path,
    description: Option<&Description>,
    tokenizer: &Tokenizer,
) -> Result<Option<usize>, InferError> {
    match description {
        Some(Description { max_tokens, .. }) if *max_tokens < MIN_TOKENS => Err(InferError::Value {
            path: folder.join(DESCRIPTION_FILE),
            key: "max_tokens",
            found: max_tokens.to_string(),
            expected: format!("{MIN_TOKENS} or more"),
        }),
        Some(description) => Ok(Some(description.max_tokens)),
        None => Ok(tokenizer.model_max_length().filter(|&length| length >= MIN_TOKENS)),
    }
}

/// Reads the tokenizer of a folder for a model of this shape.
fn tokenizer(folder: &Path, config: &BertConfig) -> Result<Tokenizer, InferError> {
    let tokenizer = Tokenizer::from_folder(folder)?.for_segments(config.type_vocab_size.unsigned_abs() as usize);
    let rows = config.vocab_size.unsigned_abs() as usize;
    if tokenizer.vocab_size() > rows {
        return Err(InferError::Vocabulary { path: folder.to_owned(), largest: tokenizer.vocab_size() - 1, rows });
    }
    Ok(tokenizer)
}

//! A model folder, opened.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use nb_checkpoint::{ArticleField, DESCRIPTION_FILE, Description, PoolingKind, SavedEncoder, ScoreKind};
use nb_data::read::Field;
use nb_data::{Tokenizer, Tokens};
use nb_kernels::threads;
use rayon::prelude::*;

use crate::batch::groups;
use crate::encoder::{Buffers, Encoder};
use crate::error::InferError;
use crate::head::{Head, NoHead};
use crate::opening::{check_option, check_widths, longest_sequence, tokenizer, with_rules};
use crate::options::{Options, Precision};
use crate::pooling::Pooling;
use crate::ranges::LayerRanges;
use crate::reader::Readers;
use crate::text::{Text, TextCounter, TextCounts, Topic};

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
    precision: Precision,
    head: Result<Head, NoHead>,
    description: Option<Description>,
    /// The parts of an article that the model was trained on.
    fields: Vec<ArticleField>,
    tokenizer: Tokenizer,
    max_tokens: usize,
    texts: TextCounter,
}

impl Model {
    /// Opens the model folder of a run, or any Hugging Face folder of BERT's families. In a folder of sentence-transformers,
    /// `modules.json` defines the vectors: those of the library's `encode`. Weights are mapped into memory: while the model is
    /// open, the files must not be changed in place, only replaced. Unless the options set another length, texts are truncated to
    /// the longest sequence of the model's training; without a run, to the smallest of the model's positions, `model_max_length`
    /// of `tokenizer_config.json` and `max_seq_length` of `sentence_bert_config.json`. If the options set a number of threads, it
    /// changes for the whole process.
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
        let saved = SavedEncoder::map(folder)?;
        let precision = match options.precision {
            Precision::AsSaved if saved.is_int8() => Precision::Int8,
            Precision::AsSaved => Precision::F32,
            precision => precision,
        };
        check_widths(folder, &saved.config, precision)?;
        let description = Description::read(folder)?;
        let tokenizer = tokenizer(folder, &saved.config, description.as_ref())?;
        let max_tokens = longest_sequence(folder, options, &saved.config, description.as_ref(), &tokenizer)?;
        let encoder = Encoder::new(&saved, precision)?;
        let head = Head::read(folder, description.as_ref(), &saved)?;
        options.threads.into_iter().for_each(threads::set);
        Ok(Self {
            folder: folder.to_owned(),
            encoder,
            precision,
            head,
            fields: description.as_ref().map(|description| description.fields.clone()).unwrap_or_default(),
            description,
            tokenizer,
            max_tokens,
            texts: TextCounter::default(),
        })
    }

    /// Returns the description of a trained model, `newsbert.json`: its task, labels and head.
    pub fn description(&self) -> Option<&Description> {
        self.description.as_ref()
    }

    /// Returns the labels by class number: those of a run, or of a classifier that was fine-tuned elsewhere; none if the model
    /// was not trained for topics.
    pub fn labels(&self) -> &[String] {
        self.head.as_ref().map_or(&[], Head::labels)
    }

    /// Returns the threshold of each label by class number, from which on its probability means that it applies; none if a text has
    /// one label, or the model was not trained for topics. A classifier that was fine-tuned elsewhere has thresholds of 0.5
    /// unless its `config.json` has `newsbert_thresholds`.
    pub fn thresholds(&self) -> &[f64] {
        self.head.as_ref().map_or(&[], Head::thresholds)
    }

    /// Returns the reason why the model has no head; `None` if it has one.
    pub fn missing_head(&self) -> Option<&str> {
        self.head.as_ref().err().map(|NoHead(reason)| reason.as_str())
    }

    /// Returns the parts of an article that the model was trained on; none if that is unknown.
    pub fn fields(&self) -> Vec<Field> {
        let field = |field: &ArticleField| match field {
            ArticleField::Title => Field::Title,
            ArticleField::Abstract => Field::Abstract,
        };
        self.fields.iter().map(field).collect()
    }

    /// Returns the width of vectors; `None` if the folder does not say how to pool.
    pub fn width(&self) -> Option<usize> {
        self.head.as_ref().ok().map(|head| head.width(self.encoder.hidden()))
    }

    /// Returns the number of tokens to which texts are truncated: of one sequence, or of an article before it is cut into windows.
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// Returns a sentence about each file of the tokenizer that permits two interpretations.
    pub fn warnings(&self) -> Vec<String> {
        self.tokenizer.warnings().iter().map(ToString::to_string).collect()
    }

    /// Returns the number of texts since the model was opened, and how many of them were truncated.
    pub fn text_counts(&self) -> TextCounts {
        self.texts.counts()
    }

    /// Returns a key for everything that vectors depend on besides the files of weights, those of modules included: tokenizer,
    /// longest sequence, precision, fields and head. Vectors that were stored under another key must not be mixed with new ones.
    pub fn settings(&self) -> String {
        let head = self.head.as_ref().map(Head::key).unwrap_or_default();
        let fingerprint = self.tokenizer.fingerprint();
        format!("nb-infer {fingerprint:?} {} {:?} {:?} {head}", self.max_tokens, self.precision, self.fields)
    }

    /// Returns the model with a head without parameters: pooling of this kind, and vectors of length 1 if `score` is a cosine. It has
    /// neither labels nor readers nor the Dense modules of its folder.
    ///
    /// # Errors
    /// If the pooling has parameters.
    pub fn with_pooling(self, kind: PoolingKind, score: ScoreKind) -> Result<Self, InferError> {
        let Some(pooling) = Pooling::without_parameters(kind) else {
            return Err(InferError::PoolingWithParameters { path: self.folder });
        };
        let head = Ok(Head::without_parameters(pooling, score));
        Ok(Self { head, description: None, ..self }) // what the description says of the head is no longer true
    }

    /// Returns an encoder without a trained head with the pooling, the score, the fields and the longest sequence of `other`, if the
    /// head of `other` has no parameters before its projection: the encoder may be the teacher of `other`, used without training. Its
    /// own pooling and Dense modules, if its folder has some, are then unused, as they were in training. A model with a head that a
    /// run trained is returned unchanged.
    #[must_use]
    pub fn with_head_of(mut self, other: &Self) -> Self {
        let copy = other.head.as_ref().ok().and_then(Head::untrained_copy);
        if let (None, Some(description), Some(head)) = (&self.description, &other.description, copy) {
            self.head = Ok(head);
            self.fields.clone_from(&other.fields);
            // Windows that do not fit are not used: the encoder then reads what fits in one sequence.
            let positions = self.encoder.positions();
            let windows = description.windows.filter(|windows| windows.size <= positions);
            self.max_tokens = if windows.is_some() { other.max_tokens } else { other.max_tokens.min(positions) };
            self.tokenizer = with_rules(self.tokenizer, &Description { windows, ..description.clone() });
        }
        self
    }

    /// Computes the vectors of texts, each of [`Model::width`] entries, in the order of the texts: pooled, projected, and of length
    /// 1 if the model's score is a cosine.
    ///
    /// # Errors
    /// If the folder does not say how to pool, if a text cannot be tokenised, or if an output is NaN or infinite.
    pub fn vectors(&self, texts: &[Text<'_>]) -> Result<Vec<Vec<f32>>, InferError> {
        self.head()?; // an error before all the work
        self.vectors_of(&self.tokens(texts)?)
    }

    /// Computes the vectors of texts that [`Model::tokens`] tokenised.
    ///
    /// # Errors
    /// If the folder does not say how to pool, or if an output is NaN or infinite.
    ///
    /// # Panics
    /// If the tokens are not of this model: if there is no such id, or if there are more tokens than positions.
    pub fn vectors_of(&self, texts: &[Tokens]) -> Result<Vec<Vec<f32>>, InferError> {
        let (head, hidden) = (self.head()?, self.encoder.hidden());
        self.run(texts, head.width(hidden), |buffers| head.vectors(buffers, hidden))
    }

    /// Computes the probability of each label, in the order of [`Model::labels`], for each text. If a text has one label, they sum to
    /// 1; if it has any number, each label has a probability of its own.
    ///
    /// # Errors
    /// If the model was not trained for topics, if a text cannot be tokenised, or if an output is NaN or infinite.
    pub fn probabilities(&self, texts: &[Text<'_>]) -> Result<Vec<Vec<f32>>, InferError> {
        let Some(head) = self.head.as_ref().ok().filter(|head| head.classifies()) else {
            return Err(InferError::NoLabels { path: self.folder.clone(), reason: self.other_task("topic") });
        };
        let hidden = self.encoder.hidden();
        self.run(&self.tokens(texts)?, self.labels().len(), |buffers| {
            head.probabilities(&head.vectors(buffers, hidden))
        })
    }

    /// Computes the most probable topic of each text; of several, the one with the smallest class number.
    ///
    /// # Errors
    /// As [`Model::probabilities`].
    pub fn topics(&self, texts: &[Text<'_>]) -> Result<Vec<Topic<'_>>, InferError> {
        let topic = |row: Vec<f32>| {
            let larger = |best: usize, class: usize| if row[class] > row[best] { class } else { best };
            self.topic(&row, (1..row.len()).fold(0, larger))
        };
        Ok(self.probabilities(texts)?.into_iter().map(topic).collect())
    }

    /// Computes the labels of each text whose probability is at least their threshold ([`Model::thresholds`]), the most probable
    /// first; equally probable ones in the order of their class numbers. A text may have none.
    ///
    /// # Errors
    /// As [`Model::probabilities`], or if the model was trained for texts with one label.
    pub fn label_sets(&self, texts: &[Text<'_>]) -> Result<Vec<Vec<Topic<'_>>>, InferError> {
        let (rows, thresholds) = (self.probabilities(texts)?, self.thresholds());
        if thresholds.is_empty() {
            return Err(InferError::OneLabel { path: self.folder.clone() });
        }
        let labels = |row: Vec<f32>| {
            nb_data::labels::label_set(&row, thresholds).into_iter().map(|class| self.topic(&row, class)).collect()
        };
        Ok(rows.into_iter().map(labels).collect())
    }

    fn topic(&self, probabilities: &[f32], class: usize) -> Topic<'_> {
        Topic { label: &self.labels()[class], class, probability: probabilities[class] }
    }

    /// Returns the reader model over a table of article vectors, [`Model::vectors`] one after the other.
    ///
    /// # Errors
    /// If the model was not trained for recommendation.
    ///
    /// # Panics
    /// If the last vector is incomplete.
    pub fn readers<'a>(&'a self, articles: &'a [f32]) -> Result<Readers<'a>, InferError> {
        let head = self.head.as_ref().ok();
        let Some((reader, head)) = head.and_then(|head| Some((head.reader()?, head))) else {
            let reason = self.other_task(crate::head::RECOMMEND);
            return Err(InferError::NoReaders { path: self.folder.clone(), reason });
        };
        Ok(Readers::new(&self.folder, reader, head.score(), articles))
    }

    /// Runs the encoder on texts, and returns the ranges of the inputs of each layer, by which another runtime can round them to 8
    /// bits.
    ///
    /// # Errors
    /// If a text cannot be tokenised.
    pub fn input_ranges(&self, texts: &[Text<'_>]) -> Result<Vec<LayerRanges>, InferError> {
        let (tokens, mut buffers) = (self.tokens(texts)?, Buffers::default());
        let mut ranges = vec![LayerRanges::default(); self.encoder.layers()];
        for group in groups(&tokens, 1) {
            self.encoder.encode_observed(group.iter().map(|&text| &tokens[text]), &mut buffers, &mut ranges);
        }
        Ok(ranges)
    }

    /// Tokenises texts, many of them on all cores.
    ///
    /// # Errors
    /// If a text cannot be tokenised.
    pub fn tokens(&self, texts: &[Text<'_>]) -> Result<Vec<Tokens>, InferError> {
        let encode = |text: &Text<'_>| {
            let sequence = self.tokenizer.sequence(text.first, text.second, self.max_tokens)?;
            self.texts.add(&sequence);
            Ok(sequence.tokens)
        };
        if texts.len() == 1 || threads::count() == 1 {
            texts.iter().map(encode).collect()
        } else {
            texts.par_iter().map(encode).collect()
        }
    }

    fn head(&self) -> Result<&Head, InferError> {
        self.head.as_ref().map_err(|NoHead(reason)| {
            let (path, reason) = (self.folder.clone(), reason.clone());
            InferError::NoPooling { path, reason }
        })
    }

    /// Describes why a model cannot do what a model of this task can.
    fn other_task(&self, expected: &str) -> String {
        match &self.description {
            Some(description) if description.task == expected => format!("{DESCRIPTION_FILE} lists none"),
            Some(description) => format!("it was trained for {}, expected {expected}", description.task),
            None => match &self.head {
                Err(NoHead(reason)) => format!("it {reason}"),
                Ok(head) if head.classifies() => format!("it is a classifier, expected a model for {expected}"),
                Ok(_) => format!("it has no {DESCRIPTION_FILE}, so it is an encoder without a trained head"),
            },
        }
    }

    /// Encodes texts in groups, and returns the rows of `f`'s results, of `width` entries, in the order of the texts.
    fn run(
        &self,
        tokens: &[Tokens],
        width: usize,
        f: impl Fn(&mut Buffers) -> Vec<f32> + Sync,
    ) -> Result<Vec<Vec<f32>>, InferError> {
        let groups = groups(tokens, threads::count());
        let rows: Mutex<Vec<Vec<f32>>> = Mutex::new(vec![Vec::new(); tokens.len()]);
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
}

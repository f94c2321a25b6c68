//! Inference with a saved model: from texts to vectors and class probabilities, in the order of the input.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context, Result, bail};
use nb_checkpoint::{
    ArticleField, DESCRIPTION_FILE, Description, HeadDescription, LabelKind, MODULES_FILE, ScoreKind, SentenceModules,
};
use nb_data::batch::{MIN_TOKENS, cut};
use nb_data::read::{Article, Field};
use nb_data::tokenizer::Words;
use nb_data::{BatchSize, TokenBatch, Tokenizer, Tokens};
use nb_model::{Arena, Bert, BertConfig, Capture, Dense, Packed, Pass, Pooling, PoolingKind, Precision};
use tch::{Device, Kind, Tensor};

use crate::config::{data_field, data_truncation, data_windows};
use crate::model::HeadLayers;
use crate::model::saved_folder::{check_projection, fill_head};
use crate::plan::estimate::BATCH_TOKENS;
use crate::task::encode::pack;
use crate::task::{AllTasks, ReaderModel, TaskHead, TaskList, VectorHead};

/// The vector of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VectorKind {
    /// The output of the model's head: pooled, projected and of length 1 as it was trained. Without a head, what
    /// `modules.json` of a sentence-transformers folder prescribes.
    Head,
    /// The mean of the tokens' states.
    Mean,
    /// The state of the first token.
    Cls,
}

/// The head of a saved model.
#[derive(Debug)]
pub struct SavedHead {
    /// The description in the model folder.
    pub description: Description,
    /// From states to the model's vectors.
    pub vector: VectorHead,
    /// The layers on top of the vectors.
    pub layers: HeadLayers,
}

/// A head without parameters, for an encoder as it comes.
#[derive(Debug)]
struct UntrainedHead {
    vector: VectorHead,
    /// The parts of articles to read; none if that is unknown.
    fields: Vec<ArticleField>,
}

/// A model loaded from its folder.
#[derive(Debug)]
pub struct SavedModel {
    folder: PathBuf,
    bert: Bert,
    head: Option<SavedHead>,
    /// The head of an encoder without a trained one, if it is known.
    untrained: Option<UntrainedHead>,
    tokenizer: Tokenizer,
    device: Device,
    precision: Precision,
    max_tokens: usize,
    text_counts: Cell<TextCounts>,
}

/// Counts of texts since a model was loaded.
#[derive(Debug, Default, Clone, Copy)]
struct TextCounts {
    all: usize,
    /// Texts that were truncated to the longest sequence.
    truncated: usize,
}

impl SavedModel {
    /// Loads the model folder of a run, or any Hugging Face BERT folder, which has no head. Texts are truncated to the
    /// `max_tokens` of the run or, without a run, to the smallest of the model's positions,
    /// `model_max_length` of `tokenizer_config.json` and `max_seq_length` of `sentence_bert_config.json`.
    ///
    /// # Errors
    /// If a file is missing, damaged, or does not fit the others.
    pub fn load(folder: &Path, device: Device, precision: Precision) -> Result<Self> {
        Self::load_of::<AllTasks>(folder, device, precision)
    }

    /// Does the same as [`SavedModel::load`] with the list of tasks `L`.
    ///
    /// # Errors
    /// As [`SavedModel::load`].
    pub fn load_of<L: TaskList>(folder: &Path, device: Device, precision: Precision) -> Result<Self> {
        if !folder.is_dir() {
            bail!("{} is not a folder", folder.display());
        }
        let bert = Bert::load(folder, device, precision)?;
        let tokenizer = crate::model::tokenizer::load(folder, bert.config(), Words::AsClass)?;
        let head = Description::read(folder)?
            .map(|description| SavedHead::load::<L>(folder, bert.config(), description, device));
        let head = head.transpose()?;
        let untrained = if head.is_none() { untrained_head(folder) } else { None };
        let most = bert.config().max_tokens() as usize;
        let modules = SentenceModules::read(folder).ok().flatten().and_then(|modules| modules.max_tokens);
        let lengths = [modules, tokenizer.model_max_length()].into_iter().flatten();
        let model_length = || lengths.filter(|&length| length >= MIN_TOKENS).min().unwrap_or(most);
        let (tokenizer, max_tokens) = match head.as_ref().map(|head| &head.description) {
            None => (tokenizer, model_length().min(most)),
            Some(description) => {
                if let Some(size) = description.windows.map(|windows| windows.size).filter(|&size| size > most) {
                    let file = folder.join(DESCRIPTION_FILE);
                    bail!(
                        "{}: windows.size is {size}, expected at most the encoder's {most} positions",
                        file.display()
                    );
                }
                with_limits(tokenizer, description, most)
            }
        };
        let folder = folder.to_owned();
        Ok(Self {
            folder,
            bert,
            head,
            untrained,
            tokenizer,
            device,
            precision,
            max_tokens,
            text_counts: Cell::default(),
        })
    }

    /// Returns the model with another maximum sequence length, to which it truncates texts.
    ///
    /// # Errors
    /// If `max_tokens` is less than a sequence needs, or more than the model has positions.
    pub fn with_max_tokens(self, max_tokens: usize) -> Result<Self> {
        let positions = self.bert.config().max_tokens() as usize;
        let most = if self.tokenizer.windows().is_some() { self.max_tokens.max(positions) } else { positions };
        if !(MIN_TOKENS..=most).contains(&max_tokens) {
            bail!("--max-tokens is {max_tokens}, expected {MIN_TOKENS} to {most}, the longest text of the model");
        }
        Ok(Self { max_tokens, ..self })
    }

    /// Logs how many texts were truncated since the model was loaded, if any were.
    pub fn log_truncated(&self) {
        let TextCounts { all, truncated } = self.text_counts.get();
        if truncated > 0 {
            tracing::info!("{truncated} of {all} texts were truncated to {} tokens", self.max_tokens);
        }
    }

    /// Returns the head.
    ///
    /// # Errors
    /// If the folder contains only an encoder.
    pub fn head(&self) -> Result<&SavedHead> {
        self.head.as_ref().with_context(|| {
            format!("{} has no {DESCRIPTION_FILE}: it contains an encoder without a head", self.folder.display())
        })
    }

    /// Returns the labels by class number.
    ///
    /// # Errors
    /// If the model was not trained for topic classification.
    pub fn labels(&self) -> Result<&[String]> {
        self.dense()?;
        Ok(&self.head()?.description.labels)
    }

    /// Returns the parts of articles that the model was trained on; none if that is unknown.
    pub fn fields(&self) -> &[ArticleField] {
        match (&self.head, &self.untrained) {
            (Some(head), _) => &head.description.fields,
            (None, Some(head)) => &head.fields,
            (None, None) => &[],
        }
    }

    /// Returns the parts of articles to read: those that the model was trained on, or title and abstract if that is unknown.
    pub fn read_fields(&self) -> Vec<Field> {
        match self.fields() {
            [] => vec![Field::Title, Field::Abstract],
            fields => fields.iter().map(|&field| data_field(field)).collect(),
        }
    }

    /// Returns the reader model.
    ///
    /// # Errors
    /// If the model was not trained for recommendation.
    pub fn reader(&self) -> Result<ReaderModel<'_>> {
        let head = self.head()?;
        match &head.layers {
            HeadLayers::Reader(reader) => Ok(ReaderModel { reader, score: head.description.head.score }),
            _ => bail!("the model was trained for {}, expected recommend", head.description.task),
        }
    }

    /// Returns an encoder without a head with the pooling, the score, the fields and the length limit of `other`, if its head
    /// has no parameters: the encoder may be the teacher of `other`, used as it comes. A model with a head is returned unchanged.
    #[must_use]
    pub fn with_head_of(mut self, other: &Self) -> Self {
        if let (None, Some(SavedHead { description, .. })) = (&self.head, &other.head)
            && description.head.pooling != PoolingKind::Attentive
        {
            let head = HeadDescription { projection: None, ..description.head };
            let fields = description.fields.clone();
            self.untrained = Some(UntrainedHead { vector: VectorHead::zeros(&head, 0, Device::Cpu), fields });
            let most = self.bert.config().max_tokens() as usize;
            (self.tokenizer, self.max_tokens) = with_limits(self.tokenizer, description, most);
        }
        self
    }

    /// Returns true if the folder prescribes vectors: a trained head, or pooling in `modules.json`.
    pub fn has_vectors(&self) -> bool {
        self.head.is_some() || self.untrained.is_some()
    }

    /// Returns the dense layer of topic classification.
    fn dense(&self) -> Result<&Dense> {
        let head = self.head()?;
        match &head.layers {
            HeadLayers::Dense(dense) => Ok(dense),
            _ => bail!(
                "the model was trained for {}, expected topic; use `nb rank` or `nb search`",
                head.description.task
            ),
        }
    }

    /// Computes class probabilities [texts, classes] in the order of the articles.
    ///
    /// # Errors
    /// If the model was not trained for topic classification, or if a text cannot be tokenised.
    pub fn probabilities(&self, articles: &[Article]) -> Result<Vec<Vec<f32>>> {
        let (dense, head) = (self.dense()?, &self.head()?.vector);
        let kind = self.head()?.description.label_kind();
        self.run(&self.tokens(articles)?, |states, packed| {
            let logits = dense.forward(&vectors(head, states, packed));
            match kind {
                LabelKind::Single => logits.softmax(-1, Kind::Float),
                LabelKind::Multi => logits.to_kind(Kind::Float).sigmoid(),
            }
        })
    }

    /// Computes vectors [texts, H] in the order of the articles.
    ///
    /// # Errors
    /// If `kind` is [`VectorKind::Head`] and the folder prescribes no vectors, or if a text cannot be tokenised.
    pub fn vectors(&self, articles: &[Article], kind: VectorKind) -> Result<Vec<Vec<f32>>> {
        self.vectors_of(&self.tokens(articles)?, kind)
    }

    /// Tokenises articles for the model.
    ///
    /// # Errors
    /// If a text cannot be tokenised.
    pub fn tokens(&self, articles: &[Article]) -> Result<Vec<Tokens>> {
        let (tokens, truncated) = self.tokenizer.encode_all_counting_truncated(articles, self.max_tokens)?;
        let before = self.text_counts.get();
        self.text_counts.set(TextCounts { all: before.all + articles.len(), truncated: before.truncated + truncated });
        Ok(tokens)
    }

    /// Computes vectors [texts, H] of tokenised texts.
    ///
    /// # Errors
    /// If `kind` is [`VectorKind::Head`] and the folder prescribes no vectors.
    pub fn vectors_of(&self, texts: &[Tokens], kind: VectorKind) -> Result<Vec<Vec<f32>>> {
        let head = match (kind, &self.head, &self.untrained) {
            (VectorKind::Head, Some(SavedHead { vector, .. }), _)
            | (VectorKind::Head, None, Some(UntrainedHead { vector, .. })) => vector,
            (VectorKind::Head, None, None) => bail!(
                "{} has neither {DESCRIPTION_FILE} nor {MODULES_FILE}, which prescribe its vectors; use --pooling mean or cls",
                self.folder.display()
            ),
            (VectorKind::Mean, ..) => &VectorHead::dot(Rc::new(Pooling::Mean)),
            (VectorKind::Cls, ..) => &VectorHead::dot(Rc::new(Pooling::Cls)),
        };
        self.run(texts, |states, packed| vectors(head, states, packed))
    }

    /// Returns the encoder's shape.
    pub fn config(&self) -> &BertConfig {
        self.bert.config()
    }

    /// Returns the width of vectors of this kind.
    pub fn vector_width(&self, kind: VectorKind) -> usize {
        let hidden = self.bert.config().hidden_size;
        let head = self.head.as_ref().filter(|_| kind == VectorKind::Head);
        head.map_or(hidden, |head| head.vector.width(hidden)) as usize
    }

    /// Returns a key for everything that vectors depend on besides the folder's weights: tokenizer, longest sequence, number
    /// format, fields and head.
    pub fn settings(&self) -> String {
        let (tokenizer, precision) = (self.tokenizer.fingerprint(), self.precision);
        let head = self.head.as_ref().map(|head| &head.vector).or(self.untrained.as_ref().map(|head| &head.vector));
        let head = head.map(|head| (head.pooling.kind(), head.score.kind()));
        format!("{tokenizer:?} {} {precision:?} {:?} {head:?}", self.max_tokens, self.fields())
    }

    /// Encodes texts in batches of similar length, and returns the rows of `f`'s results in the order of the texts.
    fn run(&self, texts: &[Tokens], f: impl Fn(&Tensor, &Packed) -> Tensor) -> Result<Vec<Vec<f32>>> {
        let mut rows: Vec<u32> = (0..texts.len() as u32).collect();
        let length = |row: u32| texts[row as usize].ids.len();
        rows.sort_by_key(|&row| std::cmp::Reverse(length(row)));
        let mut out = vec![Vec::new(); texts.len()];
        for rows in cut(&rows, length, BatchSize::Tokens(BATCH_TOKENS)) {
            let packed = pack(&TokenBatch::pack(texts, &rows), self.device);
            let result = tch::no_grad(|| f(self.bert.encode(&packed, Pass::Inference, Capture::Last).last(), &packed));
            for (row, values) in rows.iter().zip(Vec::<Vec<f32>>::try_from(result)?) {
                if values.iter().any(|value| !value.is_finite()) {
                    bail!("the model's outputs are NaN or infinite: its training diverged");
                }
                out[*row as usize] = values;
            }
        }
        Ok(out)
    }
}

/// Returns the tokenizer with the description's rules for long articles, and the longest article in tokens, for an encoder with
/// this many positions. Windows with more tokens than that are not used.
fn with_limits(tokenizer: Tokenizer, description: &Description, positions: usize) -> (Tokenizer, usize) {
    let windows = description.windows.filter(|windows| windows.size <= positions);
    let longest = if windows.is_some() { description.max_tokens } else { description.max_tokens.min(positions) };
    let tokenizer = tokenizer.with_truncation(data_truncation(description.truncate));
    (tokenizer.with_windows(windows.map(data_windows)), longest)
}

/// Maps the states of texts to the vectors of a head.
fn vectors(head: &VectorHead, states: &Tensor, packed: &Packed) -> Tensor {
    head.vectors(&head.pooling.texts(states, packed))
}

/// Returns the head that a sentence-transformers folder prescribes, if it has no parameters. Warns if the folder has a module
/// that this project does not compute, or a Dense layer, which only inference without libtorch does: the encoder can still be
/// used with another pooling.
fn untrained_head(folder: &Path) -> Option<UntrainedHead> {
    match SentenceModules::read(folder) {
        Ok(Some(modules)) if !modules.dense.is_empty() => {
            tracing::warn!(
                "{}: its modules have a Dense layer, which inference with libtorch does not compute yet; the folder's own \
                 pooling is not available",
                folder.join(MODULES_FILE).display()
            );
            None
        }
        Ok(modules) => modules.map(|SentenceModules { pooling, normalize, .. }| {
            let score = if normalize { ScoreKind::Cosine } else { ScoreKind::Dot };
            let head = HeadDescription { pooling, score, ..HeadDescription::default() };
            UntrainedHead { vector: VectorHead::zeros(&head, 0, Device::Cpu), fields: Vec::new() }
        }),
        Err(e) => {
            tracing::warn!("{:#}; the folder's own pooling is not available", anyhow::Error::from(e));
            None
        }
    }
}

impl SavedHead {
    /// Loads the head of a model folder.
    fn load<L: TaskList>(folder: &Path, config: &BertConfig, description: Description, device: Device) -> Result<Self> {
        check_projection(folder, &description.head, config.hidden_size)?;
        let vector = VectorHead::zeros(&description.head, config.hidden_size, device);
        let layers = L::head_layers(folder, vector.width(config.hidden_size), &description, device)?;
        let head = Self { description, vector, layers };
        fill_head(folder, &head.arenas())?;
        Ok(head)
    }

    fn arenas(&self) -> Vec<&Arena> {
        self.vector.arenas().into_iter().chain(self.layers.arenas()).collect()
    }
}

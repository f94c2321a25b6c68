//! A saved model at work: from texts to vectors and topics, streaming, in the order of the input.

pub mod vector_file;

use std::cell::Cell;
use std::path::Path;

use anyhow::{Context, Result, bail};
use nb_checkpoint::{ArticleField, DESCRIPTION_FILE, Description};
use nb_data::batch::{MIN_TOKENS, cut};
use nb_data::read::{Article, Field};
use nb_data::{BatchSize, TokenBatch, Tokenizer, Tokens};
use nb_model::{
    Arena, AttentivePooling, Bert, BertConfig, Capture, Dense, POOLING_QUERY, Packed, Pass, Precision, Reader,
    cls_pooling, mean_pooling,
};
use tch::{Device, Kind, Tensor};

use crate::config::data_field;
use crate::model::saved_folder::fill_head;
use crate::task::texts::{BATCH_TOKENS, pack};

/// Texts that are read, sorted by length and answered together.
pub const WINDOW: usize = 1024;

/// How a text becomes one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// The attention that was trained with the model.
    Attention,
    /// The mean of the tokens' states.
    Mean,
    /// The state of the first token
    Cls,
}

/// What was trained on top of an encoder.
#[derive(Debug)]
pub struct SavedHead {
    /// What the model says of itself.
    pub description: Description,
    /// Attentive pooling over tokens.
    pub pooling: AttentivePooling,
    /// What stands on the pooled vectors.
    pub layers: HeadLayers,
}

/// What stands on the pooled vectors, by task.
#[derive(Debug)]
pub enum HeadLayers {
    /// Topic classification.
    Dense(Dense),
    /// Recommendation.
    Reader(Reader),
    /// Retrieval.
    None,
}

/// A model folder, loaded.
#[derive(Debug)]
pub struct SavedModel {
    bert: Bert,
    head: Option<SavedHead>,
    tokenizer: Tokenizer,
    device: Device,
    precision: Precision,
    max_tokens: usize,
    texts: Cell<Texts>,
}

/// Texts that a model was given.
#[derive(Debug, Default, Clone, Copy)]
struct Texts {
    all: usize,
    cut: usize,
}

impl SavedModel {
    /// Loads a model folder of a run, or any Hugging Face BERT folder (which then has no top layers). Texts are cut to the
    /// `max_tokens` of the run, else to the folder's own length: the smaller of `max_position_embeddings` of `config.json`
    /// and `model_max_length` of `tokenizer_config.json`.
    ///
    /// # Errors
    /// If a file is missing, damaged, or does not fit the others.
    pub fn load(folder: &Path, device: Device, precision: Precision) -> Result<Self> {
        if !folder.is_dir() {
            bail!("--model is {}, but there is no such folder", folder.display());
        }
        let bert = Bert::load(folder, device, precision)?;
        let tokenizer = crate::model::tokenizer::load(folder, bert.config())?;
        let head =
            Description::read(folder)?.map(|description| SavedHead::load(folder, bert.config(), description, device));
        let head = head.transpose()?;
        let most = bert.config().max_position_embeddings as usize;
        let own = || tokenizer.model_max_length().filter(|&length| length >= MIN_TOKENS).unwrap_or(most);
        let max_tokens = head.as_ref().map_or_else(own, |head| head.description.max_tokens).min(most);
        Ok(Self { bert, head, tokenizer, device, precision, max_tokens, texts: Cell::default() })
    }

    /// The same model, which cuts texts to this many tokens.
    ///
    /// # Errors
    /// If that is less than a sequence needs, or more than the model has positions.
    pub fn with_max_tokens(self, max_tokens: usize) -> Result<Self> {
        let most = self.bert.config().max_position_embeddings as usize;
        if !(MIN_TOKENS..=most).contains(&max_tokens) {
            bail!("--max-tokens is {max_tokens}, expected {MIN_TOKENS} to the model's {most} positions");
        }
        Ok(Self { max_tokens, ..self })
    }

    /// Logs how many texts were cut since the model was loaded, if any were.
    pub fn log_cut(&self) {
        let Texts { all, cut } = self.texts.get();
        if cut > 0 {
            tracing::info!("{cut} of {all} texts were cut to {} tokens", self.max_tokens);
        }
    }

    /// What was trained on top of the encoder.
    ///
    /// # Errors
    /// If the folder holds an encoder alone.
    pub fn head(&self) -> Result<&SavedHead> {
        self.head.as_ref().with_context(|| {
            format!("the model folder has no {DESCRIPTION_FILE}: it holds an encoder without top layers")
        })
    }

    /// The labels by class number.
    ///
    /// # Errors
    /// If the model was not trained to tell topics.
    pub fn labels(&self) -> Result<&[String]> {
        self.dense().map(|(_, description)| description.labels.as_slice())
    }

    /// The parts of the news that the model was trained on; none if that is not known.
    pub fn fields(&self) -> &[ArticleField] {
        self.head.as_ref().map_or(&[], |head| &head.description.fields)
    }

    /// The parts of the news that the model was trained on, as readers name them; title and abstract if that is not known.
    pub fn read_fields(&self) -> Vec<Field> {
        match self.fields() {
            [] => vec![Field::Title, Field::Abstract],
            fields => fields.iter().map(|&field| data_field(field)).collect(),
        }
    }

    /// The reader model.
    ///
    /// # Errors
    /// If the model was not trained to recommend.
    pub fn reader(&self) -> Result<(&Reader, &Description)> {
        match self.head()? {
            SavedHead { layers: HeadLayers::Reader(reader), description, .. } => Ok((reader, description)),
            SavedHead { description, .. } => bail!("the model was trained for {}, not to recommend", description.task),
        }
    }

    /// Passes a model that was trained to retrieve.
    ///
    /// # Errors
    /// If it was trained for something else, or not at all.
    pub fn require_retrieval(&self) -> Result<()> {
        match self.head()? {
            SavedHead { layers: HeadLayers::None, .. } => Ok(()),
            SavedHead { description, .. } => bail!("the model was trained for {}, not to retrieve", description.task),
        }
    }

    fn dense(&self) -> Result<(&Dense, &Description)> {
        match self.head()? {
            SavedHead { layers: HeadLayers::Dense(dense), description, .. } => Ok((dense, description)),
            SavedHead { description, .. } => bail!(
                "the model was trained for {}, not to tell topics; `nb rank` and `nb search` are for such",
                description.task
            ),
        }
    }

    /// Probabilities [texts, classes] in the order of the articles.
    ///
    /// # Errors
    /// If the model was not trained to tell topics, or a text cannot be tokenised.
    pub fn probabilities(&self, articles: &[Article]) -> Result<Vec<Vec<f32>>> {
        let (dense, pooling) = (self.dense()?.0, &self.head()?.pooling);
        self.each(&self.tokens(articles)?, |states, packed| {
            dense.forward(&pooling.forward(states, packed.segments())).softmax(-1, Kind::Float)
        })
    }

    /// Vectors [texts, H] in the order of the articles.
    ///
    /// # Errors
    /// If attention is asked for and the model has none, or a text cannot be tokenised.
    pub fn vectors(&self, articles: &[Article], pooling: Pooling) -> Result<Vec<Vec<f32>>> {
        self.vectors_of(&self.tokens(articles)?, pooling)
    }

    /// The tokens of articles, as the model sees them.
    ///
    /// # Errors
    /// If a text cannot be tokenised.
    pub fn tokens(&self, articles: &[Article]) -> Result<Vec<Tokens>> {
        let (tokens, cut) = self.tokenizer.encode_all_counting_cut(articles, self.max_tokens)?;
        let before = self.texts.get();
        self.texts.set(Texts { all: before.all + articles.len(), cut: before.cut + cut });
        Ok(tokens)
    }

    /// As [`SavedModel::vectors`], of texts that are tokens already.
    pub fn vectors_of(&self, texts: &[Tokens], pooling: Pooling) -> Result<Vec<Vec<f32>>> {
        match (pooling, &self.head) {
            (Pooling::Attention, Some(head)) => {
                self.each(texts, |states, packed| head.pooling.forward(states, packed.segments()))
            }
            (Pooling::Attention, None) => {
                bail!("the model folder has no trained attention; --pooling mean or cls works without")
            }
            (Pooling::Mean, _) => self.each(texts, mean_pooling),
            (Pooling::Cls, _) => self.each(texts, cls_pooling),
        }
    }

    /// The encoder's shape.
    pub fn config(&self) -> &BertConfig {
        self.bert.config()
    }

    /// Width H of a vector.
    pub fn hidden(&self) -> usize {
        self.bert.config().hidden_size as usize
    }

    /// What the vectors depend on beside the folder's weights: tokenizer, length limit, number format.
    pub fn settings(&self) -> String {
        let (tokenizer, precision) = (self.tokenizer.fingerprint(), self.precision);
        format!("{tokenizer:?} {} {precision:?} {:?}", self.max_tokens, self.fields())
    }

    /// Runs batches of similar length and puts the rows of `f`'s result back into the input's order.
    fn each(&self, texts: &[Tokens], f: impl Fn(&Tensor, &Packed) -> Tensor) -> Result<Vec<Vec<f32>>> {
        let mut rows: Vec<u32> = (0..texts.len() as u32).collect();
        let length = |row: u32| texts[row as usize].ids.len();
        rows.sort_by_key(|&row| std::cmp::Reverse(length(row)));
        let mut out = vec![Vec::new(); texts.len()];
        for rows in cut(&rows, length, BatchSize::Tokens(BATCH_TOKENS)) {
            let packed = pack(&TokenBatch::pack(texts, &rows), self.device);
            let result = tch::no_grad(|| f(self.bert.encode(&packed, Pass::Inference, Capture::Last).last(), &packed));
            for (row, values) in rows.iter().zip(Vec::<Vec<f32>>::try_from(result)?) {
                if values.iter().any(|value| !value.is_finite()) {
                    bail!("the model's outputs are not numbers: its training went astray");
                }
                out[*row as usize] = values;
            }
        }
        Ok(out)
    }
}

impl SavedHead {
    /// Reads `layers.safetensors`, strictly.
    fn load(folder: &Path, config: &BertConfig, description: Description, device: Device) -> Result<Self> {
        let hidden = config.hidden_size;
        let pooling = AttentivePooling::zeros(hidden, POOLING_QUERY, device);
        let layers = match description.task.as_str() {
            "recommend" => HeadLayers::Reader(reader(folder, hidden, &description, device)?),
            "retrieve" => HeadLayers::None,
            "topic" => HeadLayers::Dense(Dense::zeros(hidden, description.labels.len() as i64, device)),
            other => {
                let file = folder.join(DESCRIPTION_FILE);
                bail!("{}: task is `{other}`, expected topic, recommend or retrieve", file.display())
            }
        };
        let head = Self { description, pooling, layers };
        fill_head(folder, &head.arenas())?;
        Ok(head)
    }

    fn arenas(&self) -> Vec<&Arena> {
        let layers = match &self.layers {
            HeadLayers::Dense(dense) => vec![dense.arena()],
            HeadLayers::Reader(reader) => reader.arenas(),
            HeadLayers::None => Vec::new(),
        };
        std::iter::once(self.pooling.arena()).chain(layers).collect()
    }
}

fn reader(folder: &Path, hidden: i64, description: &Description, device: Device) -> Result<Reader> {
    let heads = description.self_attention;
    if let Some(heads) = heads.filter(|&heads| heads < 1 || hidden % heads != 0) {
        let file = folder.join(DESCRIPTION_FILE);
        bail!("{}: self_attention is {heads}, expected a divisor of the {hidden} hidden units", file.display());
    }
    Ok(Reader::zeros(hidden, heads, device))
}

//! A saved model at work: from texts to vectors and topics, streaming, in the order of the input.

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use anyhow::{Context, Result, bail};
use nb_data::batch::cut;
use nb_data::read::Article;
use nb_data::{BatchSize, TokenBatch, Tokenizer, Tokens};
use nb_model::{
    AttentivePooling, Bert, Dense, POOLING_QUERY, Packed, Pass, Precision, cls_pooling, fill, mean_pooling,
    read_tensors,
};
use tch::{Device, Kind, Tensor};

use crate::config::NewsField;
use crate::folder::{DESCRIPTION_FILE, Description, HEAD_FILE};
use crate::task::TopicTop;

/// Texts that are read, sorted by length and answered together.
pub const WINDOW: usize = 1024;
/// Tokens per batch.
const BATCH_TOKENS: usize = 4096;

/// How a text becomes one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Pooling {
    /// The attention that was trained with the model.
    Attention,
    /// The mean of the tokens' states.
    Mean,
    /// The state of the first token
    Cls,
}

/// A model folder, loaded.
#[derive(Debug)]
pub struct Trained {
    bert: Bert,
    top: Option<TopicTop>,
    tokenizer: Tokenizer,
    description: Option<Description>,
    device: Device,
    max_tokens: usize,
}

impl Trained {
    /// Loads a model folder of a run, or any Hugging Face BERT folder (which then has no top layers).
    ///
    /// # Errors
    /// If a file is missing, damaged, or does not fit the others.
    pub fn load(folder: &Path, device: Device, precision: Precision) -> Result<Self> {
        if !folder.is_dir() {
            bail!("--model is {}, but there is no such folder", folder.display());
        }
        let bert = Bert::load(folder, device, precision)?;
        let tokenizer = Tokenizer::from_folder(folder)?;
        let rows = bert.config().vocab_size;
        if tokenizer.vocab_size() as i64 > rows {
            bail!(
                "{}: the tokenizer knows {} tokens, the embedding has {rows} rows",
                folder.display(),
                tokenizer.vocab_size()
            );
        }
        let description = description(folder)?;
        let top = match &description {
            Some(description) => Some(load_top(folder, &bert, description, device)?),
            None => None,
        };
        let max_tokens =
            description.as_ref().map_or(128, |d| d.max_tokens).min(bert.config().max_position_embeddings as usize);
        Ok(Self { bert, top, tokenizer, description, device, max_tokens })
    }

    /// The labels by class number.
    ///
    /// # Errors
    /// If the folder holds an encoder alone.
    pub fn labels(&self) -> Result<&[String]> {
        match &self.description {
            Some(description) => Ok(&description.labels),
            None => bail!("the model folder has no {DESCRIPTION_FILE}: it holds an encoder without topics"),
        }
    }

    /// The parts of the news that the model was trained on; none if that is not known.
    pub fn fields(&self) -> &[NewsField] {
        self.description.as_ref().map_or(&[], |description| &description.fields)
    }

    /// Probabilities [texts, classes] in the order of the articles.
    ///
    /// # Errors
    /// If the model has no top layers, or a text cannot be tokenised.
    pub fn probabilities(&self, articles: &[Article]) -> Result<Vec<Vec<f32>>> {
        let top = self.top.as_ref().context("the model folder has no top layers: it holds an encoder alone")?;
        self.each(articles, |states, packed| top.forward(states, packed).logits.softmax(-1, Kind::Float))
    }

    /// Vectors [texts, H] in the order of the articles.
    ///
    /// # Errors
    /// If attention is asked for and the model has none, or a text cannot be tokenised.
    pub fn vectors(&self, articles: &[Article], pooling: Pooling) -> Result<Vec<Vec<f32>>> {
        match (pooling, &self.top) {
            (Pooling::Attention, Some(top)) => {
                self.each(articles, |states, packed| top.pooling.forward(states, packed))
            }
            (Pooling::Attention, None) => {
                bail!("the model folder has no trained attention; --pooling mean or cls works without")
            }
            (Pooling::Mean, _) => self.each(articles, mean_pooling),
            (Pooling::Cls, _) => self.each(articles, cls_pooling),
        }
    }

    /// Width H of a vector.
    pub fn hidden(&self) -> usize {
        self.bert.config().hidden_size as usize
    }

    /// Runs batches of similar length and puts the rows of `f`'s result back into the input's order.
    fn each(&self, articles: &[Article], f: impl Fn(&Tensor, &Packed) -> Tensor) -> Result<Vec<Vec<f32>>> {
        let tokens: Vec<Tokens> = self.tokenizer.encode_all(articles, self.max_tokens)?;
        let mut rows: Vec<u32> = (0..articles.len() as u32).collect();
        let length = |row: u32| tokens[row as usize].ids.len();
        rows.sort_by_key(|&row| std::cmp::Reverse(length(row)));
        let mut out = vec![Vec::new(); articles.len()];
        for rows in cut(&rows, length, BatchSize::Tokens(BATCH_TOKENS)) {
            let batch = TokenBatch::pack(&tokens, &rows);
            let packed = Packed::new(&batch.ids, &batch.segments, &batch.lengths, self.device);
            let result = tch::no_grad(|| f(self.bert.encode(&packed, Pass::Inference).last(), &packed));
            for (row, values) in rows.iter().zip(Vec::<Vec<f32>>::try_from(result)?) {
                out[*row as usize] = values;
            }
        }
        Ok(out)
    }
}

fn description(folder: &Path) -> Result<Option<Description>> {
    let path = folder.join(DESCRIPTION_FILE);
    match std::fs::read_to_string(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).with_context(|| format!("cannot read {}", path.display())),
        Ok(text) => Ok(Some(serde_json::from_str(&text).with_context(|| path.display().to_string())?)),
    }
}

/// Reads `head.safetensors`, strictly.
fn load_top(folder: &Path, bert: &Bert, description: &Description, device: Device) -> Result<TopicTop> {
    let (hidden, classes) = (bert.config().hidden_size, description.labels.len() as i64);
    let pooling = AttentivePooling::zeros(hidden, POOLING_QUERY, device);
    let dense = Dense::zeros(hidden, classes, device);
    let path = folder.join(HEAD_FILE);
    let (of_pooling, of_dense): (BTreeMap<_, _>, BTreeMap<_, _>) =
        read_tensors(&path)?.into_iter().partition(|(name, _)| name.starts_with("pooling."));
    fill(pooling.arena(), of_pooling, &path)?;
    fill(dense.arena(), of_dense, &path)?;
    Ok(TopicTop { pooling: Rc::new(pooling), dense: Rc::new(dense) })
}

//! Texts on their way into a model, which is the same for every task: tokenizer, token stores, batches to encode.

use std::collections::HashMap;
use std::fmt::Display;

use anyhow::{Result, bail};
use nb_data::batch::{cut, order};
use nb_data::random::mix;
use nb_data::read::{Skipped, Source, split};
use nb_data::store::Origin;
use nb_data::{BatchSize, DataError, IdIndex, Repeated, TokenBatch, TokenStore, Tokenizer};
use nb_dist::ProcessGroup;
use nb_model::{AttentivePooling, Bert, Capture, Packed, Pass};
use tch::{Device, Tensor};

use crate::plan::Plan;

/// Tokens per batch where nothing is trained.
pub(crate) const BATCH_TOKENS: usize = 4096;

/// The tokenizer of a plan's teacher.
///
/// # Errors
/// If it cannot be read, or knows more tokens than the teacher.
pub(super) fn open_tokenizer(plan: &Plan) -> Result<Tokenizer> {
    crate::model::tokenizer::load(plan.teacher.tokenizer(), &plan.teacher_config)
}

/// Opens (or builds) the token store of a source, and says what it holds.
///
/// # Errors
/// If the source cannot be used or the store cannot be written.
pub(super) fn open_store(plan: &Plan, source: &Source, tokenizer: &Tokenizer) -> Result<TokenStore> {
    let store = TokenStore::open_or_build(&plan.data.cache, source, tokenizer, plan.data.max_tokens);
    let store = store.map_err(|error| match error {
        DataError::Write { .. } => anyhow::Error::new(error)
            .context("cannot cache tokens; set `data.cache` or XDG_CACHE_HOME to another folder"),
        error => error.into(),
    })?;
    let how = match store.origin() {
        Origin::Found => "read from the token store".to_owned(),
        Origin::Built => "tokenised".to_owned(),
        Origin::Rebuilt(why) => format!("tokenised anew ({why})"),
        Origin::InMemory(why) => {
            warn_not_cached(why);
            "tokenised".to_owned()
        }
    };
    tracing::info!("{}: {} rows, {} tokens, {how}", source.path.display(), store.len(), store.token_count());
    if let Some(line) = store.unquoted_line() {
        warn_unquoted(&source.path.display(), line);
    }
    warn_skipped(source, store.skipped());
    Ok(store)
}

/// Says why tokens are not cached and what to do: once, since it is the same for all sources of a run.
fn warn_not_cached(why: &str) {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        tracing::warn!(
            "tokens are not cached and will be computed again: {why}; set `data.cache` or XDG_CACHE_HOME to a folder that can \
             be written"
        );
    });
}

/// Says that a TSV's quotes are text.
pub fn warn_unquoted(name: &dyn Display, line: u64) {
    tracing::warn!(
        "{name}: the quotes on line {line} do not pair up, so the file is read as written without quoting; \
         set `quoting` to `csv` or `none` to choose"
    );
}

fn warn_skipped(source: &Source, skipped: &Skipped) {
    if skipped.count() > 0 {
        tracing::warn!("{}: skipped {skipped}", source.path.display());
    }
}

/// A batch on the device.
pub(crate) fn pack(batch: &TokenBatch, device: Device) -> Packed {
    Packed::new(&batch.ids, &batch.segments, &batch.lengths, device)
}

/// The ids of a source's texts, by row of its store; says where one is there twice.
pub(super) fn ids(source: &Source, store: &TokenStore) -> IdIndex {
    let ids = IdIndex::with(source.format.repeated(), (0..store.len()).map(|row| store.id(row)));
    warn_repeated(source, &ids);
    ids
}

/// Says how many texts of a source do not count because others have their ids.
pub fn warn_repeated(source: &Source, ids: &IdIndex) {
    if ids.repeated() > 0 {
        let (path, count) = (source.path.display(), ids.repeated());
        let which = match source.format.repeated() {
            Repeated::First => "the first",
            Repeated::Last => "the last",
        };
        tracing::warn!("{path}: {count} rows repeat an id; of rows with one id {which} counts");
    }
}

/// Rows of a store by their tokens: those that say the same have one text.
#[derive(Debug)]
pub(super) struct Distinct<'a> {
    rows: &'a [u32],
    /// By place in `rows`: the number of its text, counted by first appearance.
    texts: Vec<usize>,
    /// By text: the place of its first row.
    first: Vec<u32>,
}

impl<'a> Distinct<'a> {
    pub(super) fn new(store: &TokenStore, rows: &'a [u32]) -> Self {
        let (mut known, mut first) = (HashMap::new(), Vec::new());
        let text = |(place, &row): (u32, &u32)| {
            *known.entry(text_hash(&store.batch(&[row]))).or_insert_with(|| {
                first.push(place);
                first.len() - 1
            })
        };
        let texts = (0..).zip(rows).map(text).collect();
        Self { rows, texts, first }
    }

    /// All rows, in blocks of about `size`; rows of one text are in one block.
    pub(super) fn blocks(&self, size: usize) -> Vec<Vec<u32>> {
        let mut places: Vec<usize> = (0..self.rows.len()).collect();
        places.sort_by_key(|&place| self.texts[place]);
        let mut blocks: Vec<Vec<u32>> = Vec::new();
        for text in places.chunk_by(|&a, &b| self.texts[a] == self.texts[b]) {
            let rows = text.iter().map(|&place| self.rows[place]);
            match blocks.last_mut().filter(|block| block.len() < size) {
                Some(block) => block.extend(rows),
                None => blocks.push(rows.collect()),
            }
        }
        blocks
    }
}

/// A hash of all that a model sees of a text.
pub fn text_hash(text: &TokenBatch) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    for number in text.ids.iter().chain(&text.segments) {
        hasher.update(&number.to_le_bytes());
    }
    hasher.finalize()
}

/// Numbers 0 to n − 1 with a share held out: (stay, out). The same ones whatever the run's seed, so that runs can be
/// compared.
pub(super) fn hold_out(n: usize, fraction: f64) -> (Vec<u32>, Vec<u32>) {
    const SPLIT_SEED: u64 = 0;
    split(n, fraction, SPLIT_SEED)
}

/// Rows of a store in batches to encode, the longest first.
pub(crate) fn batches(store: &TokenStore, mut rows: Vec<u32>) -> impl Iterator<Item = TokenBatch> + '_ {
    let length = |row: u32| store.length(row as usize);
    rows.sort_by_key(|&row| std::cmp::Reverse(length(row)));
    cut(&rows, length, BatchSize::Tokens(BATCH_TOKENS)).into_iter().map(|rows| store.batch(&rows))
}

/// Texts without labels that go along with the micro-batches of a task that ranks: they join the terms that compare
/// states, and no row of logits.
#[derive(Debug)]
pub(super) struct Unlabelled {
    pub(super) store: TokenStore,
    /// Rows of the task itself, behind which these are numbered.
    pub(super) first: u32,
    pub(super) seed: u64,
}

/// Keeps the order of unlabelled texts apart from other uses of the same seed.
const UNLABELLED: u64 = 0x75_6E_6C_61_62; // "unlab"

impl Unlabelled {
    /// Deals an epoch's texts out to its micro-batches: as many to each as it has rows of its own, or fewer where they all
    /// have their turn then. The next epoch has another order.
    pub(super) fn deal(&self, epoch: u64, batches: &mut [Vec<u32>]) {
        let n = self.store.len();
        let most = n.div_ceil(batches.len().max(1));
        let mut order = order(n, mix(&[self.seed, UNLABELLED]), epoch).into_iter().cycle();
        for batch in batches {
            let own = batch.len().min(most);
            batch.extend(order.by_ref().take(own).map(|row| self.first + row));
        }
    }

    /// The rows of a micro-batch that are the task's own, and its unlabelled texts, the longest first.
    pub(super) fn split<'a>(&self, rows: &'a [u32]) -> (&'a [u32], TokenBatch) {
        let own = rows.iter().take_while(|&&row| row < self.first).count();
        let mut others: Vec<u32> = rows[own..].iter().map(|row| row - self.first).collect();
        others.sort_by_key(|&row| std::cmp::Reverse(self.store.length(row as usize)));
        (&rows[..own], self.store.batch(&others))
    }
}

/// The texts of a batch as rows of store `store`.
pub(super) fn rows_of(store: usize, rows: &[u32]) -> impl Iterator<Item = (usize, u32)> + '_ {
    rows.iter().map(move |&row| (store, row))
}

/// About a thousand rows of a store to time a model with.
pub(super) fn probe(store: &TokenStore, rows: Vec<u32>) -> Vec<TokenBatch> {
    const MOST_TEXTS: usize = 1024;
    // Batches come longest first: every so many-th keeps the mixture of lengths.
    let every = rows.len().div_ceil(MOST_TEXTS).max(1);
    let mut texts = 0;
    let few = |batch: &TokenBatch| {
        let room = texts < MOST_TEXTS;
        texts += batch.rows.len();
        room
    };
    batches(store, rows).step_by(every).take_while(few).collect()
}

/// The pooled vectors of a batch, on the CPU: [sequences, H].
pub(crate) fn encode(bert: &Bert, pooling: &AttentivePooling, packed: &Packed) -> Tensor {
    tch::no_grad(|| {
        pooling
            .forward(bert.encode(packed, Pass::Inference, Capture::Last).last(), packed.segments())
            .to_device(Device::Cpu)
    })
}

/// `width` numbers of each row of a store, one row after the other: [rows × width]. `of` tells those of a batch; the batches
/// are dealt out to the processes, and all have all numbers in the end. Texts of the same tokens are computed once and so
/// have the same numbers to the bit.
///
/// # Errors
/// What `of` returns, and if a process is lost.
pub(super) fn numbers(
    (store, rows): (&TokenStore, &[u32]),
    width: usize,
    processes: &ProcessGroup,
    mut of: impl FnMut(&TokenBatch) -> Result<Vec<f32>>,
) -> Result<Vec<f32>> {
    let distinct = Distinct::new(store, rows);
    let mut out = vec![0.0; rows.len() * width];
    let length = |place: u32| store.length(rows[place as usize] as usize);
    let mut places = distinct.first.clone();
    places.sort_by_key(|&place| std::cmp::Reverse(length(place)));
    let batches = cut(&places, length, BatchSize::Tokens(BATCH_TOKENS));
    for places in batches.into_iter().skip(processes.rank()).step_by(processes.size()) {
        let batch = store.batch(&places.iter().map(|&place| rows[place as usize]).collect::<Vec<_>>());
        for (&place, numbers) in places.iter().zip(of(&batch)?.chunks_exact(width)) {
            out[place as usize * width..][..width].copy_from_slice(numbers);
        }
        processes.heartbeat();
    }
    if processes.size() > 1 {
        let mut all = Tensor::from_slice(&out); // 0 where another process has the number
        processes.sum(&mut [&mut all])?;
        out = Vec::try_from(all)?;
    }
    for (place, &text) in distinct.texts.iter().enumerate() {
        let first = distinct.first[text] as usize * width;
        out.copy_within(first..first + width, place * width);
    }
    Ok(out)
}

/// The pooled vectors of rows of a store, one after the other: [rows × H].
///
/// # Errors
/// If an entry is not a number, or if a process is lost.
pub(super) fn vectors(
    (bert, pooling): (&Bert, &AttentivePooling),
    texts: (&TokenStore, &[u32]),
    device: Device,
    processes: &ProcessGroup,
) -> Result<Vec<f32>> {
    numbers(texts, bert.config().hidden_size as usize, processes, |batch| {
        let vectors = Vec::<f32>::try_from(encode(bert, pooling, &pack(batch, device)).view(-1))?;
        if vectors.iter().any(|v| !v.is_finite()) {
            bail!("{NOT_NUMBERS}");
        }
        Ok(vectors)
    })
}

/// What a model says whose training went astray.
pub(super) const NOT_NUMBERS: &str =
    "the model's outputs are not numbers any more; a lower train.lr is the usual remedy";

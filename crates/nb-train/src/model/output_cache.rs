//! Cached outputs of an encoder for the training texts.
//!
//! The outputs of a frozen teacher for a text are the same in every epoch, for every student and for every seed. So are the states
//! below the lowest trained part of a model that learns. The cache holds pooled vectors, and states of all tokens or of the first
//! token. It does not hold logits: they are cheap to compute from pooled vectors, and in ranking tasks they depend on the batch.
//!
//! Each output of each token store has a safetensors file with one tensor, `rows`. The path contains a hash of everything
//! that the output depends on. Files are written atomically and can be deleted at any time.

use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nb_checkpoint::{Dtype, Header};
use nb_data::TokenStore;
use nb_files::AtomicFile;
use nb_model::{Bert, Capture, Packed, Pass, cls_pooling};
use tch::{Device, Kind, Tensor};

use crate::step::ModelOutputs;
use crate::task::TextRef;
use crate::task::encode::{batches, pack};

/// An output of an encoder that can be cached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EncoderOutput {
    /// The pooled vector of each text, always in 32 bits.
    Pooled,
    /// The state with this number of each text's first token.
    First(usize),
    /// The state with this number of every token.
    State(usize),
}

impl EncoderOutput {
    /// Returns the number of its rows in a store.
    fn row_count(self, store: &TokenStore) -> u64 {
        match self {
            Self::Pooled | Self::First(_) => store.len() as u64,
            Self::State(_) => store.token_count(),
        }
    }

    /// Returns the rows of a text; `starts` as in [`StoreOutputs`].
    fn rows(self, text: u32, starts: &[u64]) -> Range<u64> {
        match self {
            Self::Pooled | Self::First(_) => u64::from(text)..u64::from(text) + 1,
            Self::State(_) => starts[text as usize]..starts[text as usize + 1],
        }
    }

    fn name(self) -> String {
        match self {
            Self::Pooled => "pooled".to_owned(),
            Self::First(i) => format!("first-{i}"),
            Self::State(i) => format!("state-{i}"),
        }
    }

    /// Returns the kind of its entries if states are of kind `state_kind`.
    fn kind(self, state_kind: Kind) -> Kind {
        if self == Self::Pooled { Kind::Float } else { state_kind }
    }
}

/// Returns the size in bytes of outputs of `hidden` units, with states of kind `state_kind`.
pub fn cache_size(outputs: &[EncoderOutput], stores: &[&TokenStore], hidden: i64, state_kind: Kind) -> u64 {
    let mut entries = 0;
    for store in stores {
        for output in outputs {
            entries += output.row_count(store) * output.kind(state_kind).elt_size_in_bytes() as u64;
        }
    }
    entries * hidden as u64
}

/// Formats a number of bytes in human-readable units.
pub fn format_bytes(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{:.0} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}

/// An encoder whose outputs are cached, as far as they do not change.
#[derive(Debug, Clone, Copy)]
pub struct CachedEncoder<'a> {
    /// The encoder.
    pub bert: &'a Bert,
    /// A key for everything that the outputs depend on besides the texts.
    pub key: &'a str,
    /// The folder of the cache.
    pub cache: &'a Path,
    /// Kind of the entries of states: `Float` or `BFloat16`.
    pub state_kind: Kind,
}

/// The cached outputs of an encoder for some token stores.
#[derive(Debug)]
pub struct OutputCache {
    stores: Vec<StoreOutputs>,
    hidden: i64,
}

/// The cached outputs for one token store.
#[derive(Debug)]
struct StoreOutputs {
    /// By text: the number of its first token. The last entry is the total number of tokens.
    starts: Vec<u64>,
    files: Vec<OutputFile>,
}

/// A file with the rows of one output.
#[derive(Debug)]
struct OutputFile {
    output: EncoderOutput,
    file: File,
    path: PathBuf,
    /// The offset of the first row.
    start: u64,
    kind: Kind,
    row_bytes: u64,
}

/// The cached outputs for the texts of a micro-batch.
#[derive(Debug)]
pub struct LoadedOutputs {
    /// The states. [`ModelOutputs::outputs`] is missing.
    pub states: ModelOutputs,
    /// Pooled vectors [texts, H], if they are cached.
    pub pooled: Option<Tensor>,
}

impl OutputCache {
    /// Opens the cached outputs for `stores` and computes missing ones; `pool` computes pooled vectors from last states.
    ///
    /// # Errors
    /// If a file cannot be written or read.
    pub fn open(
        encoder: &CachedEncoder<'_>,
        outputs: &[EncoderOutput],
        stores: &[&TokenStore],
        pool: impl Fn(&Tensor, &Packed) -> Tensor,
    ) -> Result<Self> {
        let stores = stores.iter().map(|store| open_store(encoder, outputs, store, &pool));
        Ok(Self { stores: stores.collect::<Result<_>>()?, hidden: encoder.bert.config().hidden_size })
    }

    /// Loads the cached outputs for texts, in their order.
    ///
    /// # Errors
    /// If a file can no longer be read.
    pub fn load(&self, texts: &[TextRef], device: Device) -> Result<LoadedOutputs> {
        let mut loaded = LoadedOutputs { states: ModelOutputs::default(), pooled: None };
        let files = self.stores.first().map_or(&[][..], |store| &store.files);
        for (i, file) in files.iter().enumerate() {
            let rows = nb_torch::send(&self.read(i, texts)?, device);
            match file.output {
                EncoderOutput::Pooled => loaded.pooled = Some(rows),
                EncoderOutput::First(state) => drop(loaded.states.firsts.insert(state, rows)),
                EncoderOutput::State(state) => drop(loaded.states.states.insert(state, rows)),
            }
        }
        Ok(loaded)
    }

    /// Reads the rows of the `i`-th output, in 32 bits.
    fn read(&self, i: usize, texts: &[TextRef]) -> Result<Tensor> {
        let mut bytes = Vec::new();
        let mut kind = Kind::Float;
        for text in texts {
            let StoreOutputs { starts, files } = &self.stores[text.store];
            let file = &files[i];
            let rows = file.output.rows(text.row, starts);
            let from = bytes.len();
            bytes.resize(from + ((rows.end - rows.start) * file.row_bytes) as usize, 0);
            let read = file.file.read_exact_at(&mut bytes[from..], file.start + rows.start * file.row_bytes);
            read.with_context(|| format!("cannot read {}", file.path.display()))?;
            kind = file.kind;
        }
        let n = bytes.len() / (self.hidden as usize * kind.elt_size_in_bytes());
        Ok(Tensor::from_data_size(&bytes, &[n as i64, self.hidden], kind).to_kind(Kind::Float))
    }
}

/// Opens the cached outputs for one store, computing missing ones.
fn open_store(
    encoder: &CachedEncoder<'_>,
    outputs: &[EncoderOutput],
    store: &TokenStore,
    pool: &impl Fn(&Tensor, &Packed) -> Tensor,
) -> Result<StoreOutputs> {
    let missing: Vec<EncoderOutput> =
        outputs.iter().copied().filter(|&output| encoder.open_file(output, store).is_none()).collect();
    if !missing.is_empty() {
        compute(encoder, &missing, store, pool)?;
    }
    let mut files = Vec::with_capacity(outputs.len());
    for &output in outputs {
        match encoder.open_file(output, store) {
            Some(file) => files.push(file),
            None => bail!("{} is damaged", encoder.path(output, store).display()),
        }
    }
    Ok(StoreOutputs { starts: token_starts(store), files })
}

/// Returns the number of each text's first token, then the total number of tokens.
fn token_starts(store: &TokenStore) -> Vec<u64> {
    let mut starts = vec![0];
    let mut end = 0;
    for row in 0..store.len() {
        end += store.length(row) as u64;
        starts.push(end);
    }
    starts
}

impl CachedEncoder<'_> {
    /// Returns the folder of the outputs for a store, named after a hash of the key and of the store's file name, which is
    /// itself a hash of everything that the tokens depend on.
    fn folder(&self, store: &TokenStore) -> PathBuf {
        let tokens = store.path().file_name().unwrap_or_default().to_string_lossy();
        let hash = blake3::hash(format!("{} {tokens}", self.key).as_bytes());
        self.cache.join(&hash.to_hex()[..32])
    }

    /// Returns the states from which some outputs follow: all of them, up to the last one that is needed, or the last state alone.
    fn states(&self, outputs: &[EncoderOutput], packed: &Packed) -> Vec<Tensor> {
        let depth = self.bert.depth();
        let highest = outputs.iter().map(|output| match output {
            EncoderOutput::Pooled => depth,
            EncoderOutput::First(i) | EncoderOutput::State(i) => *i,
        });
        if outputs.iter().all(|output| *output == EncoderOutput::Pooled) {
            return vec![self.bert.encode(packed, Pass::Inference, Capture::Last).last().shallow_clone()];
        }
        self.bert.states_up_to(highest.max().unwrap_or(depth), packed)
    }

    fn path(&self, output: EncoderOutput, store: &TokenStore) -> PathBuf {
        let kind = if output.kind(self.state_kind) == Kind::Float { "f32" } else { "bf16" };
        self.folder(store).join(format!("{}.{kind}.safetensors", output.name()))
    }

    /// Opens the file of an output if it exists, is complete and has the right shape.
    fn open_file(&self, output: EncoderOutput, store: &TokenStore) -> Option<OutputFile> {
        let path = self.path(output, store);
        let file = File::open(&path).ok()?;
        let header = header(self, output, store, &path).ok()?;
        let mut found = vec![0; header.len()];
        file.read_exact_at(&mut found, 0).ok()?;
        let kind = output.kind(self.state_kind);
        let row_bytes = self.bert.config().hidden_size as u64 * kind.elt_size_in_bytes() as u64;
        let start = header.len() as u64;
        let size = start + output.row_count(store) * row_bytes;
        let is_complete = found == header && file.metadata().ok()?.len() == size;
        is_complete.then_some(OutputFile { output, file, path, start, kind, row_bytes })
    }
}

/// Returns the header of a file. The same output of the same store has the same bytes.
fn header(encoder: &CachedEncoder<'_>, output: EncoderOutput, store: &TokenStore, path: &Path) -> Result<Vec<u8>> {
    let (rows, hidden) = (output.row_count(store) as usize, encoder.bert.config().hidden_size as usize);
    let dtype = if output.kind(encoder.state_kind) == Kind::Float { Dtype::F32 } else { Dtype::BF16 };
    let mut header = Header::default();
    header.push("rows", dtype, &[rows, hidden]);
    Ok(header.to_bytes(path)?)
}

/// A file of an output that is being written.
struct OutputWriter {
    output: EncoderOutput,
    file: AtomicFile,
    /// The offset of the first row.
    start: u64,
    kind: Kind,
}

impl OutputWriter {
    fn create(encoder: &CachedEncoder<'_>, output: EncoderOutput, store: &TokenStore) -> Result<Self> {
        let path = encoder.path(output, store);
        let file = AtomicFile::create(&path)?;
        let header = header(encoder, output, store, &path)?;
        file.file().write_all_at(&header, 0)?;
        Ok(Self { output, file, start: header.len() as u64, kind: output.kind(encoder.state_kind) })
    }

    /// Writes the values [rows, H] of some texts to their positions in the file.
    fn write(&self, values: &Tensor, texts: &[u32], starts: &[u64]) -> Result<()> {
        let bytes = to_bytes(&values.to_kind(self.kind));
        let row_bytes = bytes.len() / values.size()[0] as usize;
        let mut from = 0;
        for &text in texts {
            let rows = self.output.rows(text, starts);
            let end = from + (rows.end - rows.start) as usize * row_bytes;
            self.file.file().write_all_at(&bytes[from..end], self.start + rows.start * row_bytes as u64)?;
            from = end;
        }
        Ok(())
    }
}

/// Runs the encoder over a store and writes some of its outputs.
fn compute(
    encoder: &CachedEncoder<'_>,
    outputs: &[EncoderOutput],
    store: &TokenStore,
    pool: &impl Fn(&Tensor, &Packed) -> Tensor,
) -> Result<()> {
    let folder = encoder.folder(store);
    let cannot_write = || format!("cannot write to {}", folder.display());
    fs::create_dir_all(&folder).with_context(cannot_write)?;
    let create = |&output: &EncoderOutput| OutputWriter::create(encoder, output, store);
    let writers: Vec<OutputWriter> = outputs.iter().map(create).collect::<Result<_>>().with_context(cannot_write)?;
    let starts = token_starts(store);
    for batch in batches(store, (0..store.len() as u32).collect()) {
        let packed = pack(&batch, encoder.bert.device());
        let states = encoder.states(outputs, &packed);
        for writer in &writers {
            let values = tch::no_grad(|| output_values(writer.output, &states, &packed, pool));
            writer.write(&values, &batch.rows, &starts).with_context(cannot_write)?;
        }
    }
    for writer in writers {
        writer.file.commit().with_context(cannot_write)?;
    }
    Ok(())
}

/// Returns the values of an output for a batch, [texts, H] or [tokens, H], from [`CachedEncoder::states`].
fn output_values(
    output: EncoderOutput,
    states: &[Tensor],
    packed: &Packed,
    pool: &impl Fn(&Tensor, &Packed) -> Tensor,
) -> Tensor {
    match output {
        EncoderOutput::Pooled => pool(&states[states.len() - 1], packed),
        EncoderOutput::First(state) => cls_pooling(&states[state], packed),
        EncoderOutput::State(state) => states[state].shallow_clone(),
    }
}

fn to_bytes(values: &Tensor) -> Vec<u8> {
    let values = values.to_device(Device::Cpu).contiguous();
    let mut bytes = vec![0; values.numel() * values.kind().elt_size_in_bytes()];
    values.copy_data_u8(&mut bytes, values.numel());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_formatted_in_human_readable_units() {
        assert_eq!([999, 1_500_000, 2_340_000_000].map(format_bytes), ["1 kB", "1.5 MB", "2.34 GB"]);
    }
}

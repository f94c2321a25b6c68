//! What a frozen teacher makes of the training texts, computed once and kept on disk.
//!
//! A frozen teacher says the same of a text in every epoch, of every student and for every seed. What is kept are the
//! pooled vectors, and of the states that some term compares with either all tokens or the first one. Logits are not
//! kept: from pooled vectors they cost next to nothing, and in tasks that rank they depend on the batch.
//!
//! A file per kind of output and token store, safetensors with one tensor `rows`, named after a hash of everything it
//! depends on; written atomically. Deleting them is always safe.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nb_checkpoint::{Dtype, Header};
use nb_data::TokenStore;
use nb_files::AtomicFile;
use nb_model::{Bert, Capture, Packed, Pass, cls_pooling};
use tch::{Device, Kind, Tensor};

use crate::step::terms::ModelOutputs;
use crate::task::texts::{batches, pack};

/// A kind of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Output {
    /// The pooled vector of each text, always in 32 bits.
    Pooled,
    /// The state of each text's first token.
    First(usize),
    /// The state of every token.
    State(usize),
}

impl Output {
    /// Its rows in a store, and bytes per entry where states take `width`.
    fn size(self, store: &TokenStore, width: u64) -> (u64, u64) {
        match self {
            Self::Pooled => (store.len() as u64, 4),
            Self::First(_) => (store.len() as u64, width),
            Self::State(_) => (store.token_count(), width),
        }
    }

    fn name(self) -> String {
        match self {
            Self::Pooled => "pooled".to_owned(),
            Self::First(i) => format!("first-{i}"),
            Self::State(i) => format!("state-{i}"),
        }
    }

    fn kind(self, states: Kind) -> Kind {
        if self == Self::Pooled { Kind::Float } else { states }
    }
}

/// Bytes that outputs of `hidden` units take, with states of kind `states`.
pub fn bytes(outputs: &[Output], stores: &[&TokenStore], hidden: i64, states: Kind) -> u64 {
    let width = states.elt_size_in_bytes() as u64;
    let one = |output: &Output, store: &&TokenStore| {
        let (rows, width) = output.size(store, width);
        rows * width * hidden as u64
    };
    stores.iter().map(|store| outputs.iter().map(|output| one(output, store)).sum::<u64>()).sum()
}

/// Whether outputs are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepOutputs {
    /// If they are used more than once and are not too large: in 32 bits, or where those are too large in 16.
    IfItPays,
    /// Never.
    No,
    /// Always, with states in 32 bits.
    F32,
    /// Always, with states in 16 bits.
    Bf16,
}

impl KeepOutputs {
    /// More than this is not kept unless somebody asks for it.
    const MOST: u64 = 4 << 30;

    /// The kind of the states that are kept, if any are; `bytes` tells how much a kind takes.
    pub fn kind(self, epochs: u64, bytes: impl Fn(Kind) -> u64) -> Option<Kind> {
        match self {
            Self::No => None,
            Self::F32 => Some(Kind::Float),
            Self::Bf16 => Some(Kind::BFloat16),
            Self::IfItPays if epochs < 2 => None,
            Self::IfItPays => [Kind::Float, Kind::BFloat16].into_iter().find(|&kind| bytes(kind) <= Self::MOST),
        }
    }
}

/// A number of bytes for people.
pub fn readable(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{:.0} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}

/// A frozen teacher whose outputs are to be kept.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// Its encoder.
    pub bert: &'a Bert,
    /// What its outputs depend on beside the texts.
    pub key: &'a str,
    /// The folder of kept outputs.
    pub cache: &'a Path,
    /// Kind of the states' entries: `Float` or `BFloat16`.
    pub states: Kind,
}

/// The kept outputs of one teacher over some token stores.
#[derive(Debug)]
pub struct TeacherCache {
    stores: Vec<StoreOutputs>,
    hidden: i64,
}

#[derive(Debug)]
struct StoreOutputs {
    /// Where each text's tokens begin, and their number at the end.
    starts: Vec<u64>,
    files: Vec<(Output, Rows)>,
}

/// A file of rows.
#[derive(Debug)]
struct Rows {
    file: File,
    path: PathBuf,
    /// Where the first row begins.
    start: u64,
    kind: Kind,
    row_bytes: u64,
}

impl TeacherCache {
    /// Opens the outputs of `stores`, computing those that are not there; `pool` makes pooled vectors of last states.
    ///
    /// # Errors
    /// If a file cannot be written or read.
    pub fn open(
        source: &Source<'_>,
        outputs: &[Output],
        stores: &[&TokenStore],
        pool: impl Fn(&Tensor, &Packed) -> Tensor,
    ) -> Result<Self> {
        let hidden = source.bert.config().hidden_size;
        let stores = stores.iter().map(|store| {
            let folder = source.folder(store);
            let file = |output: &Output| source.path(&folder, *output);
            let missing: Vec<Output> =
                outputs.iter().copied().filter(|output| source.rows(&file(output), *output, store).is_none()).collect();
            if !missing.is_empty() {
                compute(source, &missing, store, &folder, &pool)?;
            }
            let open = |output: &Output| match source.rows(&file(output), *output, store) {
                Some(rows) => Ok((*output, rows)),
                None => bail!("{} is damaged", file(output).display()),
            };
            let files = outputs.iter().map(open).collect::<Result<_>>()?;
            Ok(StoreOutputs { starts: starts(store), files })
        });
        Ok(Self { stores: stores.collect::<Result<_>>()?, hidden })
    }

    /// What is kept of `texts`, each a store's number and a row of it, in this order; and their pooled vectors.
    ///
    /// # Errors
    /// If a file cannot be read any more.
    pub fn load(&self, texts: &[(usize, u32)], device: Device) -> Result<(ModelOutputs, Option<Tensor>)> {
        let (mut shown, mut pooled) = (ModelOutputs::default(), None);
        for (i, (output, _)) in self.stores.first().iter().flat_map(|store| &store.files).enumerate() {
            let rows = nb_torch::send(&self.read(i, *output, texts)?, device);
            match *output {
                Output::Pooled => pooled = Some(rows),
                Output::First(i) => drop(shown.firsts.insert(i, rows)),
                Output::State(i) => drop(shown.states.insert(i, rows)),
            }
        }
        Ok((shown, pooled))
    }

    /// The rows of the `i`-th output, in 32 bits.
    fn read(&self, i: usize, output: Output, texts: &[(usize, u32)]) -> Result<Tensor> {
        let mut bytes = Vec::new();
        let mut kind = Kind::Float;
        for &(store, row) in texts {
            let StoreOutputs { starts, files } = &self.stores[store];
            let rows = &files[i].1;
            let (first, end) = match output {
                Output::State(_) => (starts[row as usize], starts[row as usize + 1]),
                _ => (u64::from(row), u64::from(row) + 1),
            };
            let from = bytes.len();
            bytes.resize(from + ((end - first) * rows.row_bytes) as usize, 0);
            let read = rows.file.read_exact_at(&mut bytes[from..], rows.start + first * rows.row_bytes);
            read.with_context(|| format!("cannot read {}", rows.path.display()))?;
            kind = rows.kind;
        }
        let n = bytes.len() / (self.hidden as usize * kind.elt_size_in_bytes());
        Ok(Tensor::from_data_size(&bytes, &[n as i64, self.hidden], kind).to_kind(Kind::Float))
    }
}

fn starts(store: &TokenStore) -> Vec<u64> {
    let lengths = (0..store.len()).map(|row| store.length(row) as u64);
    let mut starts = vec![0];
    starts.extend(lengths.scan(0, |end, length| {
        *end += length;
        Some(*end)
    }));
    starts
}

impl Source<'_> {
    /// The folder of one store's outputs: its tokens' file is named after a hash of all they depend on.
    fn folder(&self, store: &TokenStore) -> PathBuf {
        let tokens = store.path().file_name().unwrap_or_default().to_string_lossy();
        let hash = blake3::hash(format!("{} {tokens}", self.key).as_bytes());
        self.cache.join(&hash.to_hex()[..32])
    }

    fn path(&self, folder: &Path, output: Output) -> PathBuf {
        let kind = if output.kind(self.states) == Kind::Float { "f32" } else { "bf16" };
        folder.join(format!("{}.{kind}.safetensors", output.name()))
    }

    /// A whole file of the right shape, if it is there.
    fn rows(&self, path: &Path, output: Output, store: &TokenStore) -> Option<Rows> {
        let file = File::open(path).ok()?;
        let header = header(self, output, store, path).ok()?;
        let mut found = vec![0; header.len()];
        file.read_exact_at(&mut found, 0).ok()?;
        let (rows, _) = output.size(store, 0);
        let kind = output.kind(self.states);
        let row_bytes = self.bert.config().hidden_size as u64 * kind.elt_size_in_bytes() as u64;
        let start = header.len() as u64;
        let whole = found == header && file.metadata().ok()?.len() == start + rows * row_bytes;
        whole.then(|| Rows { file, path: path.to_owned(), start, kind, row_bytes })
    }
}

/// Returns the beginning of a file: the same bytes whenever the same outputs of the same store are written.
fn header(source: &Source<'_>, output: Output, store: &TokenStore, path: &Path) -> Result<Vec<u8>> {
    let (rows, hidden) = (output.size(store, 0).0 as usize, source.bert.config().hidden_size as usize);
    let dtype = if output.kind(source.states) == Kind::Float { Dtype::F32 } else { Dtype::BF16 };
    let mut header = Header::default();
    header.push("rows", dtype, &[rows, hidden]);
    Ok(header.to_bytes(path)?)
}

/// Runs the teacher over a whole store and writes some outputs of it.
fn compute(
    source: &Source<'_>,
    outputs: &[Output],
    store: &TokenStore,
    folder: &Path,
    pool: impl Fn(&Tensor, &Packed) -> Tensor,
) -> Result<()> {
    let cannot = || format!("cannot write to {}", folder.display());
    fs::create_dir_all(folder).with_context(cannot)?;
    let starts = starts(store);
    let mut files = Vec::new();
    for &output in outputs {
        let path = source.path(folder, output);
        let file = AtomicFile::create(&path).with_context(cannot)?;
        let header = header(source, output, store, &path)?;
        file.file().write_all_at(&header, 0).with_context(cannot)?;
        files.push((output, file, header.len() as u64));
    }
    let capture = if outputs.iter().any(|o| *o != Output::Pooled) { Capture::States } else { Capture::Last };
    for batch in batches(store, (0..store.len() as u32).collect()) {
        let packed = pack(&batch, source.bert.device());
        let encoded = tch::no_grad(|| source.bert.encode(&packed, Pass::Inference, capture));
        for (output, file, start) in &files {
            let rows = tch::no_grad(|| match *output {
                Output::Pooled => pool(encoded.last(), &packed),
                Output::First(i) => cls_pooling(&encoded.states()[i], &packed),
                Output::State(i) => encoded.states()[i].shallow_clone(),
            });
            let bytes = bytes_of(&rows.to_kind(output.kind(source.states)));
            let row_bytes = bytes.len() / rows.size()[0] as usize;
            let mut from = 0;
            for (&row, &length) in batch.rows.iter().zip(&batch.lengths) {
                let (first, count) = match output {
                    Output::State(_) => (starts[row as usize], length as usize),
                    _ => (u64::from(row), 1),
                };
                let piece = &bytes[from..from + count * row_bytes];
                file.file().write_all_at(piece, start + first * row_bytes as u64).with_context(cannot)?;
                from += piece.len();
            }
        }
    }
    for (_, file, _) in files {
        file.commit().with_context(cannot)?;
    }
    Ok(())
}

fn bytes_of(rows: &Tensor) -> Vec<u8> {
    let rows = rows.to_device(Device::Cpu).contiguous();
    let mut bytes = vec![0; rows.numel() * rows.kind().elt_size_in_bytes()];
    rows.copy_data_u8(&mut bytes, rows.numel());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_kept_if_they_are_used_again_and_not_too_large() {
        let of = |states: u64| move |kind: Kind| states * kind.elt_size_in_bytes() as u64;
        let (small, middle, large) = (1 << 20, KeepOutputs::MOST / 4 + 1, KeepOutputs::MOST / 2 + 1);
        let auto = |epochs, states| KeepOutputs::IfItPays.kind(epochs, of(states));
        assert_eq!((auto(1, small), auto(2, small)), (None, Some(Kind::Float)));
        assert_eq!((auto(2, middle), auto(2, large)), (Some(Kind::BFloat16), None));
        for (said, kind) in
            [(KeepOutputs::No, None), (KeepOutputs::F32, Some(Kind::Float)), (KeepOutputs::Bf16, Some(Kind::BFloat16))]
        {
            assert_eq!((said.kind(1, of(large)), said.kind(9, of(small))), (kind, kind), "{said:?}");
        }
    }

    #[test]
    fn bytes_are_said_in_units_for_people() {
        assert_eq!([999, 1_500_000, 2_340_000_000].map(readable), ["1 kB", "1.5 MB", "2.34 GB"]);
    }
}

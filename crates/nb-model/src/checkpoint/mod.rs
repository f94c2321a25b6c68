//! Conversion between the bytes of a Hugging Face folder and an encoder's parameters. Every tensor of the encoder is required,
//! unknown encoder tensors are refused, and everything outside the encoder is ignored.

mod finite;
mod tensors;

use std::collections::BTreeMap;
use std::path::Path;

use nb_checkpoint::{
    BertConfig, CONFIG_FILE, Layout, SEGMENT_EMBEDDINGS, SavedEncoder, WEIGHTS_FILE, parameter_layout,
};
use tch::{Device, Kind, Tensor};

pub use tensors::{read_tensors, write_tensors};

use self::tensors::tensors_of;
use crate::arena::Arena;
use crate::encoder::Bert;
use crate::error::ModelError;
use crate::pass::Precision;

impl Bert {
    /// Loads a Hugging Face folder of BERT or another [`Family`](nb_checkpoint::Family): `config.json` and the weights, in any form
    /// that [`SavedEncoder::read`] reads, with or without the prefix of the family (`bert.`), with `gamma` and `beta` as names of
    /// LayerNorm's parameters if they are old. Everything outside the encoder (a pooler, a
    /// classifier, a CRF, buffers of any type) is ignored; a checkpoint without segment embeddings gets zeros for them.
    ///
    /// # Errors
    /// If a file is missing or cut short, if the configuration is of no supported family or calls for far more memory than the weights
    /// fill, if tensors are missing, unknown or of another shape (the error lists them), or if a weight is NaN or infinite.
    pub fn load(folder: &Path, device: Device, precision: Precision) -> Result<Self, ModelError> {
        let SavedEncoder { config, weights } = SavedEncoder::read(folder)?;
        let mut tensors = tensors_of(weights.encoder_tensors(config.family)?, |found| weights.damaged(found))?;
        let path = weights.path().to_owned();
        drop(weights); // the tensors are copies
        add_missing_segments(&config, &mut tensors, &path);
        check(&parameter_layout(&config), &tensors, &path)?;
        let mut model = Self::zeros(config, device, precision)?;
        fill(model.arena(), tensors, &path)?;
        model.parameters_changed();
        Ok(model)
    }

    /// Writes `config.json` and `model.safetensors` (f32, with the names of the family's encoder in transformers) into an
    /// existing folder.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), ModelError> {
        self.config().write(&folder.join(CONFIG_FILE))?;
        let mut tensors = named_values(self.arena());
        tensors.iter_mut().for_each(|(name, _)| *name = self.config().family.saved_name(name));
        write_tensors(&folder.join(WEIGHTS_FILE), &tensors)
    }
}

/// Adds zeros for segment embeddings that the configuration has but the file lacks.
fn add_missing_segments(config: &BertConfig, tensors: &mut BTreeMap<String, Tensor>, path: &Path) {
    if config.type_vocab_size == 0 || tensors.contains_key(SEGMENT_EMBEDDINGS) || tensors.is_empty() {
        return;
    }
    tracing::info!(path = %path.display(), "the checkpoint has no segment embeddings; using zeros");
    // One zero, expanded: the number of zeros comes from the configuration alone, so this allocates no memory for them.
    let zero = Tensor::zeros([1, 1], (Kind::Float, Device::Cpu));
    let zeros = zero.expand([config.type_vocab_size, config.embedding_width()], false);
    tensors.insert(SEGMENT_EMBEDDINGS.to_owned(), zeros);
}

/// Returns the name and the view of every parameter of an arena.
pub fn named_values(arena: &Arena) -> Vec<(String, Tensor)> {
    arena.layout().slots().iter().map(|slot| (slot.name.clone(), arena.value(&slot.name))).collect()
}

/// Copies `tensors` into the arena, whose parameters must have exactly the same names and shapes. `path` is used in messages.
///
/// # Errors
/// [`CheckpointError::Tensors`](nb_checkpoint::CheckpointError::Tensors) with a list of the tensors that are missing, unknown
/// or of another shape, and [`CheckpointError::NotFinite`](nb_checkpoint::CheckpointError::NotFinite) if a value is NaN or
/// infinite. In both cases, nothing is copied.
pub fn fill(arena: &Arena, tensors: BTreeMap<String, Tensor>, path: &Path) -> Result<(), ModelError> {
    check(arena.layout(), &tensors, path)?;
    finite::check_finite(&tensors, path)?;
    tch::no_grad(|| tensors.iter().for_each(|(name, tensor)| arena.value(name).copy_(tensor)));
    Ok(())
}

/// Checks that `tensors` have the names and shapes of `layout`.
fn check(layout: &Layout, tensors: &BTreeMap<String, Tensor>, path: &Path) -> Result<(), ModelError> {
    let shapes = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor.size())).collect();
    Ok(layout.check(&shapes, path)?)
}

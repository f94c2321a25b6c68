//! Reads and writes Hugging Face checkpoint folders. Every tensor of the encoder is required and unknown ones of it are
//! refused; everything beside the encoder is ignored.

mod finite;
mod hub;
mod names;
mod tensors;
#[cfg(feature = "hub")]
mod verify;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use tch::{Device, Tensor};

pub use hub::{Checkpoint, mirror_folder};
pub use tensors::{read_tensors, write_tensors};

use self::names::{encoder_names, ignored};
use self::tensors::read_renamed_tensors;
use crate::arena::{Arena, Layout};
use crate::config::BertConfig;
use crate::encoder::{Bert, parameter_count, parameter_layout};
use crate::error::ModelError;
use crate::pass::Precision;

/// The configuration's file name in a checkpoint folder.
pub const CONFIG_FILE: &str = "config.json";
/// The weights' file name in a checkpoint folder.
pub const WEIGHTS_FILE: &str = "model.safetensors";

/// Names the files of weights that are split into several, which are not read.
const INDEX_FILE: &str = "model.safetensors.index.json";

impl Bert {
    /// Loads a Hugging Face folder: `config.json` and `model.safetensors`, the latter with or without the prefix `bert.`,
    /// with `gamma` and `beta` for LayerNorm's parameters if it is an old one. What is beside the encoder (a pooler, a
    /// classifier, a CRF, buffers of any type) is ignored; a checkpoint without segment embeddings gets zeros for them.
    ///
    /// # Errors
    /// If a file is missing or cut, if the configuration is not a BERT's or asks for far more memory than the weights fill,
    /// or if tensors are missing, unknown or of another shape: they are listed; or if a weight is NaN or infinite.
    pub fn load(folder: &Path, device: Device, precision: Precision) -> Result<Self, ModelError> {
        let config = BertConfig::read(&folder.join(CONFIG_FILE))?;
        let path = folder.join(WEIGHTS_FILE);
        if !path.exists() && folder.join("pytorch_model.bin").exists() {
            let found =
                "only pytorch_model.bin is there, which runs code when read; save the model as safetensors".into();
            return Err(ModelError::Weights { path, found });
        }
        if !path.exists() && folder.join(INDEX_FILE).exists() {
            return Err(ModelError::Sharded { path: folder.join(INDEX_FILE) });
        }
        check_size(&config, &path)?;
        let named = |names: &[&str]| {
            let ours = encoder_names(names);
            if let Some(line) = ignored(names, &ours) {
                tracing::info!("{}: {line}", path.display());
            }
            ours
        };
        let mut tensors: BTreeMap<String, Tensor> = read_renamed_tensors(&path, named)?.into_iter().collect();
        const SEGMENTS: &str = "embeddings.token_type_embeddings.weight";
        if config.type_vocab_size > 0 && !tensors.contains_key(SEGMENTS) && !tensors.is_empty() {
            tracing::info!(path = %path.display(), "the checkpoint has no segment embeddings; zeros stand for them");
            // One zero that is all of them: how many they are is only what the configuration claims.
            let zero = Tensor::zeros([1, 1], (tch::Kind::Float, Device::Cpu));
            let zeros = zero.expand([config.type_vocab_size, config.hidden_size], false);
            tensors.insert(SEGMENTS.to_owned(), zeros);
        }
        check(&parameter_layout(&config), &tensors, &path)?;
        let mut model = Self::zeros(config, device, precision)?;
        fill(model.arena(), tensors, &path)?;
        model.parameters_changed();
        Ok(model)
    }

    /// Writes `config.json` and `model.safetensors` (f32, `BertModel`'s names) into an existing folder.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), ModelError> {
        let path = folder.join(CONFIG_FILE);
        let json = format!("{:#}\n", self.config().to_json());
        std::fs::write(&path, json).map_err(ModelError::io("cannot write", path))?;
        write_tensors(&folder.join(WEIGHTS_FILE), &named_values(self.arena()))
    }
}

/// Parameters of a model that any machine holds; what is wrong with a smaller one the list of its tensors says better.
const SMALL: i64 = 1 << 26;

/// Refuses a configuration that asks for far more memory than its weights fill, before any is taken.
fn check_size(config: &BertConfig, weights: &Path) -> Result<(), ModelError> {
    let bytes = std::fs::metadata(weights).map_err(ModelError::io("cannot read", weights))?.len();
    // No parameter takes less than two bytes, which leaves room for the segment embeddings that may be missing.
    let parameters = parameter_count(config);
    if parameters > SMALL && parameters.unsigned_abs() > bytes {
        let found = format!("it has {bytes} bytes, but its {CONFIG_FILE} asks for {parameters} parameters");
        return Err(ModelError::Weights { path: weights.into(), found });
    }
    Ok(())
}

/// Every parameter of an arena by name, as handles on its views.
pub fn named_values(arena: &Arena) -> Vec<(String, Tensor)> {
    arena.layout().slots().iter().map(|slot| (slot.name.clone(), arena.value(&slot.name))).collect()
}

/// Copies `tensors` into the arena, which must name exactly the same ones with the same shapes. `path` is for messages.
///
/// # Errors
/// [`ModelError::Tensors`] listing what is missing, unknown or of another shape, and [`ModelError::NotFinite`] where a value
/// is NaN or infinite; nothing is copied then.
pub fn fill(arena: &Arena, tensors: BTreeMap<String, Tensor>, path: &Path) -> Result<(), ModelError> {
    check(arena.layout(), &tensors, path)?;
    finite::check_finite(&tensors, path)?;
    tch::no_grad(|| tensors.iter().for_each(|(name, tensor)| arena.value(name).copy_(tensor)));
    Ok(())
}

/// Whether `tensors` are those of `layout`: the same names with the same shapes. Takes no memory for parameters, so a
/// configuration that claims more than its weights hold is refused before any is.
fn check(layout: &Layout, tensors: &BTreeMap<String, Tensor>, path: &Path) -> Result<(), ModelError> {
    let mut lines = Vec::new();
    for slot in layout.slots() {
        match tensors.get(&slot.name) {
            None => lines.push(format!("missing    {} {:?}", slot.name, slot.shape)),
            Some(t) if t.size() != slot.shape => {
                lines.push(format!("mis-shaped {}: found {:?}, expected {:?}", slot.name, t.size(), slot.shape));
            }
            Some(_) => {}
        }
    }
    let known: BTreeSet<&str> = layout.slots().iter().map(|slot| slot.name.as_str()).collect();
    for (name, tensor) in tensors.iter().filter(|(name, _)| !known.contains(name.as_str())) {
        lines.push(format!("unknown    {name} {:?}", tensor.size()));
    }
    if lines.is_empty() {
        return Ok(());
    }
    let more = lines.len().saturating_sub(MOST_LINES);
    lines.truncate(MOST_LINES);
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    let listing = lines.iter().map(|line| format!("\n  {line}")).collect();
    Err(ModelError::Tensors { path: path.into(), listing })
}

/// Tensors that an error lists: enough for a model with another layer or two.
const MOST_LINES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_tensors_that_are_wrong_some_are_listed() {
        let mut tensors = BTreeMap::new();
        let listing = |tensors: &BTreeMap<String, Tensor>, layers| {
            let layout = parameter_layout(&BertConfig::new(8, 4, layers, 2));
            check(&layout, tensors, Path::new(WEIGHTS_FILE)).unwrap_err().to_string()
        };
        let few = listing(&tensors, 1);
        assert!(few.lines().count() == 1 + 21 && few.contains("missing    embeddings.LayerNorm.bias [4]"), "{few}");
        for i in 0..70 {
            tensors.insert(format!("a.{i}"), Tensor::from(0.0));
        }
        let many = listing(&tensors, 1024);
        assert_eq!((many.lines().count(), many.lines().last()), (1 + 64 + 1, Some("  and 16395 more")));
    }
}

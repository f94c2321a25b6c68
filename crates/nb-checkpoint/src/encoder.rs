//! The encoder in a model folder: its configuration and the bytes of its weights.

use std::fs;
use std::path::Path;

use crate::config::BertConfig;
use crate::error::CheckpointError;
use crate::files::{CONFIG_FILE, INT8_WEIGHTS_FILE, WEIGHTS_FILE};
use crate::float_tensors::FloatTensors;
use crate::parameters::{SEGMENT_EMBEDDINGS, parameter_count, parameter_layout};
use crate::tensor_file::TensorFile;
use crate::weight_files::{Form, ShardIndex};
use crate::weights::{Opening, Weights};

/// The number of parameters that any machine can hold. If a smaller model does not match its file, the later check of
/// its tensors gives a more informative error.
const SMALL: i64 = 1 << 26;

/// The configuration and the weights of an encoder in a Hugging Face folder.
#[derive(Debug)]
pub struct SavedEncoder {
    /// `config.json`.
    pub config: BertConfig,
    /// The weights; their [`encoder_tensors`](Weights::encoder_tensors) are those of the encoder.
    pub weights: Weights,
}

impl SavedEncoder {
    /// Reads `config.json` and the weights: the first that the folder has of `model.safetensors`,
    /// `model.safetensors.index.json` with the files that it names, `pytorch_model.bin`, and
    /// `pytorch_model.bin.index.json` with the files that it names. Several files are read when their tensors are
    /// requested.
    ///
    /// # Errors
    /// If a file is missing, if the configuration is not that of a BERT or calls for far more memory than the weights
    /// fill, or if the folder has weights only in 8 bits.
    pub fn read(folder: &Path) -> Result<Self, CheckpointError> {
        Self::open(folder, Form::find(folder), Opening::Read)
    }

    /// Does the same as [`SavedEncoder::read`], but maps the weights into memory, and accepts weights in 8 bits
    /// ([`SavedEncoder::is_int8`]). The files must not be changed in place, only replaced, while they are mapped.
    ///
    /// # Errors
    /// As [`SavedEncoder::read`].
    pub fn map(folder: &Path) -> Result<Self, CheckpointError> {
        let int8 = || folder.join(INT8_WEIGHTS_FILE).is_file().then_some(Form::File(INT8_WEIGHTS_FILE));
        Self::open(folder, Form::find(folder).or_else(int8), Opening::Map)
    }

    fn open(folder: &Path, form: Option<Form>, opening: Opening) -> Result<Self, CheckpointError> {
        let config = BertConfig::read(&folder.join(CONFIG_FILE))?;
        let int8 = folder.join(INT8_WEIGHTS_FILE);
        if form.is_none() && int8.exists() {
            let found = "its weights are in 8 bits, which only inference on the CPU reads".to_owned();
            return Err(CheckpointError::Weights { path: int8, found });
        }
        let weights = match form.unwrap_or(Form::File(WEIGHTS_FILE)) {
            Form::File(name) => {
                let path = folder.join(name);
                // An empty file in memory, for its error: no memory is allocated for the weights yet.
                let error = |found| TensorFile::new(&path, Vec::new()).damaged(found);
                check_size(&config, file_length(&path)?).map_err(error)?;
                opening.open(&path)?.into()
            }
            Form::Index(name) => {
                let index = ShardIndex::read(&folder.join(name))?;
                // A file that is missing is an error later, if it has a tensor of the encoder.
                let lengths = index.files().into_iter().filter_map(|file| file_length(&folder.join(file)).ok());
                check_size(&config, lengths.fold(0, u64::saturating_add)).map_err(|found| index.error(found))?;
                Weights::of_index(index, opening)
            }
        };
        Ok(Self { config, weights })
    }

    /// Returns true if weights are in 8 bits: each matrix `x` with a tensor `x_scale` of one f32 per row.
    pub fn is_int8(&self) -> bool {
        self.weights.path().ends_with(INT8_WEIGHTS_FILE)
    }

    /// Returns the encoder's tensors and the configuration that fits them: some checkpoints lack segment embeddings, which
    /// count as zeros; then `type_vocab_size` is 0.
    ///
    /// # Errors
    /// If the file is damaged, or if tensors are missing, unknown or of another shape.
    pub fn float_tensors(&self) -> Result<(BertConfig, FloatTensors<'_>), CheckpointError> {
        let tensors = FloatTensors::of_encoder(&self.weights, self.config.family)?;
        let mut config = self.config.clone();
        if !tensors.contains(SEGMENT_EMBEDDINGS) {
            config.type_vocab_size = 0;
        }
        parameter_layout(&config).check(&tensors.shapes()?, tensors.path())?;
        Ok((config, tensors))
    }
}

fn file_length(path: &Path) -> Result<u64, CheckpointError> {
    Ok(fs::metadata(path).map_err(CheckpointError::io("cannot read", path))?.len())
}

/// Refuses a configuration that calls for far more memory than weights of `bytes` bytes fill, before any memory is
/// allocated.
fn check_size(config: &BertConfig, bytes: u64) -> Result<(), String> {
    // Each parameter takes at least two bytes. Requiring one leaves room for segment embeddings, which the file may
    // lack.
    let parameters = parameter_count(config);
    if parameters > SMALL && parameters.unsigned_abs() > bytes {
        return Err(format!("it has {bytes} bytes, but its {CONFIG_FILE} asks for {parameters} parameters"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::family::Family;
    use crate::files::{INDEX_FILE, PICKLE_FILE, PICKLE_INDEX_FILE};

    #[test]
    fn weights_in_another_form_are_refused_with_a_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let error = || SavedEncoder::read(folder.path()).unwrap_err().to_string();
        BertConfig::new(30, 8, 2, 2).write(&path(CONFIG_FILE)).unwrap();
        assert_eq!(error(), format!("cannot read {}", path(WEIGHTS_FILE).display()));
        fs::write(path(INT8_WEIGHTS_FILE), "").unwrap();
        assert!(error().contains("its weights are in 8 bits"));
        fs::write(path(WEIGHTS_FILE), "").unwrap();
        assert!(SavedEncoder::read(folder.path()).unwrap().weights.encoder_tensors(Family::Bert).is_err());
        BertConfig::new(1 << 24, 1 << 10, 2, 2).write(&path(CONFIG_FILE)).unwrap();
        assert!(error().contains("it has 0 bytes, but its config.json asks for"));
    }

    /// A BERT with one layer whose numbers are all different, by name.
    fn bert(config: &BertConfig) -> Vec<(String, Vec<usize>, Vec<f32>)> {
        let layout = parameter_layout(config);
        let slots = layout.slots().iter().map(|slot| {
            let shape: Vec<usize> = slot.shape.iter().map(|&size| size as usize).collect();
            let numbers = (0..slot.numel()).map(|i| (slot.offset + i) as f32).collect();
            (format!("bert.{}", slot.name), shape, numbers)
        });
        slots.chain([("classifier.bias".to_owned(), vec![2], vec![-1.0, -2.0])]).collect()
    }

    type Tensors<'a> = &'a [(String, Vec<usize>, Vec<f32>)];

    fn safetensors(tensors: Tensors<'_>) -> Vec<u8> {
        let bytes: Vec<Vec<u8>> =
            tensors.iter().map(|(.., x)| x.iter().flat_map(|x| x.to_le_bytes()).collect()).collect();
        let tensors = tensors.iter().zip(&bytes).map(|((name, shape, _), bytes)| crate::TensorBytes {
            name: name.clone(),
            dtype: crate::Dtype::F32,
            shape: shape.clone(),
            bytes,
        });
        crate::serialize(Path::new("x"), &Default::default(), tensors.collect()).unwrap()
    }

    fn pickled(tensors: Tensors<'_>) -> Vec<u8> {
        let tensors = tensors.iter().map(|(name, shape, x)| (name.as_str(), shape.clone(), x.clone()));
        crate::torch::testing::archive_of(&tensors.collect::<Vec<_>>())
    }

    /// Writes the tensors into two files with an index.
    fn write_shards(folder: &Path, tensors: Tensors<'_>, index: &str, write: fn(Tensors<'_>) -> Vec<u8>) {
        let stem = index.strip_suffix(".index.json").unwrap();
        let (one, two) = tensors.split_at(tensors.len() / 2);
        let mut map = std::collections::BTreeMap::new();
        for (part, tensors) in [("one", one), ("two", two)] {
            let name = format!("{part}-{stem}");
            fs::write(folder.join(&name), write(tensors)).unwrap();
            map.extend(tensors.iter().map(|(tensor, ..)| (tensor.clone(), name.clone())));
        }
        fs::write(folder.join(index), serde_json::json!({"metadata": {}, "weight_map": map}).to_string()).unwrap();
    }

    #[test]
    fn every_form_of_weights_gives_the_same_numbers_and_rows() {
        let config = BertConfig::new(30, 8, 1, 2);
        let tensors = bert(&config);
        for name in [WEIGHTS_FILE, INDEX_FILE, PICKLE_FILE, PICKLE_INDEX_FILE] {
            let folder = tempfile::tempdir().unwrap();
            config.write(&folder.path().join(CONFIG_FILE)).unwrap();
            match name {
                WEIGHTS_FILE => fs::write(folder.path().join(name), safetensors(&tensors)).unwrap(),
                INDEX_FILE => write_shards(folder.path(), &tensors, name, safetensors),
                PICKLE_FILE => fs::write(folder.path().join(name), pickled(&tensors)).unwrap(),
                _ => write_shards(folder.path(), &tensors, name, pickled),
            }
            for saved in [SavedEncoder::read(folder.path()).unwrap(), SavedEncoder::map(folder.path()).unwrap()] {
                assert!(saved.weights.path().ends_with(name) && !saved.is_int8());
                let (found, floats) = saved.float_tensors().unwrap();
                assert_eq!(found.type_vocab_size, 2);
                for (name, shape, numbers) in &tensors[..tensors.len() - 1] {
                    assert_eq!(&floats.get(name.strip_prefix("bert.").unwrap(), shape).unwrap(), numbers);
                }
                let table = floats.table(crate::WORD_EMBEDDINGS, [30, 8]).unwrap();
                drop(floats);
                drop(saved); // the table keeps the bytes it needs
                let mut row = Vec::new();
                table.append_row(29, &mut row);
                assert_eq!(row, tensors[0].2[29 * 8..]);
            }
        }
    }

    /// The order of `_get_resolved_checkpoint_files` in transformers 5.24.
    #[test]
    fn of_several_forms_the_first_is_used() {
        let folder = tempfile::tempdir().unwrap();
        BertConfig::new(30, 8, 1, 2).write(&folder.path().join(CONFIG_FILE)).unwrap();
        for name in [INT8_WEIGHTS_FILE, PICKLE_INDEX_FILE, PICKLE_FILE, INDEX_FILE, WEIGHTS_FILE] {
            fs::write(folder.path().join(name), r#"{"weight_map": {}}"#).unwrap();
            assert!(SavedEncoder::map(folder.path()).unwrap().weights.path().ends_with(name));
        }
    }

    #[test]
    fn a_model_far_larger_than_its_weights_is_refused_in_every_form() {
        let folder = tempfile::tempdir().unwrap();
        BertConfig::new(1 << 24, 1 << 10, 2, 2).write(&folder.path().join(CONFIG_FILE)).unwrap();
        for (name, kind) in [
            (PICKLE_INDEX_FILE, "is not the index of a complete model"),
            (PICKLE_FILE, "is not a state dict of PyTorch"),
            (WEIGHTS_FILE, "is not a complete safetensors file"),
        ] {
            fs::write(folder.path().join(name), r#"{"weight_map": {"x": "missing.bin"}}"#).unwrap();
            let error = SavedEncoder::map(folder.path()).unwrap_err().to_string();
            assert!(error.contains(&format!("{name} {kind}: it has ")), "{error}");
        }
    }

    #[test]
    fn the_shapes_of_all_shards_are_compared_with_the_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let config = BertConfig::new(30, 8, 1, 2);
        let mut tensors = bert(&config);
        tensors[0].1 = vec![8, 30];
        config.write(&folder.path().join(CONFIG_FILE)).unwrap();
        write_shards(folder.path(), &tensors, PICKLE_INDEX_FILE, pickled);
        let error = SavedEncoder::map(folder.path()).unwrap().float_tensors().unwrap_err().to_string();
        assert!(error.contains("found [8, 30], expected [30, 8]") && error.contains(PICKLE_INDEX_FILE), "{error}");
    }
}

//! The encoder in a model folder: its configuration and the bytes of its weights.

use std::fs;
use std::path::Path;

use crate::config::BertConfig;
use crate::error::CheckpointError;
use crate::files::{CONFIG_FILE, INDEX_FILE, INT8_WEIGHTS_FILE, PICKLE_FILE, WEIGHTS_FILE};
use crate::float_tensors::FloatTensors;
use crate::parameters::{SEGMENT_EMBEDDINGS, parameter_count, parameter_layout};
use crate::tensor_file::TensorFile;

/// The number of parameters that any machine can hold. If a smaller model does not match its file, the later check of
/// its tensors gives a more informative error.
const SMALL: i64 = 1 << 26;

/// The configuration and the weights of an encoder in a Hugging Face folder.
#[derive(Debug)]
pub struct SavedEncoder {
    /// `config.json`.
    pub config: BertConfig,
    /// `model.safetensors`; its [`encoder_tensors`](TensorFile::encoder_tensors) are those of the encoder.
    pub weights: TensorFile,
}

impl SavedEncoder {
    /// Reads `config.json` and `model.safetensors`.
    ///
    /// # Errors
    /// If a file is missing, if the configuration is not that of a BERT or calls for far more memory than the weights
    /// fill, or if the folder has weights only in another form.
    pub fn read(folder: &Path) -> Result<Self, CheckpointError> {
        let config = BertConfig::read(&folder.join(CONFIG_FILE))?;
        let path = folder.join(WEIGHTS_FILE);
        let int8 = folder.join(INT8_WEIGHTS_FILE);
        if !path.exists() && int8.exists() {
            let found = "its weights are in 8 bits, which only inference on the CPU reads".to_owned();
            return Err(CheckpointError::Weights { path: int8, found });
        }
        if !path.exists() && folder.join(PICKLE_FILE).exists() {
            let found = format!("found only {PICKLE_FILE}, which runs code when read; save the model as safetensors");
            return Err(CheckpointError::Weights { path, found });
        }
        if !path.exists() && folder.join(INDEX_FILE).exists() {
            return Err(CheckpointError::Sharded { path: folder.join(INDEX_FILE) });
        }
        check_size(&config, &path)?;
        Ok(Self { config, weights: TensorFile::read(&path)? })
    }

    /// Does the same as [`SavedEncoder::read`], but maps the weights into memory, and accepts weights in 8 bits
    /// ([`SavedEncoder::is_int8`]). The files must not be changed in place, only replaced, while they are mapped.
    ///
    /// # Errors
    /// As [`SavedEncoder::read`].
    pub fn map(folder: &Path) -> Result<Self, CheckpointError> {
        let config = BertConfig::read(&folder.join(CONFIG_FILE))?;
        let path =
            [WEIGHTS_FILE, INT8_WEIGHTS_FILE].map(|name| folder.join(name)).into_iter().find(|path| path.exists());
        match path {
            Some(path) => {
                check_size(&config, &path)?;
                Ok(Self { config, weights: TensorFile::map(&path)? })
            }
            None => Self::read(folder), // the error says what is there instead
        }
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

/// Refuses a configuration that calls for far more memory than its weights fill, before any memory is allocated.
fn check_size(config: &BertConfig, weights: &Path) -> Result<(), CheckpointError> {
    let bytes = fs::metadata(weights).map_err(CheckpointError::io("cannot read", weights))?.len();
    // Each parameter takes at least two bytes. Requiring one leaves room for segment embeddings, which the file may
    // lack.
    let parameters = parameter_count(config);
    if parameters > SMALL && parameters.unsigned_abs() > bytes {
        let found = format!("it has {bytes} bytes, but its {CONFIG_FILE} asks for {parameters} parameters");
        return Err(CheckpointError::Weights { path: weights.into(), found });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_in_another_form_are_refused_with_a_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let error = || SavedEncoder::read(folder.path()).unwrap_err().to_string();
        BertConfig::new(30, 8, 2, 2).write(&path(CONFIG_FILE)).unwrap();
        assert_eq!(error(), format!("cannot read {}", path(WEIGHTS_FILE).display()));
        fs::write(path(INDEX_FILE), "{}").unwrap();
        assert!(error().contains("save_pretrained(folder"));
        fs::write(path(PICKLE_FILE), "").unwrap();
        assert!(error().contains("found only pytorch_model.bin"));
        fs::write(path(WEIGHTS_FILE), "").unwrap();
        assert!(SavedEncoder::read(folder.path()).unwrap().weights.tensors().is_err());
        BertConfig::new(1 << 24, 1 << 10, 2, 2).write(&path(CONFIG_FILE)).unwrap();
        assert!(error().contains("it has 0 bytes, but its config.json asks for"));
    }
}

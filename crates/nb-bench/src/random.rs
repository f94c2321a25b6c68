//! Teachers of any shape with random weights, which compute as fast as trained ones.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result};
use nb_checkpoint::CheckpointLocation;
use nb_data::Tokenizer;
use nb_model::{Bert, BertConfig, Precision};
use tch::Device;

/// Size of an attention head in every BERT from tiny to large.
const HEAD_SIZE: i64 = 64;

/// The shape of a model, written as layers × hidden units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelShape {
    /// Number of layers, L.
    pub layers: i64,
    /// Hidden size, H.
    pub hidden: i64,
}

impl FromStr for ModelShape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('x').map(|(layers, hidden)| (layers.parse(), hidden.parse()));
        match numbers {
            Some((Ok(layers @ 1..=100), Ok(hidden @ HEAD_SIZE..=8192))) if hidden % HEAD_SIZE == 0 => {
                Ok(Self { layers, hidden })
            }
            _ => Err(format!(
                "expected LxH with 1 to 100 layers and a multiple of {HEAD_SIZE} hidden units, such as 12x768"
            )),
        }
    }
}

/// Writes a model of this shape into `folder`, with the tokenizer of `checkpoint` (a folder or `hf:owner/name`), and
/// returns the folder.
///
/// # Errors
/// If the checkpoint has no tokenizer, or if the folder cannot be written.
pub fn write_model(shape: ModelShape, checkpoint: &str, folder: PathBuf) -> Result<PathBuf> {
    let source = checkpoint.parse::<CheckpointLocation>()?.resolve()?;
    let vocabulary = Tokenizer::from_folder(&source)?.vocab_size() as i64;
    let config = BertConfig::new(vocabulary, shape.hidden, shape.layers, shape.hidden / HEAD_SIZE);
    let mut bert = Bert::zeros(config, Device::Cpu, Precision::F32)?;
    bert.randomise(0);
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    bert.save(&folder)?;
    for name in ["tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"] {
        let (from, to) = (source.join(name), folder.join(name));
        if Path::is_file(&from) {
            std::fs::copy(&from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
        }
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_is_parsed_from_layers_and_hidden_units() {
        assert_eq!("12x768".parse(), Ok(ModelShape { layers: 12, hidden: 768 }));
        for wrong in ["", "12", "x768", "0x768", "12x100", "12x768x2", "-1x64", "12x99999999999999999999"] {
            assert!(wrong.parse::<ModelShape>().unwrap_err().contains("12x768"), "{wrong}");
        }
    }
}

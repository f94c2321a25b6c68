//! Names of the files in a model folder.

/// The configuration's file name in a model folder.
pub const CONFIG_FILE: &str = "config.json";
/// The file name of the encoder's weights in a model folder.
pub const WEIGHTS_FILE: &str = "model.safetensors";
/// The file name of an encoder's weights in 8 bits. It is not [`WEIGHTS_FILE`], so that programs that expect floats find no weights,
/// rather than wrong ones.
pub const INT8_WEIGHTS_FILE: &str = "model.int8.safetensors";
/// The file name of the head's weights in a model folder.
pub const HEAD_FILE: &str = "head.safetensors";
/// The file name of the description of task, labels and texts in a model folder.
pub const DESCRIPTION_FILE: &str = "newsbert.json";

/// The list of modules in a sentence-transformers folder.
pub const MODULES_FILE: &str = "modules.json";
/// The configuration of the pooling in a sentence-transformers folder, in most of them.
pub const POOLING_FILE: &str = "1_Pooling/config.json";
/// The settings of the encoder in a sentence-transformers folder.
pub const SENTENCE_FILE: &str = "sentence_bert_config.json";
/// The settings that hold for a whole sentence-transformers model, such as its prompts.
pub const LIBRARY_FILE: &str = "config_sentence_transformers.json";

/// The index of weights in several safetensors files.
pub(crate) const INDEX_FILE: &str = "model.safetensors.index.json";
/// Weights as `torch.save` writes them.
pub(crate) const PICKLE_FILE: &str = "pytorch_model.bin";
/// The index of weights in several files of `torch.save`.
pub(crate) const PICKLE_INDEX_FILE: &str = "pytorch_model.bin.index.json";

/// Returns true if `name` can safely be part of a path: it consists of letters, digits, `-`, `_` and `.`, and does not
/// start with a dot.
pub(crate) fn is_plain_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_the_folder_are_not_plain() {
        for name in ["", ".", "..", "../a", "a/b", ".hidden", "a\\b", "a\0"] {
            assert!(!is_plain_name(name), "{name:?}");
        }
        assert!(is_plain_name("9a12-x.y_z"));
    }
}

//! Hugging Face checkpoints of BERT as plain data: the files of a model folder, read and written without a tensor
//! library.
//!
//! * [`BertConfig`]: the configuration in `config.json`.
//! * [`Family`]: BERT and the models with its layers and other names: RoBERTa, XLM-R, CamemBERT, DistilBERT and ELECTRA.
//! * [`parameter_layout`], [`Layout`]: the names and shapes of a BERT's parameters, and their order in one buffer.
//! * [`SavedEncoder`], [`Weights`]: the weights of a folder, in one file or in several.
//! * [`TensorFile`], [`TensorBytes`]: the tensors of a safetensors file or of a file of `torch.save`, as checked byte
//!   slices. Pickles are read without running their code.
//! * [`FloatTensors`]: the numbers of weights of any floating-point type, as f32.
//! * [`Header`], [`write_tensor_file`], [`serialize`]: writers of safetensors files.
//! * [`TensorIndex`]: the header of a safetensors file whose tensors stay on disk.
//! * [`SavedClassifier`]: the labels and the head of a model that was fine-tuned elsewhere.
//! * [`Description`]: the task and the head of a trained model, in `newsbert.json`.
//! * [`SentenceModules`], [`SentenceDense`], [`write_sentence_modules`]: the modules of a sentence-transformers folder.
//! * [`CheckpointLocation`]: a folder, or a repository `hf:owner/name` on the hub, also at a revision.
//!
//! Weights have one of four forms, of which the first that a folder has is used:
//!
//! | file | format |
//! | --- | --- |
//! | `model.safetensors` | safetensors |
//! | `model.safetensors.index.json` | several safetensors files |
//! | `pytorch_model.bin` | `torch.save`, since PyTorch 1.6 or before |
//! | `pytorch_model.bin.index.json` | several files of `torch.save` |
//!
//! The sizes that a file claims are compared with its length before memory is allocated for them. The crate is
//! independent of libtorch, tokenizers, training and the configuration of a run.

mod bytes;
mod classifier;
mod config;
mod contents;
mod description;
mod encoder;
mod error;
mod family;
mod files;
mod finite;
mod float_tensors;
mod head;
mod header;
#[cfg(feature = "hub")]
mod hub;
mod label_kind;
mod layout;
mod location;
mod names;
mod parameters;
mod repository;
mod sentence_transformers;
mod tensor_bytes;
mod tensor_file;
mod tensor_index;
mod tensor_table;
mod torch;
mod view;
mod weight_files;
mod weights;

pub use classifier::{ClassifierParameters, DenseParameters, SavedClassifier};
pub use config::{Activation, BertConfig, ConfigDifference};
pub use description::{ArticleField, Description, Truncation, Windows};
pub use encoder::SavedEncoder;
pub use error::CheckpointError;
pub use family::{Classifier, ClassifierActivation, Family};
pub use files::{
    CONFIG_FILE, DESCRIPTION_FILE, HEAD_FILE, INT8_WEIGHTS_FILE, LIBRARY_FILE, MODULES_FILE, POOLING_FILE,
    SENTENCE_FILE, WEIGHTS_FILE,
};
pub use finite::count_non_finite;
pub use float_tensors::{FloatTensors, Int8Rows, SCALE_SUFFIX};
pub use head::{HeadDescription, POOLING_QUERY, PoolingKind, ScaleKind, ScoreKind};
pub use header::{Header, serialize, write_tensor_file};
#[cfg(feature = "hub")]
pub use hub::QUIET_CLIENT;
pub use label_kind::LabelKind;
pub use layout::{Layout, Slot};
pub use location::{CheckpointLocation, mirror_folder};
pub use parameters::{
    EMBEDDING_NORM, EMBEDDING_PROJECTION, POSITION_EMBEDDINGS, SEGMENT_EMBEDDINGS, WORD_EMBEDDINGS, layers_start,
    parameter_count, parameter_layout,
};
pub use safetensors::Dtype;
pub use sentence_transformers::{
    DenseActivation, ModuleFiles, SentenceDense, SentenceModules, module_files, write_sentence_modules,
};
pub use tensor_bytes::TensorBytes;
pub use tensor_file::TensorFile;
pub use tensor_index::{TensorIndex, TensorPlace};
pub use tensor_table::TensorTable;
pub use weight_files::weight_files;
pub use weights::Weights;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

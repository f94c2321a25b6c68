//! A model folder with the modules of sentence-transformers.

use std::path::Path;

use nb_checkpoint::{SavedEncoder, write_sentence_modules};

use crate::error::ExportError;
use crate::model_folder::{CARD_FILE, MODEL_FILES, TOKENIZER_FILES, copy_files, describe, stage};

/// Copies the model folder of a run to `output` and writes the files by which
/// `SentenceTransformer(output)` computes the vectors of the model ([`write_sentence_modules`]): for folders of runs before
/// `nb train` wrote these files, and for folders from which they were deleted. A model with attentive pooling needs
/// `trust_remote_code=True`.
///
/// `output` must not exist, or be an empty folder; it appears complete or not at all.
///
/// ```no_run
/// nb_export::sentence_transformers("runs/news/student".as_ref(), "news-vectors".as_ref())?;
/// # Ok::<(), nb_export::ExportError>(())
/// ```
///
/// # Errors
/// If `model` is not the model folder of a run or its files do not fit each other, if `output` is not empty or is `model`
/// itself, or if a file cannot be written.
pub fn sentence_transformers(model: &Path, output: &Path) -> Result<(), ExportError> {
    let description = describe(model)?;
    drop(SavedEncoder::read(model)?); // an error if the encoder is missing
    let staged = stage(model, output)?;
    for names in [&MODEL_FILES[..], &TOKENIZER_FILES, &[CARD_FILE]] {
        copy_files(model, staged.path(), names)?;
    }
    write_sentence_modules(staged.path(), &description)?;
    staged.sync_and_commit().map_err(ExportError::write(output))
}

//! The model folder of a run as the source of an export, and the checks of its target.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use nb_checkpoint::{CONFIG_FILE, DESCRIPTION_FILE, Description, HEAD_FILE, WEIGHTS_FILE};
use nb_files::StagedFolder;

use crate::error::ExportError;

/// The files of a tokenizer. A folder has some of them.
pub(crate) const TOKENIZER_FILES: [&str; 5] =
    ["tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json", "added_tokens.json"];
/// The files of a model beside its tokenizer and its card.
pub(crate) const MODEL_FILES: [&str; 4] = [CONFIG_FILE, WEIGHTS_FILE, HEAD_FILE, DESCRIPTION_FILE];
/// The model card.
pub(crate) const CARD_FILE: &str = "README.md";

/// Reads the description of the model folder of a run.
///
/// # Errors
/// If the folder has none, or if the file cannot be used.
pub(crate) fn describe(model: &Path) -> Result<Description, ExportError> {
    Description::read(model)?.ok_or_else(|| ExportError::NotAModel { path: model.to_owned() })
}

/// Starts the folder `output`, which must not exist or be empty, and must not be the model folder.
///
/// # Errors
/// If the output does not fit, or if no folder can be created beside it.
pub(crate) fn stage(model: &Path, output: &Path) -> Result<StagedFolder, ExportError> {
    let path = || output.to_owned();
    match fs::read_dir(output) {
        Ok(mut entries) => {
            if let (Ok(model), Ok(output)) = (fs::canonicalize(model), fs::canonicalize(output))
                && model == output
            {
                return Err(ExportError::SameFolder { path: path() });
            }
            if entries.next().is_some() {
                return Err(ExportError::Occupied { path: path() });
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) if error.kind() == ErrorKind::NotADirectory => return Err(ExportError::Occupied { path: path() }),
        Err(error) => return Err(ExportError::read(output)(error)),
    }
    StagedFolder::create(output).map_err(ExportError::write(output))
}

/// Copies those of the files `names` that the model folder has.
///
/// # Errors
/// If a file cannot be read or written.
pub(crate) fn copy_files(model: &Path, target: &Path, names: &[&str]) -> Result<(), ExportError> {
    for name in names {
        let (from, to) = (model.join(name), target.join(name));
        match fs::copy(&from, &to) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            // `copy` does not say which of the files failed; the source can be opened or not.
            Err(error) => {
                return Err(match fs::File::open(&from) {
                    Ok(_) => ExportError::write(&to)(error),
                    Err(error) => ExportError::read(&from)(error),
                });
            }
        }
    }
    Ok(())
}

//! The model folder of a run as the source of an export, and the checks of its target.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use nb_checkpoint::{
    CONFIG_FILE, DESCRIPTION_FILE, Description, HEAD_FILE, LIBRARY_FILE, MODULES_FILE, SENTENCE_FILE, WEIGHTS_FILE,
    module_files,
};
use nb_files::StagedFolder;

use crate::error::ExportError;

/// The files of a tokenizer. A folder has some of them.
pub(crate) const TOKENIZER_FILES: [&str; 8] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "special_tokens_map.json",
    "added_tokens.json",
];
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

/// Copies the files by which sentence-transformers computes vectors, with the parameters of modules, if the model folder has them.
///
/// # Errors
/// If a file cannot be read or written.
pub(crate) fn copy_modules(model: &Path, target: &Path) -> Result<(), ExportError> {
    copy_files(model, target, &[MODULES_FILE, SENTENCE_FILE, LIBRARY_FILE])?;
    let files = module_files(model);
    for file in files.configs.into_iter().chain(files.weights.into_iter().flatten()) {
        let path = target.join(&file);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(ExportError::write(folder))?;
        }
        copy_files(model, target, &[&file])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{Place, names};

    #[test]
    fn an_output_that_holds_something_is_refused_and_unchanged() {
        let place = Place::new("topic", json!({"pooling": "cls"}));
        let (model, output) = (place.model(), place.output());
        let error = |output: &Path| stage(&model, output).unwrap_err();
        assert!(matches!(error(&model), ExportError::SameFolder { .. }));
        assert!(matches!(error(&model.join("..").join("student")), ExportError::SameFolder { .. }));
        assert!(matches!(error(&model.join("vocab.txt")), ExportError::Occupied { .. }));
        fs::create_dir(&output).unwrap();
        fs::write(output.join("mine"), "x").unwrap();
        let found = error(&output);
        assert!(matches!(found, ExportError::Occupied { .. }));
        assert!(found.to_string().ends_with("output exists and is not an empty folder; remove it or name another"));
        assert_eq!(names(&output), ["mine"]);
        assert!(matches!(error(&output.join("no/where")), ExportError::Write { .. }));
        assert_eq!(place.names(), ["output", "student"]);

        fs::remove_file(output.join("mine")).unwrap();
        stage(&model, &output).unwrap().sync_and_commit().unwrap(); // an empty folder is replaced
        assert_eq!(place.names(), ["output", "student"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_to_the_model_folder_is_the_model_folder() {
        let place = Place::new("topic", json!({"pooling": "cls"}));
        std::os::unix::fs::symlink(place.model(), place.output()).unwrap();
        assert!(matches!(stage(&place.model(), &place.output()), Err(ExportError::SameFolder { .. })));
    }

    #[test]
    fn missing_files_are_skipped_and_unreadable_ones_named() {
        let place = Place::new("topic", json!({"pooling": "cls"}));
        fs::create_dir(place.output()).unwrap();
        copy_files(&place.model(), &place.output(), &["vocab.txt", "added_tokens.json"]).unwrap();
        assert_eq!(names(&place.output()), ["vocab.txt"]);
        fs::create_dir(place.model().join("added_tokens.json")).unwrap();
        let error = copy_files(&place.model(), &place.output(), &["added_tokens.json"]).unwrap_err();
        assert!(error.to_string().contains("added_tokens.json"), "{error}");
    }
}

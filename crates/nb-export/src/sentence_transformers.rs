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

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;
    use crate::testing::{Place, counting, json_file, names, read_tensors};

    #[test]
    fn the_copy_has_the_models_files_and_the_modules() {
        let place = Place::new("topic", json!({"pooling": "attentive", "score": "cosine", "projection": 3}));
        sentence_transformers(&place.model(), &place.output()).unwrap();
        let output = place.output();
        let expected = [
            "1_Pooling",
            "2_Dense",
            "README.md",
            "config.json",
            "head.safetensors",
            "model.safetensors",
            "modules.json",
            "newsbert.json",
            "newsbert_pooling.py",
            "sentence_bert_config.json",
            "tokenizer.json",
            "vocab.txt",
        ];
        assert_eq!(names(&output), expected, "other files of the folder stay where they are");
        for name in names(&place.model()).iter().filter(|name| *name != "notes.txt") {
            assert!(fs::read(output.join(name)).unwrap() == fs::read(place.model().join(name)).unwrap(), "{name}");
        }
        let paths: Vec<_> = json_file(&output.join("modules.json"))
            .as_array()
            .unwrap()
            .iter()
            .map(|module| module["path"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(paths, ["", "1_Pooling", "2_Dense", "3_Normalize"]);
        let dense = read_tensors(&output.join("2_Dense/model.safetensors"));
        assert_eq!(dense["linear.weight"].0, [3, 4]);
        assert_eq!(dense["linear.weight"].1.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>(), counting(12));
        // A copy can be copied.
        sentence_transformers(&output, &output.with_file_name("again")).unwrap();
        assert_eq!(names(&output.with_file_name("again")), expected);
    }

    #[test]
    fn a_folder_that_is_no_model_is_refused_and_nothing_is_written() {
        let place = Place::new("retrieve", json!({"pooling": "attentive"}));
        let error = || sentence_transformers(&place.model(), &place.output()).unwrap_err();
        fs::remove_file(place.model().join("head.safetensors")).unwrap();
        assert!(error().to_string().ends_with("head.safetensors"), "{}", error());
        fs::write(place.model().join("head.safetensors"), "damaged").unwrap();
        assert!(error().to_string().contains("is not a complete safetensors file"), "{}", error());
        fs::remove_file(place.model().join("model.safetensors")).unwrap();
        assert!(error().to_string().ends_with("model.safetensors"), "{}", error());
        fs::remove_file(place.model().join("newsbert.json")).unwrap();
        assert!(matches!(error(), ExportError::NotAModel { .. }));
        assert_eq!(place.names(), ["student"]);
    }
}

//! A model folder with an encoder in 8 bits.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use nb_checkpoint::{
    BertConfig, CONFIG_FILE, Description, Dtype, FloatTensors, HEAD_FILE, Header, INT8_WEIGHTS_FILE, MODULES_FILE,
    SCALE_SUFFIX, SavedEncoder, Slot, TensorFile, WORD_EMBEDDINGS, parameter_layout, write_tensor_file,
};
use nb_kernels::gemm::{Int8Linear, Int8Weights, Matrix};

use crate::error::ExportError;
use crate::model_folder::{CARD_FILE, MODEL_FILES, TOKENIZER_FILES, copy_files, copy_modules, stage};

/// The model card: that of the model describes files that the folder does not have.
const CARD: &str = include_str!("int8_card.md");

/// Copies a model folder to `output`, with an encoder in 8 bits: a folder about a quarter the size, which `nb-infer` maps into memory.
///
/// The matrices of the layers and the embeddings of words are quantised row by row, W_r ≈ s_r · w with w from −127 to 127 and
/// s_r = max|W_r| / 127, exactly as `nb-infer` quantises the layers of a folder in f32. A matrix `x` is a tensor `x` of 8 bits and a
/// tensor `x_scale` of one f32 per row, in `model.int8.safetensors`. Biases, LayerNorm, the embeddings of positions and segments, and
/// the head stay in f32. Programs other than `nb` find no `model.safetensors` and fail, rather than read wrong numbers.
///
/// `output` must not exist, or be an empty folder; it appears complete or not at all.
///
/// ```no_run
/// nb_export::int8("runs/news/student".as_ref(), "news-int8".as_ref())?;
/// # Ok::<(), nb_export::ExportError>(())
/// ```
///
/// # Errors
/// If a file of the model cannot be used, if the folder does not say how to pool, if `output` is not empty or is `model` itself, or
/// if a file cannot be written.
pub fn int8(model: &Path, output: &Path) -> Result<(), ExportError> {
    let encoder = SavedEncoder::read(model)?;
    let (config, tensors) = encoder.float_tensors()?;
    check_width(model, &config)?;
    let description = Description::read(model)?;
    match &description {
        Some(_) => drop(TensorFile::read(&model.join(HEAD_FILE))?.tensors()?), // an error if the head is missing or damaged
        None if model.join(MODULES_FILE).is_file() => {}
        None => return Err(ExportError::NoPooling { path: model.to_owned() }),
    }
    let staged = stage(model, output)?;
    write_weights(&staged.path().join(INT8_WEIGHTS_FILE), &config, &tensors)?;
    let files = MODEL_FILES.iter().filter(|name| !tensors.path().ends_with(name)).copied();
    copy_files(model, staged.path(), &files.chain(TOKENIZER_FILES).collect::<Vec<_>>())?;
    let card = staged.path().join(CARD_FILE);
    fs::write(&card, CARD).map_err(ExportError::write(&card))?;
    if description.is_none() {
        copy_modules(model, staged.path())?; // a description says all that modules would
    }
    staged.sync_and_commit().map_err(ExportError::write(output))
}

/// Checks that the rows of all matrices are short enough for sums in i32.
fn check_width(model: &Path, config: &BertConfig) -> Result<(), ExportError> {
    let widths = [("hidden_size", config.hidden_size), ("intermediate_size", config.intermediate_size)];
    match widths.into_iter().find(|(_, width)| width.unsigned_abs() as usize > Int8Linear::MAX_INPUTS) {
        None => Ok(()),
        Some((key, width)) => Err(ExportError::Value {
            path: model.join(CONFIG_FILE),
            key,
            found: width.to_string(),
            expected: format!("at most {} in 8 bits", Int8Linear::MAX_INPUTS),
        }),
    }
}

/// Returns true for the matrices that are quantised: those of layers, and the embeddings of words.
fn is_quantised(slot: &Slot) -> bool {
    slot.name == WORD_EMBEDDINGS || slot.name.starts_with("encoder.") && slot.shape.len() == 2
}

fn write_weights(path: &Path, config: &BertConfig, tensors: &FloatTensors<'_>) -> Result<(), ExportError> {
    let layout = parameter_layout(config);
    let shape = |slot: &Slot| slot.shape.iter().map(|size| size.unsigned_abs() as usize).collect::<Vec<_>>();
    let mut header = Header::of_model();
    for slot in layout.slots() {
        let (name, shape) = (config.family.saved_name(&slot.name), shape(slot));
        if is_quantised(slot) {
            header.push(&name, Dtype::I8, &shape);
            header.push(&format!("{name}{SCALE_SUFFIX}"), Dtype::F32, &shape[..1]);
        } else {
            header.push(&name, Dtype::F32, &shape);
        }
    }
    // Numbers are converted one tensor at a time; the closure of the writer can only fail with errors of the system.
    let mut parts = Vec::new();
    for slot in layout.slots() {
        let (shape, numbers) = (shape(slot), tensors.get(&slot.name, &shape(slot))?);
        parts.push(if is_quantised(slot) {
            Part::Int8(Int8Weights::quantise(Matrix { entries: &numbers, columns: shape[1] }))
        } else {
            Part::F32(numbers)
        });
    }
    Ok(write_tensor_file(path, &header, |out| parts.iter().try_for_each(|part| part.write(out)))?)
}

/// The bytes of a parameter.
enum Part {
    F32(Vec<f32>),
    Int8(Int8Weights),
}

impl Part {
    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let floats = match self {
            Self::F32(numbers) => numbers,
            Self::Int8(Int8Weights { entries, scales }) => {
                out.write_all(&entries.iter().map(|entry| entry.cast_unsigned()).collect::<Vec<_>>())?;
                scales
            }
        };
        floats.iter().try_for_each(|number| out.write_all(&number.to_le_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use nb_checkpoint::{DESCRIPTION_FILE, WEIGHTS_FILE};
    use serde_json::json;

    use super::*;
    use crate::testing::{Place, names};

    #[test]
    fn matrices_are_within_half_a_step_and_the_rest_is_the_same() {
        let place = Place::new("topic", json!({"pooling": "cls"}));
        int8(&place.model(), &place.output()).unwrap();
        let expected = ["README.md", "config.json", "head.safetensors", INT8_WEIGHTS_FILE, "newsbert.json"];
        let found = names(&place.output());
        assert!(expected.iter().all(|name| found.iter().any(|found| found == name)), "{found:?}");
        assert!(!found.iter().any(|name| name == WEIGHTS_FILE));

        let (before, after) = (SavedEncoder::read(&place.model()), SavedEncoder::map(&place.output()));
        let (before, after) = (before.unwrap(), after.unwrap());
        let (config, after) = after.float_tensors().unwrap();
        let before = FloatTensors::of_encoder(&before.weights, config.family).unwrap();
        let mut quantised = 0;
        for slot in parameter_layout(&config).slots() {
            let shape: Vec<usize> = slot.shape.iter().map(|&size| size as usize).collect();
            let (exact, found) = (before.get(&slot.name, &shape).unwrap(), after.get(&slot.name, &shape).unwrap());
            if !is_quantised(slot) {
                assert_eq!(exact, found, "{}", slot.name);
                continue;
            }
            quantised += 1;
            for (exact, found) in exact.chunks_exact(shape[1]).zip(found.chunks_exact(shape[1])) {
                let step = exact.iter().fold(0.0_f32, |most, x| most.max(x.abs())) / 127.0;
                assert!(exact.iter().zip(found).all(|(a, b)| (a - b).abs() <= 0.5001 * step), "{}", slot.name);
            }
        }
        assert_eq!(quantised, 1 + 6 * config.num_hidden_layers as usize);
    }

    #[test]
    fn the_files_of_modules_are_copied_with_their_parameters() {
        let place = Place::new("topic", json!({"pooling": "cls"}));
        let model = place.model();
        fs::remove_file(model.join(DESCRIPTION_FILE)).unwrap();
        let modules = json!([{"path": "", "type": "a.Transformer"}, {"path": "1_Pooling", "type": "a.Pooling"},
            {"path": "2_Dense", "type": "a.Dense"}, {"path": "3_Dense", "type": "a.Dense"},
            {"path": "4_Dropout", "type": "a.Dropout"}, {"path": "5_Normalize", "type": "a.Normalize"}]);
        fs::write(model.join(MODULES_FILE), modules.to_string()).unwrap();
        let files = [
            "config_sentence_transformers.json",
            "sentence_bert_config.json",
            "1_Pooling/config.json",
            "2_Dense/config.json",
            "2_Dense/model.safetensors",
            "3_Dense/config.json",
            "3_Dense/pytorch_model.bin",
            "4_Dropout/config.json",
            "5_Normalize/config.json",
        ];
        for file in files {
            fs::create_dir_all(model.join(file).parent().unwrap()).unwrap();
            fs::write(model.join(file), file).unwrap();
        }
        int8(&model, &place.output()).unwrap();
        for file in files {
            assert_eq!(fs::read_to_string(place.output().join(file)).unwrap(), file);
        }
        assert_eq!(names(&place.output().join("2_Dense")), ["config.json", "model.safetensors"]);
    }

    #[test]
    fn a_folder_that_is_no_model_is_refused_and_nothing_is_written() {
        let place = Place::new("topic", json!({"pooling": "cls"}));
        int8(&place.model(), &place.output()).unwrap();
        let again = place.output().with_file_name("again");
        let error = int8(&place.output(), &again).unwrap_err().to_string();
        assert!(error.contains("its weights are in 8 bits"), "{error}");
        fs::write(place.model().join(HEAD_FILE), "damaged").unwrap();
        assert!(int8(&place.model(), &again).unwrap_err().to_string().contains("is not a complete safetensors file"));
        fs::remove_file(place.model().join(DESCRIPTION_FILE)).unwrap();
        assert!(matches!(int8(&place.model(), &again), Err(ExportError::NoPooling { .. })));
        assert_eq!(place.names(), ["output", "student"]);
    }
}

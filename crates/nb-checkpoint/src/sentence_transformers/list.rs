//! The list of modules in `modules.json`, and the files that they consist of.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::json::read_json;
use crate::error::CheckpointError;
use crate::files::{CONFIG_FILE, MODULES_FILE, PICKLE_FILE, WEIGHTS_FILE, is_plain_name};

/// The names of a Dense module's weights in its folder, of which the first that exists is used, as in the library.
pub(super) const MODULE_WEIGHTS: [&str; 2] = [WEIGHTS_FILE, PICKLE_FILE];
/// The modules that this project computes.
const KNOWN: [&str; 5] = ["Transformer", "Pooling", "Dense", "Dropout", "Normalize"];
/// The modules that cannot be without a folder.
const WITH_FOLDER: [&str; 2] = ["Pooling", "Dense"];

/// An entry of `modules.json`.
#[derive(Debug, Deserialize)]
pub(super) struct Module {
    pub(super) path: String,
    #[serde(rename = "type")]
    class: String,
}

impl Module {
    /// The name of the class without its Python module, which differs among versions.
    fn class_name(&self) -> &str {
        self.class.rsplit('.').next().unwrap_or_default()
    }

    /// Returns true if the module's path stays in the folder.
    pub(super) fn has_plain_path(&self) -> bool {
        self.path.split('/').all(is_plain_name)
    }

    fn lacks_folder(&self) -> bool {
        WITH_FOLDER.contains(&self.class_name()) && !self.has_plain_path()
    }
}

/// The modules after the encoder, in the one order that is supported. Dropout is not among them: it changes nothing at
/// inference.
#[derive(Debug)]
pub(super) struct Chain {
    pub(super) pooling: Module,
    pub(super) dense: Vec<Module>,
    pub(super) normalize: Option<Module>,
}

impl Chain {
    /// Reads the modules of a folder; `None` if it has no `modules.json`.
    ///
    /// # Errors
    /// If the file cannot be read, or if it lists other modules or another order.
    pub(super) fn read(folder: &Path) -> Result<Option<Self>, CheckpointError> {
        let path = folder.join(MODULES_FILE);
        let Some(modules) = read_json::<Vec<Module>>(&path)? else { return Ok(None) };
        if !is_supported(&modules) {
            return Err(unsupported(path, &modules));
        }
        let mut rest: Vec<Module> = modules.into_iter().filter(|module| module.class_name() != "Dropout").collect();
        let normalize = rest.pop_if(|last| last.class_name() == "Normalize");
        let dense = rest.split_off(2);
        Ok(rest.pop().map(|pooling| Self { pooling, dense, normalize }))
    }
}

/// Returns true for an encoder in the folder itself, a pooling, Dense modules and at most one normalisation, with Dropout
/// anywhere after the pooling.
fn is_supported(modules: &[Module]) -> bool {
    let [encoder, pooling, rest @ ..] = modules else { return false };
    let mut rest: Vec<&str> = rest.iter().map(Module::class_name).filter(|name| *name != "Dropout").collect();
    rest.pop_if(|last| *last == "Normalize");
    encoder.class_name() == "Transformer"
        && encoder.path.is_empty()
        && pooling.class_name() == "Pooling"
        && rest.iter().all(|name| *name == "Dense")
        && !modules.iter().any(Module::lacks_folder)
}

/// Returns the error for a list of modules that this project does not compute. It names the first module that does not fit.
fn unsupported(path: PathBuf, modules: &[Module]) -> CheckpointError {
    const EXPECTED: &str = "expected Transformer, Pooling, Dense, Dropout and Normalize";
    let encoder = modules.first().filter(|first| first.class_name() == "Transformer" && !first.path.is_empty());
    let found = if let Some(module) = modules.iter().find(|module| !KNOWN.contains(&module.class_name())) {
        format!("the module `{}`, {EXPECTED}", module.class_name())
    } else if let Some(Module { path, .. }) = encoder {
        format!("the encoder at the path `{path}`, expected it in the folder itself, with the path ``")
    } else if let Some(Module { path, .. }) = modules.iter().find(|module| module.lacks_folder()) {
        format!("the path `{path}`, expected a folder inside this one")
    } else {
        let names: Vec<&str> = modules.iter().map(Module::class_name).collect();
        format!("the modules [{}], {EXPECTED}, in this order", names.join(", "))
    };
    CheckpointError::Module { path, found }
}

/// The files of the modules after the encoder, relative to the folder. Some of them may not exist.
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let modules = r#"[{"path": "", "type": "sentence_transformers.models.Transformer"},
///     {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
///     {"path": "2_Dense", "type": "sentence_transformers.models.Dense"}]"#;
/// std::fs::write(folder.path().join("modules.json"), modules)?;
/// let files = nb_checkpoint::module_files(folder.path());
/// assert_eq!(files.configs, ["1_Pooling/config.json", "2_Dense/config.json"]);
/// assert_eq!(files.weights, [["2_Dense/model.safetensors", "2_Dense/pytorch_model.bin"]]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModuleFiles {
    /// The configurations.
    pub configs: Vec<String>,
    /// The weights of each Dense module. Of two names, the first that exists is used.
    pub weights: Vec<[String; 2]>,
}

/// Returns the files of the modules after the encoder; none if `modules.json` is missing or damaged, which
/// [`SentenceModules::read`](crate::SentenceModules::read) reports. Paths that leave the folder are skipped.
pub fn module_files(folder: &Path) -> ModuleFiles {
    let modules = read_json::<Vec<Module>>(&folder.join(MODULES_FILE)).ok().flatten().unwrap_or_default();
    let mut files = ModuleFiles::default();
    for module in modules.iter().filter(|module| module.has_plain_path() && KNOWN[1..].contains(&module.class_name())) {
        let file = |name: &str| format!("{}/{name}", module.path);
        files.configs.push(file(CONFIG_FILE));
        if module.class_name() == "Dense" {
            files.weights.push(MODULE_WEIGHTS.map(file));
        }
    }
    files
}

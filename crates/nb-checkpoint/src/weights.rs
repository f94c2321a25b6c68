//! The weights of an encoder: one file, or several with an index.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::error::CheckpointError;
use crate::family::Family;
use crate::names::{encoder_names, ignored};
use crate::tensor_bytes::TensorBytes;
use crate::tensor_file::TensorFile;
use crate::weight_files::ShardIndex;

/// The weights of an encoder: one [`TensorFile`], or several with an index, of which those with tensors of the encoder are
/// opened when its tensors are requested.
///
/// ```
/// use nb_checkpoint::{Dtype, Family, TensorBytes, TensorFile, Weights, serialize};
/// let tensor = |name: &str| TensorBytes { name: name.into(), dtype: Dtype::U8, shape: vec![1], bytes: &[7] };
/// let path = "model.safetensors".as_ref();
/// let tensors = vec![tensor("bert.embeddings.LayerNorm.gamma"), tensor("classifier.bias")];
/// let weights = Weights::from(TensorFile::new(path, serialize(path, &Default::default(), tensors)?));
/// let tensors = weights.encoder_tensors(Family::Bert)?;
/// assert_eq!((tensors.len(), tensors[0].name.as_str()), (1, "embeddings.LayerNorm.weight"));
/// # Ok::<(), nb_checkpoint::CheckpointError>(())
/// ```
#[derive(Debug)]
pub struct Weights(Files);

#[derive(Debug)]
enum Files {
    One(TensorFile),
    Shards(Shards),
}

/// Weights in several files.
#[derive(Debug)]
struct Shards {
    index: ShardIndex,
    opening: Opening,
    /// The files that the index names.
    files: BTreeMap<String, OnceLock<TensorFile>>,
}

/// The way to open files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opening {
    Read,
    Map,
}

impl Opening {
    pub(crate) fn open(self, path: &Path) -> Result<TensorFile, CheckpointError> {
        match self {
            Self::Read => TensorFile::read(path),
            Self::Map => TensorFile::map(path),
        }
    }
}

impl From<TensorFile> for Weights {
    fn from(file: TensorFile) -> Self {
        Self(Files::One(file))
    }
}

impl Weights {
    /// Returns the weights that an index describes, without opening their files.
    pub(crate) fn of_index(index: ShardIndex, opening: Opening) -> Self {
        let files = index.files().into_iter().map(|file| (file.to_owned(), OnceLock::new())).collect();
        Self(Files::Shards(Shards { index, opening, files }))
    }

    /// Returns the path of the file, or of the index of several files.
    pub fn path(&self) -> &Path {
        match &self.0 {
            Files::One(file) => file.path(),
            Files::Shards(shards) => &shards.index.path,
        }
    }

    /// Returns the tensors of the encoder under their current names in `BertModel`. The files have the names of `family`; they may use
    /// the family's prefix and, for LayerNorm's parameters, the old names `gamma` and `beta`. Tensors outside the encoder are skipped,
    /// and unusual ones are logged. Of several files, those that have no tensor of the encoder are not opened.
    ///
    /// # Errors
    /// If a file is truncated, malformed, or a pickle with more than tensors and containers; if one that the index names
    /// is missing or lacks a tensor; or if a tensor is there twice.
    pub fn encoder_tensors(&self, family: Family) -> Result<Vec<TensorBytes<'_>>, CheckpointError> {
        let names = self.names()?;
        let renamed = encoder_names(&names, family);
        if let Some(message) = ignored(&names, &renamed, family) {
            tracing::info!("{}: {message}", self.path().display());
        }
        let (mut tensors, mut seen) = (Vec::with_capacity(names.len()), HashSet::new());
        for (name, new_name) in names.into_iter().zip(renamed) {
            let Some(new_name) = new_name else { continue };
            if !seen.insert(new_name.clone()) {
                return Err(
                    self.damaged(format!("tensor {new_name} is there twice, under an old and its current name"))
                );
            }
            let tensor = self.get(name)?;
            tensors.push(TensorBytes { name: new_name, ..tensor });
        }
        if let Files::Shards(shards) = &self.0 {
            shards.check_opened()?;
        }
        Ok(tensors)
    }

    /// Returns the tensors of these names.
    pub(crate) fn tensors(&self, names: &[String]) -> Result<Vec<TensorBytes<'_>>, CheckpointError> {
        names.iter().map(|name| self.get(name)).collect()
    }

    /// Returns an error about the content of the file, or about the index of several files.
    pub fn damaged(&self, found: impl Into<String>) -> CheckpointError {
        match &self.0 {
            Files::One(file) => file.damaged(found),
            Files::Shards(shards) => shards.index.error(found.into()),
        }
    }

    /// Returns the files that were opened.
    pub(crate) fn opened(&self) -> impl Iterator<Item = &TensorFile> {
        let (one, shards) = match &self.0 {
            Files::One(file) => (Some(file), None),
            Files::Shards(shards) => (None, Some(shards)),
        };
        one.into_iter().chain(shards.into_iter().flat_map(Shards::opened))
    }

    /// Returns the names of all tensors, sorted.
    fn names(&self) -> Result<Vec<&str>, CheckpointError> {
        match &self.0 {
            Files::One(file) => file.names(),
            Files::Shards(shards) => Ok(shards.index.places.keys().map(String::as_str).collect()),
        }
    }

    /// Returns one of the tensors.
    fn get(&self, name: &str) -> Result<TensorBytes<'_>, CheckpointError> {
        match &self.0 {
            Files::One(file) => file.get(name)?.ok_or_else(|| file.damaged(format!("tensor {name} is missing"))),
            Files::Shards(shards) if shards.index.places.contains_key(name) => shards.get(name),
            Files::Shards(shards) => Err(shards.index.error(format!("tensor {name} is missing"))),
        }
    }
}

impl Shards {
    fn get(&self, name: &str) -> Result<TensorBytes<'_>, CheckpointError> {
        let file_name = &self.index.places[name];
        let file = self.open(name, file_name)?;
        file.get(name)?.ok_or_else(|| {
            let expected = format!("tensor {name} is in {file_name}");
            self.index.error(format!("{expected}, but this file lacks it"))
        })
    }

    /// Opens a file unless it is open.
    fn open(&self, tensor: &str, name: &str) -> Result<&TensorFile, CheckpointError> {
        let cell = &self.files[name];
        if let Some(file) = cell.get() {
            return Ok(file);
        }
        let path: PathBuf = self.index.path.with_file_name(name);
        if !path.is_file() {
            return Err(self.index.error(format!("tensor {tensor} is in {name}, but there is no such file")));
        }
        let file = self.opening.open(&path)?;
        Ok(cell.get_or_init(|| file))
    }

    fn opened(&self) -> impl Iterator<Item = &TensorFile> {
        self.files.values().filter_map(OnceLock::get)
    }

    /// Checks that no file has a tensor that the index places in another one.
    fn check_opened(&self) -> Result<(), CheckpointError> {
        for (file_name, file) in self.files.iter().filter_map(|(name, cell)| Some((name, cell.get()?))) {
            for name in file.names()? {
                match self.index.places.get(name) {
                    Some(expected) if expected != file_name => {
                        let found = format!("tensor {name} is in {expected}, but also in {file_name}");
                        return Err(self.index.error(found));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use safetensors::Dtype;

    use super::*;
    use crate::header::serialize;

    /// A safetensors file with tensors of one byte, the first letter of their name.
    fn file(names: &[&str]) -> Vec<u8> {
        let tensor = |(name, bytes)| TensorBytes { name: String::from(name), dtype: Dtype::U8, shape: vec![1], bytes };
        let tensors = names.iter().map(|name| (*name, &name.as_bytes()[..1])).map(tensor).collect();
        serialize(Path::new("x"), &BTreeMap::new(), tensors).unwrap()
    }

    #[test]
    fn a_tensor_under_both_of_its_names_is_refused() {
        let names = ["embeddings.LayerNorm.gamma", "embeddings.LayerNorm.weight"];
        let file = TensorFile::new(Path::new("x"), file(&names));
        assert_eq!(file.tensors().unwrap().len(), 2);
        let error = Weights::from(file).encoder_tensors(Family::Bert).unwrap_err().to_string();
        assert!(error.contains("tensor embeddings.LayerNorm.weight is there twice"), "{error}");
    }

    #[test]
    fn encoder_tensors_have_their_current_names() {
        let names = ["bert.encoder.layer.0.x", "bert.embeddings.LayerNorm.gamma", "bert.pooler.dense.bias", "crf.x"];
        let file = TensorFile::new(Path::new("x"), file(&names));
        assert_eq!(file.tensors().unwrap().len(), 4);
        let weights = Weights::from(file);
        let found: Vec<String> =
            weights.encoder_tensors(Family::Bert).unwrap().into_iter().map(|tensor| tensor.name).collect();
        assert_eq!(found, ["embeddings.LayerNorm.weight", "encoder.layer.0.x"]);
    }

    const FIRST: &str = "model-00001-of-00003.safetensors";
    const SECOND: &str = "model-00002-of-00003.safetensors";
    const THIRD: &str = "model-00003-of-00003.safetensors";
    const INDEX: &str = r#"{"metadata": {"total_size": 3}, "weight_map": {
        "bert.embeddings.LayerNorm.gamma": "model-00001-of-00003.safetensors",
        "bert.encoder.layer.0.x": "model-00002-of-00003.safetensors",
        "classifier.bias": "model-00003-of-00003.safetensors"}}"#;

    /// Writes an index and files into a new folder.
    fn shards(index: &str, files: &[(&str, &[&str])]) -> (tempfile::TempDir, Result<Weights, CheckpointError>) {
        let folder = tempfile::tempdir().unwrap();
        files.iter().for_each(|(name, tensors)| fs::write(folder.path().join(name), file(tensors)).unwrap());
        let path = folder.path().join("model.safetensors.index.json");
        fs::write(&path, index).unwrap();
        let weights = ShardIndex::read(&path).map(|index| Weights::of_index(index, Opening::Map));
        (folder, weights)
    }

    #[test]
    fn only_shards_with_tensors_of_the_encoder_are_opened() {
        // The third file does not exist. A tensor that the index lacks is not there.
        let files: [(&str, &[&str]); 2] =
            [(FIRST, &["bert.embeddings.LayerNorm.gamma"]), (SECOND, &["bert.encoder.layer.0.x", "bert.encoder.y"])];
        let (_folder, weights) = shards(INDEX, &files);
        let weights = weights.unwrap();
        assert_eq!(weights.opened().count(), 0);
        let tensors = weights.encoder_tensors(Family::Bert).unwrap();
        let found: Vec<_> = tensors.iter().map(|tensor| (tensor.name.as_str(), tensor.bytes)).collect();
        assert_eq!(found, [("embeddings.LayerNorm.weight", &b"b"[..]), ("encoder.layer.0.x", b"b")]);
        assert_eq!(weights.opened().map(|file| file.path().file_name().unwrap()).collect::<Vec<_>>(), [FIRST, SECOND]);
        assert!(weights.path().ends_with("model.safetensors.index.json"));
    }

    #[test]
    fn shards_that_do_not_fit_their_index_are_refused() {
        let (gamma, x) = ("bert.embeddings.LayerNorm.gamma", "bert.encoder.layer.0.x");
        for (files, message) in [
            (vec![(FIRST, vec![gamma])], format!("tensor {x} is in {SECOND}, but there is no such file")),
            (
                vec![(FIRST, vec![gamma]), (SECOND, vec!["y"])],
                format!("tensor {x} is in {SECOND}, but this file lacks it"),
            ),
            (
                vec![(FIRST, vec![gamma, x]), (SECOND, vec![x])],
                format!("tensor {x} is in {SECOND}, but also in {FIRST}"),
            ),
            (
                vec![(FIRST, vec![gamma]), (SECOND, vec![x, "classifier.bias"])],
                format!("tensor classifier.bias is in {THIRD}, but also in {SECOND}"),
            ),
        ] {
            let files: Vec<(&str, &[&str])> = files.iter().map(|(name, tensors)| (*name, &tensors[..])).collect();
            let (_folder, weights) = shards(INDEX, &files);
            let error = weights.unwrap().encoder_tensors(Family::Bert).unwrap_err().to_string();
            assert!(error.ends_with(&format!("is not the index of a complete model: {message}")), "{error}");
        }
    }

    #[test]
    fn a_damaged_shard_is_named() {
        let (folder, weights) = shards(INDEX, &[(FIRST, &["bert.embeddings.LayerNorm.gamma"])]);
        fs::write(folder.path().join(SECOND), "no tensors").unwrap();
        let error = weights.unwrap().encoder_tensors(Family::Bert).unwrap_err().to_string();
        assert!(error.contains(SECOND) && error.contains("is not a complete safetensors file"), "{error}");
    }

    #[test]
    fn indices_that_are_damaged_or_leave_their_folder_are_refused() {
        for (index, message) in [
            ("", "EOF while parsing"),
            ("{}", "missing field `weight_map`"),
            (r#"{"weight_map": {"x": 1}}"#, "expected a string"),
            (
                r#"{"weight_map": {"x": "../x.safetensors"}}"#,
                "tensor x is in `../x.safetensors`, expected the name of a file",
            ),
            (r#"{"weight_map": {"x": "/x.safetensors"}}"#, "expected the name of a file"),
            (r#"{"weight_map": {"x": "a/x.safetensors"}}"#, "expected the name of a file"),
            (r#"{"weight_map": {"x": ".."}}"#, "expected the name of a file"),
        ] {
            let error = shards(index, &[]).1.unwrap_err().to_string();
            assert!(error.contains("model.safetensors.index.json") && error.contains(message), "{error}");
        }
    }

    #[test]
    fn an_index_without_tensors_has_none() {
        assert_eq!(shards(r#"{"weight_map": {}}"#, &[]).1.unwrap().encoder_tensors(Family::Bert).unwrap(), []);
    }
}

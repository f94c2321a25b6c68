//! The files of one checkpoint.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::state::Saved;
use crate::optim::ParamGroup;

const TENSORS: &str = "state.safetensors";
const STATE: &str = "state.json";
const MANIFEST: &str = "manifest.json";
/// The version of the checkpoint format.
const VERSION: u32 = 1;
/// The largest manifest that is read, in bytes.
const LONGEST_MANIFEST: u64 = 1 << 16;

/// `manifest.json`.
#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    version: u32,
    files: BTreeMap<String, Fingerprint>,
}

/// Size and hash of a file.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Fingerprint {
    bytes: u64,
    blake3: String,
}

/// Writes the files of a checkpoint; the manifest comes last.
pub(super) fn write(folder: &Path, saved: &Saved, groups: &[ParamGroup]) -> Result<()> {
    nb_model::write_tensors(&folder.join(TENSORS), &named(groups))?;
    let state = folder.join(STATE);
    fs::write(&state, serde_json::to_vec(saved)?).with_context(|| format!("cannot write {}", state.display()))?;
    let fingerprint = |name: &str| Ok((name.to_owned(), Fingerprint::of(&folder.join(name))?));
    let files = [TENSORS, STATE].map(fingerprint).into_iter().collect::<Result<_>>()?;
    let manifest = folder.join(MANIFEST);
    let bytes = serde_json::to_vec_pretty(&Manifest { version: VERSION, files })?;
    fs::write(&manifest, bytes).with_context(|| format!("cannot write {}", manifest.display()))
}

/// Verifies all files of a checkpoint and reads its state.
pub(super) fn read(folder: &Path) -> Result<Saved> {
    let mut text = Vec::new();
    let file = File::open(folder.join(MANIFEST)).with_context(|| format!("cannot read its {MANIFEST}"))?;
    file.take(LONGEST_MANIFEST).read_to_end(&mut text).with_context(|| format!("cannot read its {MANIFEST}"))?;
    let manifest: Manifest = serde_json::from_slice(&text).with_context(|| format!("its {MANIFEST} is damaged"))?;
    ensure!(manifest.version == VERSION, "it has format version {}, expected {VERSION}", manifest.version);
    for name in [TENSORS, STATE] {
        let expected = manifest.files.get(name).with_context(|| format!("its {MANIFEST} has no entry {name}"))?;
        expected.check(&folder.join(name)).with_context(|| format!("its {name} is damaged"))?;
    }
    let state = fs::read(folder.join(STATE)).with_context(|| format!("cannot read its {STATE}"))?;
    serde_json::from_slice(&state).with_context(|| format!("its {STATE} cannot be parsed"))
}

/// Restores parameters and moments.
pub(super) fn restore(folder: &Path, groups: &mut [ParamGroup]) -> Result<()> {
    let path = folder.join(TENSORS);
    let mut tensors = nb_model::read_tensors(&path)?;
    let expected = named(groups);
    for (name, tensor) in &expected {
        match tensors.get(name) {
            None => {
                bail!("{} has no parameter {name}; the checkpoint is from a different architecture", path.display())
            }
            Some(found) if found.size() != tensor.size() => bail!(
                "{}: {name} has shape {:?}, expected {:?}; the checkpoint is from a different architecture",
                path.display(),
                found.size(),
                tensor.size(),
            ),
            Some(_) => {}
        }
    }
    for (name, mut tensor) in expected {
        if let Some(found) = tensors.remove(&name) {
            tensor.copy_(&found);
        }
    }
    if let Some(name) = tensors.keys().next() {
        bail!("{} has an extra parameter {name}; the checkpoint is from a different architecture", path.display());
    }
    Ok(())
}

/// Returns the tensors of all groups by name; they share the groups' memory.
fn named(groups: &[ParamGroup]) -> Vec<(String, Tensor)> {
    let prefixed =
        |(i, group): (usize, &ParamGroup)| group.state().map(|(name, tensor)| (format!("{i}.{name}"), tensor));
    groups.iter().enumerate().flat_map(prefixed).collect()
}

impl Fingerprint {
    fn of(path: &Path) -> Result<Self> {
        let context = || format!("cannot read {}", path.display());
        let file = File::open(path).with_context(context)?;
        let bytes = file.metadata().with_context(context)?.len();
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(file).with_context(context)?;
        Ok(Self { bytes, blake3: hasher.finalize().to_hex().to_string() })
    }

    fn check(&self, path: &Path) -> Result<()> {
        let bytes = fs::metadata(path)?.len();
        ensure!(bytes == self.bytes, "it has {bytes} bytes, expected {}", self.bytes);
        ensure!(Self::of(path)? == *self, "its content differs from what was written");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use nb_model::{Arena, Layout};
    use tch::Device;

    use super::super::{Identity, State};
    use super::*;

    fn groups(fill: f64) -> Vec<ParamGroup> {
        let group = |i: i64| {
            let mut layout = Layout::default();
            layout.push("weight", &[3, 2 + i]);
            let arena = Arena::zeros(layout, Device::Cpu);
            let group = ParamGroup::new(&arena, 1e-2);
            for (j, (_, mut tensor)) in group.state().into_iter().enumerate() {
                let _ = tensor.fill_(fill + i as f64 + 0.1 * j as f64);
            }
            group
        };
        (0..2).map(group).collect()
    }

    fn written() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let saved = Saved { state: State::default(), metrics: 0, identity: Identity::default() };
        write(folder.path(), &saved, &groups(1.0)).unwrap();
        folder
    }

    #[test]
    fn a_checkpoint_restores_what_was_written() {
        let folder = written();
        read(folder.path()).unwrap();
        let mut found = groups(0.0);
        restore(folder.path(), &mut found).unwrap();
        for ((name, found), (_, expected)) in named(&found).iter().zip(named(&groups(1.0))) {
            assert!(found.equal(&expected), "{name}");
        }
    }

    #[test]
    fn every_kind_of_damage_is_detected() {
        type Damage = fn(&mut Vec<u8>);
        let cut: Damage = |bytes| bytes.truncate(bytes.len() - 1);
        let flip: Damage = |bytes| *bytes.last_mut().unwrap() ^= 1;
        let empty: Damage = Vec::clear;
        for name in [TENSORS, STATE, MANIFEST] {
            for damage in [cut, flip, empty] {
                let folder = written();
                let path = folder.path().join(name);
                let mut bytes = fs::read(&path).unwrap();
                damage(&mut bytes);
                fs::write(&path, bytes).unwrap();
                let error = format!("{:#}", read(folder.path()).unwrap_err());
                assert!(error.contains(name), "{error}");
            }
            let folder = written();
            fs::remove_file(folder.path().join(name)).unwrap();
            assert!(format!("{:#}", read(folder.path()).unwrap_err()).contains(name));
        }
    }

    #[test]
    fn a_different_architecture_is_refused() {
        let folder = written();
        let fewer = restore(folder.path(), &mut groups(0.0)[..1]).unwrap_err().to_string();
        assert!(fewer.contains("extra parameter 1.") && fewer.contains("different architecture"), "{fewer}");
        let mut swapped = groups(0.0);
        swapped.reverse();
        let error = restore(folder.path(), &mut swapped).unwrap_err().to_string();
        assert!(error.contains("shape [6], expected [9]"), "{error}");
    }
}

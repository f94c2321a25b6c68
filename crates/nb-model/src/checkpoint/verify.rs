//! Downloads from the hub are what the hub says they are.
//!
//! The hub's cache keeps a file as `blobs/<etag>`, to which the path that one asks for is a link. Of large files the etag is
//! their SHA-256; small ones are named after git's own hash, which is no proof against anybody.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

/// Passes a downloaded file whose content is what its name in the cache says; one whose name is no SHA-256 is passed too. A
/// file that is not whole is removed, so that the next call downloads it again.
///
/// # Errors
/// In words, if it is another one or cannot be read.
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
    fn a_file_is_what_its_name_says_or_goes() {
        let cache = tempfile::tempdir().unwrap();
        let link = |blob: &str, content: &str| {
            let blob = cache.path().join(blob);
            std::fs::write(&blob, content).unwrap();
            let link = cache.path().join("model.safetensors");
            let _ = std::fs::remove_file(&link);
            std::os::unix::fs::symlink(&blob, &link).unwrap();
            (link, blob)
        };
        let (whole, blob) = link(WEIGHTS, "weights");
        verify(&whole).unwrap();
        assert!(blob.exists());
        let (cut, blob) = link(WEIGHTS, "weight");
        let error = verify(&cut).unwrap_err();
        assert!(error.contains(&format!("expected {WEIGHTS}; it was removed")), "{error}");
        assert!(!blob.exists());
        let (small, _) = link("5d41402abc4b2a76b9719d911017c592aabbccdd", "anything");
        verify(&small).unwrap();
    }
}

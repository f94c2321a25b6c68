//! The folder for files that can be computed again.

use std::path::PathBuf;

/// Returns the project's folder in the user's cache: `$XDG_CACHE_HOME/newsbert`, else `~/.cache/newsbert`, else `newsbert`
/// in the folder for temporary files.
pub fn cache_folder() -> PathBuf {
    let variable = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let cache = variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")));
    cache.unwrap_or_else(std::env::temp_dir).join("newsbert")
}

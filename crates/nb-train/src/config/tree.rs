//! The configuration of a run as a tree of keys. A comparison sets some of them to derive its runs.

use std::path::Path;

use anyhow::{Context, Result};
use serde_yaml::Value;

use super::key::KeyPath;
use super::overrides::{find, set_anchored};
use super::read::{anchor_paths, typed};
use super::recipe;
use super::run::RunConfig;

/// The configuration of a run as a tree of keys that can be set, with absolute paths.
#[derive(Debug, Clone)]
pub(crate) struct Tree(Value);

impl Tree {
    /// Makes a tree of `value`. Relative paths in it are relative to `folder`.
    pub(crate) fn new(mut value: Value, folder: &Path) -> Self {
        anchor_paths(&mut value, folder);
        Self(value)
    }

    /// Returns whether a dotted key has a value.
    pub(crate) fn has(&mut self, key: &str) -> bool {
        find(&mut self.0, key).is_some()
    }

    /// Returns whether a dotted key has this value.
    pub(crate) fn is(&mut self, key: &str, value: impl Into<Value>) -> bool {
        find(&mut self.0, key).is_some_and(|found| *found == value.into())
    }

    /// Sets a dotted key. A relative path is relative to `folder`.
    ///
    /// # Errors
    /// If a part of the key before the last has a value that is not a mapping.
    pub(crate) fn set(&mut self, key: &str, value: Value, folder: &Path) -> Result<()> {
        set_anchored(&mut self.0, &key.into(), value, |value| anchor_paths(value, folder))
            .with_context(|| KeyPath::from(key))
    }

    /// Returns the configuration that the tree holds, completed by the recipe of its task.
    ///
    /// # Errors
    /// If a key or a value is not valid. The error carries the key.
    pub(crate) fn config(&self) -> Result<RunConfig> {
        let mut tree = self.0.clone();
        recipe::complete(&mut tree);
        typed(tree)
    }
}

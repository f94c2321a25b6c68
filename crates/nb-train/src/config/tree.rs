//! The configuration of a run as a tree of keys, from which a comparison makes runs that differ in some of them.

use std::path::Path;

use anyhow::{Context, Result};
use serde_yaml::Value;

use super::read::{anchor_paths, find, set_anchored};
use super::run::RunConfig;

/// The configuration of a run as a tree of keys that can be set, with absolute paths.
#[derive(Debug, Clone)]
pub struct Tree(Value);

impl Tree {
    /// The tree of the keys below `value`; relative paths among them count from `folder`.
    pub fn new(mut value: Value, folder: &Path) -> Self {
        anchor_paths(&mut value, folder);
        Self(value)
    }

    /// Returns whether a dotted key has a value.
    pub fn has(&mut self, key: &str) -> bool {
        find(&mut self.0, key).is_some()
    }

    /// Sets a dotted key; a relative path counts from `folder`.
    ///
    /// # Errors
    /// If a part of the key before the last is a value.
    pub fn set(&mut self, key: &str, value: Value, folder: &Path) -> Result<()> {
        set_anchored(&mut self.0, &key.into(), value, |value| anchor_paths(value, folder))
            .with_context(|| key.to_owned())
    }

    /// Returns the configuration that the tree holds.
    ///
    /// # Errors
    /// If a key or value is not known; the message names it.
    pub fn config(&self) -> Result<RunConfig> {
        Ok(serde_yaml::from_value(self.0.clone())?)
    }
}

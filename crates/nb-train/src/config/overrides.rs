//! `--set key=value`: setting keys of a YAML tree.

use std::str::FromStr;

use anyhow::{Result, bail};
use serde_yaml::{Mapping, Value};

use super::key::KeyPath;

/// One `--set key=value`: a dotted key and a YAML value.
#[derive(Debug, Clone, PartialEq)]
pub struct Override {
    pub(super) key: KeyPath,
    pub(super) value: Value,
}

impl Override {
    /// Sets the key in a tree, after `anchor` has made the paths of the value absolute.
    ///
    /// # Errors
    /// If a part of the key before the last has a value that is not a mapping.
    pub(super) fn apply(&self, tree: &mut Value, anchor: impl FnOnce(&mut Value)) -> Result<()> {
        set_anchored(tree, &self.key, self.value.clone(), anchor)
    }
}

impl FromStr for Override {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = text.split_once('=').ok_or_else(|| format!("`{text}`: expected key=value"))?;
        if key.is_empty() || key.split('.').any(str::is_empty) {
            return Err(format!("`{key}`: expected a key such as train.lr"));
        }
        let value = serde_yaml::from_str(value).map_err(|e| format!("`{value}` is not a YAML value: {e}"))?;
        Ok(Self { key: key.into(), value })
    }
}

/// Finds the value of a dotted key.
pub(super) fn find<'a>(tree: &'a mut Value, key: &str) -> Option<&'a mut Value> {
    key.split('.').try_fold(tree, |at, part| at.get_mut(part))
}

/// Sets a dotted key, after `anchor` has made the paths of the value absolute.
///
/// # Errors
/// If a part of the key before the last has a value that is not a mapping.
pub(super) fn set_anchored(
    tree: &mut Value,
    key: &KeyPath,
    value: Value,
    anchor: impl FnOnce(&mut Value),
) -> Result<()> {
    // `anchor` needs the whole tree above a value to know its key, so the value gets a tree of its own.
    let mut branch = Value::Null;
    set(&mut branch, key, value)?;
    anchor(&mut branch);
    let value = find(&mut branch, key.as_str()).map(std::mem::take).unwrap_or_default();
    set(tree, key, value)
}

/// Sets a dotted key and creates the mappings above it that are missing.
fn set(tree: &mut Value, key: &KeyPath, value: Value) -> Result<()> {
    let mut at = tree;
    let mut above = String::new();
    for part in key.as_str().split('.') {
        if at.is_null() {
            *at = Value::Mapping(Mapping::new());
        }
        let Some(map) = at.as_mapping_mut() else { bail!("`{above}` is a value, so it has no key `{part}`") };
        at = map.entry(Value::String(part.to_owned())).or_insert(Value::Null);
        above = if above.is_empty() { part.to_owned() } else { format!("{above}.{part}") };
    }
    *at = value;
    Ok(())
}

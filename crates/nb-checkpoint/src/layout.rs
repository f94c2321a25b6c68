//! The order of parameters in one buffer, and the comparison of a file's tensors with it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::error::CheckpointError;

/// Maximum number of tensors that an error lists: enough for a model with one or two more layers.
const MAX_LINES: usize = 64;

/// The place of one parameter in a buffer that holds all parameters of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// The parameter's name, as checkpoints spell it.
    pub name: String,
    /// Index of its first entry.
    pub offset: i64,
    /// Its shape.
    pub shape: Vec<i64>,
    /// True for a table whose rows are looked up by index: in each step, the gradient is 0 in all but a few rows.
    pub is_table: bool,
}

impl Slot {
    /// Returns the number of entries.
    pub fn numel(&self) -> i64 {
        self.shape.iter().product()
    }

    /// Returns true if weight decay applies: to matrices, but not to biases and LayerNorm's vectors.
    pub fn decays(&self) -> bool {
        self.shape.len() > 1
    }
}

/// The parameters of a module, contiguous in one buffer.
///
/// ```
/// let mut layout = nb_checkpoint::Layout::default();
/// layout.push("weight", &[2, 3]);
/// assert_eq!(layout.push("bias", &[2]), 6);
/// assert_eq!((layout.numel(), &layout.slots()[1].shape[..]), (8, &[2][..]));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layout {
    slots: Vec<Slot>,
    len: i64,
}

impl Layout {
    /// Appends a parameter and returns its offset.
    pub fn push(&mut self, name: impl Into<String>, shape: &[i64]) -> i64 {
        self.add(name.into(), shape, false)
    }

    /// Appends a table, [rows, width], of which each step looks up some rows, and returns its offset.
    ///
    /// # Panics
    /// If the layout already has a table.
    pub fn push_table(&mut self, name: impl Into<String>, shape: [i64; 2]) -> i64 {
        assert!(self.table().is_none(), "a layout has one table at most");
        self.add(name.into(), &shape, true)
    }

    fn add(&mut self, name: String, shape: &[i64], is_table: bool) -> i64 {
        let offset = self.len;
        let slot = Slot { name, offset, shape: shape.to_vec(), is_table };
        self.len += slot.numel();
        self.slots.push(slot);
        offset
    }

    /// Returns the table, if the layout has one.
    pub fn table(&self) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.is_table)
    }

    /// Returns all parameters, in the order of their offsets.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Returns the total number of entries.
    pub fn numel(&self) -> i64 {
        self.len
    }

    /// Returns the parameter with this name.
    pub fn slot(&self, name: &str) -> Option<&Slot> {
        self.slots.iter().find(|s| s.name == name)
    }

    /// Checks that `shapes` has the names and shapes of the layout. `path` appears in error messages. The check
    /// allocates no parameters, so a configuration that claims more than its weights hold is refused before any
    /// allocation.
    ///
    /// # Errors
    /// [`CheckpointError::Tensors`] with a list of the tensors that are missing, unknown or of another shape.
    pub fn check(&self, shapes: &BTreeMap<&str, Vec<i64>>, path: &Path) -> Result<(), CheckpointError> {
        let mut lines = Vec::new();
        for Slot { name, shape, .. } in &self.slots {
            match shapes.get(name.as_str()) {
                None => lines.push(format!("missing    {name} {shape:?}")),
                Some(found) if found != shape => {
                    lines.push(format!("mis-shaped {name}: found {found:?}, expected {shape:?}"));
                }
                Some(_) => {}
            }
        }
        let known: BTreeSet<&str> = self.slots.iter().map(|slot| slot.name.as_str()).collect();
        for (name, shape) in shapes.iter().filter(|(name, _)| !known.contains(*name)) {
            lines.push(format!("unknown    {name} {shape:?}"));
        }
        if lines.is_empty() {
            return Ok(());
        }
        let more = lines.len().saturating_sub(MAX_LINES);
        lines.truncate(MAX_LINES);
        if more > 0 {
            lines.push(format!("and {more} more"));
        }
        let listing = lines.iter().map(|line| format!("\n  {line}")).collect();
        Err(CheckpointError::Tensors { path: path.into(), listing })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_each_wrong_tensor_and_its_fault() {
        let mut layout = Layout::default();
        layout.push("weight", &[2, 3]);
        let check = |shapes| layout.check(&BTreeMap::from(shapes), Path::new("m")).map_err(|error| error.to_string());
        assert_eq!(check([("weight", vec![2, 3])]), Ok(()));
        let error = check([("weight", vec![3, 2])]).unwrap_err();
        assert!(error.ends_with("\n  mis-shaped weight: found [3, 2], expected [2, 3]"), "{error}");
        let error = check([("bias", vec![2])]).unwrap_err();
        assert!(error.ends_with("\n  missing    weight [2, 3]\n  unknown    bias [2]"), "{error}");
    }
}

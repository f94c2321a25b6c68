//! A repository on the hub at a revision.

use std::fmt;

/// The revision of a name without one.
pub(crate) const MAIN: &str = "main";

/// A repository at a branch, a tag or a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Repository<'a> {
    /// The account.
    pub(crate) owner: &'a str,
    pub(crate) name: &'a str,
    /// A branch, a tag, a reference such as `refs/pr/1`, or a commit.
    pub(crate) revision: &'a str,
}

#[cfg(feature = "hub")]
impl Repository<'_> {
    /// Returns the hub's name of the repository.
    pub(crate) fn id(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }

    /// Returns true if the revision is the full hash of a commit, which never changes.
    pub(crate) fn is_commit(&self) -> bool {
        self.revision.len() == 40 && self.revision.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    }
}

impl fmt::Display for Repository<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hf:{}/{}", self.owner, self.name)?;
        if self.revision == MAIN { Ok(()) } else { write!(f, "@{}", self.revision) }
    }
}

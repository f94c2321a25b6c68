//! The largest share of a file's rows that may be unusable.

use std::path::Path;

use super::skipped::Skipped;
use crate::error::DataError;

impl Skipped {
    /// Checks the share of these rows beside `usable` ones of the same file.
    ///
    /// # Errors
    /// If nothing is usable, or more than the share `allowed` is not.
    pub fn check(&self, path: &Path, usable: u64, allowed: f64) -> Result<(), DataError> {
        if usable == 0 {
            return Err(DataError::NoRows { path: path.to_owned(), skipped: Box::new(self.clone()) });
        }
        let rows = usable.saturating_add(self.count());
        if self.count() as f64 > allowed * rows as f64 {
            return Err(DataError::TooManyUnusable {
                path: path.to_owned(),
                skipped: Box::new(self.clone()),
                rows,
                allowed,
            });
        }
        Ok(())
    }
}

//! The largest share of a file's rows that may be unusable.

use std::path::Path;

use super::skipped::Skipped;
use crate::error::DataError;

impl Skipped {
    /// Checks the share of skipped rows in a file with `usable` usable rows.
    ///
    /// # Errors
    /// If no row is usable, or the share of skipped rows exceeds `allowed`.
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

//! Protection against damaged Parquet files.

use std::error::Error;
use std::panic::{self, AssertUnwindSafe};

/// The cause of an error of a Parquet file.
pub(crate) type Cause = Box<dyn Error + Send + Sync>;

/// Runs `work` on a Parquet file and turns a panic into an error. The `parquet` crate checks most of what a file says, but
/// panics on some damaged ones.
pub(super) fn guarded<T, E: Into<Cause>>(work: impl FnOnce() -> Result<T, E>) -> Result<T, Cause> {
    // After a panic the reader is dropped, so nothing uses its state.
    match panic::catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(Into::into),
        Err(cause) => {
            let message = cause.downcast_ref::<String>().map(String::as_str).or(cause.downcast_ref::<&str>().copied());
            Err(format!("damaged file: {}", message.unwrap_or("a panic")).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error() {
        let number = 3;
        let error = guarded(|| if number == 3 { panic!("{number} found") } else { Ok::<_, Cause>(()) });
        assert_eq!(error.unwrap_err().to_string(), "damaged file: 3 found");
        assert_eq!(guarded(|| Err::<(), Cause>("x".into())).unwrap_err().to_string(), "x");
    }
}

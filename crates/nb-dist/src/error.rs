//! Errors of process groups.

/// An error in joining a group or in an exchange.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A variable of the launcher is missing or has an invalid value.
    #[error("{name} is {found}, expected {expected}")]
    Environment {
        /// The variable.
        name: &'static str,
        /// Its value.
        found: String,
        /// The expected value.
        expected: String,
    },
    /// This build has no process groups.
    #[error(
        "this program was built without process groups: expected Gloo's headers at build time; run `cargo xtask setup` on \
         Debian or Ubuntu, or set NB_GLOO_INCLUDE to the folder that contains them"
    )]
    Unavailable,
    /// The processes did not find each other.
    #[error("process {rank} of {size} did not reach the others through {address}: {cause}")]
    Rendezvous {
        /// The rank of this process.
        rank: usize,
        /// The number of processes.
        size: usize,
        /// `MASTER_ADDR:MASTER_PORT`.
        address: String,
        /// The processes that have not arrived, or libtorch's message.
        cause: String,
    },
    /// A process is lost, has failed, hangs or cannot be reached.
    #[error("{0}")]
    Lost(String),
    /// An exchange failed, and no process is known to be the cause.
    #[error("an exchange between processes failed: {0}")]
    Exchange(String),
}

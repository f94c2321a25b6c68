//! What can go wrong between processes.

/// Why processes do not come together, or do not stay so.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A variable of the launcher is missing or makes no sense.
    #[error("{name} is {found}, expected {expected}")]
    Environment {
        /// The variable.
        name: &'static str,
        /// What it holds.
        found: String,
        /// What it should.
        expected: String,
    },
    /// This build has no process groups.
    #[error(
        "this program was built without process groups, expected Gloo's headers at build time: `cargo xtask setup` gets \
         them on Debian and its relatives, NB_GLOO_INCLUDE names a folder that holds them"
    )]
    Unavailable,
    /// The processes did not find each other.
    #[error("process {rank} of {size} did not reach the others through {address}: {cause}")]
    Rendezvous {
        /// This process.
        rank: usize,
        /// All of them.
        size: usize,
        /// `MASTER_ADDR:MASTER_PORT`.
        address: String,
        /// Who has not come, or what libtorch says.
        cause: String,
    },
    /// A process is gone, or failed, or hangs; or it cannot be reached.
    #[error("{0}")]
    Lost(String),
    /// An exchange failed with nobody to blame.
    #[error("an exchange between processes failed: {0}")]
    Exchange(String),
}

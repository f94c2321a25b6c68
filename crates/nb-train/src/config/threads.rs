//! The number of CPU threads in a configuration.

use std::fmt;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Largest number of threads that a configuration can request.
pub(super) const MAX_THREADS: usize = 4096;

/// CPU threads: `auto` or a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ThreadsChoice {
    /// As many as can compute at the same time: one per processor that this process may use, or per processor of the CPU quota,
    /// rounded up. Processes on the same machine divide them.
    #[default]
    Auto,
    /// This number.
    Count(usize),
}

impl<'de> Deserialize<'de> for ThreadsChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Threads;
        impl Visitor<'_> for Threads {
            type Value = ThreadsChoice;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "`auto` or a number from 1 to {MAX_THREADS}")
            }
            fn visit_unit<E: Error>(self) -> Result<ThreadsChoice, E> {
                Ok(ThreadsChoice::Auto)
            }
            fn visit_u64<E: Error>(self, n: u64) -> Result<ThreadsChoice, E> {
                match usize::try_from(n) {
                    Ok(n @ 1..=MAX_THREADS) => Ok(ThreadsChoice::Count(n)),
                    _ => Err(E::invalid_value(Unexpected::Unsigned(n), &self)),
                }
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<ThreadsChoice, E> {
                match text {
                    "auto" => Ok(ThreadsChoice::Auto),
                    _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
                }
            }
        }
        deserializer.deserialize_any(Threads)
    }
}

impl Serialize for ThreadsChoice {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::Count(n) => serializer.serialize_u64(*n as u64),
        }
    }
}

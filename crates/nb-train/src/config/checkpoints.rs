//! The section `checkpoints` of a configuration: the checkpoints from which a stopped run resumes.

use std::fmt;

use schemars::JsonSchema;
use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Checkpoints to resume from.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CheckpointsConfig {
    /// Interval between checkpoints. Ctrl-C and SIGTERM make one too, unless this is `never`.
    pub every: CheckpointEvery,
    /// Number of the newest checkpoints that are kept.
    pub keep: usize,
    /// Treatment of a checkpoint that cannot be written.
    pub on_error: OnCheckpointError,
}

impl Default for CheckpointsConfig {
    fn default() -> Self {
        Self { every: CheckpointEvery::Seconds(15 * 60), keep: 2, on_error: OnCheckpointError::GoOn }
    }
}

/// Interval between checkpoints: `never`, a number of steps, or a time (`90s`, `15min`, `2h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckpointEvery {
    /// No checkpoints.
    Never,
    /// After every step whose number is a multiple of this.
    Steps(u64),
    /// After the first step that ends at least this many seconds after the last checkpoint.
    Seconds(u64),
}

/// Treatment of a checkpoint that cannot be written, for example because the disk is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnCheckpointError {
    /// Warn and continue
    GoOn,
    /// End the run with an error
    Stop,
}

/// Units of time and their seconds, the longest first.
const UNITS: [(&str, u64); 3] = [("h", 3600), ("min", 60), ("s", 1)];

impl CheckpointEvery {
    fn time(text: &str) -> Option<Self> {
        let (number, seconds) = UNITS.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)))?;
        let number: u64 = number.trim().parse().ok().filter(|&n| n > 0)?;
        number.checked_mul(*seconds).map(Self::Seconds)
    }
}

impl fmt::Display for CheckpointEvery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Never => f.write_str("never"),
            Self::Steps(n) => write!(f, "{n}"),
            Self::Seconds(n) => {
                let (unit, seconds) = UNITS.into_iter().find(|(_, s)| n.is_multiple_of(*s)).unwrap_or(("s", 1));
                write!(f, "{}{unit}", n / seconds)
            }
        }
    }
}

impl<'de> Deserialize<'de> for CheckpointEvery {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Every;
        impl Visitor<'_> for Every {
            type Value = CheckpointEvery;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`never`, a number of steps, or a time such as `90s`, `15min` or `2h`")
            }
            fn visit_u64<E: Error>(self, n: u64) -> Result<CheckpointEvery, E> {
                match n {
                    0 => Err(E::invalid_value(Unexpected::Unsigned(0), &self)),
                    n => Ok(CheckpointEvery::Steps(n)),
                }
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<CheckpointEvery, E> {
                match text {
                    "never" => Ok(CheckpointEvery::Never),
                    text => CheckpointEvery::time(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self)),
                }
            }
        }
        deserializer.deserialize_any(Every)
    }
}

impl Serialize for CheckpointEvery {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Steps(n) => serializer.serialize_u64(*n),
            other => serializer.collect_str(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_and_times_are_told_apart_and_come_back() {
        for (text, every) in [
            ("never", CheckpointEvery::Never),
            ("250", CheckpointEvery::Steps(250)),
            ("90s", CheckpointEvery::Seconds(90)),
            ("15min", CheckpointEvery::Seconds(900)),
            ("2h", CheckpointEvery::Seconds(7200)),
        ] {
            let read: CheckpointEvery = serde_yaml::from_str(text).unwrap();
            assert_eq!(read, every, "{text}");
            assert_eq!(serde_yaml::to_string(&read).unwrap().trim(), text);
        }
        for text in ["0", "-1", "0s", "often", "1.5h", "99999999999999999999h", "18446744073709551615h"] {
            let error = serde_yaml::from_str::<CheckpointEvery>(text).unwrap_err().to_string();
            assert!(error.contains("15min"), "{text}: {error}");
        }
    }
}

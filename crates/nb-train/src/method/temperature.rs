//! The temperature of the soft terms: a number, a course, or a rule that gives each row its own.

use super::Course;
use crate::config::{ConfigError, RuleChoice, RuleConfig, TemperatureConfig};

/// How soft the outputs are that the soft terms compare.
///
/// The rules compare a row with the mean over its micro-batch, as their source does: with them alone a batch cut into
/// micro-batches is not quite the whole batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Temperature {
    /// One temperature for all rows.
    Course(Course),
    /// A temperature by row, from what both models say of it ([`nb_loss::flsw_temperatures`]).
    Flsw {
        /// The mean over the rows.
        base: f64,
        /// How far rows lie from it.
        beta: f64,
        /// The power of the distance between the logits' directions.
        gamma: f64,
    },
    /// A temperature by row, from how sure the student is ([`nb_loss::cwsm_temperatures`]).
    Cwsm {
        /// The mean over the rows.
        base: f64,
        /// How far rows lie from it.
        beta: f64,
    },
}

impl Temperature {
    /// Checks a configured temperature.
    ///
    /// # Errors
    /// If a number is out of its range.
    pub fn new(config: TemperatureConfig) -> Result<Self, ConfigError> {
        const KEY: &str = "method.temperature";
        const NOT_NEGATIVE: &str = "a number of at least 0";
        match config {
            TemperatureConfig::Course(course) => {
                Ok(Self::Course(Course::new(KEY, course, |t| t > 0.0, "a number above 0")?))
            }
            TemperatureConfig::Rule(RuleConfig { rule, base, beta, gamma }) => {
                if !(base > 0.0 && base.is_finite()) {
                    return Err(ConfigError::expected(format!("{KEY}.base"), base, "a number above 0"));
                }
                for (key, number) in [("beta", beta), ("gamma", gamma.unwrap_or(0.0))] {
                    if !(number >= 0.0 && number.is_finite()) {
                        return Err(ConfigError::expected(format!("{KEY}.{key}"), number, NOT_NEGATIVE));
                    }
                }
                Ok(match (rule, gamma) {
                    (RuleChoice::Flsw, Some(gamma)) => Self::Flsw { base, beta, gamma },
                    (RuleChoice::Flsw, None) => {
                        return Err(ConfigError::expected(format!("{KEY}.gamma"), "missing", NOT_NEGATIVE));
                    }
                    (RuleChoice::Cwsm, _) => Self::Cwsm { base, beta },
                })
            }
        }
    }

    /// The configuration that describes it.
    pub fn to_config(self) -> TemperatureConfig {
        let rule = |rule, base, beta, gamma| TemperatureConfig::Rule(RuleConfig { rule, base, beta, gamma });
        match self {
            Self::Course(course) => TemperatureConfig::Course(course.to_config()),
            Self::Flsw { base, beta, gamma } => rule(RuleChoice::Flsw, base, beta, Some(gamma)),
            Self::Cwsm { base, beta } => rule(RuleChoice::Cwsm, base, beta, None),
        }
    }

    /// The temperature at a progress through the stage; for a rule the one around which rows lie.
    pub fn at(self, progress: f64) -> f64 {
        match self {
            Self::Course(course) => course.at(progress),
            Self::Flsw { base, .. } | Self::Cwsm { base, .. } => base,
        }
    }
}

impl std::fmt::Display for Temperature {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Course(course) => course.fmt(f),
            Self::Flsw { base, .. } => write!(f, "about {base} (flsw)"),
            Self::Cwsm { base, .. } => write!(f, "about {base} (cwsm)"),
        }
    }
}

//! The temperature of the soft terms: a number, a ramp, or a rule that computes one temperature per row.

use std::fmt;

use super::ramp::Ramp;
use crate::config::{ConfigError, RuleChoice, RuleConfig, TemperatureConfig};

/// Temperature T of the soft terms.
///
/// The rules compare a row with the mean over its micro-batch, as in their source. They are the only part of a method
/// whose result depends on how a batch is split into micro-batches.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Temperature {
    /// One temperature for all rows.
    Ramp(Ramp),
    /// A temperature for each row, from both models' logits ([`nb_loss::flsw_temperatures`]).
    Flsw {
        /// Mean over the rows.
        base: f64,
        /// Scale of the rows' deviations from the mean.
        beta: f64,
        /// Exponent of the distance between the logits' directions.
        gamma: f64,
    },
    /// A temperature for each row, from the student's confidence ([`nb_loss::cwsm_temperatures`]).
    Cwsm {
        /// Mean over the rows.
        base: f64,
        /// Scale of the rows' deviations from the mean.
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
            TemperatureConfig::Ramp(ramp) => Ok(Self::Ramp(Ramp::new(KEY, ramp, |t| t > 0.0, "a number above 0")?)),
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

    /// Returns the configuration of this temperature.
    pub(crate) fn to_config(self) -> TemperatureConfig {
        let rule = |rule, base, beta, gamma| TemperatureConfig::Rule(RuleConfig { rule, base, beta, gamma });
        match self {
            Self::Ramp(ramp) => TemperatureConfig::Ramp(ramp.to_config()),
            Self::Flsw { base, beta, gamma } => rule(RuleChoice::Flsw, base, beta, Some(gamma)),
            Self::Cwsm { base, beta } => rule(RuleChoice::Cwsm, base, beta, None),
        }
    }

    /// Returns the temperature at `progress` through the stage; for a rule, the mean over the rows.
    pub fn at(self, progress: f64) -> f64 {
        match self {
            Self::Ramp(ramp) => ramp.at(progress),
            Self::Flsw { base, .. } | Self::Cwsm { base, .. } => base,
        }
    }
}

impl fmt::Display for Temperature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ramp(ramp) => ramp.fmt(f),
            Self::Flsw { base, .. } => write!(f, "about {base} (flsw)"),
            Self::Cwsm { base, .. } => write!(f, "about {base} (cwsm)"),
        }
    }
}

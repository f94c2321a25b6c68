//! Numbers that change during a stage.

use std::f64::consts::PI;
use std::fmt;

use crate::config::{BetweenConfig, ConfigError, RampConfig, RampShape};

/// A number as a function of the progress through its stage.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Ramp {
    /// A constant number.
    Constant(f64),
    /// A ramp from one number to another over the first part of the stage, constant afterwards.
    Between {
        /// Value at progress 0.
        from: f64,
        /// Value from progress `until` on.
        to: f64,
        /// Shape of the ramp.
        shape: RampShape,
        /// Progress at the end of the ramp, above 0 and at most 1.
        until: f64,
    },
}

impl Ramp {
    /// Checks a configured number or ramp: both ends in `range` (`expected` describes it), `until` above 0 and at most 1.
    ///
    /// # Errors
    /// If a number is out of its range.
    pub fn new(
        key: &str,
        config: RampConfig,
        range: impl Fn(f64) -> bool,
        expected: &str,
    ) -> Result<Self, ConfigError> {
        let check = |key: &str, number: f64| match range(number) && number.is_finite() {
            true => Ok(()),
            false => Err(ConfigError::expected(key, number, expected)),
        };
        match config {
            RampConfig::Constant(number) => {
                check(key, number)?;
                Ok(Self::Constant(number))
            }
            RampConfig::Between(BetweenConfig { from, to, shape, until }) => {
                check(&format!("{key}.from"), from)?;
                check(&format!("{key}.to"), to)?;
                if !(until > 0.0 && until <= 1.0) {
                    let expected = "a share of the stage above 0 and at most 1";
                    return Err(ConfigError::expected(format!("{key}.over"), until, expected));
                }
                Ok(Self::Between { from, to, shape, until })
            }
        }
    }

    /// Returns the number at `progress`, from 0 (the stage's first step) to 1 (its last step).
    ///
    /// With x = min(progress/until, 1): from + (to − from)·x for a line, from + (to − from)·(1 − cos πx)/2 for a cosine.
    pub fn at(self, progress: f64) -> f64 {
        match self {
            Self::Constant(number) => number,
            Self::Between { from, to, shape, until } => {
                let x = (progress / until).clamp(0.0, 1.0);
                let share = match shape {
                    RampShape::Linear => x,
                    RampShape::Cosine => (1.0 - (PI * x).cos()) / 2.0,
                };
                from + (to - from) * share
            }
        }
    }

    /// Returns the largest number of the stage.
    pub fn max(self) -> f64 {
        match self {
            Self::Constant(number) => number,
            Self::Between { from, to, .. } => from.max(to),
        }
    }

    /// Returns the configuration of this ramp.
    pub(crate) fn to_config(self) -> RampConfig {
        match self {
            Self::Constant(number) => RampConfig::Constant(number),
            Self::Between { from, to, shape, until } => RampConfig::Between(BetweenConfig { from, to, shape, until }),
        }
    }
}

impl fmt::Display for Ramp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant(number) => write!(f, "{number}"),
            Self::Between { from, to, .. } => write!(f, "{from}→{to}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ramp_goes_from_its_first_to_its_last_value() {
        let ramp = |shape, until| Ramp::Between { from: 1.0, to: 3.0, shape, until };
        let line = ramp(RampShape::Linear, 0.5);
        assert_eq!([0.0, 0.25, 0.5, 1.0].map(|p| line.at(p)), [1.0, 2.0, 3.0, 3.0]);
        let cosine = ramp(RampShape::Cosine, 1.0);
        let expected = [1.0, 1.0 + (1.0 - (PI / 4.0).cos()), 2.0, 3.0];
        for (p, e) in [0.0, 0.25, 0.5, 1.0].into_iter().zip(expected) {
            assert!((cosine.at(p) - e).abs() < 1e-12, "{p}");
        }
        assert_eq!((Ramp::Constant(0.3).at(0.9), line.max()), (0.3, 3.0));
    }

    #[test]
    fn out_of_range_ramp_values_name_their_key() {
        let new = |config| Ramp::new("method.beta", config, |b| (0.0..=1.0).contains(&b), "0 to 1").unwrap_err();
        assert_eq!(new(RampConfig::Constant(2.0)).to_string(), "method.beta is 2, expected 0 to 1");
        let ramp = |to, until| RampConfig::Between(BetweenConfig { from: 0.0, to, shape: RampShape::Linear, until });
        assert_eq!(new(ramp(f64::NAN, 1.0)).to_string(), "method.beta.to is NaN, expected 0 to 1");
        assert!(new(ramp(1.0, 0.0)).to_string().starts_with("method.beta.over is 0"));
    }
}

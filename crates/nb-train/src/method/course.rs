//! Numbers that change in the course of a stage.

use crate::config::{ConfigError, CourseConfig, CourseShape};

/// A number as a function of the progress through its stage.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Course {
    /// The same all the way.
    Constant(f64),
    /// From one number to another over the first part of the stage, and that one from then on.
    Way {
        /// At progress 0.
        from: f64,
        /// From progress `over` on.
        to: f64,
        /// How it gets there.
        shape: CourseShape,
        /// Where it arrives, above 0 and at most 1.
        over: f64,
    },
}

impl Course {
    /// Checks a configured course: both ends in `range` (which is said as `expected`), the way above 0 and at most 1.
    ///
    /// # Errors
    /// If a number is out of its range.
    pub fn new(
        key: &str,
        config: CourseConfig,
        range: impl Fn(f64) -> bool,
        expected: &str,
    ) -> Result<Self, ConfigError> {
        let check = |key: &str, number: f64| match range(number) && number.is_finite() {
            true => Ok(()),
            false => Err(ConfigError::expected(key, number, expected)),
        };
        match config {
            CourseConfig::Constant(number) => {
                check(key, number)?;
                Ok(Self::Constant(number))
            }
            CourseConfig::Way { from, to, course, over } => {
                check(&format!("{key}.from"), from)?;
                check(&format!("{key}.to"), to)?;
                if !(over > 0.0 && over <= 1.0) {
                    let expected = "a share of the stage above 0 and at most 1";
                    return Err(ConfigError::expected(format!("{key}.over"), over, expected));
                }
                Ok(Self::Way { from, to, shape: course, over })
            }
        }
    }

    /// The number at a progress from 0 (a stage's first step) to 1 (its last).
    ///
    /// With x = min(progress/over, 1): from + (to − from)·x on a line, from + (to − from)·(1 − cos πx)/2 on a cosine.
    pub fn at(self, progress: f64) -> f64 {
        match self {
            Self::Constant(number) => number,
            Self::Way { from, to, shape, over } => {
                let x = (progress / over).clamp(0.0, 1.0);
                let share = match shape {
                    CourseShape::Linear => x,
                    CourseShape::Cosine => (1.0 - (std::f64::consts::PI * x).cos()) / 2.0,
                };
                from + (to - from) * share
            }
        }
    }

    /// The largest number on the way.
    pub fn most(self) -> f64 {
        match self {
            Self::Constant(number) => number,
            Self::Way { from, to, .. } => from.max(to),
        }
    }

    /// The configuration that describes it.
    pub fn to_config(self) -> CourseConfig {
        match self {
            Self::Constant(number) => CourseConfig::Constant(number),
            Self::Way { from, to, shape, over } => CourseConfig::Way { from, to, course: shape, over },
        }
    }
}

impl std::fmt::Display for Course {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Constant(number) => write!(f, "{number}"),
            Self::Way { from, to, .. } => write!(f, "{from}→{to}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_starts_and_ends_where_it_says() {
        let way = |shape, over| Course::Way { from: 1.0, to: 3.0, shape, over };
        let line = way(CourseShape::Linear, 0.5);
        assert_eq!([0.0, 0.25, 0.5, 1.0].map(|p| line.at(p)), [1.0, 2.0, 3.0, 3.0]);
        let cosine = way(CourseShape::Cosine, 1.0);
        let expected = [1.0, 1.0 + (1.0 - (std::f64::consts::PI / 4.0).cos()), 2.0, 3.0];
        for (p, e) in [0.0, 0.25, 0.5, 1.0].into_iter().zip(expected) {
            assert!((cosine.at(p) - e).abs() < 1e-12, "{p}");
        }
        assert_eq!((Course::Constant(0.3).at(0.9), line.most()), (0.3, 3.0));
    }

    #[test]
    fn numbers_out_of_range_name_their_key() {
        let new = |config| Course::new("method.beta", config, |b| (0.0..=1.0).contains(&b), "0 to 1").unwrap_err();
        assert_eq!(new(CourseConfig::Constant(2.0)).to_string(), "method.beta is 2, expected 0 to 1");
        let way = |to, over| CourseConfig::Way { from: 0.0, to, course: CourseShape::Linear, over };
        assert_eq!(new(way(f64::NAN, 1.0)).to_string(), "method.beta.to is NaN, expected 0 to 1");
        assert!(new(way(1.0, 0.0)).to_string().starts_with("method.beta.over is 0"));
    }
}

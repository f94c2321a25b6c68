//! Numbers that may change in the course of the training, as the configuration says them.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// A number, or its way from one number to another: `{from: 0, to: 0.15, course: linear, over: 0.5}`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
pub enum CourseConfig {
    /// The same all the way.
    Constant(f64),
    /// From one number to another.
    Way {
        /// At the stage's first step.
        from: f64,
        /// At its last step.
        to: f64,
        /// How it gets there.
        course: CourseShape,
        /// The share of the stage that this takes; from then on it is `to`.
        over: f64,
    },
}

/// The shape of the way between two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CourseShape {
    /// A straight line.
    #[default]
    Linear,
    /// Half a cosine: slow at both ends.
    Cosine,
}

/// A temperature: a number or course, or a rule that gives each row its own: `{rule: flsw, base: 4, beta: 1, gamma: 2}`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
pub enum TemperatureConfig {
    /// The same for all rows.
    Course(CourseConfig),
    /// By row.
    Rule(RuleConfig),
}

/// A temperature by row.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RuleConfig {
    /// Which rule.
    pub rule: RuleChoice,
    /// The temperature around which rows lie.
    pub base: f64,
    /// How far they lie from it.
    pub beta: f64,
    /// The power of flsw.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gamma: Option<f64>,
}

/// The adaptive rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RuleChoice {
    /// By how much the student's logits differ from the teacher's.
    Flsw,
    /// By how sure the student is.
    Cwsm,
}

/// The keys of a mapping in place of a number.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Way {
    from: f64,
    to: f64,
    #[serde(default)]
    course: CourseShape,
    #[serde(default = "whole")]
    over: f64,
}

fn whole() -> f64 {
    1.0
}

/// The keys of a mapping in place of a temperature.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WayOrRule {
    rule: Option<RuleChoice>,
    base: Option<f64>,
    beta: Option<f64>,
    gamma: Option<f64>,
    from: Option<f64>,
    to: Option<f64>,
    course: Option<CourseShape>,
    over: Option<f64>,
}

impl From<f64> for CourseConfig {
    fn from(number: f64) -> Self {
        Self::Constant(number)
    }
}

impl<'de> Deserialize<'de> for CourseConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberOr::new("a number, or {from: …, to: …}", |map: Way| {
            let Way { from, to, course, over } = map;
            Ok(Self::Way { from, to, course, over })
        }))
    }
}

impl<'de> Deserialize<'de> for TemperatureConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "a number, {from: …, to: …} or {rule: flsw, base: …, beta: …, gamma: …}";
        deserializer.deserialize_any(NumberOr::new(expected, |map: WayOrRule| match map {
            WayOrRule {
                rule: None,
                base: None,
                beta: None,
                gamma: None,
                from: Some(from),
                to: Some(to),
                course,
                over,
            } => {
                let (course, over) = (course.unwrap_or_default(), over.unwrap_or(1.0));
                Ok(Self::Course(CourseConfig::Way { from, to, course, over }))
            }
            WayOrRule {
                rule: Some(rule),
                base: Some(base),
                beta: Some(beta),
                gamma,
                from: None,
                to: None,
                course: None,
                over: None,
            } => match (rule, gamma) {
                (RuleChoice::Flsw, None) => Err("rule flsw needs `gamma`"),
                (RuleChoice::Cwsm, Some(_)) => Err("rule cwsm has no `gamma`"),
                _ => Ok(Self::Rule(RuleConfig { rule, base, beta, gamma })),
            },
            _ => Err("expected either {from, to} or {rule, base, beta}"),
        }))
    }
}

impl From<f64> for TemperatureConfig {
    fn from(number: f64) -> Self {
        Self::Course(number.into())
    }
}

/// Reads a number, or a mapping that `convert` makes something of. A visitor, since the reader adds line and column to
/// errors that come out of one.
struct NumberOr<M, F> {
    expected: &'static str,
    convert: F,
    map: std::marker::PhantomData<M>,
}

impl<M, F> NumberOr<M, F> {
    fn new(expected: &'static str, convert: F) -> Self {
        Self { expected, convert, map: std::marker::PhantomData }
    }
}

impl<'de, M: Deserialize<'de>, T: From<f64>, F: FnOnce(M) -> Result<T, &'static str>> Visitor<'de> for NumberOr<M, F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<T, E> {
        Ok(number.into())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        Ok((number as f64).into())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        Ok((number as f64).into())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        (self.convert)(M::deserialize(MapAccessDeserializer::new(map))?).map_err(A::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_ways_and_rules_are_read_and_written_back() {
        for text in ["2.5", "-1", "{from: 8.0, to: 1.0, course: cosine, over: 0.5}"] {
            let course: CourseConfig = serde_yaml::from_str(text).unwrap();
            assert_eq!(serde_yaml::from_str::<CourseConfig>(&serde_yaml::to_string(&course).unwrap()).unwrap(), course);
            let temperature: TemperatureConfig = serde_yaml::from_str(text).unwrap();
            assert_eq!(temperature, TemperatureConfig::Course(course));
        }
        let rule: TemperatureConfig = serde_yaml::from_str("{rule: flsw, base: 4, beta: 1, gamma: 2}").unwrap();
        assert_eq!(serde_yaml::from_str::<TemperatureConfig>(&serde_yaml::to_string(&rule).unwrap()).unwrap(), rule);
        let default: CourseConfig = serde_yaml::from_str("{from: 0, to: 1}").unwrap();
        assert_eq!(default, CourseConfig::Way { from: 0.0, to: 1.0, course: CourseShape::Linear, over: 1.0 });
    }

    #[test]
    fn what_is_neither_is_refused_with_what_was_expected() {
        for (text, says) in [
            ("high", "expected a number, or {from: …, to: …}"),
            ("{from: 1}", "missing field `to`"),
            ("{from: 1, to: 2, curse: linear}", "unknown field `curse`"),
        ] {
            let error = serde_yaml::from_str::<CourseConfig>(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
        for (text, says) in [
            ("{rule: flsw, base: 4, beta: 1}", "flsw needs `gamma`"),
            ("{rule: cwsm, base: 4, beta: 1, gamma: 2}", "cwsm has no `gamma`"),
            ("{rule: cwsm, from: 4, to: 1}", "expected either {from, to} or {rule, base, beta}"),
        ] {
            let error = serde_yaml::from_str::<TemperatureConfig>(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}

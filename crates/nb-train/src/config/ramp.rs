//! Constants and ramps: numbers that may change during a stage of the training.

use std::fmt;

use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// A number, or a ramp from one number to another: `{from: 0, to: 0.15, course: linear, over: 0.5}`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum RampConfig {
    /// A constant number.
    Constant(f64),
    /// A ramp.
    Between(BetweenConfig),
}

/// A ramp from one number to another over the first part of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BetweenConfig {
    /// Value at the stage's first step.
    pub from: f64,
    /// Value at the end of the ramp and from then on.
    pub to: f64,
    /// Shape of the ramp.
    #[serde(default, rename = "course")]
    pub shape: RampShape,
    /// Share of the stage at which the ramp ends, above 0 and at most 1.
    #[serde(default = "whole_stage", rename = "over")]
    pub until: f64,
}

fn whole_stage() -> f64 {
    1.0
}

/// Shape of a ramp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RampShape {
    /// A straight line
    #[default]
    Linear,
    /// Half a cosine: slow at both ends
    Cosine,
}

/// A temperature: a number or a ramp, or a rule that gives each row its own: `{rule: flsw, base: 4, beta: 1, gamma: 2}`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum TemperatureConfig {
    /// The same temperature for all rows.
    Ramp(RampConfig),
    /// A temperature for each row.
    Rule(RuleConfig),
}

/// A rule that gives each row its own temperature.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RuleConfig {
    /// The rule.
    pub rule: RuleChoice,
    /// Mean temperature over the rows.
    pub base: f64,
    /// Distance of the rows from the mean.
    pub beta: f64,
    /// Exponent (flsw).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gamma: Option<f64>,
}

/// A rule for temperatures by row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RuleChoice {
    /// By the difference between the student's and the teacher's logits
    Flsw,
    /// By the confidence of the student
    Cwsm,
}

/// The keys of a mapping in place of a temperature.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RampOrRuleKeys {
    rule: Option<RuleChoice>,
    base: Option<f64>,
    beta: Option<f64>,
    gamma: Option<f64>,
    from: Option<f64>,
    to: Option<f64>,
    course: Option<RampShape>,
    over: Option<f64>,
}

impl From<f64> for RampConfig {
    fn from(number: f64) -> Self {
        Self::Constant(number)
    }
}

impl<'de> Deserialize<'de> for RampConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberOr::new("a number, or {from: …, to: …}", |keys| Ok(Self::Between(keys))))
    }
}

impl<'de> Deserialize<'de> for TemperatureConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "a number, {from: …, to: …} or {rule: flsw, base: …, beta: …, gamma: …}";
        deserializer.deserialize_any(NumberOr::new(expected, RampOrRuleKeys::temperature))
    }
}

impl RampOrRuleKeys {
    fn temperature(self) -> Result<TemperatureConfig, &'static str> {
        match self {
            Self { rule: None, base: None, beta: None, gamma: None, from: Some(from), to: Some(to), course, over } => {
                let (shape, until) = (course.unwrap_or_default(), over.unwrap_or_else(whole_stage));
                Ok(TemperatureConfig::Ramp(RampConfig::Between(BetweenConfig { from, to, shape, until })))
            }
            Self {
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
                _ => Ok(TemperatureConfig::Rule(RuleConfig { rule, base, beta, gamma })),
            },
            _ => Err("expected either {from, to} or {rule, base, beta}"),
        }
    }
}

impl From<f64> for TemperatureConfig {
    fn from(number: f64) -> Self {
        Self::Ramp(number.into())
    }
}

/// Reads a number, or a mapping that `convert` turns into a value.
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
    fn numbers_ramps_and_rules_are_read_and_written_back() {
        for text in ["2.5", "-1", "{from: 8.0, to: 1.0, course: cosine, over: 0.5}"] {
            let ramp: RampConfig = serde_yaml::from_str(text).unwrap();
            assert_eq!(serde_yaml::from_str::<RampConfig>(&serde_yaml::to_string(&ramp).unwrap()).unwrap(), ramp);
            let temperature: TemperatureConfig = serde_yaml::from_str(text).unwrap();
            assert_eq!(temperature, TemperatureConfig::Ramp(ramp));
        }
        let rule: TemperatureConfig = serde_yaml::from_str("{rule: flsw, base: 4, beta: 1, gamma: 2}").unwrap();
        assert_eq!(serde_yaml::from_str::<TemperatureConfig>(&serde_yaml::to_string(&rule).unwrap()).unwrap(), rule);
        let default: RampConfig = serde_yaml::from_str("{from: 0, to: 1}").unwrap();
        let expected = BetweenConfig { from: 0.0, to: 1.0, shape: RampShape::Linear, until: 1.0 };
        assert_eq!(default, RampConfig::Between(expected));
    }

    #[test]
    fn other_values_are_refused_with_what_was_expected() {
        for (text, says) in [
            ("high", "expected a number, or {from: …, to: …}"),
            ("{from: 1}", "missing field `to`"),
            ("{from: 1, to: 2, curse: linear}", "unknown field `curse`"),
        ] {
            let error = serde_yaml::from_str::<RampConfig>(text).unwrap_err().to_string();
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

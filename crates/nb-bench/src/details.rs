//! Further values of a result: what its case measures besides its speed.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Further values of a result. A value that its case does not have is absent. The order of the fields is that of the
/// keys in the file.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Details {
    /// Median of our real tokens per second over rounds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_second: Option<f64>,
    /// Our peak memory in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_bytes: Option<u64>,
    /// 99th percentile of our single calls, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99: Option<f64>,
    /// Number of our single calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls: Option<usize>,
    /// Number of rounds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rounds: Option<usize>,
    /// Peak memory of each peer in bytes, by mode.
    #[serde(default, skip_serializing_if = "ByName::is_empty")]
    pub peak_bytes_of_peers: ByName<u64>,
    /// 99th percentile of each peer's single calls in milliseconds, by mode.
    #[serde(default, skip_serializing_if = "ByName::is_empty")]
    pub p99_of_peers: ByName<f64>,
    /// The model folder that was measured, if it is not an untrained one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The agreement of our model with itself in f32.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agreement: Option<Agreement>,
    /// The agreement of each peer with itself in f32, by mode.
    #[serde(default, skip_serializing_if = "ByName::is_empty")]
    pub agreement_of_peers: ByName<Agreement>,
    /// The settings of each peer that were the fastest of those that it tried, by mode.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings_of_peers: BTreeMap<String, String>,
    /// 10⁶ bytes read per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub megabytes_per_second: Option<f64>,
    /// Median milliseconds for opening an existing token store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub second_start_ms: Option<f64>,
    /// Values of a training case: all of its keys, or none. If a file lacks one of them, the others are ignored.
    #[serde(flatten)]
    pub training: Option<TrainingDetails>,
}

/// The agreement of a model in a smaller number format with the same program's f32, over the texts of a case.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// Share of texts with the same most probable label.
    pub labels: f64,
    /// Mean cosine of the vectors of a text.
    pub cosine: f64,
    /// Lowest cosine.
    pub lowest_cosine: f64,
}

/// Further values of a training case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainingDetails {
    /// Useful operations per second, in 10⁹.
    pub gflops: f64,
    /// The rate of the product of two large square matrices, in 10⁹ operations per second.
    pub peak_gflops: f64,
    /// The rate of the products of an encoder layer, in 10⁹ operations per second.
    pub peak_gflops_at_shapes: f64,
    /// `gflops` divided by `peak_gflops`.
    pub share_of_peak: f64,
    /// `gflops` divided by `peak_gflops_at_shapes`.
    pub share_of_peak_at_shapes: f64,
    /// Milliseconds per profiled step, by phase.
    pub phases_ms: ByName<f64>,
    /// Number of steps per round.
    pub steps: usize,
}

/// Values by name, in the order in which they were added.
#[derive(Debug, Clone, PartialEq)]
pub struct ByName<T>(Vec<(String, T)>);

impl<T: Copy> ByName<T> {
    /// Returns true if there are no values.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the value with this name.
    pub fn get(&self, name: &str) -> Option<T> {
        self.iter().find(|(other, _)| *other == name).map(|(_, value)| value)
    }

    /// Returns all names with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, T)> {
        self.0.iter().map(|(name, value)| (name.as_str(), *value))
    }
}

impl<T> Default for ByName<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> FromIterator<(String, T)> for ByName<T> {
    fn from_iter<I: IntoIterator<Item = (String, T)>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

impl<T: Serialize> Serialize for ByName<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for ByName<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ByNameVisitor(PhantomData))
    }
}

struct ByNameVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ByNameVisitor<T> {
    type Value = ByName<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut values = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            values.push(entry);
        }
        Ok(ByName(values))
    }
}

/// Returns the details of a training case with these phases, for tests.
#[cfg(test)]
pub(crate) fn test_training(phases: impl IntoIterator<Item = (String, f64)>) -> TrainingDetails {
    TrainingDetails {
        gflops: 90.0,
        peak_gflops: 180.0,
        peak_gflops_at_shapes: 150.0,
        share_of_peak: 0.5,
        share_of_peak_at_shapes: 0.6,
        phases_ms: phases.into_iter().collect(),
        steps: 8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Other programs read the file, so the keys, their order and the formats of numbers are fixed.
    #[test]
    fn the_json_of_all_details_is_fixed_and_reads_back_equal() {
        let by_name = |values: [(&str, f64); 2]| values.map(|(name, value)| (name.to_owned(), value)).into_iter();
        let details = Details {
            tokens_per_second: Some(250.0),
            peak_bytes: Some(3_000_000_000),
            p99: Some(8.5),
            calls: Some(3),
            rounds: Some(1),
            peak_bytes_of_peers: [("torch-eager".to_owned(), 7)].into_iter().collect(),
            p99_of_peers: by_name([("torch-eager", 9.0), ("torch-compile", 0.1)]).collect(),
            model: Some("student".to_owned()),
            agreement: Some(Agreement { labels: 1.0, cosine: 0.5, lowest_cosine: -0.25 }),
            agreement_of_peers: [("onnx-int8".to_owned(), Agreement { labels: 0.5, cosine: 0.25, lowest_cosine: 0.0 })]
                .into_iter()
                .collect(),
            settings_of_peers: BTreeMap::from([("onnx-int8".to_owned(), "batches of 8".to_owned())]),
            megabytes_per_second: Some(1e-7),
            second_start_ms: Some(0.25),
            training: Some(test_training(by_name([("losses", 0.0), ("data", 1.5)]))),
        };
        let expected = concat!(
            r#"{"tokens_per_second":250.0,"peak_bytes":3000000000,"p99":8.5,"calls":3,"rounds":1,"#,
            r#""peak_bytes_of_peers":{"torch-eager":7},"p99_of_peers":{"torch-eager":9.0,"torch-compile":0.1},"#,
            r#""model":"student","agreement":{"labels":1.0,"cosine":0.5,"lowest_cosine":-0.25},"#,
            r#""agreement_of_peers":{"onnx-int8":{"labels":0.5,"cosine":0.25,"lowest_cosine":0.0}},"#,
            r#""settings_of_peers":{"onnx-int8":"batches of 8"},"#,
            r#""megabytes_per_second":1e-7,"second_start_ms":0.25,"gflops":90.0,"peak_gflops":180.0,"#,
            r#""peak_gflops_at_shapes":150.0,"share_of_peak":0.5,"share_of_peak_at_shapes":0.6,"#,
            r#""phases_ms":{"losses":0.0,"data":1.5},"steps":8}"#
        );
        assert_eq!(serde_json::to_string(&details).unwrap(), expected);
        assert_eq!(serde_json::from_str::<Details>(expected).unwrap(), details);
    }

    #[test]
    fn training_details_without_one_of_their_keys_are_ignored() {
        let details: Details = serde_json::from_str(r#"{"rounds": 3, "gflops": 90.0, "steps": 8}"#).unwrap();
        assert_eq!(details, Details { rounds: Some(3), ..Details::default() });
    }

    #[test]
    fn absent_details_have_no_keys() {
        assert_eq!(serde_json::to_string(&Details::default()).unwrap(), "{}");
        assert_eq!(serde_json::from_str::<Details>(r#"{"unknown": 1}"#).unwrap(), Details::default());
    }
}

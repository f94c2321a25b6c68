//! The parts of the encoders that are trained.

use nb_checkpoint::BertConfig;
use nb_model::TrainedParts;

use crate::config::{ConfigError, RunConfig, StudentTrainConfig, TeacherTrainConfig, TrainedLayers};

/// The trained parts of both models. Parts of a model that does not learn are not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LearnedParts {
    /// Those of the teacher.
    pub teacher: TrainedParts,
    /// Those of the student.
    pub student: TrainedParts,
}

impl LearnedParts {
    /// Checks the keys against the models' shapes.
    ///
    /// # Errors
    /// If a model has fewer layers than are to be trained.
    pub(super) fn new(
        config: &RunConfig,
        has_student: bool,
        teacher: &BertConfig,
        student: &BertConfig,
    ) -> Result<Self, ConfigError> {
        let TeacherTrainConfig { layers, embeddings, .. } = config.teacher.train.unwrap_or_default();
        let teacher = parts("teacher.train.layers", layers, embeddings, teacher)?;
        let StudentTrainConfig { layers, embeddings } = config.student.train;
        let student = match has_student {
            true => parts("student.train.layers", layers, embeddings, student)?,
            false => TrainedParts::NONE,
        };
        Ok(Self { teacher, student })
    }
}

/// Checks that a run trains something. `parameters` is the number of parameters that it trains.
///
/// # Errors
/// If there are none.
pub fn check_trained(parameters: u64, trains_student: bool) -> Result<(), ConfigError> {
    if parameters > 0 {
        return Ok(());
    }
    let key = if trains_student { "student.train.layers" } else { "teacher.train.layers" };
    let expected = "at least one layer or the embeddings, since the head has no parameters to train";
    Err(ConfigError::expected(key, TrainedLayers::None, expected))
}

fn parts(
    key: &str,
    layers: TrainedLayers,
    embeddings: Option<bool>,
    model: &BertConfig,
) -> Result<TrainedParts, ConfigError> {
    let depth = model.num_hidden_layers as usize;
    let top_layers = match layers {
        TrainedLayers::All => depth,
        TrainedLayers::None => 0,
        TrainedLayers::Top(count) if count <= depth => count,
        TrainedLayers::Top(_) => {
            let expected = format!("`all`, `none`, or at most `top {depth}`, since the model has {depth} layers");
            return Err(ConfigError::expected(key, layers, expected));
        }
    };
    Ok(TrainedParts { embeddings: embeddings.unwrap_or(layers == TrainedLayers::All), top_layers })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(layers: TrainedLayers, embeddings: Option<bool>) -> Result<TrainedParts, ConfigError> {
        parts("teacher.train.layers", layers, embeddings, &BertConfig::new(9, 8, 6, 2))
    }

    #[test]
    fn embeddings_follow_the_layers_unless_they_are_given() {
        let expected = |embeddings, top_layers| TrainedParts { embeddings, top_layers };
        assert_eq!(of(TrainedLayers::All, None).unwrap(), expected(true, 6));
        assert_eq!(of(TrainedLayers::Top(6), None).unwrap(), expected(false, 6));
        assert_eq!(of(TrainedLayers::None, None).unwrap(), TrainedParts::NONE);
        assert_eq!(of(TrainedLayers::Top(2), Some(true)).unwrap(), expected(true, 2));
        assert_eq!(of(TrainedLayers::All, Some(false)).unwrap(), expected(false, 6));
    }

    #[test]
    fn more_layers_than_the_model_has_are_an_error() {
        let error = of(TrainedLayers::Top(7), None).unwrap_err().to_string();
        assert!(error.contains("teacher.train.layers") && error.contains("at most `top 6`"), "{error}");
    }
}

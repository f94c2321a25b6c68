//! The parts of the encoders that are trained.

use std::ops::Range;

use nb_checkpoint::BertConfig;
use nb_model::TrainedParts;
use nb_share::LayerMap;

use crate::config::{ConfigError, RunConfig, StudentInit, StudentTrainConfig, TeacherTrainConfig, TrainedLayers};
use crate::method::{Method, TeacherRole, TermKind};

/// The trained parts of both models; none of a model that does not learn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LearnedParts {
    /// Those of the teacher. For a frozen teacher that is trained first, those of that training.
    pub teacher: TrainedParts,
    /// Those of the student.
    pub student: TrainedParts,
}

impl LearnedParts {
    /// Checks the keys of the models that learn. `teacher_learns` is true if the run trains the teacher, or first trains a
    /// frozen one.
    ///
    /// # Errors
    /// If a model has fewer layers than are to be trained, if a part that is not trained would stay random, or if a stage of the
    /// method would train nothing.
    pub(super) fn new(
        config: &RunConfig,
        method: &Method,
        teacher_learns: bool,
        teacher: &BertConfig,
        student: &BertConfig,
    ) -> Result<Self, ConfigError> {
        let has_projection = teacher.hidden_size != student.hidden_size; // every term that compares states trains it
        let TeacherTrainConfig { layers, embeddings, .. } = config.teacher.train.unwrap_or_default();
        let teacher = match teacher_learns {
            true => parts("teacher.train.layers", layers, embeddings, teacher)?,
            // A frozen teacher may have been trained with these parts before.
            false if method.teacher == TeacherRole::Frozen => TrainedParts::NONE,
            false => skipped("teacher", layers, embeddings),
        };
        let StudentTrainConfig { layers, embeddings } = config.student.train;
        if !method.has_student() {
            return Ok(Self { teacher, student: skipped("student", layers, embeddings) });
        }
        let depth = student.num_hidden_layers as usize;
        let student = parts("student.train.layers", layers, embeddings, student)?;
        let is_whole = student.embeddings && student.top_layers >= depth;
        if config.student.init == StudentInit::Random && !is_whole {
            let why = "student.init is random, and what is not trained would stay random";
            return Err(ConfigError::conflict("student.train.layers", layers, why).and("student.init"));
        }
        if !has_projection {
            check_stages(method, student, layers, depth)?;
        }
        Ok(Self { teacher, student })
    }
}

impl LearnedParts {
    /// Returns the teacher layers whose gradients are blended into those of student layer `layer`, all counted from 0: those of its
    /// group that are trained, or none if the student layer is not trained.
    pub fn blended_layers(self, map: LayerMap, layer: usize) -> Range<usize> {
        let group = map.group(layer);
        let is_trained = self.student.layers(map.student_layers()).contains(&layer);
        let first = self.teacher.layers(map.teacher_layers()).start.clamp(group.start, group.end);
        if is_trained { first..group.end } else { group.end..group.end }
    }
}

/// Returns no parts for a model that does not learn, with a message if the configuration names parts of it.
fn skipped(model: &str, layers: TrainedLayers, embeddings: Option<bool>) -> TrainedParts {
    if layers != TrainedLayers::All || embeddings == Some(false) {
        tracing::info!("the parts in {model}.train are skipped: the run does not train the {model}");
    }
    TrainedParts::NONE
}

/// Checks that every stage has a term that reaches a trained part. Without one, a stage would only decay the weights.
fn check_stages(method: &Method, parts: TrainedParts, layers: TrainedLayers, depth: usize) -> Result<(), ConfigError> {
    let fixed = if parts.embeddings { None } else { Some(parts.layers(depth).start) }; // states up to this one are constants
    let changes = |state: usize| fixed.is_none_or(|fixed| state > fixed);
    let trains = |kind: TermKind| match kind {
        TermKind::Embedding => parts.embeddings,
        TermKind::Hidden | TermKind::Attention | TermKind::Cosine => changes(depth),
        TermKind::Patience => depth > 1 && changes(depth - 1),
        _ => true, // the outputs of a head; `check_trained` counts its parameters
    };
    match method.stages.iter().position(|stage| !stage.any(trains)) {
        Some(stage) => {
            let why = format!("stage {} of the method compares only states that it leaves constant", stage + 1);
            Err(ConfigError::conflict("student.train.layers", layers, why).and("method.weights"))
        }
        None => Ok(()),
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
            let expected = format!("`all`, `none`, or at most `top {depth}`, the number of the model's layers");
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

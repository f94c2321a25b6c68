//! The gradients that momentum distillation blends.

use nb_share::LayerMap;
use tch::Tensor;

use crate::model::Model;
use crate::plan::LearnedParts;

/// The gradients of a student layer, and those that are blended into it.
#[derive(Debug)]
pub(super) struct LayerGrads {
    /// The student layer, from 0.
    pub(super) layer: usize,
    /// Those of its teacher layers that are trained: [layers, P].
    pub(super) teacher: Tensor,
    /// [1, P].
    pub(super) student: Tensor,
}

/// Returns the gradients of each student layer that is trained and has a teacher layer that is trained. Other layers have no
/// gradients: they are neither blended nor part of a mean. Returns none if the layers differ in shape.
pub(super) fn layer_grads<T>(teacher: &Model<T>, student: &Model<T>, map: LayerMap) -> Vec<LayerGrads> {
    let (teacher, student) = (&teacher.bert, &student.bert);
    let parts = LearnedParts { teacher: teacher.trained(), student: student.trained() };
    let grads = |layer: usize| {
        let teacher = teacher.layer_grads(parts.blended_layers(map, layer))?;
        let student = student.layer_grads(layer..layer + 1)?;
        (teacher.size()[1] == student.size()[1]).then_some(LayerGrads { layer, teacher, student })
    };
    (0..student.depth()).filter_map(grads).collect()
}

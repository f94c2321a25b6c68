//! The layer of a classifier of transformers between the state of `[CLS]` and the output layer.

use nb_checkpoint::{Classifier, ClassifierActivation, FloatTensors};
use nb_kernels::Activation;

use crate::dense::{Dense, DenseScratch};
use crate::error::InferError;
use crate::options::Precision;

/// A dense layer with an activation, f(W x + b), in f32.
#[derive(Debug)]
pub(crate) struct Transform {
    dense: Dense,
    /// The activation that the dense layer does not have.
    then: Then,
}

#[derive(Debug, PartialEq, Eq)]
enum Then {
    Nothing,
    Tanh,
}

impl Transform {
    /// Reads the layer of a classifier for states of `hidden` units.
    pub(crate) fn read(weights: &FloatTensors<'_>, form: &Classifier, hidden: usize) -> Result<Self, InferError> {
        let (activation, then) = match form.activation {
            ClassifierActivation::Tanh => (None, Then::Tanh),
            ClassifierActivation::Relu => (Some(Activation::Relu), Then::Nothing),
            ClassifierActivation::Gelu => (Some(Activation::Gelu), Then::Nothing),
        };
        let name = [form.dense.to_owned()];
        let dense = Dense::read_side_by_side(weights, &name, [hidden, hidden], Precision::F32, activation)?;
        Ok(Self { dense, then })
    }

    /// Replaces vectors [texts, H] by the layer's results.
    pub(crate) fn apply(&self, vectors: &mut Vec<f32>, scratch: &mut DenseScratch) {
        let x = std::mem::take(vectors);
        self.dense.forward(&x, scratch, vectors);
        if self.then == Then::Tanh {
            vectors.iter_mut().for_each(|x| *x = x.tanh());
        }
    }
}

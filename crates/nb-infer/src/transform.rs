//! The dense layers with an activation between pooling and vectors: that of a classifier of transformers, and the Dense modules
//! of sentence-transformers.

use std::fmt;

use nb_checkpoint::{
    CheckpointError, Classifier, ClassifierActivation, DenseActivation, DenseParameters, FloatTensors, SentenceDense,
};
use nb_kernels::Activation;
use nb_kernels::gemm::Matrix;

use crate::dense::{Dense, DenseScratch};
use crate::error::InferError;
use crate::options::Precision;

/// A dense layer with an activation, f(W x + b), in f32.
#[derive(Debug)]
pub(crate) struct Transform {
    dense: Dense,
    activation: DenseActivation,
}

impl fmt::Display for Transform {
    /// Writes the width of the results and the activation.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {}", self.activation, self.outputs())
    }
}

impl Transform {
    /// Reads the layer of a classifier for states of `hidden` units.
    pub(crate) fn of_classifier(
        weights: &FloatTensors<'_>,
        form: &Classifier,
        hidden: usize,
    ) -> Result<Self, InferError> {
        let activation = match form.activation {
            ClassifierActivation::Tanh => DenseActivation::Tanh,
            ClassifierActivation::Relu => DenseActivation::Relu,
            ClassifierActivation::Gelu => DenseActivation::Gelu,
        };
        let (name, fused) = ([form.dense.to_owned()], fused(activation));
        let dense = Dense::read_side_by_side(weights, &name, [hidden, hidden], Precision::F32, fused)?;
        Ok(Self { dense, activation })
    }

    /// Reads the parameters of a Dense module.
    pub(crate) fn of_module(module: &SentenceDense) -> Result<Self, CheckpointError> {
        let DenseParameters { weight, bias } = module.parameters()?;
        let weight = Matrix { entries: &weight, columns: module.inputs };
        let activation = module.activation;
        Ok(Self { dense: Dense::new(Precision::F32, weight, &bias, fused(activation)), activation })
    }

    /// Returns the width of the results.
    pub(crate) fn outputs(&self) -> usize {
        self.dense.outputs()
    }

    /// Replaces vectors [texts, inputs] by the layer's results [texts, outputs].
    pub(crate) fn apply(&self, vectors: &mut Vec<f32>, scratch: &mut DenseScratch) {
        let x = std::mem::take(vectors);
        self.dense.forward(&x, scratch, vectors);
        match self.activation {
            DenseActivation::Tanh => vectors.iter_mut().for_each(|x| *x = x.tanh()),
            DenseActivation::Sigmoid => vectors.iter_mut().for_each(|x| *x = 1.0 / (1.0 + (-*x).exp())),
            // The dense layer applies the others.
            DenseActivation::Identity | DenseActivation::Relu | DenseActivation::Gelu | DenseActivation::Silu => {}
        }
    }
}

/// Returns the activation that the dense layer applies itself.
fn fused(activation: DenseActivation) -> Option<Activation> {
    match activation {
        DenseActivation::Identity | DenseActivation::Tanh | DenseActivation::Sigmoid => None,
        DenseActivation::Relu => Some(Activation::Relu),
        DenseActivation::Gelu => Some(Activation::Gelu),
        DenseActivation::Silu => Some(Activation::Silu),
    }
}

//! The layer between the first token's state and the output layer of a classifier that another library trained.

use nb_checkpoint::ClassifierActivation;
use tch::{Device, Tensor};

use super::dense::Dense;
use crate::arena::Arena;

/// A dense layer with an activation, x ↦ f(W x + b), from H to H units.
///
/// ```
/// use nb_model::{ClassifierActivation, Transform};
/// use tch::{Device, Tensor};
/// let transform = Transform::zeros(2, ClassifierActivation::Relu, Device::Cpu);
/// transform.arena().value("transform.weight").copy_(&Tensor::from_slice(&[1f32, 0.0, 0.0, -1.0]).view([2, 2]));
/// let y = transform.forward(&Tensor::from_slice(&[3f32, 4.0]).view([1, 2]));
/// assert_eq!(Vec::<f32>::try_from(y.view(-1)).unwrap(), [3.0, 0.0]);
/// ```
#[derive(Debug)]
pub struct Transform {
    dense: Dense,
    activation: ClassifierActivation,
}

impl Transform {
    /// Creates a layer whose parameters `transform.weight` and `transform.bias` are zeros.
    pub fn zeros(hidden: i64, activation: ClassifierActivation, device: Device) -> Self {
        Self { dense: Dense::named("transform", hidden, hidden, device), activation }
    }

    /// Returns parameters and gradients.
    pub fn arena(&self) -> &Arena {
        self.dense.arena()
    }

    /// Maps `x` [B, H] to [B, H].
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let x = self.dense.forward(x);
        match self.activation {
            ClassifierActivation::Tanh => x.tanh(),
            ClassifierActivation::Relu => x.relu(),
            ClassifierActivation::Gelu => x.gelu("none"),
        }
    }
}

//! A dense layer.

use tch::{Device, Tensor};

use super::init::{Fan, fill_uniform};
use crate::arena::{Arena, Layout};

/// A dense layer z = D h + d from pooled vectors to logits.
#[derive(Debug)]
pub struct Dense {
    arena: Arena,
    weight: Tensor,
    bias: Tensor,
}

impl Dense {
    /// Creates a layer from `inputs` to `outputs` units, all zeros.
    pub fn zeros(inputs: i64, outputs: i64, device: Device) -> Self {
        Self::named("dense", inputs, outputs, device)
    }

    /// Does the same as [`Dense::zeros`], with parameters called `<name>.weight` and `<name>.bias`.
    pub fn named(name: &str, inputs: i64, outputs: i64, device: Device) -> Self {
        let [weight, bias] = ["weight", "bias"].map(|part| format!("{name}.{part}"));
        let mut layout = Layout::default();
        layout.push(weight.as_str(), &[outputs, inputs]);
        layout.push(bias.as_str(), &[outputs]);
        let arena = Arena::zeros(layout, device);
        Self { weight: arena.leaf(&weight), bias: arena.leaf(&bias), arena }
    }

    /// Draws weight and bias from U(−1/√in, 1/√in), PyTorch's default for a dense layer, from `seed`.
    pub fn randomise(&mut self, seed: u64) {
        fill_uniform(&self.arena, seed, &[Fan { part: "", inputs: self.weight.size()[1] }]);
    }

    /// Sets the bias.
    ///
    /// # Panics
    /// If there is not a value for each output.
    pub fn set_bias(&mut self, values: &[f32]) {
        let values = Tensor::from_slice(values).to_device(self.bias.device());
        assert_eq!(values.size(), self.bias.size(), "one value for each output");
        tch::no_grad(|| self.bias.copy_(&values));
    }

    /// Returns parameters and gradients.
    pub fn arena(&self) -> &Arena {
        &self.arena
    }

    /// Maps `x` [B, in] to [B, out].
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.linear(&self.weight, Some(&self.bias))
    }

    /// Returns the number of outputs.
    pub fn outputs(&self) -> i64 {
        self.weight.size()[0]
    }
}

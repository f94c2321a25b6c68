//! The activations of the feed-forward layer and of Dense modules.

use nb_checkpoint::{Activation, DenseActivation};

use super::graph::{Graph, Value};

/// The factor of x³ in the tanh approximation of GELU.
const CUBIC: f32 = 0.044715;

/// Adds an activation. GELU has the forms that the optimisers of runtimes replace by one operation.
pub(super) fn add(graph: &mut Graph, activation: Activation, x: &Value) -> Value {
    match activation {
        Activation::Gelu => {
            let erf = graph.with_scalar("Div", x, std::f32::consts::SQRT_2);
            let erf = graph.map("Erf", &erf);
            let sum = graph.with_scalar("Add", &erf, 1.0);
            let product = graph.zip("Mul", x, &sum);
            graph.with_scalar("Mul", &product, 0.5)
        }
        Activation::GeluNew => {
            let cube = graph.with_scalar("Pow", x, 3.0);
            let cube = graph.with_scalar("Mul", &cube, CUBIC);
            let sum = graph.zip("Add", x, &cube);
            let scaled = graph.with_scalar("Mul", &sum, (2.0 * std::f32::consts::FRAC_1_PI).sqrt());
            let tanh = graph.map("Tanh", &scaled);
            let sum = graph.with_scalar("Add", &tanh, 1.0);
            let half = graph.with_scalar("Mul", x, 0.5);
            graph.zip("Mul", &half, &sum)
        }
        Activation::Relu => graph.map("Relu", x),
        Activation::Silu => {
            let sigmoid = graph.map("Sigmoid", x);
            graph.zip("Mul", x, &sigmoid)
        }
    }
}

/// Adds the activation of a Dense module.
pub(super) fn add_dense(graph: &mut Graph, activation: DenseActivation, x: Value) -> Value {
    match activation {
        DenseActivation::Identity => x,
        DenseActivation::Tanh => graph.map("Tanh", &x),
        DenseActivation::Sigmoid => graph.map("Sigmoid", &x),
        DenseActivation::Relu => add(graph, Activation::Relu, &x),
        DenseActivation::Gelu => add(graph, Activation::Gelu, &x),
        DenseActivation::Silu => add(graph, Activation::Silu, &x),
    }
}

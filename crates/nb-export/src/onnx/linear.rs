//! Dense layers: x Wᵀ + b, with weights in f32 or in int8.

use nb_checkpoint::{CheckpointError, DenseParameters, FloatTensors};

use super::graph::{Graph, Value};
use super::quantise::{QuantisedRows, transposed};

/// The parameters of a dense layer.
pub(super) struct Linear {
    name: String,
    /// [outputs, inputs]
    weight: Vec<f32>,
    bias: Vec<f32>,
    inputs: usize,
}

impl Linear {
    /// Reads the tensors `<name>.weight` and `<name>.bias`.
    pub(super) fn read(
        tensors: &FloatTensors<'_>,
        name: &str,
        [outputs, inputs]: [usize; 2],
    ) -> Result<Self, CheckpointError> {
        Ok(Self {
            name: name.to_owned(),
            weight: tensors.get(&format!("{name}.weight"), &[outputs, inputs])?,
            bias: tensors.get(&format!("{name}.bias"), &[outputs])?,
            inputs,
        })
    }

    /// Names the parameters of a layer with this number of inputs.
    pub(super) fn new(name: String, DenseParameters { weight, bias }: DenseParameters, inputs: usize) -> Self {
        Self { name, weight, bias, inputs }
    }

    /// Returns the number of outputs.
    pub(super) fn outputs(&self) -> usize {
        self.bias.len()
    }

    /// Adds the layer with weights in f32.
    pub(super) fn add(&self, graph: &mut Graph, x: &Value) -> Value {
        graph.scope(&self.name);
        let dims = [self.inputs, self.outputs()];
        let weight = graph.floats(&format!("{}.weight", self.name), &dims, &transposed(&self.weight, self.inputs));
        self.add_product(graph, x, &weight)
    }

    /// Adds the layer with weights in int8, with a scale for each output.
    pub(super) fn add_int8(&self, graph: &mut Graph, x: &Value) -> Value {
        graph.scope(&self.name);
        let QuantisedRows { numbers, scales } = QuantisedRows::new(&self.weight, self.inputs);
        let (outputs, name) = (self.outputs(), |part: &str| format!("{}.weight{part}", self.name));
        let numbers = graph.int8s(&name(""), &[self.inputs, outputs], &transposed(&numbers, self.inputs));
        let scales = graph.floats(&name(".scale"), &[outputs], &scales);
        let zeros = graph.int8s(&name(".zero"), &[outputs], &vec![0; outputs]);
        let weight = graph.dequantise_columns(&numbers, &scales, &zeros);
        self.add_product(graph, x, &weight)
    }

    /// `weight` is transposed: [inputs, outputs].
    fn add_product(&self, graph: &mut Graph, x: &Value, weight: &Value) -> Value {
        let product = graph.zip("MatMul", x, weight);
        let bias = graph.floats(&format!("{}.bias", self.name), &[self.outputs()], &self.bias);
        graph.zip("Add", &product, &bias)
    }
}

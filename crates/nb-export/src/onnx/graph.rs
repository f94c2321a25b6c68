//! Builds a graph: one method per operation, unique names, constants without duplicates.

use std::collections::{HashMap, HashSet};

use super::proto::{
    AttributeProto, DataType, Dimension, DimensionProto, GraphProto, NodeProto, TensorProto, TensorShapeProto,
    TensorTypeProto, TypeProto, ValueInfoProto, attribute_type,
};
use super::quantise::Zero;

/// A value of a graph: an input, a constant, or the output of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Value(String);

/// A dimension of an input or an output.
#[derive(Debug, Clone, Copy)]
pub(super) enum Dim {
    /// The same in every call.
    Fixed(usize),
    /// Chosen by each call. Equal names stand for equal sizes.
    Named(&'static str),
}

/// A graph in progress. Nodes are added in the order of computation, so every value exists before it is used.
#[derive(Debug, Default)]
pub(super) struct Graph {
    proto: GraphProto,
    /// The names of values and nodes.
    names: HashSet<String>,
    /// The part of the model whose nodes are being added. Their names begin with it.
    scope: String,
    /// Constants of one number, by their bits.
    scalars: HashMap<u32, Value>,
    /// Constant lists of whole numbers.
    lists: HashMap<Vec<i64>, Value>,
    /// The constants that stand for zero.
    zeros: HashMap<Zero, Value>,
}

impl Graph {
    /// Creates an empty graph.
    pub(super) fn new(name: &str) -> Self {
        Self { proto: GraphProto { name: Some(name.to_owned()), ..GraphProto::default() }, ..Self::default() }
    }

    /// Returns the complete graph.
    pub(super) fn finish(self) -> GraphProto {
        self.proto
    }

    /// Sets the part of the model whose nodes are added next.
    pub(super) fn scope(&mut self, scope: impl Into<String>) {
        self.scope = scope.into();
    }

    /// Declares an input.
    pub(super) fn input(&mut self, name: &str, data_type: DataType, dims: &[Dim]) -> Value {
        let name = self.unique(name);
        self.proto.input.push(value_info(&name, data_type, dims));
        Value(name)
    }

    /// Declares an output of f32 numbers, under a name of its own.
    pub(super) fn output(&mut self, name: &str, value: &Value, dims: &[Dim]) {
        let name = self.unique(name);
        let node = NodeProto {
            input: vec![value.0.clone()],
            output: vec![name.clone()],
            name: Some(name.clone()),
            op_type: Some("Identity".to_owned()),
            attribute: Vec::new(),
        };
        self.proto.node.push(node);
        self.proto.output.push(value_info(&name, DataType::Float, dims));
    }

    /// States the dimensions of f32 numbers that a runtime cannot infer. Its optimiser needs them.
    pub(super) fn declare(&mut self, value: &Value, dims: &[Dim]) {
        self.proto.value_info.push(value_info(&value.0, DataType::Float, dims));
    }

    /// Adds a constant of f32 numbers.
    pub(super) fn floats(&mut self, name: &str, dims: &[usize], numbers: &[f32]) -> Value {
        self.constant(name, DataType::Float, dims, numbers.iter().flat_map(|x| x.to_le_bytes()).collect())
    }

    /// Adds a constant of int8 numbers.
    pub(super) fn int8s(&mut self, name: &str, dims: &[usize], numbers: &[i8]) -> Value {
        self.constant(name, DataType::Int8, dims, numbers.iter().flat_map(|x| x.to_le_bytes()).collect())
    }

    /// Returns a constant list of int64 numbers.
    fn list(&mut self, numbers: &[i64]) -> Value {
        if let Some(value) = self.lists.get(numbers) {
            return value.clone();
        }
        let name: Vec<String> = numbers.iter().map(i64::to_string).collect();
        let bytes = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        let value = self.constant(&format!("list.{}", name.join(".")), DataType::Int64, &[numbers.len()], bytes);
        self.lists.insert(numbers.to_vec(), value.clone());
        value
    }

    /// Returns a constant of one f32 number, without dimensions.
    pub(super) fn scalar(&mut self, number: f32) -> Value {
        if let Some(value) = self.scalars.get(&number.to_bits()) {
            return value.clone();
        }
        let value = self.floats(&format!("constant.{number:e}"), &[], &[number]);
        self.scalars.insert(number.to_bits(), value.clone());
        value
    }

    /// Returns the number that stands for zero: a constant without dimensions.
    pub(super) fn zero(&mut self, zero: Zero) -> Value {
        if let Some(value) = self.zeros.get(&zero) {
            return value.clone();
        }
        let (data_type, number) = match zero {
            Zero::Signed => (DataType::Int8, 0),
            Zero::Unsigned(number) => (DataType::Uint8, number),
        };
        let value = self.constant(&format!("constant.{data_type:?}.{number}"), data_type, &[], vec![number]);
        self.zeros.insert(zero, value.clone());
        value
    }

    fn constant(&mut self, name: &str, data_type: DataType, dims: &[usize], bytes: Vec<u8>) -> Value {
        let name = self.unique(name);
        self.proto.initializer.push(TensorProto {
            dims: dims.iter().map(|&size| size as i64).collect(),
            data_type: Some(data_type as i32),
            name: Some(name.clone()),
            raw_data: Some(bytes),
        });
        Value(name)
    }

    /// Adds a node with one output.
    fn node(&mut self, op: &str, inputs: &[&Value], attribute: Vec<AttributeProto>) -> Value {
        let name = self.unique(&format!("{}/{op}", self.scope));
        self.proto.node.push(NodeProto {
            input: inputs.iter().map(|value| value.0.clone()).collect(),
            output: vec![name.clone()],
            name: Some(name.clone()),
            op_type: Some(op.to_owned()),
            attribute,
        });
        Value(name)
    }

    /// Returns `name`, with a number if it is taken.
    fn unique(&mut self, name: &str) -> String {
        let mut unique = name.to_owned();
        let mut number = 1;
        while !self.names.insert(unique.clone()) {
            number += 1;
            unique = format!("{name}.{number}");
        }
        unique
    }

    /// Adds a node of one input and no attributes, such as `Tanh`.
    pub(super) fn map(&mut self, op: &'static str, x: &Value) -> Value {
        self.node(op, &[x], Vec::new())
    }

    /// Adds a node of two inputs and no attributes, such as `Add`. Shapes are broadcast.
    pub(super) fn zip(&mut self, op: &'static str, a: &Value, b: &Value) -> Value {
        self.node(op, &[a, b], Vec::new())
    }

    /// Adds a node of `x` and a number.
    pub(super) fn with_scalar(&mut self, op: &'static str, x: &Value, number: f32) -> Value {
        let number = self.scalar(number);
        self.zip(op, x, &number)
    }

    /// `condition ? a : b`, entry by entry.
    pub(super) fn choose(&mut self, condition: &Value, a: &Value, b: &Value) -> Value {
        self.node("Where", &[condition, a, b], Vec::new())
    }

    /// Converts to f32.
    pub(super) fn cast(&mut self, x: &Value) -> Value {
        self.node("Cast", &[x], vec![int("to", DataType::Float as i64)])
    }

    /// Rows of a table.
    pub(super) fn gather(&mut self, table: &Value, rows: &Value) -> Value {
        self.node("Gather", &[table, rows], vec![int("axis", 0)])
    }

    /// The first `count` rows of a table; `count` is a list of one number.
    pub(super) fn first_rows(&mut self, table: &Value, count: &Value) -> Value {
        let zero = self.list(&[0]);
        self.node("Slice", &[table, &zero, count], Vec::new())
    }

    /// The size of one dimension, as a list of one number.
    pub(super) fn size(&mut self, x: &Value, axis: i64) -> Value {
        let shape = self.map("Shape", x);
        let axis = self.list(&[axis]);
        self.gather(&shape, &axis)
    }

    /// Gives `x` a new shape; 0 stands for an unchanged dimension.
    pub(super) fn reshape(&mut self, x: &Value, shape: &[i64]) -> Value {
        let shape = self.list(shape);
        self.zip("Reshape", x, &shape)
    }

    /// Permutes the dimensions.
    pub(super) fn transpose(&mut self, x: &Value, order: [i64; 4]) -> Value {
        self.node("Transpose", &[x], vec![ints("perm", &order)])
    }

    /// Inserts dimensions of size 1.
    pub(super) fn unsqueeze(&mut self, x: &Value, axes: &[i64]) -> Value {
        let axes = self.list(axes);
        self.zip("Unsqueeze", x, &axes)
    }

    /// Removes a dimension of size 1.
    pub(super) fn squeeze(&mut self, x: &Value, axis: i64) -> Value {
        let axes = self.list(&[axis]);
        self.zip("Squeeze", x, &axes)
    }

    /// The first entry along dimension 1, which is removed: [B, T, H] becomes [B, H].
    pub(super) fn first_of_each(&mut self, x: &Value) -> Value {
        let first = self.constant("first", DataType::Int64, &[], 0_i64.to_le_bytes().to_vec());
        self.node("Gather", &[x, &first], vec![int("axis", 1)])
    }

    /// The sum over the last dimension, which stays with size 1.
    pub(super) fn sum(&mut self, x: &Value) -> Value {
        let axes = self.list(&[-1]);
        self.node("ReduceSum", &[x, &axes], vec![int("keepdims", 1)])
    }

    /// The Euclidean norm over the last dimension, which stays with size 1.
    pub(super) fn norm(&mut self, x: &Value) -> Value {
        self.node("ReduceL2", &[x], vec![ints("axes", &[-1]), int("keepdims", 1)])
    }

    /// Softmax over the last dimension.
    pub(super) fn softmax(&mut self, x: &Value) -> Value {
        self.node("Softmax", &[x], vec![int("axis", -1)])
    }

    /// 1 / (1 + exp(−x)).
    pub(super) fn sigmoid(&mut self, x: &Value) -> Value {
        self.node("Sigmoid", &[x], Vec::new())
    }

    /// LayerNorm over the last dimension.
    pub(super) fn layer_norm(&mut self, x: &Value, weight: &Value, bias: &Value, eps: f32) -> Value {
        self.node("LayerNormalization", &[x, weight, bias], vec![int("axis", -1), float("epsilon", eps)])
    }

    /// Rounds x / scale + zero to the type of `zero`.
    pub(super) fn quantise(&mut self, x: &Value, scale: &Value, zero: &Value) -> Value {
        self.node("QuantizeLinear", &[x, scale, zero], Vec::new())
    }

    /// (x − zero) · scale in f32, with one scale.
    pub(super) fn dequantise(&mut self, x: &Value, scale: &Value, zero: &Value) -> Value {
        self.node("DequantizeLinear", &[x, scale, zero], Vec::new())
    }

    /// (x − zero) · scale in f32, with a scale and a zero for each column of the matrix x.
    pub(super) fn dequantise_columns(&mut self, x: &Value, scales: &Value, zeros: &Value) -> Value {
        self.node("DequantizeLinear", &[x, scales, zeros], vec![int("axis", 1)])
    }
}

fn attribute(name: &str, r#type: i32) -> AttributeProto {
    AttributeProto { name: Some(name.to_owned()), r#type: Some(r#type), ..AttributeProto::default() }
}

fn float(name: &str, number: f32) -> AttributeProto {
    AttributeProto { f: Some(number), ..attribute(name, attribute_type::FLOAT) }
}

fn int(name: &str, number: i64) -> AttributeProto {
    AttributeProto { i: Some(number), ..attribute(name, attribute_type::INT) }
}

fn ints(name: &str, numbers: &[i64]) -> AttributeProto {
    AttributeProto { ints: numbers.to_vec(), ..attribute(name, attribute_type::INTS) }
}

fn value_info(name: &str, data_type: DataType, dims: &[Dim]) -> ValueInfoProto {
    let dim = |dim: &Dim| DimensionProto {
        value: Some(match *dim {
            Dim::Fixed(size) => Dimension::Value(size as i64),
            Dim::Named(name) => Dimension::Param(name.to_owned()),
        }),
    };
    let shape = TensorShapeProto { dim: dims.iter().map(dim).collect() };
    let tensor_type = TensorTypeProto { elem_type: Some(data_type as i32), shape: Some(shape) };
    let r#type = TypeProto { tensor_type: Some(tensor_type) };
    ValueInfoProto { name: Some(name.to_owned()), r#type: Some(r#type) }
}

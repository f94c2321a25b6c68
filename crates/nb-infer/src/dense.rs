//! Dense layers in the precision of a model.

use half::bf16;
use nb_checkpoint::{FloatTensors, Int8Rows};
use nb_kernels::gemm::{self, Int8Linear, Int8Matrix, Isa, Matrix, PackedLinear, PanelLinear};
use nb_kernels::{Activation, Float};

use crate::error::InferError;
use crate::options::Precision;

/// A dense layer y = f(x Wᵀ + b) with packed weights.
#[derive(Debug)]
pub(crate) struct Dense {
    inputs: usize,
    kernel: Kernel,
}

#[derive(Debug)]
enum Kernel {
    F32(PanelLinear<f32>),
    Bf16(PanelLinear<bf16>),
    Int8(Int8Linear),
    /// Products in f32, on processors without the instructions for the others.
    Portable(PackedLinear),
}

/// The buffers that products reuse.
#[derive(Debug, Default)]
pub(crate) struct DenseScratch {
    low: Vec<bf16>,
    rows: gemm::Int8Rows,
    portable: Vec<f32>,
    /// The results between two layers, in bf16 or f32.
    low_units: Vec<bf16>,
    units: Vec<f32>,
}

impl Dense {
    /// Packs `weight` W [out, in].
    pub(crate) fn new(
        precision: Precision,
        weight: Matrix<'_, f32>,
        bias: &[f32],
        activation: Option<Activation>,
    ) -> Self {
        let kernel = match precision {
            Precision::Int8 => Kernel::Int8(Int8Linear::new(weight, bias, activation)),
            Precision::F32 | Precision::AsSaved => match Isa::<f32>::detect() {
                Some(isa) => Kernel::F32(PanelLinear::new(isa, weight, bias, activation)),
                None => Kernel::Portable(PackedLinear::new(weight, bias, activation)),
            },
            Precision::Bf16 => {
                let mut low = Vec::new();
                round(weight.entries, &mut low);
                let weight = Matrix { entries: &low, columns: weight.columns };
                let is_even = weight.columns.is_multiple_of(2) && bias.len().is_multiple_of(2);
                match Isa::<bf16>::detect().filter(|_| is_even) {
                    Some(isa) => Kernel::Bf16(PanelLinear::new(isa, weight, bias, activation)),
                    None => {
                        let mut low_bias = Vec::new();
                        round(bias, &mut low_bias);
                        Kernel::Portable(PackedLinear::new(weight, &low_bias, activation))
                    }
                }
            }
        };
        Self { inputs: weight.columns, kernel }
    }

    /// Reads the layer `name` of a head, with `[outputs, inputs]`; it computes in f32.
    pub(crate) fn read(weights: &FloatTensors<'_>, name: &str, shape: [usize; 2]) -> Result<Self, InferError> {
        Self::read_side_by_side(weights, &[name.to_owned()], shape, Precision::F32, None)
    }

    /// Reads layers with the same input, each with `[outputs, inputs]`, as one layer.
    pub(crate) fn read_side_by_side(
        weights: &FloatTensors<'_>,
        names: &[String],
        shape: [usize; 2],
        precision: Precision,
        activation: Option<Activation>,
    ) -> Result<Self, InferError> {
        let all = |part: &str, shape: &[usize]| -> Result<Vec<f32>, InferError> {
            let mut numbers = Vec::new();
            for name in names {
                numbers.extend(weights.get(&format!("{name}.{part}"), shape)?);
            }
            Ok(numbers)
        };
        if precision == Precision::Int8
            && let Some(Int8Rows { entries, scales }) = int8_side_by_side(weights, names, shape)?
        {
            let weight = Int8Matrix { entries: &entries, columns: shape[1], scales: &scales };
            let kernel = Kernel::Int8(Int8Linear::from_quantised(weight, &all("bias", &shape[..1])?, activation));
            return Ok(Self { inputs: shape[1], kernel });
        }
        let (weight, bias) = (all("weight", &shape)?, all("bias", &shape[..1])?);
        Ok(Self::new(precision, Matrix { entries: &weight, columns: shape[1] }, &bias, activation))
    }

    /// Returns the number of entries in a row of the result.
    pub(crate) fn outputs(&self) -> usize {
        match &self.kernel {
            Kernel::F32(layer) => layer.outputs(),
            Kernel::Bf16(layer) => layer.outputs(),
            Kernel::Int8(layer) => layer.outputs(),
            Kernel::Portable(layer) => layer.outputs(),
        }
    }

    /// Replaces `out` by the results [n, out] for `x` [n, in].
    pub(crate) fn forward(&self, x: &[f32], scratch: &mut DenseScratch, out: &mut Vec<f32>) {
        out.resize(x.len() / self.inputs * self.outputs(), 0.0);
        self.forward_to(x, scratch, out);
    }

    /// Writes the results for `x` [n, in] to `out` [n, out].
    pub(crate) fn forward_to(&self, x: &[f32], scratch: &mut DenseScratch, out: &mut [f32]) {
        let columns = self.inputs;
        match &self.kernel {
            Kernel::F32(layer) => layer.forward(Matrix { entries: x, columns }, out),
            Kernel::Bf16(layer) => {
                let low = resized(&mut scratch.low, x.len());
                layer.round(x, low);
                layer.forward(Matrix { entries: low, columns }, out);
            }
            Kernel::Int8(layer) => {
                scratch.rows.quantise(x, columns);
                layer.forward(&scratch.rows, out);
            }
            Kernel::Portable(layer) => layer.forward(x, &mut scratch.portable, out),
        }
    }

    /// Writes the results of the layer `next` for this layer's results to `out`. In bf16, the results in between are written once, in
    /// the precision that the next layer reads.
    pub(crate) fn forward_through(&self, next: &Self, x: &[f32], scratch: &mut DenseScratch, out: &mut [f32]) {
        let len = x.len() / self.inputs * self.outputs();
        if let (Kernel::Bf16(layer), Kernel::Bf16(next_layer)) = (&self.kernel, &next.kernel) {
            let (low, units) = (resized(&mut scratch.low, x.len()), resized(&mut scratch.low_units, len));
            layer.round(x, low);
            layer.forward_rounded(Matrix { entries: low, columns: self.inputs }, units);
            return next_layer.forward(Matrix { entries: units, columns: next.inputs }, out);
        }
        let mut units = std::mem::take(&mut scratch.units); // the scratch space is needed for the products, too
        self.forward_to(x, scratch, resized(&mut units, len));
        next.forward_to(&units[..len], scratch, out);
        scratch.units = units;
    }
}

/// Returns the first `len` entries of a buffer, which grows if necessary. Their values are arbitrary; the caller overwrites them.
pub(crate) fn resized<T: Copy + Default>(buffer: &mut Vec<T>, len: usize) -> &mut [T] {
    if buffer.len() < len {
        buffer.resize(len, T::default());
    }
    &mut buffer[..len]
}

/// Returns the weights of layers one after the other, if all of them are in 8 bits.
fn int8_side_by_side(
    weights: &FloatTensors<'_>,
    names: &[String],
    shape: [usize; 2],
) -> Result<Option<Int8Rows>, InferError> {
    let (mut entries, mut scales) = (Vec::new(), Vec::new());
    for name in names {
        let Some(part) = weights.int8(&format!("{name}.weight"), shape)? else { return Ok(None) };
        entries.extend(part.entries);
        scales.extend(part.scales);
    }
    Ok(Some(Int8Rows { entries, scales }))
}

/// Replaces `low` by the numbers of `x`, rounded.
fn round(x: &[f32], low: &mut Vec<bf16>) {
    low.clear();
    low.extend(x.iter().map(|x| <bf16 as Float>::from_f32(*x)));
}

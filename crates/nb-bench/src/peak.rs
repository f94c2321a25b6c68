//! How fast this machine multiplies matrices: what all training is measured against.
//!
//! Measured in the same run and number format as the steps, since both change with the machine's other work.

use std::time::{Duration, Instant};

use nb_model::{BertConfig, Precision};
use tch::{Device, Kind, Tensor};

use crate::device::synchronise;

/// Edge of the square product.
const EDGE: i64 = 1024;
/// How often a product is timed; the best counts, since a peak is what the machine can do.
const TIMES: usize = 5;
/// How long one timing takes at least.
const AT_LEAST: Duration = Duration::from_millis(60);

/// Rates of matrix products, in 10⁹ operations per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Peak {
    /// Of a product of two 1024 × 1024 matrices.
    pub square: f64,
    /// Of the products of one encoder layer's linear layers: outputs, gradients of inputs and of weights.
    pub shapes: f64,
}

impl Peak {
    /// Measures both, the second at `tokens` rows of a layer of `config`.
    pub fn measure(device: Device, precision: Precision, config: &BertConfig, tokens: i64) -> Self {
        let kind = match precision {
            Precision::F32 => Kind::Float,
            Precision::Bf16 => Kind::BFloat16,
        };
        let random = |rows: i64, columns: i64| Tensor::randn([rows, columns], (Kind::Float, device)).to_kind(kind);
        let product = |left: &Tensor, right: &Tensor| (operations(left, right), best_time(left, right));
        let (operations, time) = product(&random(EDGE, EDGE), &random(EDGE, EDGE));
        let square = operations / time;

        let mut total = (0.0, 0.0);
        for (inputs, outputs) in layer_shapes(config) {
            let (x, w, dy) = (random(tokens, inputs), random(outputs, inputs), random(tokens, outputs));
            for (left, right) in [(&x, &w.tr()), (&dy, &w), (&dy.tr(), &x)] {
                let (operations, time) = product(left, right);
                total = (total.0 + operations, total.1 + time);
            }
        }
        Self { square: square / 1e9, shapes: total.0 / total.1 / 1e9 }
    }
}

/// The linear layers of an encoder layer as (inputs, outputs): queries, keys and values together; output; the two of the
/// feed-forward block.
fn layer_shapes(config: &BertConfig) -> [(i64, i64); 4] {
    let (h, i) = (config.hidden_size, config.intermediate_size);
    [(h, 3 * h), (h, h), (h, i), (i, h)]
}

/// Two per multiply-add.
fn operations(left: &Tensor, right: &Tensor) -> f64 {
    let (rows, inner, columns) = (left.size()[0], left.size()[1], right.size()[1]);
    2.0 * rows as f64 * inner as f64 * columns as f64
}

/// Seconds for one product, by libtorch into memory that is there already or by what this project's layers take in its
/// place, whichever is faster here.
fn best_time(left: &Tensor, right: &Tensor) -> f64 {
    let device = left.device();
    let out = Tensor::zeros([left.size()[0], right.size()[1]], (left.kind(), device));
    let weight = right.tr().contiguous();
    let bias = Tensor::zeros([right.size()[1]], (left.kind(), device));
    let plain = time(device, || _ = left.mm_out(&out, right));
    plain.min(time(device, || _ = nb_model::kernel::linear::forward(left, &weight, &bias)))
}

/// Seconds of one call.
fn time(device: Device, mut call: impl FnMut()) -> f64 {
    let mut many = |times: usize| {
        synchronise(device);
        let begin = Instant::now();
        (0..times).for_each(|_| call());
        synchronise(device);
        begin.elapsed()
    };
    let first = many(2).max(Duration::from_nanos(100)); // and kernels are chosen
    let times = (2.0 * AT_LEAST.as_secs_f64() / first.as_secs_f64()).ceil() as usize;
    let rounds = (0..TIMES).map(|_| many(times).as_secs_f64() / times as f64);
    rounds.fold(f64::INFINITY, f64::min)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_s_products_are_those_of_its_useful_arithmetic() {
        let config = BertConfig::new(10, 384, 1, 12);
        let weights: i64 = layer_shapes(&config).iter().map(|(inputs, outputs)| inputs * outputs).sum();
        assert_eq!(weights, 12 * 384 * 384);
        let zeros = |rows: i64, columns: i64| Tensor::zeros([rows, columns], (Kind::Float, Device::Cpu));
        assert_eq!(operations(&zeros(3, 5), &zeros(5, 7)), 210.0);
    }
}

//! Peak rates: how fast this machine multiplies matrices, the yardstick for training steps.
//!
//! Peak rates are measured in the same run and number format as the steps, since both vary with the load of the
//! machine.

use std::time::{Duration, Instant};

use nb_model::{BertConfig, Precision};
use tch::{Device, Kind, Tensor};

use crate::device::synchronise;

/// Number of rows and columns of the square matrices.
const EDGE: i64 = 1024;
/// Number of timings per product. The best one counts, since a peak is what the machine can reach.
const TIMINGS: usize = 5;
/// Minimum duration of a timing.
const MIN_TIMING: Duration = Duration::from_millis(60);

/// Rates of matrix products, in 10⁹ operations per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PeakRates {
    /// The product of two 1024 × 1024 matrices.
    pub square: f64,
    /// The products of the linear layers in an encoder layer: outputs, gradients of inputs and of weights.
    pub layer: f64,
}

impl PeakRates {
    /// Measures both rates, the second with a layer of `config` over `tokens` rows.
    pub fn measure(device: Device, precision: Precision, config: &BertConfig, tokens: i64) -> Self {
        let kind = match precision {
            Precision::F32 => Kind::Float,
            Precision::Bf16 => Kind::BFloat16,
        };
        let random = |rows: i64, columns: i64| Tensor::randn([rows, columns], (Kind::Float, device)).to_kind(kind);
        let (left, right) = (random(EDGE, EDGE), random(EDGE, EDGE));
        let square = operations(&left, &right) / best_time(&left, &right);

        let (mut total_operations, mut total_time) = (0.0, 0.0);
        for LinearShape { inputs, outputs } in layer_shapes(config) {
            let (x, w, dy) = (random(tokens, inputs), random(outputs, inputs), random(tokens, outputs));
            for (left, right) in [(&x, &w.tr()), (&dy, &w), (&dy.tr(), &x)] {
                total_operations += operations(left, right);
                total_time += best_time(left, right);
            }
        }
        Self { square: square / 1e9, layer: total_operations / total_time / 1e9 }
    }
}

/// The shape of a linear layer.
#[derive(Debug, Clone, Copy)]
struct LinearShape {
    inputs: i64,
    outputs: i64,
}

/// Returns the linear layers of an encoder layer: queries, keys and values as one layer; the output; the two layers of
/// the feed-forward block.
fn layer_shapes(config: &BertConfig) -> [LinearShape; 4] {
    let (h, i) = (config.hidden_size, config.intermediate_size);
    let shape = |inputs, outputs| LinearShape { inputs, outputs };
    [shape(h, 3 * h), shape(h, h), shape(h, i), shape(i, h)]
}

/// Returns the operations of a product, two per multiply-add.
fn operations(left: &Tensor, right: &Tensor) -> f64 {
    let (rows, inner, columns) = (left.size()[0], left.size()[1], right.size()[1]);
    2.0 * rows as f64 * inner as f64 * columns as f64
}

/// Returns the seconds for one product, computed by libtorch into existing memory or by this project's kernel for
/// linear layers, whichever is faster. Both use all threads of this project's kernels.
fn best_time(left: &Tensor, right: &Tensor) -> f64 {
    let device = left.device();
    let out = Tensor::zeros([left.size()[0], right.size()[1]], (left.kind(), device));
    let weight = right.tr().contiguous();
    let bias = Tensor::zeros([right.size()[1]], (left.kind(), device));
    let before = tch::get_num_threads();
    tch::set_num_threads(nb_kernels::threads::count() as i32);
    let plain = time(device, || _ = left.mm_out(&out, right));
    tch::set_num_threads(before);
    plain.min(time(device, || _ = nb_model::kernel::linear::forward(left, &weight, &bias)))
}

/// Returns the seconds of one call.
fn time(device: Device, mut call: impl FnMut()) -> f64 {
    let mut many = |times: usize| {
        synchronise(device);
        let begin = Instant::now();
        (0..times).for_each(|_| call());
        synchronise(device);
        begin.elapsed()
    };
    let first = many(2).max(Duration::from_nanos(100)); // also chooses kernels
    let times = (2.0 * MIN_TIMING.as_secs_f64() / first.as_secs_f64()).ceil() as usize;
    let rounds = (0..TIMINGS).map(|_| many(times).as_secs_f64() / times as f64);
    rounds.fold(f64::INFINITY, f64::min)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_products_of_a_layer_match_its_useful_operations() {
        let config = BertConfig::new(10, 384, 1, 12);
        let weights: i64 = layer_shapes(&config).iter().map(|shape| shape.inputs * shape.outputs).sum();
        assert_eq!(weights, 12 * 384 * 384);
        let zeros = |rows: i64, columns: i64| Tensor::zeros([rows, columns], (Kind::Float, Device::Cpu));
        assert_eq!(operations(&zeros(3, 5), &zeros(5, 7)), 210.0);
    }
}

//! Mean pooling: from the rows of a segment to their mean.

use nb_kernels::pooling::Forward;
use nb_torch::cpu_slices::{read, with_slices, write};
use nb_torch::with_backward;
use tch::{Device, Kind, Tensor};

use crate::segments::Segments;

/// Maps rows [n, H] to the mean of each segment's rows, [R, H].
pub(super) fn mean_of_segments(rows: &Tensor, segments: &Segments) -> Tensor {
    if rows.kind() == Kind::Float && rows.device() == Device::Cpu {
        return mean_on_cpu(rows, segments.lengths());
    }
    // Copied in another kind: autograd casts the gradient back.
    let members = segments.members().to_kind(rows.kind());
    members.matmul(rows) / members.sum_dim_intlist(-1, true, rows.kind())
}

/// Pools with equal weights. The cost is that of reading the rows once; a product with a matrix of members would grow with
/// the square of the batch.
fn mean_on_cpu(rows: &Tensor, lengths: &[i64]) -> Tensor {
    let x = rows.detach().contiguous();
    let width = x.size()[1];
    let scores = Tensor::zeros([x.size()[0]], (Kind::Float, Device::Cpu));
    let (mut out, mut weights) =
        (Tensor::empty([lengths.len() as i64, width], (Kind::Float, Device::Cpu)), scores.empty_like());
    let counts: Vec<usize> = lengths.iter().map(|&length| length as usize).collect();
    with_slices(
        ([&scores, &x].map(read::<f32>), [&mut out, &mut weights].map(write::<f32>)),
        |([scores, x], [out, weights])| Forward { lengths: &counts, scores, x, weights, out }.run(),
    );
    let repeats = Tensor::from_slice(lengths);
    // dL/dx_t = dL/dm of the row's segment, divided by the segment's length.
    with_backward(&out, &[rows], move |grad| {
        let each: Tensor = grad / repeats.unsqueeze(1);
        vec![each.repeat_interleave_self_tensor(&repeats, 0, None)]
    })
    .unwrap_or_else(|e| panic!("a node of autograd's graph: {e}"))
}

#[cfg(test)]
mod tests {
    use nb_testing::tensor_wave;

    use super::*;

    #[test]
    fn means_and_gradients_match_the_definition_in_f64() {
        for lengths in [vec![1], vec![3, 1, 7], vec![2; 40]] {
            let n = lengths.iter().sum();
            let rows = tensor_wave(&[n, 9], 0.3, Device::Cpu).set_requires_grad(true);
            let factors = tensor_wave(&[lengths.len() as i64, 9], 1.0, Device::Cpu);
            let rows64 = rows.detach().to_kind(Kind::Double).set_requires_grad(true);
            let means =
                rows64.split_with_sizes(&lengths[..], 0).iter().map(|x| x.mean_dim(0, false, None)).collect::<Vec<_>>();
            let expected = Tensor::stack(&means, 0);
            (&expected * factors.to_kind(Kind::Double)).square().sum(Kind::Double).backward();
            let found = mean_of_segments(&rows, &Segments::new(&lengths, Device::Cpu));
            (&found * &factors).square().sum(Kind::Float).backward();
            assert!(found.to_kind(Kind::Double).allclose(&expected, 1e-6, 1e-7, false), "{lengths:?}");
            assert!(rows.grad().to_kind(Kind::Double).allclose(&rows64.grad(), 1e-5, 1e-7, false), "{lengths:?}");
            // The other path, which a GPU takes.
            let other = mean_of_segments(&rows64.detach(), &Segments::new(&lengths, Device::Cpu));
            assert!(other.allclose(&expected, 1e-12, 1e-12, false), "{lengths:?}");
        }
    }
}

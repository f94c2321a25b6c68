//! Attention as batched products of libtorch: any device, any precision, scores on demand.
//!
//! Sequences of nearly equal length form one padded batch (see [`crate::Packed`]). Padding keys have weight 0; padding queries
//! pass no gradient on.

use nb_kernels::dropout::Dropout;
use tch::{Kind, Tensor};

use crate::kernel::dropout;
use crate::packed::{Group, Packed};
use crate::pass::Capture;

/// The input of the backward pass, for each group of sequences.
#[derive(Debug)]
pub(super) struct Tape {
    groups: Vec<GroupTape>,
    scores: Option<Tensor>,
}

impl Tape {
    /// Returns the scores before the softmax, one group after the other, 0 where there is padding; `None` unless they were
    /// captured.
    pub(super) fn scores(&self) -> Option<&Tensor> {
        self.scores.as_ref()
    }
}

/// Queries, keys and values [S·A, W, D] of one group of S sequences of width W, and the weights [S·A, W, W] before dropout.
#[derive(Debug)]
struct GroupTape {
    query: Tensor,
    key: Tensor,
    value: Tensor,
    weights: Tensor,
}

/// See [`super::forward`]; each group of sequences has its own dropout.
pub(super) fn forward(
    qkv: &Tensor,
    packed: &Packed,
    heads: i64,
    dropout: impl Fn(usize) -> Option<Dropout>,
    capture: Capture,
) -> (Tensor, Tape) {
    let (mut contexts, mut groups) = (Vec::new(), Vec::new());
    for (i, group) in packed.groups().iter().enumerate() {
        let (context, tape) = group_forward(qkv, group, heads, dropout(i));
        contexts.push(context);
        groups.push(tape);
    }
    let scores = (capture >= Capture::Scores).then(|| {
        let each: Vec<Tensor> = packed.groups().iter().zip(&groups).map(|(group, tape)| tape.scores(group)).collect();
        Tensor::cat(&each, 0)
    });
    (join(contexts), Tape { groups, scores })
}

/// See [`super::backward`].
pub(super) fn backward(
    grad: &Tensor,
    scores_grad: Option<&Tensor>,
    packed: &Packed,
    heads: i64,
    dropout: impl Fn(usize) -> Option<Dropout>,
    tape: &Tape,
) -> Tensor {
    let mut start = 0;
    let mut parts = Vec::with_capacity(packed.groups().len());
    for (i, (group, tape)) in packed.groups().iter().zip(&tape.groups).enumerate() {
        let entries = tape.weights.numel() as i64;
        let group_scores = scores_grad.map(|all| all.narrow(0, start, entries).view_as(&tape.weights));
        start += entries;
        parts.push(group_backward(grad, group_scores, group, heads, dropout(i), tape));
    }
    join(parts)
}

impl GroupTape {
    /// Recomputes QKᵀ/√D, since the tape stores no scores: one row of f32, 0 where query or key is padding.
    fn scores(&self, group: &Group) -> Tensor {
        let size = self.query.size()[2] as f64;
        let scores = self.query.bmm(&self.key.transpose(1, 2)).to_kind(Kind::Float) / size.sqrt();
        match &group.padding {
            None => scores.view(-1),
            Some(padding) => {
                let (s, w) = (group.sequences, group.width);
                let pairs = padding.real.view([s, 1, w, 1]) * padding.real.view([s, 1, 1, w]);
                (scores.view([s, -1, w, w]) * pairs).view(-1)
            }
        }
    }
}

fn group_forward(qkv: &Tensor, group: &Group, heads: i64, dropout: Option<Dropout>) -> (Tensor, GroupTape) {
    let hidden = qkv.size()[1] / 3;
    let size = hidden / heads;
    let (s, w) = (group.sequences, group.width);
    // [S, W, 3, A, D] -> three of [S·A, W, D]
    let split =
        pad(&qkv.narrow(0, group.start, group.rows), group).view([s, w, 3, heads, size]).permute([2, 0, 3, 1, 4]);
    let [query, key, value] = [0, 1, 2].map(|i| split.get(i).reshape([s * heads, w, size]));

    let scale = 1.0 / (size as f64).sqrt();
    let mut scores = match &group.padding {
        Some(padding) => {
            let bias =
                padding.key_bias.to_kind(query.kind()).expand([s, heads, w, w], false).reshape([s * heads, w, w]);
            bias.baddbmm(&query, &key.transpose(1, 2), 1.0, scale)
        }
        None => query.bmm(&key.transpose(1, 2)) * scale,
    };
    scores = scores.softmax(-1, None::<Kind>);
    let context = dropped(&scores, dropout).bmm(&value);
    let rows = context.view([s, heads, w, size]).transpose(1, 2).reshape([s * w, hidden]);
    (unpad(rows, group), GroupTape { query, key, value, weights: scores })
}

fn group_backward(
    grad: &Tensor,
    loss_scores_grad: Option<Tensor>,
    group: &Group,
    heads: i64,
    dropout: Option<Dropout>,
    tape: &GroupTape,
) -> Tensor {
    let hidden = grad.size()[1];
    let size = hidden / heads;
    let (s, w) = (group.sequences, group.width);
    let mut grad = pad(&grad.narrow(0, group.start, group.rows), group);
    if let Some(padding) = &group.padding {
        grad *= padding.real.to_kind(grad.kind()); // a padding query has no output and thus no gradient
    }
    let grad = grad.view([s, w, heads, size]).transpose(1, 2).reshape([s * heads, w, size]);

    let value_grad = dropped(&tape.weights, dropout).transpose(1, 2).bmm(&grad);
    let mut weights_grad = grad.bmm(&tape.value.transpose(1, 2));
    if let Some(dropout) = dropout {
        dropout::apply(dropout, &mut weights_grad);
    }
    let scale = 1.0 / (size as f64).sqrt();
    let mut scores_grad = Tensor::internal_softmax_backward_data(&weights_grad, &tape.weights, -1, tape.weights.kind());
    if let Some(loss_grad) = loss_scores_grad {
        scores_grad += loss_grad.to_kind(scores_grad.kind());
    }
    let scores_grad = scores_grad * scale;
    let query_grad = scores_grad.bmm(&tape.key);
    let key_grad = scores_grad.transpose(1, 2).bmm(&tape.query);

    // three of [S·A, W, D] -> [S·W, 3H]
    let split = Tensor::stack(&[query_grad, key_grad, value_grad], 0).view([3, s, heads, w, size]);
    unpad(split.permute([1, 3, 0, 2, 4]).reshape([s * w, 3 * hidden]), group)
}

/// Returns the weights after dropout, and leaves `weights` unchanged for the backward pass.
fn dropped(weights: &Tensor, dropout: Option<Dropout>) -> Tensor {
    match dropout {
        None => weights.shallow_clone(),
        Some(dropout) => {
            let mut out = weights.copy();
            dropout::apply(dropout, &mut out);
            out
        }
    }
}

/// Maps packed rows [rows, X] to padded rows [S·W, X].
fn pad(rows: &Tensor, group: &Group) -> Tensor {
    match &group.padding {
        Some(padding) => rows.index_select(0, &padding.gather),
        None => rows.contiguous(),
    }
}

/// Maps padded rows [S·W, X] to packed rows [rows, X].
fn unpad(rows: Tensor, group: &Group) -> Tensor {
    match &group.padding {
        Some(padding) => rows.index_select(0, &padding.scatter),
        None => rows,
    }
}

/// Joins the groups' rows.
fn join(mut parts: Vec<Tensor>) -> Tensor {
    match parts.len() {
        1 => parts.remove(0),
        _ => Tensor::cat(&parts, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    const HEADS: i64 = 2;

    fn packed(lengths: &[i64]) -> Packed {
        let n: i64 = lengths.iter().sum();
        Packed::new(&vec![0; n as usize], &vec![0; n as usize], lengths, Device::Cpu)
    }

    /// The definition: sequence by sequence, head by head, with autograd.
    fn reference(qkv: &Tensor, lengths: &[i64]) -> Tensor {
        let (mut out, mut start) = (Vec::new(), 0);
        let size = qkv.size()[1] / 3 / HEADS;
        for &length in lengths {
            let rows = qkv.narrow(0, start, length);
            let head = |part: i64, a: i64| rows.narrow(1, (part * HEADS + a) * size, size);
            let context: Vec<Tensor> = (0..HEADS)
                .map(|a| {
                    (head(0, a).matmul(&head(1, a).tr()) / (size as f64).sqrt())
                        .softmax(-1, None::<Kind>)
                        .matmul(&head(2, a))
                })
                .collect();
            out.push(Tensor::cat(&context, 1));
            start += length;
        }
        Tensor::cat(&out, 0)
    }

    #[test]
    fn packed_attention_and_its_gradient_match_each_sequence_alone() {
        tch::manual_seed(3);
        for lengths in [vec![5, 4, 4, 2, 1], vec![3, 3], vec![7], vec![1, 9, 2]] {
            let n = lengths.iter().sum();
            let qkv = Tensor::randn([n, 3 * HEADS * 4], (Kind::Double, Device::Cpu)).set_requires_grad(true);
            let grad = Tensor::randn([n, HEADS * 4], (Kind::Double, Device::Cpu));
            let expected = reference(&qkv, &lengths);
            let expected_grad =
                &Tensor::run_backward(&[(&expected * &grad).sum(Kind::Double)], &[&qkv], false, false)[0];
            let (found, found_grad) = tch::no_grad(|| {
                let (out, tape) = forward(&qkv, &packed(&lengths), HEADS, |_| None, Capture::Last);
                (out, backward(&grad, None, &packed(&lengths), HEADS, |_| None, &tape))
            });
            assert!(found.allclose(&expected, 1e-12, 1e-12, false), "{lengths:?}");
            assert!(found_grad.allclose(expected_grad, 1e-12, 1e-12, false), "{lengths:?}");
        }
    }

    #[test]
    fn captured_scores_and_their_gradient_match_each_sequence_alone() {
        tch::manual_seed(5);
        let lengths = [5, 4, 4, 2, 1];
        let qkv = Tensor::randn([16, 3 * HEADS * 4], (Kind::Double, Device::Cpu)).set_requires_grad(true);
        // The sum of squares of all scores, from the definition.
        let (mut squares, mut start) = (Vec::new(), 0);
        for length in lengths {
            for a in 0..HEADS {
                let head = |part: i64| qkv.narrow(0, start, length).narrow(1, (part * HEADS + a) * 4, 4);
                squares.push((head(0).matmul(&head(1).tr()) / 2.0).square().sum(Kind::Double));
            }
            start += length;
        }
        let expected: Tensor = squares.iter().sum();
        let expected_grad = &Tensor::run_backward(&[&expected], &[&qkv], true, false)[0];
        tch::no_grad(|| {
            let (_, tape) = forward(&qkv, &packed(&lengths), HEADS, |_| None, Capture::Scores);
            let scores = tape.scores().unwrap();
            let sum = scores.square().sum(Kind::Double).double_value(&[]);
            assert!((sum - expected.double_value(&[])).abs() < 1e-4 * sum, "{sum}");
            let zero = Tensor::zeros([16, HEADS * 4], (Kind::Double, Device::Cpu));
            let scores_grad = scores.to_kind(Kind::Double) * 2.0;
            let found = backward(&zero, Some(&scores_grad), &packed(&lengths), HEADS, |_| None, &tape);
            assert!(found.allclose(expected_grad, 1e-5, 1e-5, false));
        });
    }

    /// With a fixed key, dropout is a fixed linear map of the weights, so central differences include it.
    #[test]
    fn the_gradient_with_dropout_matches_central_differences() {
        tch::manual_seed(4);
        let lengths = [4, 3];
        let qkv = Tensor::randn([7, 3 * HEADS * 2], (Kind::Float, Device::Cpu));
        let grad = Tensor::randn([7, HEADS * 2], (Kind::Float, Device::Cpu));
        let direction = Tensor::randn([7, 3 * HEADS * 2], (Kind::Float, Device::Cpu));
        let dropout = |i: usize| Dropout::new(0.4, Some(i as u64 + 9));
        let value = |qkv: &Tensor| {
            (forward(qkv, &packed(&lengths), HEADS, dropout, Capture::Last).0 * &grad)
                .sum(Kind::Double)
                .double_value(&[])
        };
        let (_, tape) = forward(&qkv, &packed(&lengths), HEADS, dropout, Capture::Last);
        let found = (backward(&grad, None, &packed(&lengths), HEADS, dropout, &tape) * &direction)
            .sum(Kind::Double)
            .double_value(&[]);
        let step = 1e-2;
        let slope = (value(&(&qkv + &direction * step)) - value(&(&qkv - &direction * step))) / (2.0 * step);
        assert!((found - slope).abs() < 2e-3 * (1.0 + slope.abs()), "{found} against {slope}");
    }
}

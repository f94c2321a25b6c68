//! The update of a parameter group: on the CPU, on GPUs, and on other devices.

use half::bf16;
use nb_kernels::threads;
use nb_torch::cpu_slices::{with_slices, write};
use nb_torch::{Hyperparameters, Parameters, fused_adamw};
use pulp::Arch;
use tch::{Kind, Tensor};

use super::group::{CopiesOfGroup, ParamGroup};
use super::piece::{Factors, PIECE, State, update_piece, update_piece_and_copies};
use super::span::Span;

/// A parallel task of the update on the CPU.
struct Piece<'a> {
    state: State<'a>,
    grads: &'a mut [f32],
    /// The copies of the values; empty for values without copies.
    copies: &'a mut [bf16],
}

impl<'a> Piece<'a> {
    /// Cuts a span of parameters into pieces. Either all of its values have copies or none.
    fn all(state: State<'a>, grads: &'a mut [f32], copies: &'a mut [bf16]) -> Vec<Self> {
        let mut exp_avg = state.exp_avg.chunks_mut(PIECE);
        let mut exp_avg_sq = state.exp_avg_sq.chunks_mut(PIECE);
        let mut grads = grads.chunks_mut(PIECE);
        let mut copies = copies.chunks_mut(PIECE);
        let mut pieces = Vec::new();
        for values in state.values.chunks_mut(PIECE) {
            let (Some(exp_avg), Some(exp_avg_sq), Some(grads)) = (exp_avg.next(), exp_avg_sq.next(), grads.next())
            else {
                break; // never: the buffers of a group have the same length
            };
            let copies = copies.next().unwrap_or_default();
            pieces.push(Self { state: State { values, exp_avg, exp_avg_sq }, grads, copies });
        }
        pieces
    }

    fn update(self, factors: Factors, clip: f32) {
        let Self { mut state, grads, copies } = self;
        if copies.is_empty() {
            Arch::new().dispatch(|| update_piece(&mut state, grads, factors, clip));
        } else {
            Arch::new().dispatch(|| update_piece_and_copies(&mut state, grads, copies, factors, clip));
        }
    }
}

/// Updates a group on all CPU cores, touching each entry once.
pub(super) fn update_host(group: &mut ParamGroup, factors: Factors, clip: f32) {
    let ParamGroup { values, grads, exp_avg, exp_avg_sq, spans, rows, copies, .. } = group;
    let CopiesOfGroup { start: first_copy, values: copies } = copies;
    with_slices(
        ([values, grads, exp_avg, exp_avg_sq].map(write::<f32>), write::<bf16>(copies)),
        |([values, grads, exp_avg, exp_avg_sq], copies)| {
            let mut state = State { values, exp_avg, exp_avg_sq };
            for &Span { start, len, decays } in spans.iter() {
                let factors = factors.with_decay(decays);
                let range = start..start + len;
                let copies = match start.checked_sub(*first_copy) {
                    Some(first) if !copies.is_empty() => &mut copies[first..first + len],
                    _ => &mut [],
                };
                let pieces = Piece::all(state.range(range.clone()), &mut grads[range], copies);
                threads::for_each(pieces.into_iter(), |piece| piece.update(factors, clip));
            }
            if let Some(rows) = rows {
                rows.update(state, grads, factors, clip);
            }
        },
    );
}

/// Updates a group with libtorch's fused kernel, on GPUs.
pub(super) fn update_fused(group: &mut ParamGroup, hyperparameters: Hyperparameters, step: u64, clip: &Tensor) {
    for decays in [true, false] {
        let spans: Vec<&Span> = group.spans.iter().filter(|span| span.decays == decays).collect();
        let of = |buffer: &Tensor| -> Vec<Tensor> { spans.iter().map(|span| span.of(buffer)).collect() };
        let [values, grads, exp_avg, exp_avg_sq] =
            [&group.values, &group.grads, &group.exp_avg, &group.exp_avg_sq].map(of);
        let parameters = Parameters { values: &values, grads: &grads, exp_avg: &exp_avg, exp_avg_sq: &exp_avg_sq };
        let weight_decay = if decays { hyperparameters.weight_decay } else { 0.0 };
        let updated = fused_adamw(&parameters, &Hyperparameters { weight_decay, ..hyperparameters }, step, clip);
        updated.unwrap_or_else(|e| panic!("libtorch's fused AdamW failed: {e}"));
    }
    let _ = group.grads.zero_();
}

/// Updates a group with libtorch's operations, on other devices.
pub(super) fn update_plain(group: &mut ParamGroup, f: Factors, clip: &Tensor) {
    let clip = clip.to_kind(Kind::Float);
    let used = clip.ne(0.0).to_kind(Kind::Float); // 1, or 0 for an update that is skipped
    for span in &group.spans {
        let part = |t: &Tensor| span.of(t);
        let (mut v, mut g, mut m, mut s) =
            (part(&group.values), part(&group.grads), part(&group.exp_avg), part(&group.exp_avg_sq));
        // 0 times infinity or NaN is NaN.
        let gradient = (&g * &clip).nan_to_num(0.0, 0.0, 0.0);
        let _ = m.lerp_tensor_(&gradient, &(&used * f64::from(1.0 - f.beta1)));
        let _ = s.lerp_tensor_(&gradient.square(), &(&used * f64::from(1.0 - f.beta2)));
        let change = &m / (s.sqrt() * f64::from(f.correction) + f64::from(f.epsilon)) * f64::from(f.rate);
        let decayed = &used * f64::from(f.with_decay(span.decays).decay - 1.0) + 1.0;
        let _ = v.g_mul_(&decayed).g_sub_(&(change * &used));
        let _ = g.zero_();
    }
    debug_assert_eq!(group.values.kind(), Kind::Float);
}

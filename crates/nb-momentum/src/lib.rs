//! Momentum distillation (NewsBERT, Wu et al. 2021, section 3.3): the student's update includes the teacher's gradients.
//!
//! For every parameter of student layer k: g^s_k ← β · (1/K) Σ_{j=1..K} g^t_{(k−1)K+j} + (1−β) · g^s_k.
//!
//! Run it after the backward pass (and after a sum over processes), before clipping and the optimiser. The blend is linear, so it
//! commutes with sums and means. Clipping is not linear, so it must see the blended gradient.
//!
//! The crate is independent of models: gradients are views [layers, parameters per layer] with the same order of
//! parameters in every layer, and the layer map is K, the number of teacher layers for each student layer.

use nb_kernels::threads;
use nb_torch::cpu_slices::{read, with_slices, write};
use pulp::Arch;
use tch::{Device, Kind, Tensor};

/// The share β of the teacher's gradients, from 0 (none) to 1 (nothing else).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Beta(f64);

impl Beta {
    /// No blending.
    pub const OFF: Self = Self(0.0);

    /// Returns `None` unless 0 ≤ `beta` ≤ 1.
    pub fn new(beta: f64) -> Option<Self> {
        (0.0..=1.0).contains(&beta).then_some(Self(beta))
    }

    /// Returns β.
    pub fn get(self) -> f64 {
        self.0
    }
}

/// Blends the layers' gradients in place: `student` [N, P] ← β · mean over each group of K = `group_size` layers of
/// `teacher` [N·K, P] + (1−β) · `student`. The teacher's gradients do not change. With β = 0, nothing changes.
///
/// # Panics
///
/// If the shapes do not match, or if the tensors share memory.
///
/// ```
/// use nb_momentum::{Beta, blend_layers};
/// use tch::Tensor;
/// let teacher = Tensor::from_slice(&[1f32, 3.0, 5.0, 9.0]).view([4, 1]);
/// let mut student = Tensor::from_slice(&[0f32, 10.0]).view([2, 1]);
/// blend_layers(&teacher, &mut student, 2, Beta::new(0.5).unwrap());
/// assert_eq!(Vec::<f32>::try_from(student.view(-1)).unwrap(), [1.0, 8.5]); // ½·2 + ½·0, ½·7 + ½·10
/// ```
pub fn blend_layers(teacher: &Tensor, student: &mut Tensor, group_size: usize, beta: Beta) {
    let [layers, parameters] = student.size()[..] else {
        panic!("the student's gradients have the shape {:?}, expected [layers, parameters]", student.size());
    };
    let group = group_size as i64;
    assert_eq!(
        teacher.size(),
        [layers * group, parameters],
        "the teacher's gradients, {group} layers for each of {layers}"
    );
    if beta == Beta::OFF {
        return;
    }
    let is_for_cpu_kernel = |t: &Tensor| t.device() == Device::Cpu && t.kind() == Kind::Float && t.is_contiguous();
    tch::no_grad(|| {
        if is_for_cpu_kernel(teacher) && is_for_cpu_kernel(student) {
            return blend_on_cpu(teacher, student, group_size, beta);
        }
        let groups = teacher.view([layers, group, parameters]);
        let _ = student.lerp_(&groups.mean_dim(1, false, student.kind()), beta.get());
    });
}

/// Entries of a piece, the unit of parallel work.
const PIECE: usize = 1 << 13;

/// Blends piece by piece, mean and blend together, in one pass over the gradients, which are larger than the caches.
fn blend_on_cpu(teacher: &Tensor, student: &mut Tensor, group: usize, beta: Beta) {
    let parameters = student.size()[1] as usize;
    if parameters == 0 {
        return;
    }
    let factors = Factors { teacher: (beta.get() / group as f64) as f32, student: (1.0 - beta.get()) as f32 };
    with_slices((read::<f32>(teacher), write::<f32>(student)), |(teacher, student)| {
        let layers = student.chunks_exact_mut(parameters).zip(teacher.chunks_exact(group * parameters));
        for (student, teachers) in layers {
            threads::for_each(student.chunks_mut(PIECE).enumerate(), |(piece, student)| {
                let rows = teachers.chunks_exact(parameters).map(|teacher| &teacher[piece * PIECE..]);
                Arch::new().dispatch(|| blend_piece(rows, student, factors));
            });
        }
    });
}

/// The factors of the sum of K teacher gradients and of the student's gradient.
#[derive(Debug, Clone, Copy)]
struct Factors {
    teacher: f32,
    student: f32,
}

/// Blends a piece of one student layer with the rows of its teacher layers, each of which starts at the piece.
#[inline(always)]
fn blend_piece<'a>(teachers: impl Iterator<Item = &'a [f32]>, student: &mut [f32], factors: Factors) {
    let mut sums = [0.0_f32; PIECE];
    let sums = &mut sums[..student.len()];
    for teacher in teachers {
        sums.iter_mut().zip(teacher).for_each(|(sum, g)| *sum += g);
    }
    student.iter_mut().zip(&*sums).for_each(|(g, sum)| *g = factors.teacher * sum + factors.student * *g);
}

/// Blends the embeddings' gradients in place: `student` ← β · `teacher` + (1−β) · `student`. The paper blends layers only; this is for
/// experiments.
///
/// # Panics
///
/// If the shapes differ.
pub fn blend_embeddings(teacher: &Tensor, student: &mut Tensor, beta: Beta) {
    assert_eq!(student.size(), teacher.size(), "the student's gradients against the teacher's");
    if beta != Beta::OFF {
        let _ = tch::no_grad(|| student.lerp_(teacher, beta.get()));
    }
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn beta(value: f64) -> Beta {
        Beta::new(value).unwrap()
    }

    #[test]
    fn a_beta_outside_zero_to_one_is_refused() {
        assert!([-0.1, 1.5, f64::NAN].into_iter().all(|b| Beta::new(b).is_none()));
    }

    #[test]
    fn beta_0_leaves_the_student_and_beta_1_gives_the_teachers_mean() {
        let teacher = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0]).view([2, 2]);
        let blended = |b| {
            let mut student = Tensor::from_slice(&[f32::NAN, 8.0]).view([1, 2]);
            blend_layers(&teacher, &mut student, 2, beta(b));
            Vec::<f32>::try_from(student.view(-1)).unwrap()
        };
        assert!(blended(0.0)[0].is_nan() && blended(0.0)[1] == 8.0, "β = 0 changes nothing");
        assert_eq!(blended(1.0)[1], 3.0);
    }

    #[test]
    #[should_panic(expected = "the teacher's gradients, 3 layers for each of 2")]
    fn a_teacher_of_another_depth_is_refused() {
        let zeros = |rows| Tensor::zeros([rows, 3], (Kind::Float, Device::Cpu));
        blend_layers(&zeros(4), &mut zeros(2), 3, beta(0.5));
    }

    /// Layers longer than a piece, with numbers whose sums are exact. The CPU kernel computes only f32.
    #[test]
    fn long_layers_give_the_same_result_in_f32_and_f64() {
        let parameters = 2 * PIECE as i64 + 77;
        let numbers = |rows: i64, shift: i64| {
            let all = (Tensor::arange(rows * parameters, (Kind::Int64, Device::Cpu)) * 7 + shift).remainder(64);
            all.to_kind(Kind::Double).view([rows, parameters])
        };
        for b in [0.25, 0.5, 1.0] {
            let (teacher, mut expected) = (numbers(4, 0), numbers(2, 3));
            let mut student = expected.to_kind(Kind::Float);
            blend_layers(&teacher.to_kind(Kind::Float), &mut student, 2, beta(b));
            blend_layers(&teacher, &mut expected, 2, beta(b));
            assert!(student.equal(&expected.to_kind(Kind::Float)), "β = {b}");
        }
    }

    proptest! {
        /// Compares with the formula, entry by entry in f64.
        #[test]
        fn matches_the_formula(n in 1_usize..4, k in 1_usize..4, p in 0_usize..6, b in 0.0..=1.0, seed in any::<i64>()) {
            tch::manual_seed(seed);
            let draw = |rows: usize| Tensor::randn([rows as i64, p as i64], (Kind::Double, Device::Cpu));
            let (teacher, student) = (draw(n * k), draw(n));
            for (kind, tolerance) in [(Kind::Double, 1e-12), (Kind::Float, 2e-6)] {
                let mut blended = student.to_kind(kind).copy();
                blend_layers(&teacher.to_kind(kind), &mut blended, k, beta(b));
                for row in 0..n {
                    for column in 0..p as i64 {
                        let gradient = |j: usize| teacher.double_value(&[(row * k + j) as i64, column]);
                        let mean = (0..k).map(gradient).sum::<f64>() / k as f64;
                        let expected = b * mean + (1.0 - b) * student.double_value(&[row as i64, column]);
                        prop_assert!((blended.double_value(&[row as i64, column]) - expected).abs() < tolerance);
                    }
                }
            }
        }
    }
}

//! The laws of the losses that compare the rows of a batch with each other. They are not sums over rows, so micro-batches
//! do not sum to the batch; apart from that, the laws are those of the other losses.
//!
//! | law | fails if |
//! | --- | --- |
//! | the value is the formula, pair by pair, divided by the count | the formula, the divisor or the set of pairs changes |
//! | the gradient is that of finite differences in f64 | a gradient is lost or added |
//! | a rotation of the student's vectors changes nothing and rotates the gradient | coordinates matter |
//! | the teacher gets no gradient | a `detach` is missing |
//! | loss and gradient are 0 where student and teacher are equal | the two are mixed up |
//! | a count of 0, or fewer than two rows, gives exactly 0 | 0·NaN or a softmax of nothing gets through |
//! | 16-bit inputs are computed in f32 | products overflow, or sums lose digits |
//! | golden values, in f32 and f64 | anything changes |

use nb_testing::tensor_wave;
use proptest::prelude::*;
use tch::{Device, Kind, Tensor};

use crate::testing::{close, finite_differences, gradient, matrix, value, values};
use crate::{similarity_kl, similarity_mse};

/// The scale of the softmax in all of these tests.
const SCALE: f64 = 0.8;

/// The rows of a matrix in plain numbers.
type Rows = [Vec<f64>];

/// One loss and its expected values.
struct Similarity {
    name: &'static str,
    loss: fn(&Tensor, &Tensor, i64) -> Tensor,
    /// The sum that the loss divides by its count, from the rows of teacher and student.
    sum: fn(&Rows, &Rows) -> f64,
    golden: Golden,
}

/// The value and the student's gradient, row after row, for [`TEACHER`] and [`STUDENT`].
struct Golden {
    count: i64,
    value: f64,
    gradient: [f64; 8],
}

const TEACHER: [[f64; 3]; 4] = [[0.5, -1.0, 0.25], [1.5, 0.0, -0.5], [-0.75, 0.5, 1.0], [0.25, 1.25, -1.5]];
const STUDENT: [[f64; 2]; 4] = [[0.5, 1.0], [-1.0, 0.75], [0.25, -0.5], [1.25, 0.5]];

// The golden values are from tests/golden_similarity.py, for TEACHER, STUDENT and SCALE.
const LOSSES: [Similarity; 2] = [
    // Σ_{i≠j} (T_ij − S_ij)² / (4·3)
    Similarity {
        name: "similarity_mse",
        loss: similarity_mse,
        sum: sum_of_squares,
        golden: Golden {
            count: 12,
            value: 2.2265625,
            gradient: [
                1.2395833333333333,
                0.3020833333333333,
                -0.8124999999999999,
                -0.625,
                0.17708333333333337,
                0.5208333333333334,
                1.1979166666666665,
                0.1875,
            ],
        },
    },
    // Σ_i Σ_{j≠i} p_ij log (p_ij / q_ij) / 4
    Similarity {
        name: "similarity_kl",
        loss: |teacher, student, count| similarity_kl(teacher, student, SCALE, count),
        sum: sum_of_divergences,
        golden: Golden {
            count: 4,
            value: 0.49291341672674577,
            gradient: [
                0.2720933385111668,
                0.08534111728521465,
                -0.2586534089176385,
                -0.16775687021069127,
                -0.011258676574618508,
                0.015364288833246397,
                0.3068141952407979,
                0.0182969733352287,
            ],
        },
    },
];

fn dot(a: &[f64], b: &[f64]) -> f64 {
    (0..a.len()).map(|h| a[h] * b[h]).sum()
}

/// Σ_{i≠j} (T_ij − S_ij)².
fn sum_of_squares(teacher: &Rows, student: &Rows) -> f64 {
    let mut sum = 0.0;
    for i in 0..student.len() {
        for j in 0..student.len() {
            if i != j {
                sum += (dot(&teacher[i], &teacher[j]) - dot(&student[i], &student[j])).powi(2);
            }
        }
    }
    sum
}

/// exp(scale · x_i·x_j) / Σ_{k≠i} exp(scale · x_i·x_k).
fn probability(rows: &Rows, i: usize, j: usize) -> f64 {
    let exp = |k: usize| (SCALE * dot(&rows[i], &rows[k])).exp();
    exp(j) / (0..rows.len()).filter(|k| *k != i).map(exp).sum::<f64>()
}

/// Σ_i Σ_{j≠i} p_ij log (p_ij / q_ij).
fn sum_of_divergences(teacher: &Rows, student: &Rows) -> f64 {
    let mut sum = 0.0;
    for i in 0..student.len() {
        for j in 0..student.len() {
            if i != j {
                let (p, q) = (probability(teacher, i, j), probability(student, i, j));
                sum += p * (p / q).ln();
            }
        }
    }
    sum
}

fn rows(xs: &Tensor) -> Vec<Vec<f64>> {
    (0..xs.size()[0]).map(|row| values(&xs.get(row))).collect()
}

/// A batch whose teacher and student have their own widths, with numbers within ±2 in f64.
#[derive(Debug)]
struct Vectors {
    teacher: Tensor, // [rows, H_t]
    student: Tensor, // [rows, H_s]
}

fn vectors() -> impl Strategy<Value = Vectors> {
    (2i64..6, 1i64..5, 1i64..5).prop_flat_map(|(rows, of_teacher, of_student)| {
        prop::collection::vec(-2.0f64..2.0, (rows * (of_teacher + of_student)) as usize).prop_map(move |entries| {
            let both = Tensor::from_slice(&entries).view([rows, of_teacher + of_student]);
            let part = |from, width| both.narrow(1, from, width).contiguous();
            Vectors { teacher: part(0, of_teacher), student: part(of_teacher, of_student) }
        })
    })
}

/// The same batch in every run: 4 rows of 3 and of 2 entries in f64.
fn wave() -> Vectors {
    let matrix = |width, shift| tensor_wave(&[4, width], shift, Device::Cpu).to_kind(Kind::Double);
    Vectors { teacher: matrix(3, 0.0), student: matrix(2, 1.0) }
}

fn cases() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) }
}

#[test]
fn the_value_is_the_formula_divided_by_the_count() {
    for Similarity { name, loss, sum, .. } in LOSSES {
        proptest!(cases(), |(batch in vectors(), count in 1i64..9)| {
            let expected = sum(&rows(&batch.teacher), &rows(&batch.student)) / count as f64;
            let found = value(&loss(&batch.teacher, &batch.student, count));
            prop_assert!((found - expected).abs() <= 1e-12 * expected.max(1.0), "{}: {}, {}", name, found, expected);
        });
    }
}

#[test]
fn the_gradient_is_that_of_finite_differences() {
    for Similarity { loss, .. } in LOSSES {
        proptest!(cases(), |(batch in vectors())| {
            let of_student = |student: &Tensor| loss(&batch.teacher, student, 3);
            let tolerance = 1e-8 * value(&of_student(&batch.student)).max(1.0); // rounding grows with the value
            let expected = finite_differences(of_student, &batch.student);
            close(&values(&gradient(of_student, &batch.student)), &expected, tolerance);
        });
    }
}

#[test]
fn a_rotation_of_the_student_changes_nothing_and_rotates_the_gradient() {
    for Similarity { loss, .. } in LOSSES {
        proptest!(cases(), |(batch in vectors(), seed in 0i64..1000)| {
            let width = batch.student.size()[1];
            let wave = tensor_wave(&[width, width], seed as f64, Device::Cpu).to_kind(Kind::Double);
            // The identity keeps the matrix regular. Q is a rotation or a reflection.
            let (q, _) = Tensor::linalg_qr(&(wave + Tensor::eye(width, (Kind::Double, Device::Cpu)) * 3.0), "reduced");
            let of_student = |student: &Tensor| loss(&batch.teacher, student, 3);
            let rotated = batch.student.matmul(&q);
            close(&[value(&of_student(&rotated))], &[value(&of_student(&batch.student))], 1e-12);
            let expected = gradient(of_student, &batch.student).matmul(&q);
            close(&values(&gradient(of_student, &rotated)), &values(&expected), 1e-12);
        });
    }
}

#[test]
fn the_teacher_gets_no_gradient() {
    for Similarity { name, loss, .. } in LOSSES {
        let Vectors { teacher, student } = wave();
        let (teacher, student) = (teacher.set_requires_grad(true), student.set_requires_grad(true));
        loss(&teacher, &student, 3).backward();
        assert!(!teacher.grad().defined(), "{name}: the teacher has a gradient");
        assert!(student.grad().abs().max().double_value(&[]) > 0.0, "{name}: the student has no gradient");
    }
}

#[test]
fn value_and_gradient_are_0_at_equality_and_after_a_rotation() {
    for Similarity { loss, .. } in LOSSES {
        proptest!(cases(), |(xs in matrix())| {
            let (width, zeros) = (xs.size()[1], vec![0.0; xs.numel()]);
            // One more column of zeros: the widths differ, the similarities do not.
            let wider = xs.constant_pad_nd([0, 1]);
            for teacher in [&xs, &wider, &xs.flip([1]), &wider.roll([1], [1])] {
                let of_student = |student: &Tensor| loss(teacher, student, 3);
                close(&[value(&of_student(&xs))], &[0.0], 1e-13);
                close(&values(&gradient(of_student, &xs)), &zeros, 1e-12 * width as f64);
            }
        });
    }
}

#[test]
fn a_count_of_0_gives_exactly_0() {
    for Similarity { name, loss, .. } in LOSSES {
        for entry in [1.0, f64::NAN, f64::INFINITY] {
            let Vectors { teacher, student } = wave();
            for xs in [&teacher, &student] {
                let _ = xs.get(0).fill_(entry);
            }
            let of_student = |student: &Tensor| loss(&teacher, student, 0);
            assert_eq!(value(&of_student(&student)), 0.0, "{name}, {entry}");
            assert_eq!(values(&gradient(of_student, &student)), [0.0; 8], "{name}, {entry}");
        }
    }
}

#[test]
fn fewer_than_two_rows_give_exactly_0() {
    for Similarity { name, loss, .. } in LOSSES {
        for n_rows in [0, 1] {
            for kind in [Kind::BFloat16, Kind::Float, Kind::Double] {
                let Vectors { teacher, student } = wave();
                let (teacher, student) = (teacher.narrow(0, 0, n_rows), student.narrow(0, 0, n_rows).to_kind(kind));
                let of_student = |student: &Tensor| loss(&teacher, student, 5);
                assert_eq!(value(&of_student(&student)), 0.0, "{name}, {n_rows}");
                assert_eq!(values(&gradient(of_student, &student)), vec![0.0; 2 * n_rows as usize], "{name}, {n_rows}");
                let expected = if kind == Kind::Double { Kind::Double } else { Kind::Float };
                assert_eq!(of_student(&student).kind(), expected, "{name}, {n_rows}");
            }
        }
    }
}

#[test]
fn the_divergence_of_two_rows_is_0() {
    let Vectors { teacher, student } = wave();
    let (teacher, student) = (teacher.narrow(0, 0, 2), student.narrow(0, 0, 2));
    let of_student = |student: &Tensor| similarity_kl(&teacher, student, SCALE, 2);
    assert_eq!(value(&of_student(&student)), 0.0);
    assert_eq!(values(&gradient(of_student, &student)), [0.0; 4]);
}

/// Includes inputs whose products exceed the largest f16.
#[test]
fn sixteen_bits_are_computed_in_f32() {
    for Similarity { name, loss, .. } in LOSSES {
        for kind in [Kind::BFloat16, Kind::Half] {
            for size in [1.0, 300.0] {
                let Vectors { teacher, student } = wave();
                let [teacher, student] = [teacher, student].map(|xs| (xs * size).to_kind(kind));
                let found = loss(&teacher, &student, 3);
                let expected = value(&loss(&teacher.to_kind(Kind::Float), &student.to_kind(Kind::Float), 3));
                assert_eq!((found.kind(), value(&found)), (Kind::Float, expected), "{name}, {kind:?}, {size}");
                assert!(expected.is_finite() && expected > 0.0, "{name}, {kind:?}, {size}: {expected}");
            }
        }
    }
}

/// Similarities whose exponentials overflow: teacher and student are certain of different rows.
#[test]
fn the_divergence_of_certain_distributions_is_finite() {
    // The teacher's rows 0 and 1 are similar, the student's rows 0 and 2.
    let teacher = Tensor::from_slice2(&[[100.0, 0.0], [100.0, 0.0], [0.0, 100.0]]);
    let student = Tensor::from_slice2(&[[100.0, 0.0], [0.0, 100.0], [100.0, 0.0]]);
    for kind in [Kind::Float, Kind::Double] {
        let of_student = |student: &Tensor| similarity_kl(&teacher.to_kind(kind), student, 1.0, 1);
        let student = student.to_kind(kind);
        // Row 0: p = (1, 0) and q = (0, 1), 1e4 apart. Row 1: p = (1, 0) and q = (1/2, 1/2). Row 2: p = (1/2, 1/2) and
        // q = (1, 0), ½·(1e4 − log 2) − ½·log 2.
        close(&[value(&of_student(&student))], &[1.5e4], 1e-7);
        // g = q − p: g_01 = −1, g_02 = 1, g_10 = −½, g_12 = ½, g_20 = ½, g_21 = −½.
        // ∂/∂s_0 = −1.5·s_1 + 1.5·s_2, ∂/∂s_1 = −1.5·s_0 + 0·s_2, ∂/∂s_2 = 1.5·s_0 + 0·s_1.
        let expected = [150.0, -150.0, -150.0, 0.0, 150.0, 0.0];
        close(&values(&gradient(of_student, &student)), &expected, 1e-6);
    }
}

#[test]
fn golden_values() {
    for Similarity { name, loss, golden, .. } in LOSSES {
        for (kind, tolerance) in [(Kind::Float, 1e-6), (Kind::Double, 1e-14)] {
            let (teacher, student) = (Tensor::from_slice2(&TEACHER), Tensor::from_slice2(&STUDENT).to_kind(kind));
            let of_student = |student: &Tensor| loss(&teacher.to_kind(kind), student, golden.count);
            let found = of_student(&student);
            assert_eq!(found.kind(), kind, "{name}");
            close(&[value(&found)], &[golden.value], tolerance);
            close(&values(&gradient(of_student, &student)), &golden.gradient, tolerance);
        }
    }
}

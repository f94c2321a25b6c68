//! The laws that every loss obeys, and [`check`], which checks them for one loss. [`losses`] has a test for each loss.
//! [`similarities`] has the laws of the losses that compare rows with each other, which are not sums of rows.
//!
//! | law | fails if |
//! | --- | --- |
//! | the value is the formula, row by row, divided by the count | the formula or the divisor changes |
//! | the gradient is that of finite differences in f64 | a gradient is lost or added |
//! | micro-batches sum to the batch, values and gradients | something is divided by the number of rows given |
//! | teacher and temperatures get no gradient | a `detach` is missing |
//! | the loss, or its gradient alone, is 0 where student and teacher are equal | the two are mixed up |
//! | a count of 0, or no rows, gives exactly 0 | 0·NaN gets through |
//! | masked rows change nothing and get no gradient | padding counts |
//! | 16-bit inputs are computed in f32 | squares overflow, or sums lose digits |
//! | golden values, in f32 and f64 | anything changes, extreme logits included |

mod arguments;
mod binary;
mod losses;
mod similarities;

use nb_testing::tensor_wave;
use proptest::prelude::*;
use tch::{Device, Kind, Tensor};

use crate::IGNORE;
use crate::testing::{close, finite_differences, gradient, matrix_pair, shortest, value, values};

/// One loss and its expected properties.
pub(super) struct Loss {
    /// The loss of a batch, divided by a count.
    loss: fn(&Batch, i64) -> Tensor,
    /// The amount that one row adds to the sum, in plain numbers.
    row: fn(&Row) -> f64,
    at_equality: AtEquality,
    /// Turns rows into masked rows, if the loss supports them.
    mask: Option<fn(&Batch) -> Batch>,
    golden: &'static [Golden],
}

/// The value of a loss where student and teacher are equal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum AtEquality {
    /// 0, and so is its gradient.
    Zero,
    /// Any number, with a gradient of 0: the loss has its minimum there.
    Least,
    /// Any number with any gradient: the loss depends on labels.
    Any,
}

/// Values computed by hand, at the temperature `temperature` for every row.
pub(super) struct Golden {
    teacher: &'static [&'static [f64]],
    student: &'static [&'static [f64]],
    labels: &'static [i64],
    temperature: f64,
    count: i64,
    value: f64,
    /// The student's gradient, row after row.
    gradient: &'static [f64],
}

/// All inputs that a loss may use.
#[derive(Debug)]
pub(super) struct Batch {
    teacher: Tensor,      // [rows, C]
    student: Tensor,      // [rows, C]
    labels: Tensor,       // [rows], some of them IGNORE
    temperatures: Tensor, // [rows], one for each row
    temperature: f64,     // one for all rows
}

/// One row of a [`Batch`] in plain numbers.
pub(super) struct Row {
    teacher: Vec<f64>,
    student: Vec<f64>,
    label: Option<usize>,
    /// The row's entry in `Batch::temperatures`.
    row_temperature: f64,
    /// The temperature of all rows.
    temperature: f64,
}

impl Batch {
    /// A batch whose labels and temperatures follow from the row number: every third row has no label.
    fn new(teacher: Tensor, student: Tensor, temperature: f64) -> Self {
        let (n_rows, n_classes) = student.size2().expect("two dimensions");
        let label = |row| if row % 3 == 1 { IGNORE } else { (5 * row + 2) % n_classes };
        let labels: Vec<i64> = (0..n_rows).map(label).collect();
        let temperatures: Vec<f64> = (0..n_rows).map(|row| 0.7 + 1.3 * row as f64).collect();
        let (labels, temperatures) = (Tensor::from_slice(&labels), Tensor::from_slice(&temperatures));
        Self { teacher, student, labels, temperatures, temperature }
    }

    fn n_rows(&self) -> i64 {
        self.student.size()[0]
    }

    /// This batch, with `f` applied to every floating-point tensor.
    fn map(&self, f: impl Fn(&Tensor) -> Tensor) -> Self {
        let labels = self.labels.shallow_clone();
        Self {
            teacher: f(&self.teacher),
            student: f(&self.student),
            labels,
            temperatures: f(&self.temperatures),
            temperature: self.temperature,
        }
    }

    fn with_student(&self, student: &Tensor) -> Self {
        Self { student: student.shallow_clone(), ..self.map(Tensor::shallow_clone) }
    }

    /// `n` rows, starting with the row `first`.
    fn narrow(&self, first: i64, n: i64) -> Self {
        Self { labels: self.labels.narrow(0, first, n), ..self.map(|xs| xs.narrow(0, first, n)) }
    }

    /// The rows of this batch followed by those of `other`.
    fn followed_by(&self, other: &Self) -> Self {
        let both = |a: &Tensor, b: &Tensor| Tensor::cat(&[a, b], 0);
        Self {
            teacher: both(&self.teacher, &other.teacher),
            student: both(&self.student, &other.student),
            labels: both(&self.labels, &other.labels),
            temperatures: both(&self.temperatures, &other.temperatures),
            temperature: self.temperature,
        }
    }

    fn row(&self, row: i64) -> Row {
        Row {
            teacher: values(&self.teacher.get(row)),
            student: values(&self.student.get(row)),
            label: usize::try_from(self.labels.int64_value(&[row])).ok(),
            row_temperature: self.temperatures.double_value(&[row]),
            temperature: self.temperature,
        }
    }
}

impl Loss {
    fn value(&self, batch: &Batch, count: i64) -> f64 {
        value(&(self.loss)(batch, count))
    }

    /// The gradient of the student's rows.
    fn gradient(&self, batch: &Batch, count: i64) -> Tensor {
        gradient(|student| (self.loss)(&batch.with_student(student), count), &batch.student)
    }
}

/// Batches of shape `[1..5, 2..6]`, with numbers within ±3 for teacher and student, and a temperature.
fn batches() -> impl Strategy<Value = Batch> {
    (matrix_pair(), 0.5f64..8.0).prop_map(|((teacher, student), temperature)| Batch::new(teacher, student, temperature))
}

/// Fails with the first law that `loss` breaks.
pub(super) fn check(loss: Loss) {
    is_the_formula_divided_by_the_count(&loss);
    has_the_gradient_of_finite_differences(&loss);
    sums_over_micro_batches(&loss);
    leaves_the_teacher_alone(&loss);
    is_least_at_equality(&loss);
    is_0_without_rows(&loss);
    ignores_masked_rows(&loss);
    computes_16_bits_in_f32(&loss);
    loss.golden.iter().for_each(|golden| has_the_golden_value(&loss, golden));
}

fn cases() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) }
}

fn is_the_formula_divided_by_the_count(loss: &Loss) {
    proptest!(cases(), |(batch in batches())| {
        let sum: f64 = (0..batch.n_rows()).map(|row| (loss.row)(&batch.row(row))).sum();
        for count in [1, 7] {
            close(&[loss.value(&batch, count)], &[sum / count as f64], 1e-12);
        }
    });
}

fn has_the_gradient_of_finite_differences(loss: &Loss) {
    proptest!(cases(), |(batch in batches())| {
        prop_assume!(shortest(&batch.student) > 0.5); // a direction changes quickly near 0
        let of_student = |student: &Tensor| (loss.loss)(&batch.with_student(student), 3);
        let tolerance = 1e-8 * loss.value(&batch, 3).abs().max(1.0); // rounding grows with the value
        close(&values(&loss.gradient(&batch, 3)), &finite_differences(of_student, &batch.student), tolerance);
    });
}

fn sums_over_micro_batches(loss: &Loss) {
    proptest!(cases(), |(batch in batches())| {
        prop_assume!(shortest(&batch.student) > 0.1);
        let count = batch.n_rows();
        let parts: Vec<Batch> = (0..count).map(|row| batch.narrow(row, 1)).collect();
        let sum = parts.iter().map(|part| loss.value(part, count)).sum();
        close(&[loss.value(&batch, count)], &[sum], 1e-12);
        let gradients: Vec<Tensor> = parts.iter().map(|part| loss.gradient(part, count)).collect();
        close(&values(&loss.gradient(&batch, count)), &values(&Tensor::cat(&gradients, 0)), 1e-12);
    });
}

/// The same batch in every run: 3 rows of 4 entries in f64.
fn wave() -> Batch {
    let matrix = |shift| tensor_wave(&[3, 4], shift, Device::Cpu).to_kind(Kind::Double);
    Batch::new(matrix(0.0), matrix(1.0), 2.0)
}

fn leaves_the_teacher_alone(loss: &Loss) {
    let batch = wave().map(|xs| xs.copy().set_requires_grad(true));
    (loss.loss)(&batch, 3).backward();
    assert!(!batch.teacher.grad().defined(), "the teacher has a gradient");
    assert!(!batch.temperatures.grad().defined(), "the temperatures have a gradient");
    assert!(batch.student.grad().abs().max().double_value(&[]) > 0.0, "the student has no gradient");
}

fn is_least_at_equality(loss: &Loss) {
    proptest!(cases(), |(batch in batches())| {
        prop_assume!(shortest(&batch.teacher) > 0.5);
        let batch = batch.with_student(&batch.teacher);
        if loss.at_equality != AtEquality::Any {
            close(&values(&loss.gradient(&batch, 1)), &vec![0.0; batch.student.numel()], 1e-14);
        }
        if loss.at_equality == AtEquality::Zero {
            close(&[loss.value(&batch, 1)], &[0.0], 1e-14);
        }
    });
}

fn is_0_without_rows(loss: &Loss) {
    let batch = wave();
    for entry in [1.0, f64::NAN, f64::INFINITY] {
        let mut batch = batch.map(Tensor::copy);
        for xs in [&mut batch.teacher, &mut batch.student] {
            let _ = xs.get(0).fill_(entry);
        }
        assert_eq!(loss.value(&batch, 0), 0.0, "{entry}");
        assert_eq!(values(&loss.gradient(&batch, 0)), [0.0; 12], "{entry}");
    }
    assert_eq!(loss.value(&batch.narrow(0, 0), 5), 0.0);
}

fn ignores_masked_rows(loss: &Loss) {
    let Some(mask) = loss.mask else { return };
    proptest!(cases(), |(batch in batches())| {
        let masked = mask(&batch);
        assert_eq!(loss.value(&masked, 3), 0.0);
        assert_eq!(values(&loss.gradient(&masked, 3)), vec![0.0; batch.student.numel()]);
        let both = batch.followed_by(&masked);
        close(&[loss.value(&both, 3)], &[loss.value(&batch, 3)], 1e-12);
        let expected = [values(&loss.gradient(&batch, 3)), vec![0.0; batch.student.numel()]].concat();
        close(&values(&loss.gradient(&both, 3)), &expected, 1e-12);
    });
}

/// Includes inputs whose squares exceed the largest f16.
fn computes_16_bits_in_f32(loss: &Loss) {
    for kind in [Kind::BFloat16, Kind::Half] {
        for scale in [1.0, 300.0] {
            let batch = wave();
            let temperatures = batch.temperatures.to_kind(kind);
            let batch = Batch { temperatures, ..batch.map(|xs| (xs * scale).to_kind(kind)) };
            let found = (loss.loss)(&batch, 3);
            let expected = (loss.loss)(&batch.map(|xs| xs.to_kind(Kind::Float)), 3);
            assert_eq!((found.kind(), value(&found)), (Kind::Float, value(&expected)), "{kind:?}, {scale}");
        }
    }
}

fn has_the_golden_value(loss: &Loss, golden: &Golden) {
    for (kind, tolerance) in [(Kind::Float, 1e-6), (Kind::Double, 1e-15)] {
        let rows = |rows: &[&[f64]]| Tensor::from_slice2(rows).to_kind(kind);
        let (teacher, student) = (rows(golden.teacher), rows(golden.student));
        let temperatures = Tensor::full(student.size()[0], golden.temperature, (kind, Device::Cpu));
        let labels = Tensor::from_slice(golden.labels);
        let batch = Batch { teacher, student, labels, temperatures, temperature: golden.temperature };
        close(&[loss.value(&batch, golden.count)], &[golden.value], tolerance);
        close(&values(&loss.gradient(&batch, golden.count)), golden.gradient, tolerance);
    }
}

//! The losses, one test each.

use std::f64::consts::LN_2;

use tch::Tensor;

use super::{AtEquality, Batch, Golden, Loss, Row, check};
use crate::{
    Distillation, IGNORE, Soft, SoftLoss, SoftScaling, Temperature, cosine_distance, distillation_loss,
    hard_cross_entropy, normalised_state_mse, score_mse, soft_cross_entropy, soft_kl_divergence, soft_loss, state_mse,
};

const LN_3: f64 = 1.0986122886681098;

fn squared_distance(a: &[f64], b: &[f64]) -> f64 {
    (0..a.len()).map(|i| (a[i] - b[i]).powi(2)).sum()
}

/// The vector scaled to length 1.
fn direction(xs: &[f64]) -> Vec<f64> {
    let norm = xs.iter().map(|x| x * x).sum::<f64>().sqrt();
    xs.iter().map(|x| x / norm).collect()
}

fn softmax(logits: &[f64], temperature: f64) -> Vec<f64> {
    let exps: Vec<f64> = logits.iter().map(|z| (z / temperature).exp()).collect();
    let sum: f64 = exps.iter().sum();
    exps.iter().map(|exp| exp / sum).collect()
}

/// −Σ_j p_j log q_j at a temperature.
fn cross_entropy(row: &Row, temperature: f64) -> f64 {
    let (p, q) = (softmax(&row.teacher, temperature), softmax(&row.student, temperature));
    -(0..p.len()).map(|j| p[j] * q[j].ln()).sum::<f64>()
}

/// Σ_j p_j log (p_j / q_j) at a temperature.
fn divergence(row: &Row, temperature: f64) -> f64 {
    let (p, q) = (softmax(&row.teacher, temperature), softmax(&row.student, temperature));
    (0..p.len()).map(|j| p[j] * (p[j] / q[j]).ln()).sum()
}

/// −log softmax(z)_y, 0 without a label.
fn label_cross_entropy(row: &Row) -> f64 {
    row.label.map_or(0.0, |label| -softmax(&row.student, 1.0)[label].ln())
}

/// Vectors of length 1 with a cosine of 3/5.
const UNIT: Golden = Golden {
    teacher: &[&[0.6, 0.8]],
    student: &[&[1.0, 0.0]],
    labels: &[IGNORE],
    temperature: 1.0,
    count: 1,
    value: 0.8,             // 2·(1 − 3/5)
    gradient: &[0.8, -1.6], // 2(s − t)
};

/// A teacher and a student whose directions are (3/5, 4/5) and (1, 0).
const DIRECTIONS: Golden = Golden {
    teacher: &[&[3.0, 4.0]],
    student: &[&[10.0, 0.0]],
    labels: &[IGNORE],
    temperature: 1.0,
    count: 1,
    value: 0.4,
    // ½‖u − û_t‖² has the gradient u − û_t = (0.4, −0.8), whose part orthogonal to s is (0, −0.8), divided by ‖s‖ = 10.
    gradient: &[0.0, -0.08],
};

/// p = (3/4, 1/4) and q = (1/2, 1/2) at temperature 2, the label is the first class.
const LOGITS: Golden = Golden {
    teacher: &[&[2.0 * LN_3, 0.0]],
    student: &[&[1.0, 1.0]],
    labels: &[0],
    temperature: 2.0,
    count: 1,
    value: LN_2,
    gradient: &[-0.125, 0.125], // (q − p) / T
};

/// Σ p log (p / q) of [`LOGITS`].
const LOGITS_DIVERGENCE: f64 = 0.75 * LN_3 - LN_2;

/// Logits that overflow without log-softmax: teacher and student are certain of different classes.
const EXTREME: Golden = Golden {
    teacher: &[&[1e4, -1e4, 0.0]],
    student: &[&[-1e4, 1e4, 0.0]],
    labels: &[0],
    temperature: 1.0,
    count: 1,
    value: 2e4,
    gradient: &[-1.0, 1.0, 0.0],
};

/// Classes of probability 0 add 0: teacher and student are certain of the same class.
const EXTREME_EQUAL: Golden = Golden { student: EXTREME.teacher, value: 0.0, gradient: &[0.0, 0.0, 0.0], ..EXTREME };

#[test]
fn state_mse_obeys_the_laws() {
    check(Loss {
        loss: |batch, count| state_mse(&batch.teacher, &batch.student, count),
        row: |row| squared_distance(&row.teacher, &row.student) / row.student.len() as f64,
        at_equality: AtEquality::Zero,
        mask: None,
        golden: &[Golden {
            teacher: &[&[0.3, -0.2]],
            student: &[&[0.1, 0.4]],
            labels: &[IGNORE],
            temperature: 1.0,
            count: 1,
            value: 0.2,
            gradient: &[-0.2, 0.6],
        }],
    });
}

#[test]
fn squared_distance_obeys_the_laws() {
    check(Loss {
        loss: |batch, count| crate::squared_distance(&batch.teacher, &batch.student, count),
        row: |row| squared_distance(&row.teacher, &row.student),
        at_equality: AtEquality::Zero,
        mask: None,
        golden: &[
            UNIT,
            Golden {
                teacher: &[&[0.3, -0.2], &[1.0, 2.0]],
                student: &[&[0.1, 0.4], &[1.0, 0.0]],
                labels: &[IGNORE, IGNORE],
                temperature: 1.0,
                count: 2,
                value: 2.2, // (0.04 + 0.36 + 4) / 2
                gradient: &[-0.2, 0.6, 0.0, -2.0],
            },
        ],
    });
}

#[test]
fn score_mse_obeys_the_laws() {
    /// Padding: 0 on both sides.
    fn padding(batch: &Batch) -> Batch {
        Batch { teacher: batch.teacher.zeros_like(), ..batch.with_student(&batch.student.zeros_like()) }
    }
    check(Loss {
        loss: |batch, pairs| score_mse(&batch.teacher.flatten(0, -1), &batch.student.flatten(0, -1), pairs),
        row: |row| squared_distance(&row.teacher, &row.student),
        at_equality: AtEquality::Zero,
        mask: Some(padding),
        golden: &[Golden {
            teacher: &[&[0.3, -0.2, 0.0]],
            student: &[&[0.1, 0.4, 0.0]],
            labels: &[IGNORE],
            temperature: 1.0,
            count: 2,
            value: 0.2,
            gradient: &[-0.2, 0.6, 0.0],
        }],
    });
}

#[test]
fn normalised_state_mse_obeys_the_laws() {
    check(Loss {
        loss: |batch, count| normalised_state_mse(&batch.teacher, &batch.student, count),
        row: |row| squared_distance(&direction(&row.teacher), &direction(&row.student)) / row.student.len() as f64,
        at_equality: AtEquality::Zero,
        mask: None,
        golden: &[DIRECTIONS],
    });
}

#[test]
fn cosine_distance_obeys_the_laws() {
    check(Loss {
        loss: |batch, count| cosine_distance(&batch.teacher, &batch.student, count),
        row: |row| squared_distance(&direction(&row.teacher), &direction(&row.student)) / 2.0,
        at_equality: AtEquality::Zero,
        mask: None,
        golden: &[DIRECTIONS],
    });
}

#[test]
fn hard_cross_entropy_obeys_the_laws() {
    fn without_labels(batch: &Batch) -> Batch {
        Batch { labels: Tensor::full_like(&batch.labels, IGNORE), ..batch.map(Tensor::shallow_clone) }
    }
    check(Loss {
        loss: |batch, count| hard_cross_entropy(&batch.student, &batch.labels, count),
        row: label_cross_entropy,
        at_equality: AtEquality::Any,
        mask: Some(without_labels),
        golden: &[
            // Probabilities of 3/4 and 1/4.
            Golden {
                teacher: &[&[0.0, 0.0]],
                student: &[&[LN_3, 0.0]],
                labels: &[1],
                temperature: 1.0,
                count: 1,
                value: 2.0 * LN_2,
                gradient: &[0.75, -0.75],
            },
            // The student is certain of the label, then of the other class: 2·1e4 over 2.
            Golden {
                teacher: &[&[0.0, 0.0], &[0.0, 0.0]],
                student: &[&[1e4, -1e4], &[-1e4, 1e4]],
                labels: &[0, 0],
                temperature: 1.0,
                count: 2,
                value: 1e4,
                gradient: &[0.0, 0.0, -0.5, 0.5],
            },
        ],
    });
}

#[test]
fn soft_cross_entropy_obeys_the_laws() {
    check(Loss {
        loss: |batch, count| soft_cross_entropy(&batch.teacher, &batch.student, batch.temperature, count),
        row: |row| cross_entropy(row, row.temperature),
        at_equality: AtEquality::Least,
        mask: None,
        golden: &[LOGITS, EXTREME, EXTREME_EQUAL],
    });
}

#[test]
fn soft_kl_divergence_obeys_the_laws() {
    check(Loss {
        loss: |batch, count| soft_kl_divergence(&batch.teacher, &batch.student, batch.temperature, count),
        row: |row| divergence(row, row.temperature),
        at_equality: AtEquality::Zero,
        mask: None,
        golden: &[Golden { value: LOGITS_DIVERGENCE, ..LOGITS }, EXTREME, EXTREME_EQUAL],
    });
}

fn soft(loss: SoftLoss, temperature: Temperature<'_>, scaling: SoftScaling) -> Soft<'_> {
    Soft { loss, temperature, scaling }
}

#[test]
fn soft_loss_with_one_temperature_and_t_squared_obeys_the_laws() {
    check(Loss {
        loss: |batch, count| {
            let same = Temperature::Same(batch.temperature);
            let soft = soft(SoftLoss::CrossEntropy, same, SoftScaling::TemperatureSquared);
            soft_loss(&batch.teacher, &batch.student, &soft, count)
        },
        row: |row| row.temperature.powi(2) * cross_entropy(row, row.temperature),
        at_equality: AtEquality::Least,
        mask: None,
        golden: &[Golden { value: 4.0 * LN_2, gradient: &[-0.5, 0.5], ..LOGITS }],
    });
    check(Loss {
        loss: |batch, count| {
            let same = Temperature::Same(batch.temperature);
            let soft = soft(SoftLoss::KlDivergence, same, SoftScaling::TemperatureSquared);
            soft_loss(&batch.teacher, &batch.student, &soft, count)
        },
        row: |row| row.temperature.powi(2) * divergence(row, row.temperature),
        at_equality: AtEquality::Zero,
        mask: None,
        golden: &[Golden { value: 4.0 * LOGITS_DIVERGENCE, gradient: &[-0.5, 0.5], ..LOGITS }],
    });
}

#[test]
fn soft_loss_with_a_temperature_for_each_row_obeys_the_laws() {
    check(Loss {
        loss: |batch, count| {
            let soft = soft(SoftLoss::CrossEntropy, Temperature::PerRow(&batch.temperatures), SoftScaling::Plain);
            soft_loss(&batch.teacher, &batch.student, &soft, count)
        },
        row: |row| cross_entropy(row, row.row_temperature),
        at_equality: AtEquality::Least,
        mask: None,
        golden: &[LOGITS, EXTREME],
    });
    check(Loss {
        loss: |batch, count| {
            let soft = soft(SoftLoss::KlDivergence, Temperature::PerRow(&batch.temperatures), SoftScaling::Plain);
            soft_loss(&batch.teacher, &batch.student, &soft, count)
        },
        row: |row| divergence(row, row.row_temperature),
        at_equality: AtEquality::Zero,
        mask: None,
        golden: &[Golden { value: LOGITS_DIVERGENCE, ..LOGITS }, EXTREME, EXTREME_EQUAL],
    });
}

#[test]
fn soft_loss_with_t_squared_for_each_row_obeys_the_laws() {
    check(Loss {
        loss: |batch, count| {
            let per_row = Temperature::PerRow(&batch.temperatures);
            let soft = soft(SoftLoss::CrossEntropy, per_row, SoftScaling::TemperatureSquared);
            soft_loss(&batch.teacher, &batch.student, &soft, count)
        },
        row: |row| row.row_temperature.powi(2) * cross_entropy(row, row.row_temperature),
        at_equality: AtEquality::Least,
        mask: None,
        golden: &[Golden { value: 4.0 * LN_2, gradient: &[-0.5, 0.5], ..LOGITS }],
    });
    check(Loss {
        loss: |batch, count| {
            let per_row = Temperature::PerRow(&batch.temperatures);
            let soft = soft(SoftLoss::KlDivergence, per_row, SoftScaling::TemperatureSquared);
            soft_loss(&batch.teacher, &batch.student, &soft, count)
        },
        row: |row| row.row_temperature.powi(2) * divergence(row, row.row_temperature),
        at_equality: AtEquality::Zero,
        mask: None,
        golden: &[Golden { value: 4.0 * LOGITS_DIVERGENCE, gradient: &[-0.5, 0.5], ..LOGITS }],
    });
}

#[test]
fn distillation_loss_obeys_the_laws() {
    const SOFT: f64 = 0.7;
    const HARD: f64 = 1.3;
    fn settings(temperature: f64, scaling: SoftScaling) -> Distillation {
        Distillation { temperature, soft: SOFT, hard: HARD, scaling }
    }
    check(Loss {
        loss: |batch, count| {
            let settings = settings(batch.temperature, SoftScaling::Plain);
            distillation_loss(&batch.teacher, &batch.student, &batch.labels, &settings, count)
        },
        row: |row| SOFT * cross_entropy(row, row.temperature) + HARD * label_cross_entropy(row),
        at_equality: AtEquality::Any,
        mask: None,
        golden: &[Golden { value: (SOFT + HARD) * LN_2, gradient: &[-0.7375, 0.7375], ..LOGITS }],
    });
    check(Loss {
        loss: |batch, count| {
            let settings = settings(batch.temperature, SoftScaling::TemperatureSquared);
            distillation_loss(&batch.teacher, &batch.student, &batch.labels, &settings, count)
        },
        row: |row| {
            let soft = row.temperature.powi(2) * cross_entropy(row, row.temperature);
            SOFT * soft + HARD * label_cross_entropy(row)
        },
        at_equality: AtEquality::Any,
        mask: None,
        golden: &[Golden { value: (4.0 * SOFT + HARD) * LN_2, gradient: &[-1.0, 1.0], ..LOGITS }],
    });
}

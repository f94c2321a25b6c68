//! The losses of multi-label classification.

use tch::{Kind, Tensor};

use super::{AtEquality, Batch, Golden, Loss, Row, check};
use crate::{IGNORE, Soft, SoftLoss, SoftScaling, Temperature, binary_cross_entropy, binary_soft_loss};

const LN_3: f64 = 1.0986122886681098;

/// The targets of a batch: the label of a row and the one two after it apply, unless the row has none.
fn targets(batch: &Batch) -> Tensor {
    let (labels, classes) = (&batch.labels, batch.student.size()[1]);
    let one_hot = |shift: i64| (labels + shift).remainder(classes).one_hot(classes).to_kind(Kind::Double);
    let both = (one_hot(0) + one_hot(2)).clamp_max(1.0);
    both.masked_fill(&labels.eq(IGNORE).unsqueeze(-1), IGNORE as f64)
}

fn sigmoid(logit: f64) -> f64 {
    1.0 / (1.0 + (-logit).exp())
}

/// −log of the probability of `truth`: that a label with this logit applies, or that it does not.
fn surprise(logit: f64, truth: bool) -> f64 {
    -sigmoid(if truth { logit } else { -logit }).ln()
}

fn cross_entropy(row: &Row, temperature: f64) -> f64 {
    let each = row.teacher.iter().zip(&row.student).map(|(v, z)| (sigmoid(v / temperature), z / temperature));
    each.map(|(p, z)| p * surprise(z, true) + (1.0 - p) * surprise(z, false)).sum()
}

fn entropy(row: &Row, temperature: f64) -> f64 {
    cross_entropy(&Row { student: row.teacher.clone(), teacher: row.teacher.clone(), ..*row }, temperature)
}

#[test]
fn binary_cross_entropy_obeys_the_laws() {
    check(Loss {
        loss: |batch, count| binary_cross_entropy(&batch.student, &targets(batch), None, count),
        row: |row| {
            let Some(label) = row.label else { return 0.0 };
            let applies = |c: usize| c == label || c == (label + 2) % row.student.len();
            row.student.iter().enumerate().map(|(c, &z)| surprise(z, applies(c))).sum()
        },
        at_equality: AtEquality::Any,
        mask: Some(|batch| Batch { labels: batch.labels.full_like(IGNORE), ..batch.map(Tensor::shallow_clone) }),
        golden: &[Golden {
            teacher: &[&[0.0, 0.0, 0.0, 0.0]],
            student: &[&[LN_3, LN_3, 0.0, -1e4]], // probabilities 3/4, 3/4, 1/2 and 0
            labels: &[0],                         // labels 0 and 2 apply
            temperature: 1.0,
            count: 2,
            value: 1.1835618070658083,              // (log 4/3 + log 4 + log 2) / 2
            gradient: &[-0.125, 0.375, -0.25, 0.0], // (q − y) / 2
        }],
    });
}

#[test]
fn binary_soft_cross_entropy_obeys_the_laws() {
    check(Loss {
        loss: |batch, count| {
            let temperature = Temperature::Same(batch.temperature);
            binary_soft_loss(&batch.teacher, &batch.student, &Soft { temperature, ..Soft::default() }, count)
        },
        row: |row| cross_entropy(row, row.temperature),
        at_equality: AtEquality::Least,
        mask: None,
        golden: &[LOGITS],
    });
}

#[test]
fn binary_divergence_with_a_temperature_for_each_row_obeys_the_laws() {
    check(Loss {
        loss: |batch, count| {
            let temperature = Temperature::PerRow(&batch.temperatures);
            let soft = Soft { loss: SoftLoss::KlDivergence, temperature, scaling: SoftScaling::TemperatureSquared };
            binary_soft_loss(&batch.teacher, &batch.student, &soft, count)
        },
        row: |row| {
            let t = row.row_temperature;
            t * t * (cross_entropy(row, t) - entropy(row, t))
        },
        at_equality: AtEquality::Zero,
        mask: None,
        golden: &[Golden {
            value: 4.0 * (0.75 * LN_3 - std::f64::consts::LN_2), // log 2 less the entropy of 3/4 for the first label, times T²
            gradient: &[-0.5, 0.0],                              // T·(q − p)
            ..LOGITS
        }],
    });
}

/// p = (3/4, 1/2) and q = (1/2, 1/2) at temperature 2.
const LOGITS: Golden = Golden {
    teacher: &[&[2.0 * LN_3, 0.0]],
    student: &[&[0.0, 0.0]],
    labels: &[0],
    temperature: 2.0,
    count: 1,
    value: 2.0 * std::f64::consts::LN_2,
    gradient: &[-0.125, 0.0], // (q − p) / T
};

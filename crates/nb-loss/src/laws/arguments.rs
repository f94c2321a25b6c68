//! Arguments that a loss refuses, with a message that names what was found and what was expected.

use tch::{Device, Kind, Tensor};

use crate::testing::panic_of;
use crate::{
    Distillation, Soft, SoftLoss, SoftScaling, Temperature, cosine_distance, distillation_loss, hard_cross_entropy,
    normalised_state_mse, score_mse, similarity_kl, similarity_mse, soft_cross_entropy, soft_kl_divergence, soft_loss,
    squared_distance, state_mse,
};

fn zeros(shape: &[i64]) -> Tensor {
    Tensor::zeros(shape, (Kind::Float, Device::Cpu))
}

#[track_caller]
fn refuses(message: &str, call: impl FnOnce() -> Tensor) {
    assert_eq!(panic_of(call), message);
}

type LossOfStates = fn(&Tensor, &Tensor, i64) -> Tensor;

type LossOfLogits = fn(&Tensor, &Tensor, f64, i64) -> Tensor;

/// Losses of two matrices of rows, with a count, and the name of the rows.
const OF_STATES: [(&str, LossOfStates); 4] = [
    ("states", state_mse),
    ("states", normalised_state_mse),
    ("states", cosine_distance),
    ("vectors", squared_distance),
];

/// Losses of two matrices that may have different widths, with a count.
const OF_SIMILARITIES: [LossOfStates; 2] =
    [similarity_mse, |teacher, student, count| similarity_kl(teacher, student, 1.0, count)];

/// Soft losses at a temperature, with a count.
const OF_LOGITS: [LossOfLogits; 2] = [soft_cross_entropy, soft_kl_divergence];

#[test]
fn states_of_different_shapes() {
    for (name, loss) in OF_STATES {
        let [rows, columns] = [[6, 4], [5, 3]].map(|shape| zeros(&shape));
        let expected = format!("the teacher's {name} have shape [5, 4] and the student's [6, 4], expected the same");
        refuses(&expected, || loss(&zeros(&[5, 4]), &rows, 2));
        let expected = format!("the teacher's {name} have shape [5, 4] and the student's [5, 3], expected the same");
        refuses(&expected, || loss(&zeros(&[5, 4]), &columns, 2));
    }
}

#[test]
fn states_that_are_not_a_matrix() {
    for (name, loss) in OF_STATES {
        let expected = format!("{name} has shape [5], expected two dimensions");
        refuses(&expected, || loss(&zeros(&[5]), &zeros(&[5]), 2));
        let cube = zeros(&[2, 5, 4]);
        let expected = format!("{name} has shape [2, 5, 4], expected two dimensions");
        refuses(&expected, || loss(&cube, &cube, 2));
    }
}

#[test]
fn vectors_of_different_numbers_of_rows_or_that_are_not_a_matrix() {
    for loss in OF_SIMILARITIES {
        let expected = "the teacher's vectors have 5 rows and the student's 6, expected the same number";
        refuses(expected, || loss(&zeros(&[5, 4]), &zeros(&[6, 3]), 2));
        // The checks precede the 0 of a batch with fewer than two rows.
        let expected = "the teacher's vectors have 0 rows and the student's 1, expected the same number";
        refuses(expected, || loss(&zeros(&[0, 4]), &zeros(&[1, 4]), 2));
        let expected = "vectors has shape [5], expected two dimensions";
        refuses(expected, || loss(&zeros(&[5]), &zeros(&[5, 4]), 2));
        let expected = "vectors has shape [5, 4, 1], expected two dimensions";
        refuses(expected, || loss(&zeros(&[5, 4]), &zeros(&[5, 4, 1]), 2));
    }
}

#[test]
fn similarities_of_integers() {
    for loss in OF_SIMILARITIES {
        let integers = Tensor::zeros([1, 3], (Kind::Int64, Device::Cpu));
        let expected = "a tensor of kind Int64 was given to a loss, expected a floating-point kind";
        refuses(expected, || loss(&integers, &integers, 1));
    }
}

#[test]
fn invalid_scales() {
    let rows = zeros(&[2, 3]);
    for (scale, found) in [(0.0, "0"), (-2.5, "-2.5"), (f64::NAN, "NaN"), (f64::INFINITY, "inf")] {
        let expected = format!("the scale is {found}, expected a finite number above 0");
        refuses(&expected, || similarity_kl(&rows, &rows, scale, 2));
    }
}

#[test]
fn scores_of_different_shapes_or_in_a_matrix() {
    let expected = "the teacher's scores have shape [5] and the student's [6], expected the same";
    refuses(expected, || score_mse(&zeros(&[5]), &zeros(&[6]), 2));
    let expected = "scores have shape [2, 5], expected one dimension";
    refuses(expected, || score_mse(&zeros(&[2, 5]), &zeros(&[2, 5]), 2));
}

#[test]
fn logits_of_different_shapes_or_that_are_not_a_matrix() {
    for loss in OF_LOGITS {
        let expected = "the teacher's logits have shape [2, 3] and the student's [2, 4], expected the same";
        refuses(expected, || loss(&zeros(&[2, 3]), &zeros(&[2, 4]), 1.0, 2));
        let expected = "logits has shape [2], expected two dimensions";
        refuses(expected, || loss(&zeros(&[2]), &zeros(&[2]), 1.0, 2));
    }
}

#[test]
fn negative_counts() {
    let rows = zeros(&[2, 3]);
    let expected = "the count of a mean is -2, expected at least 0";
    OF_STATES.iter().for_each(|(_, loss)| refuses(expected, || loss(&rows, &rows, -2)));
    OF_SIMILARITIES.iter().for_each(|loss| refuses(expected, || loss(&rows, &rows, -2)));
    OF_LOGITS.iter().for_each(|loss| refuses(expected, || loss(&rows, &rows, 1.0, -2)));
    refuses(expected, || score_mse(&rows.get(0), &rows.get(0), -2));
    refuses(expected, || hard_cross_entropy(&rows, &Tensor::from_slice(&[0i64, 1]), -2));
}

#[test]
fn labels_of_another_shape_or_kind() {
    let logits = zeros(&[2, 3]);
    let expected = "labels have shape [1], expected [2] for logits of [2, 3]";
    refuses(expected, || hard_cross_entropy(&logits, &Tensor::from_slice(&[0i64]), 2));
    let expected = "labels are Int, expected Int64";
    refuses(expected, || hard_cross_entropy(&logits, &Tensor::from_slice(&[0i32, 1]), 2));
}

#[test]
fn invalid_temperatures() {
    let logits = zeros(&[2, 3]);
    for loss in OF_LOGITS {
        let expected = "the temperature is -1, expected a finite number above 0";
        refuses(expected, || loss(&logits, &logits, -1.0, 2));
    }
    fn with(temperature: Temperature<'_>) -> Tensor {
        let logits = zeros(&[2, 3]);
        let soft = Soft { loss: SoftLoss::KlDivergence, temperature, scaling: SoftScaling::Plain };
        soft_loss(&logits, &logits, &soft, 2)
    }
    refuses("the temperature is 0, expected a finite number above 0", || with(Temperature::Same(0.0)));
    let expected = "temperatures have shape [1], expected [2] for logits of [2, 3]";
    refuses(expected, || with(Temperature::PerRow(&Tensor::from_slice(&[1.0]))));
    let expected = "temperatures are Int64, expected a floating-point kind";
    refuses(expected, || with(Temperature::PerRow(&Tensor::from_slice(&[1i64, 2]))));
}

#[test]
fn invalid_settings_of_the_total_even_at_weight_0() {
    let logits = zeros(&[1, 2]);
    let total = |temperature, soft| {
        let settings = Distillation { temperature, soft, hard: 1.0, scaling: SoftScaling::Plain };
        distillation_loss(&logits, &logits, &Tensor::from_slice(&[0i64]), &settings, 1)
    };
    refuses("the temperature is -2, expected a finite number above 0", || total(-2.0, 0.0));
    refuses("the weight of the soft loss is NaN, expected a finite number", || total(1.0, f64::NAN));
}

//! A linear head for the first token as the two layers of a class of transformers, which have an activation between them.

use nb_checkpoint::{Classifier, ClassifierActivation};

use super::parameter::Parameter;

/// The factor of the states before a tanh.
///
/// tanh(εh)/ε is h to a relative error of ε²h²/3. A power of two scales without rounding, so only the tanh itself rounds. On
/// a student of 384 units trained on AG News (states up to 7.9), the largest error of a probability in f32 is 1.5e-6 for
/// ε = 2^-10, 9.8e-8 for 2^-12, 2.0e-8 for 2^-14 and 1.5e-8 for 2^-16, where the rounding of f32 alone remains; for states
/// four times as large, it is 5.6e-6 for 2^-12 and 3.5e-7 for 2^-14. Below 2^-14, the least normal number of f16, a model
/// that is converted to f16 loses digits: its error grows from 7.5e-5 to 3.0e-4 for 2^-16 and 4.5e-3 for 2^-20.
const POOLER_SCALE: f64 = 1.0 / 16384.0;

/// Logits D h + d, in f64.
struct Logits {
    /// D [labels, H].
    weight: Vec<f64>,
    bias: Vec<f64>,
}

/// Returns true if the layers of a class have room for a head with this many labels.
pub(super) fn fits(classifier: &Classifier, hidden: usize, labels: usize) -> bool {
    match classifier.activation {
        ClassifierActivation::Tanh => true,
        ClassifierActivation::Relu | ClassifierActivation::Gelu => 2 * labels <= hidden,
    }
}

/// Returns the parameters of the class's layers that compute the logits of a head for `[CLS]` pooling, as
/// [`hugging_face`](super::hugging_face) describes. The head must [fit](fits).
pub(super) fn library_head(
    classifier: &Classifier,
    head: &[Parameter],
    hidden: usize,
    labels: usize,
) -> Vec<Parameter> {
    let logits = Logits::of(head, hidden, labels);
    let [dense, dense_bias, output, output_bias] = match classifier.activation {
        ClassifierActivation::Tanh => through_small_numbers(logits, hidden),
        ClassifierActivation::Relu | ClassifierActivation::Gelu => through_both_signs(logits, hidden),
    };
    let parameter = |layer: &str, part: &str, shape: &[usize], values: Vec<f64>| Parameter {
        name: format!("{layer}.{part}"),
        shape: shape.to_vec(),
        values: values.into_iter().map(|value| value as f32).collect(),
    };
    vec![
        parameter(classifier.dense, "weight", &[hidden, hidden], dense),
        parameter(classifier.dense, "bias", &[hidden], dense_bias),
        parameter(classifier.output, "weight", &[labels, hidden], output),
        parameter(classifier.output, "bias", &[labels], output_bias),
    ]
}

/// Returns W = εI, b = 0, C = D/ε and c = d.
fn through_small_numbers(logits: Logits, hidden: usize) -> [Vec<f64>; 4] {
    let mut dense = vec![0.0; hidden * hidden];
    dense.iter_mut().step_by(hidden + 1).for_each(|entry| *entry = POOLER_SCALE);
    let output = logits.weight.into_iter().map(|value| value / POOLER_SCALE).collect();
    [dense, vec![0.0; hidden], output, logits.bias]
}

/// Returns W = (D; −D), b = (d; −d), C = (I, −I) and c = 0, each filled up with zeros.
fn through_both_signs(logits: Logits, hidden: usize) -> [Vec<f64>; 4] {
    let labels = logits.bias.len();
    let both = |values: Vec<f64>, len: usize| {
        let negative: Vec<f64> = values.iter().map(|value| -value).collect();
        let mut all = [values, negative].concat();
        all.resize(len, 0.0);
        all
    };
    let mut output = vec![0.0; labels * hidden];
    for (label, row) in output.chunks_exact_mut(hidden).enumerate() {
        row[label] = 1.0;
        row[labels + label] = -1.0;
    }
    [both(logits.weight, hidden * hidden), both(logits.bias, hidden), output, vec![0.0; labels]]
}

impl Logits {
    /// Multiplies the layers of a head. It adds up in f64; the caller rounds once.
    fn of(head: &[Parameter], hidden: usize, labels: usize) -> Self {
        let values = |name: &str| head.iter().find(|parameter| parameter.name == name).map(|it| &it.values[..]);
        let (dense, dense_bias) =
            (values("dense.weight").unwrap_or_default(), values("dense.bias").unwrap_or_default());
        let mut bias: Vec<f64> = dense_bias.iter().map(|&entry| f64::from(entry)).collect();
        let (Some(vector), Some(vector_bias)) = (values("vector.weight"), values("vector.bias")) else {
            return Self { weight: dense.iter().map(|&entry| f64::from(entry)).collect(), bias };
        };
        let mut weight = vec![0.0; labels * hidden];
        let rows = dense.chunks_exact(vector_bias.len()).zip(weight.chunks_exact_mut(hidden)).zip(&mut bias);
        for ((row, out), bias) in rows {
            for ((&entry, units), &unit_bias) in row.iter().zip(vector.chunks_exact(hidden)).zip(vector_bias) {
                out.iter_mut().zip(units).for_each(|(out, &unit)| *out += f64::from(entry) * f64::from(unit));
                *bias += f64::from(entry) * f64::from(unit_bias);
            }
        }
        Self { weight, bias }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nb_checkpoint::Family;

    #[test]
    fn both_signs_of_the_logits_go_through_relu() {
        let parameter = |name: &str, shape: &[usize], values: &[f32]| Parameter {
            name: name.to_owned(),
            shape: shape.to_vec(),
            values: values.to_vec(),
        };
        let head = [
            parameter("dense.weight", &[2, 4], &[1.0, 2.0, 3.0, 4.0, -5.0, 6.0, -7.0, 8.0]),
            parameter("dense.bias", &[2], &[0.5, -0.25]),
        ];
        let classifier = Family::DistilBert.classifier();
        assert!(fits(classifier, 4, 2) && !fits(classifier, 5, 3) && fits(Family::Roberta.classifier(), 2, 3));
        let found = library_head(classifier, &head, 4, 2);
        let names: Vec<&str> = found.iter().map(|parameter| parameter.name.as_str()).collect();
        assert_eq!(names, ["pre_classifier.weight", "pre_classifier.bias", "classifier.weight", "classifier.bias"]);
        let state = [1.0f32, -2.0, 0.5, 3.0];
        let linear = |weight: &[f32], bias: &[f32], x: &[f32]| -> Vec<f32> {
            let rows = weight.chunks_exact(x.len()).zip(bias);
            rows.map(|(row, bias)| bias + row.iter().zip(x).map(|(w, x)| w * x).sum::<f32>()).collect()
        };
        let expected = linear(&head[0].values, &head[1].values, &state);
        assert_eq!(expected, [11.0, 3.25]);
        let units = linear(&found[0].values, &found[1].values, &state).iter().map(|x| x.max(0.0)).collect::<Vec<_>>();
        assert_eq!(linear(&found[2].values, &found[3].values, &units), expected);
    }
}

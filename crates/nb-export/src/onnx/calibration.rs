//! The ranges of the inputs of dense layers.

use crate::error::ExportError;

/// The largest absolute inputs of the dense layers of an encoder on texts like those of the application. Larger inputs are cut off
/// to them.
///
/// ```
/// use nb_export::{Calibration, LayerInputs};
/// let mut inputs = LayerInputs::default();
/// inputs.attention = LayerInputs::largest(inputs.attention, &[0.5, -3.0]);
/// inputs.attention = LayerInputs::largest(inputs.attention, &[1.0]);
/// assert_eq!(inputs.attention, 3.0);
/// let calibration = Calibration { layers: vec![inputs] };
/// assert_eq!(calibration.layers[0].output, 0.0);
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Calibration {
    /// By encoder layer.
    pub layers: Vec<LayerInputs>,
}

/// The largest absolute inputs of the dense layers of one encoder layer.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LayerInputs {
    /// Of `attention.self.query`, `key` and `value`: the states before the layer.
    pub attention: f32,
    /// Of `attention.output.dense`: the heads' mixtures of values.
    pub attention_output: f32,
    /// Of `intermediate.dense`: the states after attention.
    pub intermediate: f32,
    /// Of `output.dense`: the activations.
    pub output: f32,
}

impl LayerInputs {
    /// Returns the larger of `so_far` and the largest absolute value of `inputs`. NaN stays NaN.
    pub fn largest(so_far: f32, inputs: &[f32]) -> f32 {
        inputs.iter().fold(so_far, |largest, x| if x.abs() <= largest { largest } else { x.abs() })
    }

    fn named(&self) -> [(&'static str, f32); 4] {
        [
            ("attention", self.attention),
            ("attention_output", self.attention_output),
            ("intermediate", self.intermediate),
            ("output", self.output),
        ]
    }
}

impl Calibration {
    /// Checks that there is a usable range for each input of a model of `layers` layers.
    pub(super) fn check(&self, layers: usize) -> Result<(), ExportError> {
        if self.layers.len() != layers {
            let (found, expected) = (self.layers.len().to_string(), format!("{layers}, as config.json says"));
            return Err(ExportError::Calibration { name: "the number of layers".to_owned(), found, expected });
        }
        let all = self.layers.iter().enumerate().flat_map(|(i, inputs)| inputs.named().map(|input| (i, input)));
        let is_unusable = |(_, (_, largest)): &(usize, (&str, f32))| !(largest.is_finite() && *largest > 0.0);
        match { all }.find(is_unusable) {
            None => Ok(()),
            Some((i, (name, largest))) => Err(ExportError::Calibration {
                name: format!("{name} of layer {i}"),
                found: largest.to_string(),
                expected: "a number above 0".to_owned(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_fit_no_layer_are_refused() {
        let inputs = LayerInputs { attention: 1.0, attention_output: 2.0, intermediate: 3.0, output: 4.0 };
        let check = |layers: &[LayerInputs]| {
            Calibration { layers: layers.to_vec() }.check(2).map_err(|error| error.to_string())
        };
        assert_eq!(check(&[inputs, inputs]), Ok(()));
        let error = check(&[inputs]).unwrap_err();
        assert_eq!(error, "calibration: the number of layers is 1, expected 2, as config.json says");
        for wrong in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            let error = check(&[inputs, LayerInputs { output: wrong, ..inputs }]).unwrap_err();
            assert_eq!(error, format!("calibration: output of layer 1 is {wrong}, expected a number above 0"));
        }
    }

    #[test]
    fn nan_stays() {
        assert_eq!(LayerInputs::largest(1.0, &[-2.0, 0.5]), 2.0);
        assert!(LayerInputs::largest(LayerInputs::largest(1.0, &[f32::NAN, 3.0]), &[2.0]).is_nan());
    }
}

//! The ranges of the inputs of dense layers.

use crate::error::ExportError;

/// The ranges of the inputs of an encoder's dense layers on texts like those of the application. Inputs beyond a range are
/// cut off to it.
///
/// ```
/// use nb_export::{Calibration, LayerInputs};
/// let mut inputs = LayerInputs::default();
/// inputs.attention.include(&[0.5, -3.0]);
/// inputs.attention.include(&[1.0]);
/// let calibration = Calibration { layers: vec![inputs] };
/// let range = calibration.layers[0].attention;
/// assert_eq!((range.least, range.largest), (-3.0, 1.0));
/// assert_eq!(calibration.symmetric().layers[0].attention.largest, 3.0);
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Calibration {
    /// By encoder layer.
    pub layers: Vec<LayerInputs>,
}

/// The ranges of the inputs of one encoder layer's dense layers.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LayerInputs {
    /// Of `attention.self.query`, `key` and `value`: the states before the layer.
    pub attention: InputRange,
    /// Of `attention.output.dense`: the heads' mixtures of values.
    pub attention_output: InputRange,
    /// Of `intermediate.dense`: the states after attention.
    pub intermediate: InputRange,
    /// Of `output.dense`: the activations.
    pub output: InputRange,
}

/// A range of numbers, which includes 0. The default contains nothing else.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct InputRange {
    /// Its least number, 0 or less.
    pub least: f32,
    /// Its largest number, 0 or more.
    pub largest: f32,
}

impl InputRange {
    /// Widens the range to include these numbers. If one of them is NaN, so is the range.
    pub fn include(&mut self, inputs: &[f32]) {
        let larger = |a: f32, b: f32| if a >= b || a.is_nan() { a } else { b };
        for &x in inputs {
            self.largest = larger(self.largest, x);
            self.least = -larger(-self.least, -x);
        }
    }

    fn is_usable(self) -> bool {
        let Self { least, largest } = self;
        least <= 0.0 && largest >= 0.0 && least < largest && (largest - least).is_finite()
    }

    fn symmetric(self) -> Self {
        let most = self.largest.max(-self.least);
        Self { least: -most, largest: most }
    }
}

impl Calibration {
    /// Returns the calibration with ranges from −x to x, which round zero to zero. That is less accurate, but some runtimes,
    /// TensorRT among them, read nothing else.
    #[must_use]
    pub fn symmetric(&self) -> Self {
        let symmetric = |inputs: &LayerInputs| LayerInputs {
            attention: inputs.attention.symmetric(),
            attention_output: inputs.attention_output.symmetric(),
            intermediate: inputs.intermediate.symmetric(),
            output: inputs.output.symmetric(),
        };
        Self { layers: self.layers.iter().map(symmetric).collect() }
    }

    /// Checks that there is a usable range for each input of a model of `layers` layers.
    pub(super) fn check(&self, layers: usize) -> Result<(), ExportError> {
        if self.layers.len() != layers {
            let (found, expected) = (self.layers.len().to_string(), format!("{layers}, as config.json says"));
            return Err(ExportError::Calibration { name: "the number of layers".to_owned(), found, expected });
        }
        for (i, inputs) in self.layers.iter().enumerate() {
            let all = [
                ("attention", inputs.attention),
                ("attention_output", inputs.attention_output),
                ("intermediate", inputs.intermediate),
                ("output", inputs.output),
            ];
            if let Some((name, InputRange { least, largest })) = all.into_iter().find(|(_, range)| !range.is_usable()) {
                return Err(ExportError::Calibration {
                    name: format!("{name} of layer {i}"),
                    found: format!("{least} to {largest}"),
                    expected: "finite numbers around 0".to_owned(),
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_fit_no_layer_are_refused() {
        let range = |least, largest| InputRange { least, largest };
        let inputs = LayerInputs {
            attention: range(-1.0, 2.0),
            attention_output: range(0.0, 1.0),
            intermediate: range(-1.0, 0.0),
            output: range(-0.17, 20.0),
        };
        let check = |layers: &[LayerInputs]| {
            Calibration { layers: layers.to_vec() }.check(2).map_err(|error| error.to_string())
        };
        assert_eq!(check(&[inputs, inputs]), Ok(()));
        let error = check(&[inputs]).unwrap_err();
        assert_eq!(error, "calibration: the number of layers is 1, expected 2, as config.json says");
        for wrong in [range(0.0, 0.0), range(0.1, 1.0), range(-1.0, f32::NAN), range(f32::MIN, f32::MAX)] {
            let error = check(&[inputs, LayerInputs { output: wrong, ..inputs }]).unwrap_err();
            let found = format!("output of layer 1 is {} to {}", wrong.least, wrong.largest);
            assert_eq!(error, format!("calibration: {found}, expected finite numbers around 0"));
        }
    }

    #[test]
    fn nan_stays() {
        let mut range = InputRange::default();
        range.include(&[1.0, f32::NAN, -3.0]);
        range.include(&[2.0]);
        assert!(range.least.is_nan() && range.largest.is_nan());
    }
}

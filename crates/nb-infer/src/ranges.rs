//! The ranges of the inputs of dense layers, by which another runtime rounds them to 8 bits.

use crate::encoder::{LayerInput, Observer};

/// A range of numbers that includes 0; NaN if there was one.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct InputRange {
    /// Its least number, 0 or less.
    pub least: f32,
    /// Its largest number, 0 or more.
    pub largest: f32,
}

/// The ranges of the inputs of one encoder layer's dense layers.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LayerRanges {
    /// Of queries, keys and values: the states before the layer.
    pub attention: InputRange,
    /// Of the dense layer after attention: the heads' mixtures of values.
    pub attention_output: InputRange,
    /// Of the intermediate layer: the states after attention.
    pub intermediate: InputRange,
    /// Of the output layer: the activations.
    pub output: InputRange,
}

impl InputRange {
    fn include(&mut self, inputs: &[f32]) {
        let larger = |a: f32, b: f32| if a >= b || a.is_nan() { a } else { b }; // keeps NaN
        self.least = inputs.iter().fold(self.least, |least, &x| -larger(-least, -x));
        self.largest = inputs.iter().fold(self.largest, |largest, &x| larger(largest, x));
    }
}

/// Widens the ranges.
impl Observer for LayerRanges {
    const LOOKS: bool = true;

    fn see(&mut self, input: LayerInput, numbers: &[f32]) {
        let range = match input {
            LayerInput::Attention => &mut self.attention,
            LayerInput::AttentionOutput => &mut self.attention_output,
            LayerInput::Intermediate => &mut self.intermediate,
            LayerInput::Output => &mut self.output,
        };
        range.include(numbers);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_includes_zero_and_all_numbers() {
        let mut ranges = LayerRanges::default();
        ranges.see(LayerInput::Output, &[3.0, 5.0]);
        ranges.see(LayerInput::Output, &[-2.0]);
        ranges.see(LayerInput::Attention, &[-1.0]);
        assert_eq!(ranges.output, InputRange { least: -2.0, largest: 5.0 });
        assert_eq!(ranges.attention, InputRange { least: -1.0, largest: 0.0 });
        assert_eq!(ranges.intermediate, InputRange::default());
        ranges.see(LayerInput::Attention, &[f32::NAN, 1.0]);
        assert!(ranges.attention.largest.is_nan());
    }
}

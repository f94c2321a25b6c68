//! The parts of an encoder that training changes.

use std::ops::Range;

/// The parts of an encoder that training changes; the others keep their values. They have no gradients.
///
/// Outputs that no trained part precedes are the same in every pass, so dropout is off in the parts that compute them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrainedParts {
    /// True if the embeddings are trained: all tables and their LayerNorm.
    pub embeddings: bool,
    /// The number of topmost layers that are trained; all layers if the encoder has fewer.
    pub top_layers: usize,
}

impl TrainedParts {
    /// The whole encoder.
    pub const ALL: Self = Self { embeddings: true, top_layers: usize::MAX };
    /// Nothing.
    pub const NONE: Self = Self { embeddings: false, top_layers: 0 };

    /// Returns the trained layers of an encoder of `depth` layers, counted from 0.
    ///
    /// ```
    /// use nb_model::TrainedParts;
    /// assert_eq!(TrainedParts { embeddings: true, top_layers: 2 }.layers(6), 4..6);
    /// assert_eq!(TrainedParts::ALL.layers(6), 0..6);
    /// ```
    pub fn layers(self, depth: usize) -> Range<usize> {
        depth.saturating_sub(self.top_layers)..depth
    }

    /// Returns the number of layers, from the bottom, whose outputs never change.
    ///
    /// ```
    /// use nb_model::TrainedParts;
    /// assert_eq!(TrainedParts { embeddings: false, top_layers: 2 }.fixed_layers(6), 4);
    /// assert_eq!(TrainedParts { embeddings: true, top_layers: 2 }.fixed_layers(6), 0); // they change with the embeddings
    /// ```
    pub fn fixed_layers(self, depth: usize) -> usize {
        if self.embeddings { 0 } else { self.layers(depth).start }
    }
}

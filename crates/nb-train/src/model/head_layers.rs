//! The layers of a saved head on top of the pooled vectors.

use nb_model::{Arena, Dense, Reader};

/// The layers of a head on top of the pooled vectors.
#[derive(Debug)]
pub enum HeadLayers {
    /// A dense layer, which classifies a text.
    Dense(Dense),
    /// A reader model, which scores articles for a reader.
    Reader(Box<Reader>),
    /// No further layer: the scores are products of pooled vectors.
    None,
}

impl HeadLayers {
    /// The parameters, one arena per layer.
    pub fn arenas(&self) -> Vec<&Arena> {
        match self {
            Self::Dense(dense) => vec![dense.arena()],
            Self::Reader(reader) => reader.arenas(),
            Self::None => Vec::new(),
        }
    }
}

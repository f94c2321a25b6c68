//! The encoder: embeddings and layers, on packed rows.

mod embeddings;
mod layer;
mod observer;

use nb_checkpoint::SavedEncoder;
use nb_data::Tokens;

use self::embeddings::Embeddings;
use self::layer::Layer;
pub(crate) use self::observer::{LayerInput, Observer};
use crate::dense::DenseScratch;
use crate::error::InferError;
use crate::options::Precision;

/// An encoder without a pooler.
#[derive(Debug)]
pub(crate) struct Encoder {
    hidden: usize,
    embeddings: Embeddings,
    layers: Vec<Layer>,
}

/// The buffers of a group of texts, which a thread reuses for the next one.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    /// The tokens of each sequence.
    pub(crate) lengths: Vec<usize>,
    /// The sequences of each text; empty if every text is one sequence.
    pub(crate) windows: Vec<usize>,
    /// The states [n, H].
    pub(crate) states: Vec<f32>,
    pub(crate) dense: DenseScratch,
    layer: layer::LayerScratch,
}

impl Encoder {
    /// Packs the weights of an encoder.
    ///
    /// # Errors
    /// If tensors are missing, unknown, or of another shape or type.
    pub(crate) fn new(saved: &SavedEncoder, precision: Precision) -> Result<Self, InferError> {
        let (config, weights) = saved.float_tensors()?;
        let layers = (0..config.num_hidden_layers).map(|i| Layer::new(&config, &weights, i, precision));
        Ok(Self {
            hidden: config.hidden_size as usize,
            layers: layers.collect::<Result<_, _>>()?,
            embeddings: Embeddings::new(&config, &weights)?,
        })
    }

    /// Returns the width H of states.
    pub(crate) fn hidden(&self) -> usize {
        self.hidden
    }

    /// Returns the number of positions, the longest possible sequence.
    pub(crate) fn positions(&self) -> usize {
        self.embeddings.positions()
    }

    /// Computes the states of texts, one after the other, in `buffers`.
    pub(crate) fn encode<'a>(&self, texts: impl Iterator<Item = &'a Tokens> + Clone, buffers: &mut Buffers) {
        // Observers without a size: this takes no memory.
        self.encode_observed(texts, buffers, &mut vec![(); self.layers.len()]);
    }

    /// Does the same as [`Encoder::encode`], and shows the inputs of the dense layers of each layer to its observer.
    ///
    /// # Panics
    /// If there is not one observer per layer.
    pub(crate) fn encode_observed<'a>(
        &self,
        texts: impl Iterator<Item = &'a Tokens> + Clone,
        buffers: &mut Buffers,
        observers: &mut [impl Observer],
    ) {
        assert_eq!(observers.len(), self.layers.len(), "observers against layers");
        let Buffers { lengths, windows, states, dense, layer: scratch } = buffers;
        windows.clear();
        windows.extend(texts.clone().map(|text| text.windows().count()));
        if windows.iter().all(|&count| count == 1) {
            windows.clear();
        }
        let sequences = texts.flat_map(Tokens::windows);
        lengths.clear();
        lengths.extend(sequences.clone().map(|sequence| sequence.ids.len()));
        self.embeddings.forward(sequences, dense, states);
        for (layer, observer) in self.layers.iter().zip(observers) {
            layer.forward(states, lengths, dense, scratch, observer);
        }
    }

    /// Returns the number of layers.
    pub(crate) fn layers(&self) -> usize {
        self.layers.len()
    }
}

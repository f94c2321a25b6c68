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

/// A BERT without a pooler.
#[derive(Debug)]
pub(crate) struct Encoder {
    hidden: usize,
    embeddings: Embeddings,
    layers: Vec<Layer>,
}

/// The buffers of a group of texts, which a thread reuses for the next one.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    /// The tokens of each text.
    pub(crate) lengths: Vec<usize>,
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
        self.encode_observed(texts, buffers, &mut ());
    }

    /// Does the same as [`Encoder::encode`], and shows the inputs of dense layers to `observer`.
    pub(crate) fn encode_observed<'a>(
        &self,
        texts: impl Iterator<Item = &'a Tokens> + Clone,
        buffers: &mut Buffers,
        observer: &mut impl Observer,
    ) {
        let Buffers { lengths, states, dense, layer: scratch } = buffers;
        lengths.clear();
        lengths.extend(texts.clone().map(|text| text.ids.len()));
        self.embeddings.forward(texts, states);
        for (index, layer) in self.layers.iter().enumerate() {
            let see = &mut |input, numbers: &[f32]| observer.see(index, input, numbers);
            layer.forward(states, lengths, dense, scratch, see);
        }
    }
}

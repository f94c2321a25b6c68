//! The pooling of a segment's rows into one vector, by kind.

use nb_checkpoint::{POOLING_QUERY, PoolingKind};
use tch::{Device, Tensor};

use super::attentive::AttentivePooling;
use super::mean::mean_of_segments;
use crate::arena::Arena;
use crate::packed::Packed;
use crate::segments::Segments;

/// Pooling of the rows of a segment, such as the states of a text's tokens, into one vector.
///
/// ```
/// use nb_model::{Packed, Pooling};
/// use tch::{Device, Tensor};
/// let packed = Packed::new(&[0; 3], &[0; 3], &[2, 1], Device::Cpu);
/// let states = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0, 5.0, 6.0]).view([3, 2]);
/// let pooled = |pooling: Pooling| Vec::<f32>::try_from(pooling.forward(&states, packed.segments()).view(-1)).unwrap();
/// assert_eq!(pooled(Pooling::Mean), [2.0, 3.0, 5.0, 6.0]);
/// assert_eq!(pooled(Pooling::Cls), [1.0, 2.0, 5.0, 6.0]);
/// ```
#[derive(Debug)]
pub enum Pooling {
    /// Attentive pooling, with trained parameters.
    Attentive(AttentivePooling),
    /// The mean of the rows.
    Mean,
    /// The first row: the state of `[CLS]`.
    Cls,
}

impl Pooling {
    /// Creates a pooling of `hidden` units. The parameters of an attentive one are zeros, called `<name>.proj.weight` and so
    /// on.
    pub fn named(name: &str, kind: PoolingKind, hidden: i64, device: Device) -> Self {
        match kind {
            PoolingKind::Attentive => Self::Attentive(AttentivePooling::named(name, hidden, POOLING_QUERY, device)),
            PoolingKind::Mean => Self::Mean,
            PoolingKind::Cls => Self::Cls,
        }
    }

    /// Creates the pooling of a text's states, with parameters called `pooling.proj.weight` and so on, all zeros.
    pub fn zeros(kind: PoolingKind, hidden: i64, device: Device) -> Self {
        Self::named("pooling", kind, hidden, device)
    }

    /// Draws the parameters, if there are any, as [`AttentivePooling::randomise`] does.
    pub fn randomise(&mut self, seed: u64) {
        if let Self::Attentive(pooling) = self {
            pooling.randomise(seed);
        }
    }

    /// Returns the kind.
    pub fn kind(&self) -> PoolingKind {
        match self {
            Self::Attentive(_) => PoolingKind::Attentive,
            Self::Mean => PoolingKind::Mean,
            Self::Cls => PoolingKind::Cls,
        }
    }

    /// Returns parameters and gradients, if there are any.
    pub fn arena(&self) -> Option<&Arena> {
        match self {
            Self::Attentive(pooling) => Some(pooling.arena()),
            Self::Mean | Self::Cls => None,
        }
    }

    /// Maps `states` [n, H] of all tokens to one vector per text, [R, H]: h = (1/W) Σ_w h_w over the pooled vectors of the text's
    /// W windows, which is the pooled vector itself if W = 1.
    ///
    /// # Panics
    ///
    /// If there are not as many states as tokens.
    pub fn texts(&self, states: &Tensor, packed: &Packed) -> Tensor {
        let pooled = self.forward(states, packed.segments());
        match packed.windows() {
            None => pooled,
            Some(windows) => mean_of_segments(&pooled, windows),
        }
    }

    /// Maps `states` [n, H] of all rows to one vector per segment, [R, H].
    ///
    /// # Panics
    ///
    /// If the segments do not have n rows in total.
    pub fn forward(&self, states: &Tensor, segments: &Segments) -> Tensor {
        let rows = segments.lengths().iter().sum::<i64>();
        assert_eq!(rows, states.size()[0], "rows of the segments against those of the states");
        match self {
            Self::Attentive(pooling) => pooling.forward(states, segments),
            Self::Mean => mean_of_segments(states, segments),
            Self::Cls => states.index_select(0, segments.firsts()),
        }
    }
}

impl From<AttentivePooling> for Pooling {
    fn from(pooling: AttentivePooling) -> Self {
        Self::Attentive(pooling)
    }
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;

    #[test]
    fn other_segments_do_not_affect_a_pooled_vector() {
        for kind in [PoolingKind::Attentive, PoolingKind::Mean, PoolingKind::Cls] {
            let mut pooling = Pooling::zeros(kind, 4, Device::Cpu);
            pooling.randomise(1);
            let states = Tensor::randn([5, 4], (Kind::Float, Device::Cpu));
            let both = pooling.forward(&states, &Segments::new(&[2, 3], Device::Cpu));
            let alone = pooling.forward(&states.narrow(0, 2, 3), &Segments::new(&[3], Device::Cpu));
            assert!(both.get(1).allclose(&alone.get(0), 1e-6, 1e-6, false), "{kind:?}");
            assert_eq!((pooling.kind(), pooling.arena().is_some()), (kind, kind == PoolingKind::Attentive));
        }
    }

    #[test]
    fn the_vector_of_a_text_is_the_mean_of_its_windows() {
        for kind in [PoolingKind::Attentive, PoolingKind::Mean, PoolingKind::Cls] {
            let mut pooling = Pooling::zeros(kind, 4, Device::Cpu);
            pooling.randomise(1);
            let (lengths, windows) = ([3, 2, 1, 4, 2], [1_i64, 3, 1]);
            let packed = Packed::new(&[0; 12], &[0; 12], &lengths, Device::Cpu).with_windows(&windows);
            let states = Tensor::randn([12, 4], (Kind::Float, Device::Cpu)).set_requires_grad(true);
            let factors = Tensor::randn([3, 4], (Kind::Float, Device::Cpu));
            let found = pooling.texts(&states, &packed);
            (&found * &factors).square().sum(Kind::Float).backward();
            let (vectors, gradient) = (found.detach(), states.grad().copy());

            // By hand, with autograd: each window alone, then their mean.
            let states = states.detach().set_requires_grad(true);
            let pooled = pooling.forward(&states, &Segments::new(&lengths, Device::Cpu));
            let means: Vec<Tensor> = pooled
                .split_with_sizes(&windows[..], 0)
                .iter()
                .map(|of_text| of_text.mean_dim(0, false, None))
                .collect();
            let expected = Tensor::stack(&means, 0);
            (&expected * &factors).square().sum(Kind::Float).backward();
            assert!(vectors.allclose(&expected, 1e-6, 1e-6, false), "{kind:?}");
            assert!(gradient.allclose(&states.grad(), 1e-5, 1e-6, false), "{kind:?}");
            assert!(vectors.get(0).equal(&expected.get(0)), "{kind:?}: a text of one window");
            let alone = packed.with_windows(&[1; 5]);
            assert!(alone.windows().is_none() && alone.texts() == 5);
        }
    }

    #[test]
    #[should_panic(expected = "rows of the segments")]
    fn rows_that_do_not_add_up_are_refused() {
        let states = Tensor::zeros([3, 2], (Kind::Float, Device::Cpu));
        let _ = Pooling::Mean.forward(&states, &Segments::new(&[2], Device::Cpu));
    }
}

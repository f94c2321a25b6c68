//! The head of a model whose outputs are vectors: pooling, projection and score.

use std::rc::Rc;

use nb_checkpoint::HeadDescription;
use nb_data::random::mix;
use nb_model::{Arena, Dense, Pooling, Score};
use nb_share::Shared;
use tch::{Device, Tensor};

use super::{HeadPair, TaskHead, Widths, pooling_pair};
use crate::method::Share;

/// The name of the projection's parameters.
const PROJECTION: &str = "vector";
/// Salt that separates the projection's random numbers from the pooling's.
const PROJECTION_SEED: u64 = 2;

/// The layers from an encoder's states to a vector, and the score of two vectors. Pooling and score may be shared with
/// another model.
#[derive(Debug)]
pub struct VectorHead {
    /// Pooling over tokens.
    pub pooling: Rc<Pooling>,
    /// Projection of a student's pooled vectors to the width of its teacher's vectors.
    pub projection: Option<Dense>,
    /// Score of two vectors.
    pub score: Rc<Score>,
}

impl VectorHead {
    /// Makes a head of dot products without a projection; with attentive pooling it is that of the NewsBERT paper.
    pub fn dot(pooling: Rc<Pooling>) -> Self {
        Self { pooling, projection: None, score: Rc::new(Score::DOT) }
    }

    /// Makes the head that a description prescribes for an encoder of `hidden` units; its parameters are zeros.
    pub(crate) fn zeros(head: &HeadDescription, hidden: i64, device: Device) -> Self {
        Self {
            pooling: Rc::new(Pooling::zeros(head.pooling, hidden, device)),
            projection: head.projection.map(|width| Dense::named(PROJECTION, hidden, width, device)),
            score: Rc::new(Score::new(head.score, head.scale, device)),
        }
    }

    /// Makes the heads of both models.
    pub(super) fn pair(
        head: &HeadDescription,
        widths: Widths,
        share: Share,
        seed: u64,
        device: Device,
    ) -> HeadPair<Self> {
        let pooling = pooling_pair(head.pooling, widths, share, seed, device);
        let score = Shared::new(share.dense, || Score::new(head.score, head.scale, device));
        let projection = (widths.vectors != widths.student).then(|| {
            let mut projection = Dense::named(PROJECTION, widths.student, widths.vectors, device);
            projection.randomise(mix(&[seed, PROJECTION_SEED]));
            projection
        });
        HeadPair {
            teacher: Self { pooling: pooling.teacher, projection: None, score: score.teacher },
            student: Self { pooling: pooling.student, projection, score: score.student },
        }
    }

    /// Returns the description of this head, from that of the run's heads.
    pub(super) fn description(&self, head: &HeadDescription) -> HeadDescription {
        HeadDescription { projection: self.projection.as_ref().map(Dense::outputs), ..*head }
    }
}

impl TaskHead for VectorHead {
    fn pooling(&self) -> &Pooling {
        &self.pooling
    }

    fn vectors(&self, pooled: &Tensor) -> Tensor {
        match &self.projection {
            Some(projection) => self.score.vectors(&projection.forward(pooled)),
            None => self.score.vectors(pooled),
        }
    }

    fn width(&self, hidden: i64) -> i64 {
        self.projection.as_ref().map_or(hidden, Dense::outputs)
    }

    fn arenas(&self) -> Vec<&Arena> {
        let projection = self.projection.as_ref().map(Dense::arena);
        self.pooling.arena().into_iter().chain(projection).chain(self.score.arena()).collect()
    }
}

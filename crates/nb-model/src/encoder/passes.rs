//! The passes through the layers, forward and backward.

use tch::Tensor;

use super::layer::{Layer, LayerTape, OutputGrads};
use super::{Bert, Encoded, StoredLayer, Tape};
use crate::kernel::layer_norm::State;
use crate::packed::Packed;
use crate::pass::{ActivationCheckpoint, Capture, Pass};

/// The states and scores of a pass, as far as they are captured, and the layers' tapes.
#[derive(Default)]
struct Record {
    states: Vec<Tensor>,
    scores: Vec<Tensor>,
    layers: Vec<StoredLayer>,
}

impl Bert {
    pub(super) fn run(&self, packed: &Packed, pass: Pass, capture: Capture) -> Encoded {
        if pass == Pass::Inference && capture == Capture::Last && self.is_short(packed) {
            return Encoded { states: vec![self.run_short(packed)], scores: Vec::new(), tape: None };
        }
        if pass == Pass::Inference {
            let mut record = Record::default();
            let (x, _) = self.embeddings.forward(packed, pass);
            self.run_fixed(x, self.depth(), packed, capture, &mut record);
            return Encoded { states: record.states, scores: record.scores, tape: None };
        }
        let mut record = Record::default();
        let (x, embeddings, from) = if self.trained.embeddings {
            let (x, tape) = self.embeddings.forward(packed, pass);
            if capture >= Capture::States {
                record.states.push(leaf(&x));
            }
            (State::new(x, self.products()), Some(tape), 0)
        } else {
            let (x, _) = self.embeddings.forward(packed, Pass::Inference);
            let fixed = self.fixed_layers();
            (self.run_fixed(x, fixed, packed, capture, &mut record), None, fixed)
        };
        self.run_trained(x, from, packed, pass, capture, &mut record);
        let Record { states, scores, layers } = record;
        Encoded { states, scores, tape: Some(Tape { pass, capture, embeddings, layers }) }
    }

    pub(super) fn run_from_fixed(&self, fixed: &Tensor, packed: &Packed, pass: Pass, capture: Capture) -> Encoded {
        let mut record = Record::default();
        let from = self.fixed_layers();
        if capture >= Capture::States || from == self.depth() {
            record.states.push(fixed.shallow_clone());
        }
        let x = State::new(fixed.shallow_clone(), self.products());
        self.run_trained(x, from, packed, pass, capture, &mut record);
        let Record { states, scores, layers } = record;
        Encoded { states, scores, tape: Some(Tape { pass, capture, embeddings: None, layers }) }
    }

    pub(super) fn run_up_to(&self, layers: usize, packed: &Packed) -> Vec<Tensor> {
        let mut record = Record::default();
        let (x, _) = self.embeddings.forward(packed, Pass::Inference);
        self.run_fixed(x, layers, packed, Capture::States, &mut record);
        record.states
    }

    /// Runs the first `layers` layers without dropout and without tapes, from the embedding output `x`.
    fn run_fixed(&self, x: Tensor, layers: usize, packed: &Packed, capture: Capture, record: &mut Record) -> State {
        let mut x = State::new(x, self.products());
        if capture >= Capture::States || self.depth() == 0 {
            record.states.push(x.wide.shallow_clone());
        }
        for (i, layer) in self.layers[..layers].iter().enumerate() {
            let (out, tape) = layer.forward(&x, packed, Pass::Inference, capture);
            x = out;
            if capture >= Capture::States || i + 1 == self.depth() {
                record.states.push(x.wide.shallow_clone());
            }
            record.scores.extend(tape.scores().map(Tensor::shallow_clone));
        }
        x
    }

    /// Runs the layers from number `from` on, and stores what their backward pass needs. States and scores become autograd
    /// leaves, on which losses leave their gradients.
    fn run_trained(
        &self,
        mut x: State,
        from: usize,
        packed: &Packed,
        pass: Pass,
        capture: Capture,
        record: &mut Record,
    ) {
        for (i, layer) in self.layers.iter().enumerate().skip(from) {
            let (out, tape) = layer.forward(&x, packed, pass, capture);
            let input = std::mem::replace(&mut x, out);
            if capture >= Capture::States || i + 1 == self.depth() {
                record.states.push(leaf(&x.wide));
            }
            record.scores.extend(tape.scores().map(leaf));
            record.layers.push(match self.checkpoint {
                ActivationCheckpoint::Off => StoredLayer::Tape(tape),
                ActivationCheckpoint::LayerInputs => StoredLayer::Input(input.wide),
            });
        }
    }

    pub(super) fn run_backward(&self, packed: &Packed, encoded: Encoded, mut on_layer_done: impl FnMut(usize)) {
        let Encoded { states, scores, tape } = encoded;
        let Tape { pass, capture, embeddings, layers } = tape.expect("backward follows a training pass");
        let lowest = self.fixed_layers();
        assert_eq!(layers.len(), self.depth() - lowest, "layers of the tape against layers of the model that change");
        // `states` always ends with H_L; the states before it are present if they were captured.
        let first = self.depth() + 1 - states.len();
        let state = |i: usize| i.checked_sub(first).map(|i| &states[i]);
        let mut from_above = None;
        for (i, stored) in (lowest..self.depth()).zip(layers).rev() {
            let layer = &self.layers[i];
            // The scores of the layers below `lowest` come first.
            let scores_grad = scores.get(i).map(Tensor::grad).filter(Tensor::defined);
            let mut grad = merge(from_above.take(), state(i + 1));
            if scores_grad.is_some() {
                grad = grad.or_else(|| Some(states[states.len() - 1].zeros_like()));
            }
            if let Some(out) = grad {
                let tape = self.layer_tape(layer, stored, packed, pass, capture);
                let grads = OutputGrads { out: &out, scores: scores_grad.as_ref() };
                if i > lowest || self.trained.embeddings {
                    from_above = Some(layer.backward(grads, packed, pass, &tape));
                } else {
                    layer.backward_parameters(grads, packed, pass, &tape); // nothing below it is trained
                }
            }
            on_layer_done(i);
        }
        if let Some(tape) = embeddings
            && let Some(grad) = merge(from_above, state(0))
        {
            self.embeddings.backward(packed, pass, &grad, &tape);
        }
    }

    /// Returns the tape of a layer, from another forward pass if only its input was stored.
    fn layer_tape(
        &self,
        layer: &Layer,
        stored: StoredLayer,
        packed: &Packed,
        pass: Pass,
        capture: Capture,
    ) -> LayerTape {
        match stored {
            StoredLayer::Tape(tape) => tape,
            StoredLayer::Input(input) => layer.forward(&State::new(input, self.products()), packed, pass, capture).1,
        }
    }
}

/// Returns an autograd leaf with the values of `state`.
fn leaf(state: &Tensor) -> Tensor {
    state.detach().set_requires_grad(true)
}

/// Adds the gradient from the layers above to the one that the losses left at this state.
fn merge(from_above: Option<Tensor>, state: Option<&Tensor>) -> Option<Tensor> {
    match (from_above, state.map(Tensor::grad).filter(Tensor::defined)) {
        (Some(from_above), Some(from_losses)) => Some(from_above + from_losses),
        (from_above, from_losses) => from_above.or(from_losses),
    }
}

//! Initialisation of the heads' parameters.

use crate::arena::Arena;

/// The number of inputs of the parameters whose names contain `part`.
pub(super) struct Fan<'a> {
    pub(super) part: &'a str,
    pub(super) inputs: i64,
}

/// Draws parameters from U(−1/√in, 1/√in), PyTorch's default for a dense layer.
pub(super) fn fill_uniform(arena: &Arena, seed: u64, fans: &[Fan<'_>]) {
    tch::manual_seed(seed as i64);
    for slot in arena.layout().slots() {
        let inputs = fans.iter().find(|fan| slot.name.contains(fan.part)).map_or(1, |fan| fan.inputs);
        let bound = 1.0 / (inputs as f64).sqrt();
        let _ = arena.value(&slot.name).uniform_(-bound, bound);
    }
}

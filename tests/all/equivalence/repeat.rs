//! The same step twice gives the same bits, on two threads and with dropout.

use nb_model::{Capture, DropoutKey, Keep, Pass, Precision};
use nb_share::Sharing;
use nb_train::model::Models;
use nb_train::optim::ParamGroup;
use nb_train::step::schedule::StepPosition;
use nb_train::step::telemetry::Telemetry;
use nb_train::task::TopicHead;
use tch::{Kind, Tensor};

use crate::support::{FIRST, encoder, largest, pair, preset, sentences, small, stepper, student, teacher};

/// Runs of the same computation.
const TIMES: usize = 3;
/// Enough tokens that every kernel spreads its work over both threads.
const SENTENCES: usize = 96;

/// Runs `f` on two threads `TIMES` times and fails unless all results are equal bit for bit.
#[track_caller]
pub(super) fn assert_repeats(f: impl Fn() -> Vec<Tensor>) {
    tch::set_num_threads(2);
    let first = f();
    assert!(first.iter().all(|t| largest(t) > 0.0 && largest(t).is_finite()), "there is something to compare");
    for time in 1..TIMES {
        for (i, (a, b)) in first.iter().zip(f()).enumerate() {
            assert!(a.equal(&b), "tensor {i} of repetition {time} differs");
        }
    }
}

fn lengths() -> Vec<i64> {
    (0..SENTENCES as i64).map(|i| 4 + (7 * i) % 19).collect()
}

/// Parameters after two updates, with dropout, blend, clipping and micro-batches.
fn two_steps(precision: Precision) -> Vec<Tensor> {
    let mut config = small(32, 4);
    (config.hidden_dropout_prob, config.attention_probs_dropout_prob) = (0.1, 0.1);
    let mut models: Models<TopicHead> = pair(&config, precision, Sharing::One);
    let task = sentences(&lengths(), 11);
    let batches =
        [task.batch.select(&(0..64).collect::<Vec<_>>()), task.batch.select(&(64..SENTENCES).collect::<Vec<_>>())];
    let mut stepper = stepper(preset("newsbert"));
    stepper.clip = 1.0;
    let head = &student(&models).head;
    let arenas = [teacher(&models).arena(), student(&models).arena(), head.pooling.arena(), head.dense.arena()];
    let mut groups: Vec<ParamGroup> = arenas.iter().map(|arena| ParamGroup::new(arena, 1e-3)).collect();
    for step in 0..2 {
        let position = StepPosition { step, step_in_stage: step, ..FIRST };
        let output = stepper.step(&task, &mut models, &mut groups, &batches, position, Telemetry::Models);
        let report = output.unwrap().read();
        assert_eq!(report.not_finite(), None);
        assert!(report.gradient_norm > 0.0);
    }
    models.named().map(|(_, model)| model.arena().values().copy()).collect()
}

#[test]
fn a_step_in_f32_repeats() {
    assert_repeats(|| two_steps(Precision::F32));
}

#[test]
fn a_step_in_bf16_repeats() {
    assert_repeats(|| two_steps(Precision::Bf16));
}

/// Thirty words among some thousand tokens: each row of the table is added to a hundred times.
#[test]
fn the_backward_of_embeddings_repeats() {
    let bert = encoder(&small(64, 1), Precision::F32, 3);
    let packed = sentences(&lengths(), 12).batch.packed();
    assert_repeats(|| {
        bert.arena().zero_grad();
        let encoded = bert.encode(&packed, Pass::Training(DropoutKey::Off), Capture::States);
        let weights = Tensor::arange(64, (Kind::Float, tch::Device::Cpu)).cos();
        (&encoded.states()[0] * weights).sum(Kind::Float).backward();
        bert.backward(&packed, encoded);
        vec![bert.embedding_grads().copy()]
    });
}

/// What is computed once more for the backward pass is what was there: gradients of every parameter are the same bits, with
/// dropout, with losses on states and scores, in both precisions.
#[test]
fn keeping_inputs_alone_changes_no_gradient() {
    let mut config = small(32, 3);
    (config.hidden_dropout_prob, config.attention_probs_dropout_prob) = (0.1, 0.1);
    let packed = sentences(&lengths(), 12).batch.packed();
    for precision in [Precision::F32, Precision::Bf16] {
        for capture in [Capture::Last, Capture::States, Capture::Scores] {
            let gradients = |keep| {
                let mut bert = encoder(&config, precision, 3);
                bert.set_keep(keep);
                let encoded = bert.encode(&packed, Pass::Training(DropoutKey::Key(5)), capture);
                let all: Vec<_> = encoded.states().iter().chain(encoded.scores()).map(|x| (x * 1.5).sin()).collect();
                all.iter().map(|x| x.sum(Kind::Float)).sum::<Tensor>().backward();
                bert.backward(&packed, encoded);
                bert.arena().grads().copy()
            };
            let (everything, inputs) = (gradients(Keep::Everything), gradients(Keep::Inputs));
            assert!(largest(&everything) > 0.0 && everything.equal(&inputs), "{precision:?} {capture:?}");
        }
    }
}

/// Its gradients differ with the key, so that the tests above did test dropout.
#[test]
fn another_key_gives_other_masks() {
    let mut config = small(32, 2);
    config.hidden_dropout_prob = 0.1;
    let bert = encoder(&config, Precision::F32, 3);
    let packed = sentences(&lengths(), 12).batch.packed();
    let states = |key| bert.encode(&packed, Pass::Training(DropoutKey::Key(key)), Capture::States).last().detach();
    assert!(states(1).equal(&states(1)) && !states(1).equal(&states(2)));
}

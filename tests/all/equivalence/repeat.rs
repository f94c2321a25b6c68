//! Reproducibility: a step that runs twice gives the same bits, with dropout and on any number of threads.

use nb_model::{ActivationCheckpoint, Arena, Capture, DropoutKey, Pass, Precision};
use nb_share::Sharing;
use nb_train::model::Models;
use nb_train::optim::ParamGroup;
use nb_train::step::{StepPosition, Telemetry};
use nb_train::task::{Objective, TaskHead, TopicHead};
use tch::{Kind, Tensor};

use crate::support::{
    FIRST, TOPIC, encoder, max_abs, model_pair, preset, select, sentences, small_bert, stepper, student, teacher,
    with_dropout,
};

/// The numbers of threads of the runs.
const THREADS: [usize; 4] = [2, 2, 1, 3];
/// Number of sentences: enough for every kernel to use all threads.
const SENTENCES: usize = 96;

/// Runs `f` on each of the numbers of threads and fails unless all results are bitwise equal.
#[track_caller]
pub(super) fn assert_repeats(f: impl Fn() -> Vec<Tensor>) {
    tch::set_num_threads(1);
    let run = |threads| {
        nb_kernels::threads::set(threads);
        f()
    };
    let first = run(THREADS[0]);
    assert!(first.iter().all(|t| max_abs(t) > 0.0 && max_abs(t).is_finite()), "there is something to compare");
    for threads in &THREADS[1..] {
        for (i, (a, b)) in first.iter().zip(run(*threads)).enumerate() {
            assert!(a.equal(&b), "tensor {i} differs on {threads} threads");
        }
    }
}

fn lengths() -> Vec<i64> {
    (0..SENTENCES as i64).map(|i| 4 + (7 * i) % 19).collect()
}

/// Returns the parameters after two updates, with dropout, blend, clipping and micro-batches.
fn two_steps(precision: Precision) -> Vec<Tensor> {
    let config = with_dropout(small_bert(32, 4));
    let mut models: Models<TopicHead> = model_pair(&config, precision, Sharing::Shared);
    let batch = sentences(&lengths(), 11);
    let batches = [select(&batch, &(0..64).collect::<Vec<_>>()), select(&batch, &(64..SENTENCES).collect::<Vec<_>>())];
    let mut stepper = stepper(preset("newsbert"));
    stepper.clip = 1.0;
    let head = &student(&models).head;
    let encoders = [teacher(&models).arena(), student(&models).arena()];
    let arenas: Vec<&Arena> = encoders.into_iter().chain(head.arenas()).collect();
    let mut groups: Vec<ParamGroup> = arenas.iter().map(|arena| ParamGroup::new(arena, 1e-3)).collect();
    for step in 0..2 {
        let position = StepPosition { step, step_in_stage: step, ..FIRST };
        let output = stepper.step(&TOPIC, &mut models, &mut groups, &batches, position, Telemetry::Models);
        let report = output.unwrap().read();
        assert_eq!(report.not_finite(), None);
        assert!(report.gradient_norm > 0.0);
    }
    models.named().map(|(_, model)| model.arena().values().copy()).collect()
}

#[test]
fn a_step_in_f32_is_reproducible() {
    assert_repeats(|| two_steps(Precision::F32));
}

#[test]
fn a_step_in_bf16_is_reproducible() {
    assert_repeats(|| two_steps(Precision::Bf16));
}

/// Thirty words in about a thousand tokens: the gradient of each row of the table is a sum over many tokens.
#[test]
fn the_backward_pass_of_embeddings_is_reproducible() {
    let bert = encoder(&small_bert(64, 1), Precision::F32, 3);
    let packed = TOPIC.packed(&sentences(&lengths(), 12));
    assert_repeats(|| {
        bert.arena().zero_grad();
        let encoded = bert.encode(&packed, Pass::Training(DropoutKey::Off), Capture::States);
        let weights = Tensor::arange(64, (Kind::Float, tch::Device::Cpu)).cos();
        (&encoded.states()[0] * weights).sum(Kind::Float).backward();
        bert.backward(&packed, encoded);
        vec![bert.embedding_grads().unwrap().copy()]
    });
}

/// Values that are recomputed for the backward pass equal the original ones, so all gradients are bitwise equal: with dropout,
/// with losses on states and scores, in both precisions.
#[test]
fn recomputing_activations_changes_no_gradient() {
    let config = with_dropout(small_bert(32, 3));
    let packed = TOPIC.packed(&sentences(&lengths(), 12));
    for precision in [Precision::F32, Precision::Bf16] {
        for capture in [Capture::Last, Capture::States, Capture::Scores] {
            let gradients = |keep| {
                let mut bert = encoder(&config, precision, 3);
                bert.set_activation_checkpoint(keep);
                let encoded = bert.encode(&packed, Pass::Training(DropoutKey::Key(5)), capture);
                let all: Vec<_> = encoded.states().iter().chain(encoded.scores()).map(|x| (x * 1.5).sin()).collect();
                all.iter().map(|x| x.sum(Kind::Float)).sum::<Tensor>().backward();
                bert.backward(&packed, encoded);
                bert.arena().grads().copy()
            };
            let (everything, inputs) =
                (gradients(ActivationCheckpoint::Off), gradients(ActivationCheckpoint::LayerInputs));
            assert!(max_abs(&everything) > 0.0 && everything.equal(&inputs), "{precision:?} {capture:?}");
        }
    }
}

/// Different keys give different results, so the tests above do test dropout.
#[test]
fn a_different_key_gives_different_masks() {
    let mut config = small_bert(32, 2);
    config.hidden_dropout_prob = 0.1;
    let bert = encoder(&config, Precision::F32, 3);
    let packed = TOPIC.packed(&sentences(&lengths(), 12));
    let last_state = |key| bert.encode(&packed, Pass::Training(DropoutKey::Key(key)), Capture::States).last().detach();
    assert!(last_state(1).equal(&last_state(1)) && !last_state(1).equal(&last_state(2)));
}

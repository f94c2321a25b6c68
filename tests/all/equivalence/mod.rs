//! Computations that must come to the same. The padded counterpart of packed batches is in the golden files, which
//! PyTorch computed on padded ones; here a batch is held against its sentences alone.

mod optimiser;
mod ranking;
mod repeat;
mod sharing;
mod watch;

use nb_model::{Activation, Capture, DropoutKey, Pass, Precision};
use nb_share::Sharing;
use tch::{Kind, Tensor};

use crate::support::{
    assert_close, distance, encoder, gradients, largest, pair, part, preset, randomise, sentences, small, step,
    stepper, student, zero_gradients,
};

/// Lengths that make attention group equal ones, nearly equal ones and single ones.
const LENGTHS: [i64; 9] = [20, 19, 15, 7, 7, 7, 1, 12, 3];

#[test]
fn a_sentence_alone_has_the_states_it_has_in_a_batch() {
    let bert = encoder(&small(16, 3), Precision::F32, 1);
    let batch = sentences(&LENGTHS, 2).batch;
    let together = bert.encode(&batch.packed(), Pass::Inference, Capture::States);
    let mut start = 0;
    for (i, &length) in LENGTHS.iter().enumerate() {
        let alone = bert.encode(&batch.select(&[i]).packed(), Pass::Inference, Capture::States);
        for (depth, (alone, together)) in alone.states().iter().zip(together.states()).enumerate() {
            let worst = distance(alone, &together.narrow(0, start, length));
            assert!(worst <= 1e-5 * largest(alone), "sentence {i}, state {depth}: {worst:e}");
        }
        start += length;
    }
}

#[test]
fn every_pass_computes_the_same_states() {
    let bert = encoder(&small(16, 2), Precision::F32, 1);
    let packed = sentences(&LENGTHS, 2).batch.packed();
    let states = bert.encode(&packed, Pass::Inference, Capture::States);
    let training = bert.encode(&packed, Pass::Training(DropoutKey::Off), Capture::States);
    let inference = bert.encode(&packed, Pass::Inference, Capture::Last);
    for (a, b) in states.states().iter().zip(training.states()) {
        assert!(a.equal(&b.detach()), "training without dropout");
    }
    assert!(states.last().equal(inference.last()), "inference");
}

/// A short text alone goes a way of its own, where its last state is all that is asked for: in f32 whatever the precision, so
/// in bf16 it differs by what bf16 rounds. It follows the parameters when they change.
#[test]
fn a_short_text_alone_has_the_same_state_on_its_own_way() {
    for activation in [Activation::Gelu, Activation::GeluNew, Activation::Relu, Activation::Silu] {
        let mut config = small(48, 3);
        config.hidden_act = activation;
        for (precision, most) in [(Precision::F32, 1e-5), (Precision::Bf16, 3e-2)] {
            let mut bert = encoder(&config, precision, 1);
            let batch = sentences(&LENGTHS, 2).batch;
            for seed in [1, 4] {
                randomise(bert.arena(), seed);
                bert.parameters_changed();
                for i in 0..LENGTHS.len() {
                    let packed = batch.select(&[i]).packed();
                    let last = |capture| bert.encode(&packed, Pass::Inference, capture).last().copy();
                    let (short, long) = (last(Capture::Last), last(Capture::States));
                    let worst = distance(&short, &long) / largest(&long);
                    assert!(worst <= most, "{activation:?} {precision:?} {seed}, sentence {i}: {worst:e}");
                    assert!(precision == Precision::F32 || worst > 0.0, "it has taken the other way");
                }
            }
        }
    }
}

/// It is for one text of up to 32 tokens. In bf16 the two ways can be told apart.
#[test]
fn longer_texts_and_two_of_them_go_the_long_way() {
    let mut config = small(48, 2);
    config.max_position_embeddings = 40;
    let bert = encoder(&config, Precision::Bf16, 1);
    for (lengths, is_short) in [(&[32][..], true), (&[33], false), (&[10, 10], false)] {
        let packed = sentences(lengths, 2).batch.packed();
        let last = |capture| bert.encode(&packed, Pass::Inference, capture).last().copy();
        assert_eq!(!last(Capture::Last).equal(&last(Capture::States)), is_short, "{lengths:?}");
    }
}

/// Each sentence as a micro-batch of its own, with the counts of them all: the terms and the gradients add up to those
/// of the batch.
#[test]
fn gradients_of_sentences_alone_add_up_to_those_of_the_batch() {
    let cuts: Vec<Vec<usize>> = (0..LENGTHS.len()).map(|i| vec![i]).collect();
    assert_adds_up(&cuts);
}

#[test]
fn two_micro_batches_are_one_batch() {
    assert_adds_up(&[vec![0, 1, 2, 3], vec![4, 5, 6, 7, 8]]);
}

#[test]
fn a_batch_in_another_order_is_the_same_batch() {
    assert_adds_up(&[vec![6, 2, 8, 0, 5, 1, 7, 3, 4]]);
}

/// Fails unless the terms and the gradients of NewsBERT over `cuts` of the batch sum to those over the whole.
#[track_caller]
fn assert_adds_up(cuts: &[Vec<usize>]) {
    let (task, stepper) = (sentences(&LENGTHS, 3), stepper(preset("newsbert")));
    let models = pair(&small(16, 4), Precision::F32, Sharing::Shared);
    let counts = task.batch.counts();
    let whole = step(&stepper, &task, &models, &task.batch);
    let expected = gradients(&models);

    zero_gradients(&models);
    let mut sums = vec![0.0; whole.len()];
    for cut in cuts {
        let values = part(&stepper, &task, &models, &task.batch.select(cut), counts);
        sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
    }
    for ((term, sum), whole) in stepper.method.terms().zip(sums).zip(whole) {
        assert!((sum - whole).abs() <= 1e-5 * whole.abs(), "{:?}: {sum} against {whole}", term.kind);
    }
    assert_close(&gradients(&models), &expected, 1e-5);
}

#[test]
fn bf16_points_where_f32_does() {
    let task = sentences(&LENGTHS, 4);
    let of = |precision| {
        let models = pair(&small(32, 4), precision, Sharing::Shared);
        step(&stepper(preset("newsbert")), &task, &models, &task.batch);
        [models.teacher.as_ref().unwrap().arena().grads(), student(&models).arena().grads()]
    };
    let cosine = |a: &Tensor, b: &Tensor| (a.dot(b) / (a.norm() * b.norm())).double_value(&[]);
    for (low, full) in of(Precision::Bf16).iter().zip(of(Precision::F32)) {
        assert_eq!((low.kind(), full.kind()), (Kind::Float, Kind::Float), "gradients are f32 either way");
        assert!(!low.equal(&full), "bf16 products differ");
        assert!(cosine(low, &full) > 0.99, "cosine {}", cosine(low, &full));
    }
}

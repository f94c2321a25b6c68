//! Computations that must agree. The golden files compare packed batches with PyTorch's padded ones; the tests here
//! compare a batch with its individual sentences.

mod optimiser;
mod parts;
mod ranking;
mod repeat;
mod sharing;
mod watch;

use nb_model::{Activation, Capture, DropoutKey, Pass, Precision};
use nb_share::Sharing;
use nb_train::step::Counts;
use nb_train::task::{Objective, TopicBatch};
use tch::{Kind, Tensor};

use crate::support::{
    StepSums, TOPIC, encoder, max_abs, max_difference, model_pair, preset, randomise, select, sentences, small_bert,
    step_terms, stepper, student, total_counts,
};

/// Lengths for which attention forms groups of equal, similar and single sequences.
const LENGTHS: [i64; 9] = [20, 19, 15, 7, 7, 7, 1, 12, 3];

#[test]
fn a_sentence_has_the_same_states_alone_and_in_a_batch() {
    let bert = encoder(&small_bert(16, 3), Precision::F32, 1);
    let batch = sentences(&LENGTHS, 2);
    let batched = bert.encode(&TOPIC.packed(&batch), Pass::Inference, Capture::States);
    let mut start = 0;
    for (i, &length) in LENGTHS.iter().enumerate() {
        let alone = bert.encode(&TOPIC.packed(&select(&batch, &[i])), Pass::Inference, Capture::States);
        for (depth, (alone, batched)) in alone.states().iter().zip(batched.states()).enumerate() {
            let worst = max_difference(alone, &batched.narrow(0, start, length));
            assert!(worst <= 1e-5 * max_abs(alone), "sentence {i}, state {depth}: {worst:e}");
        }
        start += length;
    }
}

#[test]
fn every_pass_computes_the_same_states() {
    let bert = encoder(&small_bert(16, 2), Precision::F32, 1);
    let packed = TOPIC.packed(&sentences(&LENGTHS, 2));
    let states = bert.encode(&packed, Pass::Inference, Capture::States);
    let training = bert.encode(&packed, Pass::Training(DropoutKey::Off), Capture::States);
    let inference = bert.encode(&packed, Pass::Inference, Capture::Last);
    for (a, b) in states.states().iter().zip(training.states()) {
        assert!(a.equal(&b.detach()), "training without dropout");
    }
    assert!(states.last().equal(inference.last()), "inference");
}

/// A single short text takes a separate path if only its last state is requested. This path always computes in f32, so in
/// bf16 the results differ by rounding. It must use the parameters' current values.
#[test]
fn the_path_for_single_short_texts_gives_the_same_state() {
    for activation in [Activation::Gelu, Activation::GeluNew, Activation::Relu, Activation::Silu] {
        let mut config = small_bert(48, 3);
        config.hidden_act = activation;
        for (precision, tolerance) in [(Precision::F32, 1e-5), (Precision::Bf16, 3e-2)] {
            let mut bert = encoder(&config, precision, 1);
            let batch = sentences(&LENGTHS, 2);
            for seed in [1, 4] {
                randomise(bert.arena(), seed);
                bert.parameters_changed();
                for i in 0..LENGTHS.len() {
                    let packed = TOPIC.packed(&select(&batch, &[i]));
                    let last = |capture| bert.encode(&packed, Pass::Inference, capture).last().copy();
                    let (short, long) = (last(Capture::Last), last(Capture::States));
                    let worst = max_difference(&short, &long) / max_abs(&long);
                    assert!(worst <= tolerance, "{activation:?} {precision:?} {seed}, sentence {i}: {worst:e}");
                    assert!(precision == Precision::F32 || worst > 0.0, "the short path was taken");
                }
            }
        }
    }
}

/// The short path is for one text of up to 32 tokens. In bf16 the two paths give different bits.
#[test]
fn longer_texts_and_several_texts_take_the_general_path() {
    let mut config = small_bert(48, 2);
    config.max_position_embeddings = 40;
    let bert = encoder(&config, Precision::Bf16, 1);
    for (lengths, is_short) in [(&[32][..], true), (&[33], false), (&[10, 10], false)] {
        let packed = TOPIC.packed(&sentences(lengths, 2));
        let last = |capture| bert.encode(&packed, Pass::Inference, capture).last().copy();
        assert_eq!(!last(Capture::Last).equal(&last(Capture::States)), is_short, "{lengths:?}");
    }
}

/// Each sentence is a micro-batch, with the counts of the complete batch.
#[test]
fn gradients_of_single_sentences_add_up_to_those_of_the_batch() {
    let cuts: Vec<Vec<usize>> = (0..LENGTHS.len()).map(|i| vec![i]).collect();
    assert_adds_up(&cuts);
}

#[test]
fn two_micro_batches_equal_one_batch() {
    assert_adds_up(&[vec![0, 1, 2, 3], vec![4, 5, 6, 7, 8]]);
}

#[test]
fn the_order_within_a_batch_does_not_matter() {
    assert_adds_up(&[vec![6, 2, 8, 0, 5, 1, 7, 3, 4]]);
}

/// Fails unless the terms and the gradients of NewsBERT over the parts `cuts` of the batch sum to those of the batch.
#[track_caller]
fn assert_adds_up(cuts: &[Vec<usize>]) {
    let batch = sentences(&LENGTHS, 3);
    let models = model_pair(&small_bert(16, 4), Precision::F32, Sharing::Shared);
    let expected = StepSums::of(preset("newsbert"), &TOPIC, &models, std::slice::from_ref(&batch));
    let parts: Vec<TopicBatch> = cuts.iter().map(|cut| select(&batch, cut)).collect();
    // Texts of different micro-batches are no pairs.
    let text_pairs = cuts.iter().map(|cut| (cut.len() * (cut.len() - 1)) as i64).sum();
    assert_eq!(total_counts(&TOPIC, &parts), Counts { text_pairs, ..TOPIC.counts(&batch) });
    StepSums::of(preset("newsbert"), &TOPIC, &models, &parts).assert_close_to(&expected);
}

#[test]
fn gradients_in_bf16_point_in_the_direction_of_f32() {
    let batch = sentences(&LENGTHS, 4);
    let gradients = |precision| {
        let models = model_pair(&small_bert(32, 4), precision, Sharing::Shared);
        step_terms(&stepper(preset("newsbert")), &TOPIC, &models, &batch);
        [models.teacher.as_ref().unwrap().arena().grads(), student(&models).arena().grads()]
    };
    let cosine = |a: &Tensor, b: &Tensor| (a.dot(b) / (a.norm() * b.norm())).double_value(&[]);
    for (low, full) in gradients(Precision::Bf16).iter().zip(gradients(Precision::F32)) {
        assert_eq!((low.kind(), full.kind()), (Kind::Float, Kind::Float), "gradients are f32 in both");
        assert!(!low.equal(&full), "bf16 products differ");
        assert!(cosine(low, &full) > 0.99, "cosine {}", cosine(low, &full));
    }
}

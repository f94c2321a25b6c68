//! The gradients that reach the shared top layers, and those that must not reach the teacher.

use nb_model::Precision;
use nb_share::Sharing;
use nb_train::method::{Method, TermKind};
use nb_train::model::Models;
use nb_train::task::{TaskHead, TopicHead};
use tch::Tensor;

use crate::support::{
    TOPIC, assert_close, max_abs, model_pair, preset, sentences, small_bert, step_terms, stepper, student, teacher,
};

const LENGTHS: [i64; 5] = [9, 9, 6, 4, 11];

/// Returns the models after forward and backward of one batch.
fn backpropagated(method: Method, sharing: Sharing) -> Models<TopicHead> {
    let batch = sentences(&LENGTHS, 8);
    let models = model_pair(&small_bert(16, 4), Precision::F32, sharing);
    step_terms(&stepper(method), &TOPIC, &models, &batch);
    models
}

/// Returns NewsBERT without the loss of the teacher.
fn without_teacher_loss() -> Method {
    let mut method = preset("newsbert");
    method.stages[0].terms.retain(|term| term.kind != TermKind::Teacher);
    assert_eq!(method.terms().count(), 5);
    method
}

/// Returns the gradients of top layers by name.
fn top_gradients(head: &TopicHead) -> Vec<(String, Tensor)> {
    let arenas = head.arenas();
    let slots = arenas.into_iter().flat_map(|arena| arena.layout().slots().iter().map(move |slot| (arena, slot)));
    slots.map(|(arena, slot)| (slot.name.clone(), arena.grad(&slot.name).copy())).collect()
}

#[test]
fn the_gradient_of_shared_top_layers_is_the_sum_of_two_separate_ones() {
    let (shared, separate) =
        (backpropagated(preset("newsbert"), Sharing::Shared), backpropagated(preset("newsbert"), Sharing::Separate));
    let parts = top_gradients(&teacher(&separate).head).into_iter().zip(top_gradients(&student(&separate).head));
    let sums: Vec<(String, Tensor)> = parts
        .map(|((name, a), (_, b))| {
            assert!(max_abs(&a) > 0.0 && max_abs(&b) > 0.0, "{name}: both models have a gradient");
            (name, a + b)
        })
        .collect();
    assert_close(&top_gradients(&student(&shared).head), &sums, 1e-5);
    assert_close(&top_gradients(&teacher(&shared).head), &sums, 1e-5);
}

#[test]
fn the_loss_of_the_student_gives_the_teacher_no_gradient() {
    let models = backpropagated(without_teacher_loss(), Sharing::Separate);
    assert_eq!(max_abs(&teacher(&models).arena().grads()), 0.0, "encoder");
    for (name, gradient) in top_gradients(&teacher(&models).head) {
        assert_eq!(max_abs(&gradient), 0.0, "{name}");
    }
    assert!(max_abs(&student(&models).arena().grads()) > 0.0);
}

#[test]
fn the_teacher_in_the_loss_of_the_student_gives_shared_top_layers_no_gradient() {
    let (shared, separate) = (
        backpropagated(without_teacher_loss(), Sharing::Shared),
        backpropagated(without_teacher_loss(), Sharing::Separate),
    );
    assert_close(&top_gradients(&student(&shared).head), &top_gradients(&student(&separate).head), 1e-6);
}

#[test]
fn the_teacher_has_the_same_gradient_with_and_without_a_student() {
    let (joint, alone) =
        (backpropagated(preset("newsbert"), Sharing::Shared), backpropagated(preset("teacher"), Sharing::Shared));
    assert!(max_abs(&teacher(&alone).arena().grads()) > 0.0);
    assert!(teacher(&joint).arena().grads().equal(&teacher(&alone).arena().grads()));
}

//! Which gradients reach the shared top, and which do not reach the teacher.

use nb_model::Precision;
use nb_share::Sharing;
use nb_train::method::{Method, TermKind};
use nb_train::model::Models;
use nb_train::task::TopicHead;
use tch::Tensor;

use crate::support::{assert_close, largest, pair, preset, sentences, small, step, stepper, student, teacher};

const LENGTHS: [i64; 5] = [9, 9, 6, 4, 11];

/// The models after forward and backward of one batch.
fn after(method: Method, sharing: Sharing) -> Models<TopicHead> {
    let task = sentences(&LENGTHS, 8);
    let models = pair(&small(16, 4), Precision::F32, sharing);
    step(&stepper(method), &task, &models, &task.batch);
    models
}

/// NewsBERT without the teacher's own loss.
fn student_loss_alone() -> Method {
    let mut method = preset("newsbert");
    method.stages[0].terms.retain(|term| term.kind != TermKind::Teacher);
    assert_eq!(method.terms().count(), 5);
    method
}

/// The gradients of one top's parameters by name.
fn of_top(head: &TopicHead) -> Vec<(String, Tensor)> {
    let arenas = [head.pooling.arena(), head.dense.arena()];
    let slots = arenas.into_iter().flat_map(|arena| arena.layout().slots().iter().map(move |slot| (arena, slot)));
    slots.map(|(arena, slot)| (slot.name.clone(), arena.grad(&slot.name).copy())).collect()
}

#[test]
fn the_shared_tops_gradient_is_the_sum_of_two_separate_ones() {
    let (shared, separate) = (after(preset("newsbert"), Sharing::One), after(preset("newsbert"), Sharing::Each));
    let parts = of_top(&teacher(&separate).head).into_iter().zip(of_top(&student(&separate).head));
    let sums: Vec<(String, Tensor)> = parts
        .map(|((name, a), (_, b))| {
            assert!(largest(&a) > 0.0 && largest(&b) > 0.0, "{name}: both models have a gradient");
            (name, a + b)
        })
        .collect();
    assert_close(&of_top(&student(&shared).head), &sums, 1e-5);
    assert_close(&of_top(&teacher(&shared).head), &sums, 1e-5);
}

#[test]
fn the_students_loss_leaves_the_teacher_without_a_gradient() {
    let models = after(student_loss_alone(), Sharing::Each);
    assert_eq!(largest(&teacher(&models).arena().grads()), 0.0, "encoder");
    for (name, gradient) in of_top(&teacher(&models).head) {
        assert_eq!(largest(&gradient), 0.0, "{name}");
    }
    assert!(largest(&student(&models).arena().grads()) > 0.0);
}

#[test]
fn the_teachers_branch_of_the_students_loss_leaves_the_shared_top_alone() {
    let (shared, separate) = (after(student_loss_alone(), Sharing::One), after(student_loss_alone(), Sharing::Each));
    assert_close(&of_top(&student(&shared).head), &of_top(&student(&separate).head), 1e-6);
}

#[test]
fn the_teacher_learns_as_it_would_alone() {
    let (beside, alone) = (after(preset("newsbert"), Sharing::One), after(preset("teacher"), Sharing::One));
    assert!(largest(&teacher(&alone).arena().grads()) > 0.0);
    assert!(teacher(&beside).arena().grads().equal(&teacher(&alone).arena().grads()));
}

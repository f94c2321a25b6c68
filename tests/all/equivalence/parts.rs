//! Encoders of which only parts are trained: the gradients of the trained parts equal those of a complete backward pass, and
//! nothing else changes.

use nb_model::{ActivationCheckpoint, Bert, Capture, DropoutKey, Encoded, Packed, Pass, Precision, TrainedParts};
use nb_share::Sharing;
use nb_train::optim::ParamGroup;
use nb_train::step::{StepPosition, Telemetry};
use nb_train::task::{Objective, TaskHead};
use tch::{Kind, Tensor};

use super::LENGTHS;
use crate::support::{
    FIRST, TOPIC, encoder, gradients_of, model_pair, preset, sentences, small_bert, stepper, student, teacher,
    with_dropout,
};

const DEPTH: usize = 4;

/// Every number of trained layers, with and without the embeddings.
fn all_parts() -> Vec<TrainedParts> {
    let parts = |top_layers| [true, false].map(|embeddings| TrainedParts { embeddings, top_layers });
    (0..=DEPTH).flat_map(parts).collect()
}

fn packed() -> Packed {
    TOPIC.packed(&sentences(&LENGTHS, 2))
}

/// Leaves a gradient on each state and score that has one.
fn add_losses(encoded: &Encoded) {
    let exposed = encoded.states().iter().chain(encoded.scores()).filter(|state| state.requires_grad());
    let losses: Vec<Tensor> = exposed.map(|state| (state * 1.5).sin().sum(Kind::Float)).collect();
    if !losses.is_empty() {
        losses.into_iter().sum::<Tensor>().backward();
    }
}

fn backward(bert: &Bert, encoded: Encoded) -> Vec<(String, Tensor)> {
    add_losses(&encoded);
    bert.backward(&packed(), encoded);
    gradients_of("model", bert.arena())
}

fn is_trained(name: &str, parts: TrainedParts) -> bool {
    let layer = name.strip_prefix("model.encoder.layer.").and_then(|rest| rest.split('.').next());
    layer.map_or(parts.embeddings, |layer| parts.layers(DEPTH).contains(&layer.parse().unwrap()))
}

#[test]
fn gradients_of_trained_parts_equal_those_of_a_complete_pass() {
    for precision in [Precision::F32, Precision::Bf16] {
        for capture in [Capture::Last, Capture::States, Capture::Scores] {
            for keep in [ActivationCheckpoint::Off, ActivationCheckpoint::LayerInputs] {
                let mut bert = encoder(&small_bert(16, DEPTH as i64), precision, 3);
                bert.set_activation_checkpoint(keep);
                let encode = |bert: &Bert| bert.encode(&packed(), Pass::Training(DropoutKey::Off), capture);
                let complete = backward(&bert, encode(&bert));
                for parts in all_parts() {
                    bert.train_only(parts);
                    let found = backward(&bert, encode(&bert));
                    let expected: Vec<_> = complete.iter().filter(|(name, _)| is_trained(name, parts)).collect();
                    assert_eq!(found.len(), expected.len(), "{parts:?}");
                    for ((name, found), (expected_name, expected)) in found.iter().zip(expected) {
                        assert_eq!(name, expected_name);
                        assert!(found.equal(expected), "{precision:?} {capture:?} {parts:?}: {name}");
                    }
                }
            }
        }
    }
}

/// With dropout, so that the test fails if the fixed layers drop out.
#[test]
fn a_pass_from_the_fixed_states_equals_one_through_all_layers() {
    for precision in [Precision::F32, Precision::Bf16] {
        for capture in [Capture::Last, Capture::States] {
            for top_layers in 0..=DEPTH {
                let mut bert = encoder(&with_dropout(small_bert(16, DEPTH as i64)), precision, 3);
                bert.train_only(TrainedParts { embeddings: false, top_layers });
                let (packed, pass) = (packed(), Pass::Training(DropoutKey::Key(5)));
                let fixed = bert.states_up_to(DEPTH - top_layers, &packed);
                let whole = bert.encode(&packed, pass, capture);
                let upper = bert.encode_from_fixed(&fixed[fixed.len() - 1], &packed, pass, capture);
                let same = whole.states().iter().rev().zip(upper.states().iter().rev());
                assert!(same.clone().count() >= 1 && same.clone().all(|(a, b)| a.detach().equal(&b.detach())));
                let fixed_states = whole.states().iter().zip(&fixed).filter(|_| capture == Capture::States);
                assert!(fixed_states.clone().all(|(a, b)| a.equal(b) && !a.requires_grad()), "{top_layers}");
                bert.arena().zero_grad();
                let expected = backward(&bert, whole);
                bert.arena().zero_grad();
                for ((name, found), (_, expected)) in backward(&bert, upper).iter().zip(expected) {
                    assert!(found.equal(&expected), "{precision:?} {capture:?}, top {top_layers}: {name}");
                }
            }
        }
    }
}

/// Returns the values of both encoders before and after two steps of NewsBERT.
fn two_steps(parts: TrainedParts, precision: Precision) -> [Vec<(String, Tensor, Tensor)>; 2] {
    let mut models = model_pair(&with_dropout(small_bert(16, DEPTH as i64)), precision, Sharing::Shared);
    let values = |bert: &Bert| -> Vec<(String, Tensor)> {
        let slots = bert.arena().layout().slots().iter();
        slots.map(|slot| (format!("model.{}", slot.name), bert.arena().value(&slot.name).copy())).collect()
    };
    let before = [teacher(&models), student(&models)].map(|model| values(&model.bert));
    models.teacher.as_mut().unwrap().bert.train_only(parts);
    let arenas = models.named().map(|(_, model)| model.arena()).chain(student(&models).head.arenas());
    let mut groups: Vec<ParamGroup> = arenas.flat_map(|arena| ParamGroup::all(arena, 1e-3)).collect();
    let batch = sentences(&LENGTHS, 3);
    for step in 0..2 {
        let position = StepPosition { step, step_in_stage: step, ..FIRST };
        let stepper = stepper(preset("newsbert"));
        let output =
            stepper.step(&TOPIC, &mut models, &mut groups, std::slice::from_ref(&batch), position, Telemetry::Models);
        let report = output.unwrap().read();
        assert_eq!(report.not_finite(), None);
        // Of the four teacher layers, each student layer has a group of two.
        let blended = [0, 1].map(|k| parts.layers(DEPTH).end.min(2 * k + 2) > parts.layers(DEPTH).start.max(2 * k));
        let cosines = report.cosines.unwrap_or(vec![None, None]);
        assert_eq!([0, 1].map(|k| cosines[k].is_some()), blended, "{parts:?}");
    }
    let models = [teacher(&models), student(&models)].map(|model| values(&model.bert));
    let mut pairs = before.into_iter().zip(models).map(|(before, after)| {
        before.into_iter().zip(after).map(|((name, before), (_, after))| (name, before, after)).collect()
    });
    std::array::from_fn(|_| pairs.next().unwrap())
}

#[test]
fn a_step_changes_the_trained_parts_and_nothing_else() {
    for parts in all_parts() {
        for precision in [Precision::F32, Precision::Bf16] {
            let [teacher, student] = two_steps(parts, precision);
            for (name, before, after) in teacher {
                assert_eq!(!before.equal(&after), is_trained(&name, parts), "{parts:?} {name}");
            }
            assert!(student.iter().all(|(_, before, after)| !before.equal(after)), "{parts:?}");
        }
    }
}

/// The copies in bf16 follow the values of the trained layers: a pass gives the same states as one of a model that was refreshed
/// as a whole.
#[test]
fn a_step_refreshes_the_copies_that_products_read() {
    let mut bert = encoder(&small_bert(16, DEPTH as i64), Precision::Bf16, 3);
    bert.train_only(TrainedParts { embeddings: false, top_layers: 2 });
    for range in bert.arena().trained() {
        let _ = range.values.shallow_clone().g_mul_scalar_(1.5);
    }
    bert.trained_parameters_changed();
    let last = |bert: &Bert| bert.encode(&packed(), Pass::Inference, Capture::States).last().copy();
    let after_step = last(&bert);
    bert.parameters_changed();
    assert!(after_step.equal(&last(&bert)));
}

/// An update that also writes the copies gives the same parameters and the same products as one after which they are refreshed.
#[test]
fn an_update_writes_the_copies_that_products_read() {
    for parts in all_parts() {
        let updated = |groups_of: fn(&Bert) -> Vec<ParamGroup>| {
            let mut models = model_pair(&small_bert(16, DEPTH as i64), Precision::Bf16, Sharing::Shared);
            models.teacher.as_mut().unwrap().bert.train_only(parts);
            let berts = models.named().map(|(_, model)| &model.bert);
            let mut groups: Vec<ParamGroup> = berts.flat_map(groups_of).collect();
            let batches = [sentences(&LENGTHS, 3)];
            let stepper = stepper(preset("newsbert"));
            stepper.step(&TOPIC, &mut models, &mut groups, &batches, FIRST, Telemetry::Terms).unwrap();
            let results = |bert: &Bert| {
                let last = bert.encode(&packed(), Pass::Inference, Capture::States).last().copy();
                [bert.arena().values().copy(), bert.copies().unwrap().values.copy(), last]
            };
            models.named().flat_map(|(_, model)| results(&model.bert)).collect::<Vec<Tensor>>()
        };
        let refreshed = updated(|bert| ParamGroup::all(bert.arena(), 1e-2));
        let written = updated(|bert| ParamGroup::of_encoder(bert, 1e-2));
        assert!(written.iter().zip(&refreshed).all(|(a, b)| a.equal(b)), "{parts:?}");
    }
}

//! The step of a golden file, as the project computes it.

use std::collections::BTreeMap;

use nb_model::{Arena, Bert, BertConfig, Capture, Precision, fill};
use nb_share::Sharing;
use nb_train::method::{Method, Ramp, Temperature, TermKind};
use nb_train::model::{HeadOutputs, Model, Models};
use nb_train::task::{RecommendObjective, RetrieveObjective, TaskHead, TopicObjective};
use tch::Tensor;

use super::cases::Case;
use super::golden::{Golden, Values, device};
use crate::support::{FIRST, gradients, gradients_of, plain_newsbert, step_terms, stepper, student};

/// Returns NewsBERT with the temperature and β of the file.
pub(super) fn method(golden: &Golden) -> Method {
    let temperature = Temperature::Ramp(Ramp::Constant(golden.number("temperature")));
    Method { temperature, beta: Ramp::Constant(golden.number("beta")), ..plain_newsbert() }
}

/// Computes forward, backward and blend with [`nb_train::step::Stepper`], as a run does. Head gradients are those of the
/// student's top layers, which [`Sharing::Shared`] shares with the teacher.
pub(super) fn run(golden: &Golden, method: Method, sharing: Sharing) -> Values {
    match golden.says("task") {
        Some("recommend") => run_case::<RecommendObjective>(golden, method, sharing),
        Some("retrieve") => run_case::<RetrieveObjective>(golden, method, sharing),
        _ => run_case::<TopicObjective>(golden, method, sharing),
    }
}

fn run_case<C: Case>(golden: &Golden, method: Method, sharing: Sharing) -> Values {
    let (batch, models) = (C::batch(golden), models::<C>(golden, sharing));
    let objective = C::objective(golden);
    let packed = objective.packed(&batch);
    let mut values = Values::new();
    for (role, model) in models.named() {
        let encoded = model.encode(&packed, Capture::States, 0);
        let pooled = objective.pooled(&model.head, encoded.last(), &packed);
        let vectors = model.head.vectors(&pooled);
        let logits = objective.logits(&model.head, &vectors, &batch);
        insert_outputs(&mut values, role.name(), encoded.states(), &HeadOutputs { pooled, vectors, logits });
    }
    let stepper = stepper(method);
    let losses = step_terms(&stepper, &objective, &models, &batch);
    for (term, loss) in stepper.method.terms().zip(losses) {
        insert_loss(&mut values, term.kind, loss);
    }
    insert_gradients(&mut values, &models);
    stepper.blend(&models, FIRST);
    insert_blended(&mut values, &models);
    values
}

/// Returns teacher, student and top layers with the weights of the file.
pub(super) fn models<C: Case>(golden: &Golden, sharing: Sharing) -> Models<C::Head> {
    let heads = C::heads(golden, sharing);
    let bert = |config, role| {
        let mut bert = encoder(golden, config, &format!("weights.{role}."), Precision::F32);
        bert.train_only(golden.parts(role));
        bert
    };
    let models = Models::pair(
        Model { bert: bert(&golden.config, "teacher"), head: heads.teacher },
        Model { bert: bert(&golden.student_config(), "student"), head: heads.student },
    );
    assert!(models.map.is_some(), "{}: the student's layers divide the teacher's", golden.path.display());
    models
}

/// Returns an encoder with the weights whose names have the prefix `weights`.
pub(crate) fn encoder(golden: &Golden, config: &BertConfig, weights: &str, precision: Precision) -> Bert {
    let mut bert = Bert::zeros(config.clone(), device(), precision).unwrap();
    fill_arena(golden, bert.arena(), golden.under(weights));
    bert.parameters_changed();
    bert
}

/// Fills the arena of a top layer with its weights, whose names have the prefix `weights` in the file.
pub(crate) fn fill_head(golden: &Golden, weights: &str, arena: &Arena) {
    let mut weights = golden.under(weights);
    let matching = arena.layout().slots().iter().filter_map(|slot| weights.remove_entry(&slot.name)).collect();
    fill_arena(golden, arena, matching);
}

fn fill_arena(golden: &Golden, arena: &Arena, weights: BTreeMap<String, Tensor>) {
    fill(arena, weights, &golden.path).unwrap_or_else(|e| panic!("{e}"));
}

/// Inserts states, pooled vectors and logits of one model.
pub(super) fn insert_outputs(values: &mut Values, role: &str, states: &[Tensor], outputs: &HeadOutputs) {
    for (i, state) in states.iter().enumerate() {
        values.insert(format!("{role}.hidden.{i}"), state.detach());
    }
    values.insert(format!("{role}.pooled"), outputs.pooled.detach());
    values.insert(format!("{role}.logits"), outputs.logits.detach());
}

/// Inserts a loss under its name in the files.
pub(super) fn insert_loss(values: &mut Values, kind: TermKind, loss: f64) {
    let name = match kind {
        TermKind::Teacher => "teacher_ce",
        TermKind::Embedding => "embedding_mse",
        TermKind::Hidden => "hidden_mse",
        TermKind::Pooled => "pooled_mse",
        TermKind::Soft => "distill_ce",
        TermKind::Hard => "student_ce",
        other => panic!("{other:?} is not a term of NewsBERT"),
    };
    values.insert(format!("loss.{name}"), Tensor::from(loss));
}

/// Inserts the gradients of the backward pass.
pub(super) fn insert_gradients<T: TaskHead>(values: &mut Values, models: &Models<T>) {
    let gradients = gradients(models);
    values.extend(gradients.into_iter().map(|(name, gradient)| (format!("grads.{name}"), gradient)));
}

/// Inserts the gradients of the student after the blend.
pub(crate) fn insert_blended<T>(values: &mut Values, models: &Models<T>) {
    let arena = student(models).arena();
    values.extend(gradients_of("blended.student", arena));
}

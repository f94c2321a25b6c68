//! The step of a golden file, as the project computes it.

use std::collections::BTreeMap;

use nb_model::{Arena, Bert, BertConfig, Precision, fill};
use nb_momentum::Beta;
use nb_share::{LayerMap, Sharing};
use nb_train::method::{Method, TermKind};
use nb_train::models::{Model, Models};
use nb_train::task::Layers;
use tch::{Device, Tensor};

use super::cases::{Case, Labelled, Readers, Searches};
use super::golden::{Golden, Values};
use crate::support::{gradients, preset, stepper, student};

/// NewsBERT with the file's temperature and β.
pub(super) fn method(golden: &Golden) -> Method {
    let beta = Beta::new(golden.number("beta")).expect("β lies between 0 and 1");
    Method { temperature: golden.number("temperature"), beta, ..preset("newsbert") }
}

/// Forward, backward and blend by [`nb_train::step::Stepper`], which is what a run calls. Head gradients are those of
/// the student's top, which with [`Sharing::One`] is the teacher's too.
pub(super) fn run(golden: &Golden, method: Method, sharing: Sharing) -> Values {
    match golden.says("task") {
        Some("recommend") => run_case::<Readers>(golden, method, sharing),
        Some("retrieve") => run_case::<Searches>(golden, method, sharing),
        _ => run_case::<Labelled>(golden, method, sharing),
    }
}

fn run_case<C: Case>(golden: &Golden, method: Method, sharing: Sharing) -> Values {
    let (batch, models) = (C::batch(golden), models::<C>(golden, sharing));
    let packed = C::CASE.packed(&batch);
    let mut values = Values::new();
    for (role, model) in models.named() {
        let encoded = model.encode(&packed, 0);
        let outputs = C::CASE.outputs(&model.top, encoded.last(), &packed, &batch);
        insert_outputs(&mut values, role.name(), encoded.states(), (&outputs.pooled, &outputs.logits));
    }
    let stepper = stepper(method);
    let losses = stepper.micro_batch(&C::CASE, &models, &batch, C::CASE.counts(&batch), 0);
    for (term, loss) in stepper.method.terms.iter().zip(losses) {
        insert_loss(&mut values, term.kind, loss);
    }
    insert_gradients(&mut values, &models);
    stepper.blend(&models);
    insert_blended(&mut values, &models);
    values
}

/// Teacher, student and top layers with the file's weights.
pub(super) fn models<C: Case>(golden: &Golden, sharing: Sharing) -> Models<C::Top> {
    let tops = C::tops(golden, sharing);
    let shallow = golden.config.with_layers(golden.student_layers());
    let (deep, n) = (golden.config.num_hidden_layers as usize, golden.student_layers() as usize);
    Models {
        teacher: Some(Model { bert: encoder(golden, &golden.config, "weights.teacher."), top: tops.teacher }),
        student: Some(Model { bert: encoder(golden, &shallow, "weights.student."), top: tops.student }),
        map: Some(LayerMap::uniform(deep, n).unwrap_or_else(|e| panic!("{}: {e}", golden.path.display()))),
    }
}

fn encoder(golden: &Golden, config: &BertConfig, weights: &str) -> Bert {
    let mut bert = Bert::zeros(config.clone(), Device::Cpu, Precision::F32).unwrap();
    filled(golden, bert.arena(), golden.under(weights));
    bert.parameters_changed();
    bert
}

/// Fills an arena of a top layer with the file's weights.
pub(super) fn fill_head(golden: &Golden, arena: &Arena) {
    let mut weights = golden.under("weights.head.");
    let own = arena.layout().slots().iter().filter_map(|slot| weights.remove_entry(&slot.name)).collect();
    filled(golden, arena, own);
}

fn filled(golden: &Golden, arena: &Arena, weights: BTreeMap<String, Tensor>) {
    fill(arena, weights, &golden.path).unwrap_or_else(|e| panic!("{e}"));
}

/// States, pooled vectors and logits of one model.
pub(super) fn insert_outputs(values: &mut Values, role: &str, states: &[Tensor], (pooled, logits): (&Tensor, &Tensor)) {
    for (i, state) in states.iter().enumerate() {
        values.insert(format!("{role}.hidden.{i}"), state.detach());
    }
    values.insert(format!("{role}.pooled"), pooled.detach());
    values.insert(format!("{role}.logits"), logits.detach());
}

/// A loss under the name that the files have for it.
pub(super) fn insert_loss(values: &mut Values, kind: TermKind, loss: f64) {
    let name = match kind {
        TermKind::Teacher => "teacher_ce",
        TermKind::Embedding => "embedding_mse",
        TermKind::Hidden => "hidden_mse",
        TermKind::Pooled => "pooled_mse",
        TermKind::Soft => "distill_ce",
        TermKind::Hard => "student_ce",
    };
    values.insert(format!("loss.{name}"), Tensor::from(loss));
}

/// Gradients as backward left them.
pub(super) fn insert_gradients<T: Layers>(values: &mut Values, models: &Models<T>) {
    let gradients = gradients(models);
    values.extend(gradients.into_iter().map(|(name, gradient)| (format!("grads.{name}"), gradient)));
}

/// The student's gradients after the blend.
pub(super) fn insert_blended<T>(values: &mut Values, models: &Models<T>) {
    let arena = student(models).arena();
    let slots = arena.layout().slots().iter();
    values.extend(slots.map(|slot| (format!("blended.student.{}", slot.name), arena.grad(&slot.name).copy())));
}

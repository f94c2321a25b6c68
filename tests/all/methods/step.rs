//! The step of a method's golden file: as the project computes it, and by hand with injected faults.

use std::collections::BTreeMap;

use nb_model::{Dense, DropoutKey, Pass, Precision};
use nb_share::LayerMap;
use nb_train::config::MethodConfig;
use nb_train::method::{Method, TermKind};
use nb_train::model::{Model, Models};
use nb_train::step::{ModelOutputs, TermInputs};
use nb_train::task::{EmbedObjective, RecommendObjective, RetrieveObjective, TaskHead, TopicObjective};
use tch::{Device, Tensor};

use crate::conformance::cases::{Case, HEAD};
use crate::conformance::golden::{Golden, Values};
use crate::conformance::step::{encoder, fill_head, insert_blended};
use crate::support::{FIRST, gradients_of, max_abs, step_terms, stepper, student, teacher};

/// Returns the method that a file describes.
pub(super) fn method(golden: &Golden) -> Method {
    let text = golden.says("method").unwrap_or_else(|| panic!("{}: no method", golden.path.display()));
    let config: MethodConfig = serde_yaml::from_str(text).unwrap_or_else(|e| panic!("{text}: {e}"));
    Method::from_config(&config).unwrap_or_else(|e| panic!("{text}: {e}"))
}

/// Computes terms, total, gradients and their blend with [`nb_train::step::Stepper`], as a run does.
pub(super) fn run(golden: &Golden, method: Method, precision: Precision) -> Values {
    match golden.says("task") {
        Some("recommend") => run_case::<RecommendObjective>(golden, method, precision),
        Some("retrieve") => run_case::<RetrieveObjective>(golden, method, precision),
        Some("embed") => run_case::<EmbedObjective>(golden, method, precision),
        _ => run_case::<TopicObjective>(golden, method, precision),
    }
}

fn run_case<C: Case>(golden: &Golden, method: Method, precision: Precision) -> Values {
    let (batch, models) = (C::batch(golden), models::<C>(golden, precision));
    let stepper = stepper(method);
    let losses = step_terms(&stepper, &C::objective(golden), &models, &batch);
    let mut values = values(&stepper.method, &losses, &models);
    if stepper.method.beta.at(0.0) > 0.0 {
        stepper.blend(&models, FIRST);
        insert_blended(&mut values, &models);
    }
    values
}

/// Returns teachers, student, top layers and projection with the weights of the file.
pub(super) fn models<C: Case>(golden: &Golden, precision: Precision) -> Models<C::Head> {
    let teacher = |number: &str| {
        let [weights, head] = ["teacher", "teacher_head"].map(|part| format!("weights.{part}{number}."));
        Model { bert: encoder(golden, &golden.config, &weights, precision), head: C::head(golden, &head) }
    };
    let numbers = (1..).map(|number| format!("_{number}"));
    let others = numbers.take_while(|number| !golden.under(&format!("weights.teacher{number}.")).is_empty());
    let config = golden.student_config();
    let teacher_layers = golden.config.num_hidden_layers as usize;
    let projection = (!golden.under("weights.projection.").is_empty()).then(|| {
        let projection = Dense::named("projection", config.hidden_size, golden.config.hidden_size, Device::Cpu);
        fill_head(golden, "weights.", projection.arena());
        projection
    });
    Models {
        teacher: Some(teacher("")),
        extra_teachers: others.map(|number| teacher(&number)).collect(),
        student: Some(Model {
            bert: encoder(golden, &config, "weights.student.", precision),
            head: C::head(golden, HEAD),
        }),
        projection,
        map: LayerMap::uniform(teacher_layers, config.num_hidden_layers as usize).ok(),
        teacher_caches: Vec::new(),
        fixed_states: BTreeMap::new(),
    }
}

/// Returns the results that a method's file contains, from the terms and gradients of a step. Frozen models have no
/// gradients.
fn values<T: TaskHead>(method: &Method, losses: &[f64], models: &Models<T>) -> Values {
    let mut values = Values::new();
    let mut total = 0.0;
    for (term, loss) in method.terms().zip(losses) {
        total += term.weight.at(0.0) * loss;
        values.insert(format!("loss.{}", term.kind.name()), Tensor::from(*loss));
    }
    values.insert("loss.total".into(), Tensor::from(total));
    let trained = |role: &str, model: &Model<T>, head: &str| {
        let heads = model.head.arenas().into_iter().flat_map(|arena| gradients_of(&format!("grads.{head}"), arena));
        gradients_of(&format!("grads.{role}"), model.arena()).into_iter().chain(heads).collect::<Vec<_>>()
    };
    values.extend(trained("student", student(models), "head"));
    values.extend(models.extra_arenas().into_iter().flat_map(|arena| gradients_of("grads", arena)));
    match method.any(|kind| kind == TermKind::Teacher) {
        true => values.extend(trained("teacher", teacher(models), "teacher_head")),
        false => {
            for model in models.teacher.iter().chain(&models.extra_teachers) {
                let arenas = std::iter::once(model.arena()).chain(model.head.arenas());
                arenas.for_each(|arena| assert_eq!(max_abs(&arena.grads()), 0.0, "a frozen teacher has no gradient"));
            }
        }
    }
    values
}

/// An injected fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// No fault.
    None,
    /// Student layer i is compared with the attention scores of teacher layer iK − 1.
    ShiftedScores,
    /// The mean over scores divides by one head too many.
    WrongHeads,
}

/// Computes a step of a method with only state and attention terms, with one fault.
pub(super) fn by_hand(golden: &Golden, fault: Fault) -> Values {
    match golden.says("task") {
        Some("recommend") => case_by_hand::<RecommendObjective>(golden, fault),
        _ => case_by_hand::<TopicObjective>(golden, fault),
    }
}

fn case_by_hand<C: Case>(golden: &Golden, fault: Fault) -> Values {
    let (task, method, batch) = (C::objective(golden), method(golden), C::batch(golden));
    let models = models::<C>(golden, Precision::F32);
    let (packed, labels, stage) = (task.packed(&batch), task.labels(&batch), &method.stages[0]);
    assert!(!stage.any(TermKind::needs_outputs), "no term uses the top layers");
    let (teacher, student) = (&teacher(&models).bert, &student(&models).bert);
    let encoded_teacher = teacher.encode(&packed, Pass::Inference, stage.capture());
    let encoded_student = student.encode(&packed, Pass::Training(DropoutKey::Off), stage.capture());
    let mut teacher_outputs = ModelOutputs::of(&encoded_teacher, teacher.depth(), None);
    if fault == Fault::ShiftedScores {
        teacher_outputs.scores.rotate_right(1);
    }
    let student_outputs = ModelOutputs::of(&encoded_student, student.depth(), None);
    let compared = TermInputs {
        teacher: Some(&teacher_outputs),
        student: Some(&student_outputs),
        packed: &packed,
        label_kind: task.label_kind(),
        labels: &labels,
        class_weights: task.class_weights(),
        teacher_layers: teacher.depth(),
        student_layers: student.depth(),
        heads: golden.config.num_attention_heads + i64::from(fault == Fault::WrongHeads),
        projection: models.projection.as_ref(),
        counts: task.counts(&batch),
    };
    let terms: Vec<Tensor> = stage.terms.iter().map(|t| compared.term(t.kind, &method, 1.0)).collect();
    stage.terms.iter().zip(&terms).map(|(t, loss)| loss * t.weight.at(0.0)).sum::<Tensor>().backward();
    student.backward(&packed, encoded_student);
    let losses: Vec<f64> = terms.iter().map(|loss| loss.double_value(&[])).collect();
    values(&method, &losses, &models)
}

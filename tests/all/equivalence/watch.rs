//! Telemetry of a step: it changes no bit of the step, and its values are correct.

use nb_model::{Bert, Capture, Pass, Precision};
use nb_share::Sharing;
use nb_train::method::{Method, Share, TeacherRole, TermKind};
use nb_train::model::{Models, Role};
use nb_train::optim::ParamGroup;
use nb_train::step::{StepReport, Telemetry};
use nb_train::task::{Objective, TaskHead, TopicBatch, TopicHead};
use tch::{Kind, Tensor};

use crate::support::{
    FIRST, TOPIC, model_pair, numbers, preset, select, sentences, small_bert, step_terms, stepper, student, teacher,
};

const LENGTHS: [i64; 7] = [9, 4, 6, 4, 11, 1, 5];

/// Returns NewsBERT, NewsBERT with a frozen teacher, and a method without a teacher.
fn methods() -> [Method; 3] {
    let mut frozen = Method { teacher: TeacherRole::Frozen, share: Share::NONE, ..preset("newsbert") };
    frozen.stages[0].terms.retain(|term| term.kind != TermKind::Teacher);
    frozen.beta = preset("kd").beta;
    frozen.check().unwrap();
    [preset("newsbert"), frozen, preset("finetune")]
}

fn models(method: &Method) -> Models<TopicHead> {
    let sharing = if method.share.is_any() { Sharing::Shared } else { Sharing::Separate };
    let mut models = model_pair(&small_bert(16, 4), Precision::F32, sharing);
    models.teacher = models.teacher.filter(|_| method.has_teacher());
    models
}

/// Runs one step over two micro-batches. Returns its report and all parameters after it.
fn run_step(method: Method, batch: &TopicBatch, watch: Telemetry) -> (StepReport, Vec<Tensor>) {
    let mut models = models(&method);
    let arenas =
        models.trained(method.teacher).flat_map(|(_, model)| std::iter::once(model.arena()).chain(model.head.arenas()));
    // A shared top is listed and updated twice, with and without telemetry.
    let mut groups: Vec<ParamGroup> = arenas.map(|arena| ParamGroup::new(arena, 1e-2)).collect();
    let batches = [select(batch, &[0, 1, 2, 3]), select(batch, &[4, 5, 6])];
    let report = stepper(method).step(&TOPIC, &mut models, &mut groups, &batches, FIRST, watch).unwrap().read();
    let values = models.named().flat_map(|(_, model)| {
        std::iter::once(model.arena()).chain(model.head.arenas()).map(|arena| arena.values().copy())
    });
    (report, values.collect())
}

#[test]
fn telemetry_changes_no_bit_of_a_step() {
    let batch = sentences(&LENGTHS, 3);
    for method in methods() {
        let (unwatched, expected) = run_step(method.clone(), &batch, Telemetry::Terms);
        let (watched, found) = run_step(method.clone(), &batch, Telemetry::Models);
        assert!(found.iter().zip(&expected).all(|(a, b)| a.equal(b)), "{}: parameters", method.name);
        assert_eq!((&watched.terms, watched.gradient_norm), (&unwatched.terms, unwatched.gradient_norm));
        assert_eq!((unwatched.norms.len(), unwatched.cosines, unwatched.agreement), (0, None, None));
        let teacher_learns = method.teacher == TeacherRole::Joint;
        assert_eq!(watched.norms.len(), 1 + usize::from(teacher_learns), "{}: trained models", method.name);
        assert_eq!(watched.cosines.is_some(), teacher_learns, "{}: cosines", method.name);
        assert_eq!(watched.agreement.is_some(), method.has_teacher(), "{}: agreement", method.name);
    }
}

/// Returns the rows of a matrix in f64.
fn rows(matrix: &Tensor) -> Vec<Vec<f64>> {
    matrix.unbind(0).iter().map(|row| numbers(&row.to_kind(Kind::Double))).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Each of two student layers has a block of two teacher layers. The expected values come from their gradients in plain loops.
#[test]
fn cosines_and_norms_are_those_of_the_gradients_before_the_blend() {
    let (method, batch) = (preset("newsbert"), sentences(&LENGTHS, 3));
    let models = models(&method);
    step_terms(&stepper(method.clone()), &TOPIC, &models, &batch);
    let grads = |bert: &Bert| rows(&bert.layer_grads(0..bert.depth()).unwrap());
    let (teacher_grads, student_grads) = (grads(&teacher(&models).bert), grads(&student(&models).bert));
    let expected = [0, 1].map(|k| {
        let (first, second) = (&teacher_grads[2 * k], &teacher_grads[2 * k + 1]);
        let block: Vec<f64> = first.iter().zip(second).map(|(a, b)| (a + b) / 2.0).collect();
        dot(&student_grads[k], &block) / (dot(&student_grads[k], &student_grads[k]) * dot(&block, &block)).sqrt()
    });
    let norms = [teacher(&models), student(&models)].map(|model| {
        let gradient = numbers(&model.arena().grads().to_kind(Kind::Double));
        dot(&gradient, &gradient).sqrt()
    });
    let (report, _) = run_step(method, &batch, Telemetry::Models);
    for (found, expected) in report.cosines.as_ref().unwrap().iter().zip(expected) {
        let found = found.unwrap();
        assert!((found - expected).abs() < 1e-5 && expected.abs() < 1.0, "{found}, expected {expected}");
    }
    assert!(report.norms.iter().map(|(role, _)| *role).eq([Role::Teacher, Role::Student]));
    for ((role, found), expected) in report.norms.iter().zip(norms) {
        assert!((found - expected).abs() < 1e-5 * expected, "{role:?}: {found}, {expected}");
    }
}

#[test]
fn agreement_counts_rows_over_all_micro_batches() {
    let (method, batch) = (preset("newsbert"), sentences(&LENGTHS, 3));
    let models = models(&method);
    let logits = |model: &nb_train::model::Model<TopicHead>, batch: &TopicBatch| {
        let packed = TOPIC.packed(batch);
        let encoded = model.bert.encode(&packed, Pass::Inference, Capture::Last);
        tch::no_grad(|| model.head.forward(encoded.last(), &packed)).to_kind(Kind::Double)
    };
    let (v, z) = (logits(teacher(&models), &batch), logits(student(&models), &batch));
    let n = LENGTHS.len() as f64;
    let same_class = v.argmax(-1, false).eq_tensor(&z.argmax(-1, false)).to_kind(Kind::Double);
    let agreement = same_class.sum(Kind::Double).double_value(&[]) / n;
    let (p, log_p, log_q) =
        (v.softmax(-1, Kind::Double), v.log_softmax(-1, Kind::Double), z.log_softmax(-1, Kind::Double));
    let divergence = (p * (log_p - log_q)).sum(Kind::Double).double_value(&[]) / n;
    let (report, _) = run_step(method, &batch, Telemetry::Models);
    let (found, kl) = report.agreement.and_then(|both| both.equal.zip(both.kl)).unwrap();
    assert!(
        (found - agreement).abs() < 1e-6 && (kl - divergence).abs() < 1e-5,
        "{found}, {kl}: {agreement}, {divergence}"
    );
}

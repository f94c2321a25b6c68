//! What is watched of a step: watching changes no bit of it, and what is said of it is so.

use nb_model::{Capture, Pass, Precision};
use nb_share::Sharing;
use nb_train::method::{Method, Share, TeacherRole, TermKind};
use nb_train::model::{Models, Role};
use nb_train::optim::ParamGroup;
use nb_train::step::telemetry::{Agreement, StepReport, Telemetry};
use nb_train::task::TopicHead;
use tch::{Kind, Tensor};

use crate::support::{
    Batch, FIRST, Sentences, numbers, pair, preset, sentences, small, step, stepper, student, teacher,
};

const LENGTHS: [i64; 7] = [9, 4, 6, 4, 11, 1, 5];

/// NewsBERT, the same with a frozen teacher, and a student alone.
fn methods() -> [Method; 3] {
    let mut frozen = Method { teacher: TeacherRole::Frozen, share: Share::NONE, ..preset("newsbert") };
    frozen.stages[0].terms.retain(|term| term.kind != TermKind::Teacher);
    frozen.beta = preset("kd").beta;
    frozen.check().unwrap();
    [preset("newsbert"), frozen, preset("finetune")]
}

fn models(method: &Method) -> Models<TopicHead> {
    let sharing = if method.share.is_any() { Sharing::One } else { Sharing::Each };
    let mut models = pair(&small(16, 4), Precision::F32, sharing);
    models.teacher = models.teacher.filter(|_| method.has_teacher());
    models
}

/// The report of one step over two micro-batches, and every parameter after it.
fn stepped(method: Method, task: &Sentences, watch: Telemetry) -> (StepReport, Vec<Tensor>) {
    let mut models = models(&method);
    let arenas = models.trained(method.teacher).flat_map(|(_, model)| {
        let head = [model.head.pooling.arena(), model.head.dense.arena()];
        std::iter::once(model.arena()).chain(head)
    });
    // A shared top is there twice, and updated twice: the same with and without watching.
    let mut groups: Vec<ParamGroup> = arenas.map(|arena| ParamGroup::new(arena, 1e-2)).collect();
    let batches = [task.batch.select(&[0, 1, 2, 3]), task.batch.select(&[4, 5, 6])];
    let report = stepper(method).step(task, &mut models, &mut groups, &batches, FIRST, watch).unwrap().read();
    let values = models.named().flat_map(|(_, model)| {
        [
            model.arena().values().copy(),
            model.head.pooling.arena().values().copy(),
            model.head.dense.arena().values().copy(),
        ]
    });
    (report, values.collect())
}

#[test]
fn watching_changes_no_bit_of_a_step() {
    let task = sentences(&LENGTHS, 3);
    for method in methods() {
        let (unwatched, expected) = stepped(method.clone(), &task, Telemetry::Terms);
        let (watched, found) = stepped(method.clone(), &task, Telemetry::Models);
        assert!(found.iter().zip(&expected).all(|(a, b)| a.equal(b)), "{}: parameters", method.name);
        assert_eq!((&watched.terms, watched.gradient_norm), (&unwatched.terms, unwatched.gradient_norm));
        assert_eq!((unwatched.norms.len(), unwatched.cosines, unwatched.agreement), (0, None, None));
        let teacher_learns = method.teacher == TeacherRole::Joint;
        assert_eq!(watched.norms.len(), 1 + usize::from(teacher_learns), "{}: models that learn", method.name);
        assert_eq!(watched.cosines.is_some(), teacher_learns, "{}: cosines", method.name);
        assert_eq!(watched.agreement.is_some(), method.has_teacher(), "{}: agreement", method.name);
    }
}

/// The rows of a matrix in f64.
fn rows(matrix: &Tensor) -> Vec<Vec<f64>> {
    matrix.unbind(0).iter().map(|row| numbers(&row.to_kind(Kind::Double))).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Two student layers, each with two teacher layers behind it, from their gradients one number at a time.
#[test]
fn cosines_and_norms_are_those_of_the_gradients_before_the_blend() {
    let (method, task) = (preset("newsbert"), sentences(&LENGTHS, 3));
    let models = models(&method);
    step(&stepper(method.clone()), &task, &models, &task.batch);
    let (big, small) = (rows(&teacher(&models).bert.layer_grads()), rows(&student(&models).bert.layer_grads()));
    let expected = [0, 1].map(|k| {
        let injected: Vec<f64> = big[2 * k].iter().zip(&big[2 * k + 1]).map(|(a, b)| (a + b) / 2.0).collect();
        let own = &small[k];
        dot(own, &injected) / (dot(own, own) * dot(&injected, &injected)).sqrt()
    });
    let norms = [teacher(&models), student(&models)].map(|model| {
        let all = numbers(&model.arena().grads().to_kind(Kind::Double));
        dot(&all, &all).sqrt()
    });
    let (report, _) = stepped(method, &task, Telemetry::Models);
    for (found, expected) in report.cosines.as_ref().unwrap().iter().zip(expected) {
        assert!((found - expected).abs() < 1e-5 && expected.abs() < 1.0, "{found}, expected {expected}");
    }
    for ((role, found), (expected_role, expected)) in
        report.norms.iter().zip([Role::Teacher, Role::Student].iter().zip(norms))
    {
        assert!(role == expected_role && (found - expected).abs() < 1e-5 * expected, "{role:?}: {found}, {expected}");
    }
}

#[test]
fn agreement_counts_rows_over_all_micro_batches() {
    let (method, task) = (preset("newsbert"), sentences(&LENGTHS, 3));
    let models = models(&method);
    let logits = |model: &nb_train::model::Model<TopicHead>, batch: &Batch| {
        let packed = batch.packed();
        let encoded = model.bert.encode(&packed, Pass::Inference, Capture::Last);
        tch::no_grad(|| model.head.forward(encoded.last(), &packed)).to_kind(Kind::Double)
    };
    let (v, z) = (logits(teacher(&models), &task.batch), logits(student(&models), &task.batch));
    let n = LENGTHS.len() as f64;
    let equal =
        numbers(&v.argmax(-1, false).eq_tensor(&z.argmax(-1, false)).to_kind(Kind::Double)).iter().sum::<f64>() / n;
    let (p, log_p, log_q) =
        (v.softmax(-1, Kind::Double), v.log_softmax(-1, Kind::Double), z.log_softmax(-1, Kind::Double));
    let divergence = (p * (log_p - log_q)).sum(Kind::Double).double_value(&[]) / n;
    let (report, _) = stepped(method, &task, Telemetry::Models);
    let Agreement { equal: found, kl } = report.agreement.unwrap();
    assert!((found - equal).abs() < 1e-6 && (kl - divergence).abs() < 1e-5, "{found}, {kl}: {equal}, {divergence}");
}

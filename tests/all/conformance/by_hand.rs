//! A step assembled by hand from the same parts, into which faults can be injected that a comparison must find.

use nb_model::{Bert, Capture, DropoutKey, Pass};
use nb_momentum::{Beta, blend_layers};
use nb_share::Sharing;
use nb_train::method::TermKind;
use nb_train::model::HeadOutputs;
use nb_train::step::{ModelOutputs, TermInputs};
use nb_train::task::{RecommendObjective, RetrieveObjective, TaskHead, TopicObjective};
use tch::{Kind, Tensor};

use super::cases::Case;
use super::golden::{Golden, Values};
use super::step::{insert_blended, insert_gradients, insert_loss, insert_outputs, method, models};
use crate::support::{student, teacher};

/// An injected fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// No fault.
    None,
    /// Student state i is compared with teacher state iK − 1.
    ShiftedMap,
    /// Student layer k is blended with a block of teacher layers that is shifted by one.
    ShiftedBlend,
    /// The teacher is not detached in this term.
    Attached(TermKind),
}

/// Computes all results of a golden file, with one fault.
pub(super) fn by_hand(golden: &Golden, fault: Fault) -> Values {
    match golden.says("task") {
        Some("recommend") => case_by_hand::<RecommendObjective>(golden, fault),
        Some("retrieve") => case_by_hand::<RetrieveObjective>(golden, fault),
        _ => case_by_hand::<TopicObjective>(golden, fault),
    }
}

fn case_by_hand<C: Case>(golden: &Golden, fault: Fault) -> Values {
    let (task, method, batch) = (C::objective(golden), method(golden), C::batch(golden));
    let models = models::<C>(golden, Sharing::Shared);
    let (teacher, student) = (teacher(&models), student(&models));
    let (packed, counts) = (task.packed(&batch), task.counts(&batch));
    let map = models.map.expect("the models have a layer map");
    let mut values = Values::new();

    let pass = Pass::Training(DropoutKey::Off);
    let encoded_teacher = teacher.bert.encode(&packed, pass, Capture::States);
    let encoded_student = student.bert.encode(&packed, pass, Capture::States);
    let outputs = |head: &C::Head, states: &Tensor| {
        let pooled = task.pooled(head, states, &packed);
        let vectors = head.vectors(&pooled);
        HeadOutputs { logits: task.logits(head, &vectors, &batch), pooled, vectors }
    };
    let teacher_outputs = outputs(&teacher.head, encoded_teacher.last());
    let student_outputs = outputs(&student.head, encoded_student.last());
    insert_outputs(&mut values, "teacher", encoded_teacher.states(), &teacher_outputs);
    insert_outputs(&mut values, "student", encoded_student.states(), &student_outputs);

    let mut shown_teacher = ModelOutputs::of(&encoded_teacher, teacher.bert.depth(), Some(teacher_outputs));
    let shown_student = ModelOutputs::of(&encoded_student, student.bert.depth(), Some(student_outputs));
    if fault == Fault::ShiftedMap {
        shown_teacher.states = (0..).zip(shifted_by_one(encoded_teacher.states())).collect();
    }
    let labels = task.labels(&batch);
    let compared = TermInputs {
        teacher: Some(&shown_teacher),
        student: Some(&shown_student),
        packed: &packed,
        label_kind: task.label_kind(),
        labels: &labels,
        class_weights: task.class_weights(),
        teacher_layers: teacher.bert.depth(),
        student_layers: student.bert.depth(),
        heads: golden.config.num_attention_heads,
        projection: None,
        counts,
    };
    let temperature = golden.number("temperature");
    let term = |kind| match fault {
        Fault::Attached(faulty) if faulty == kind => attached(kind, &compared, temperature),
        _ => compared.term(kind, &method, temperature),
    };
    let terms: Vec<Tensor> = method.terms().map(|t| term(t.kind)).collect();
    terms.iter().sum::<Tensor>().backward();
    for (t, loss) in method.terms().zip(&terms) {
        insert_loss(&mut values, t.kind, loss.double_value(&[]));
    }
    teacher.bert.backward(&packed, encoded_teacher);
    student.bert.backward(&packed, encoded_student);
    insert_gradients(&mut values, &models);

    let grads = |bert: &Bert| bert.layer_grads(0..bert.depth()).expect("all layers are trained");
    let layers = grads(&teacher.bert);
    let layers = match fault {
        Fault::ShiftedBlend => Tensor::stack(&shifted_by_one(&layers.unbind(0)), 0),
        _ => layers,
    };
    let beta = Beta::new(golden.number("beta")).expect("β lies between 0 and 1");
    blend_layers(&layers, &mut grads(&student.bert), map.group_size(), beta);
    insert_blended(&mut values, &models);
    values
}

/// Replaces each tensor by its predecessor; the first one stays.
fn shifted_by_one(tensors: &[Tensor]) -> Vec<Tensor> {
    let before = tensors.iter().take(1).chain(tensors);
    before.take(tensors.len()).map(Tensor::shallow_clone).collect()
}

/// Computes a term without detaching the teacher.
fn attached(kind: TermKind, compared: &TermInputs<'_>, temperature: f64) -> Tensor {
    let error = |a: &Tensor, b: &Tensor, count: i64| (a - b).square().sum(Kind::Float) / (count * a.size()[1]) as f64;
    let (teacher, student) = (compared.teacher.expect("a teacher"), compared.student.expect("a student"));
    let (teacher_outputs, student_outputs, counts) = (teacher.outputs(), student.outputs(), compared.counts);
    match kind {
        TermKind::Embedding => error(&teacher.states[&0], &student.states[&0], counts.tokens),
        TermKind::Hidden => {
            let (deep, n) = (compared.teacher_layers, compared.student_layers);
            let layer = |i: usize| error(&teacher.states[&(deep / n * i)], &student.states[&i], counts.tokens);
            (1..=n).map(layer).sum()
        }
        TermKind::Pooled => error(&teacher_outputs.pooled, &student_outputs.pooled, counts.pooled),
        TermKind::Soft => {
            let target = (&teacher_outputs.logits / temperature).softmax(-1, Kind::Float);
            let log_probabilities = (&student_outputs.logits / temperature).log_softmax(-1, Kind::Float);
            -(target * log_probabilities).sum(Kind::Float) / counts.rows as f64
        }
        other => unreachable!("{other:?} is not a term of NewsBERT with a teacher to detach"),
    }
}

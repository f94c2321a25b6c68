//! The step put together by hand from the same parts, with a place for each fault that a comparison must find.

use nb_model::{Capture, DropoutKey, Pass};
use nb_momentum::{Beta, blend_layers};
use nb_share::Sharing;
use nb_train::method::TermKind;
use nb_train::step::terms::{ModelOutputs, TermInputs};
use nb_train::task::Outputs;
use tch::{Kind, Tensor};

use super::cases::{Case, Labelled, Readers, Searches};
use super::golden::{Golden, Values};
use super::step::{insert_blended, insert_gradients, insert_loss, insert_outputs, method, models};
use crate::support::{student, teacher};

/// What is done wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing.
    None,
    /// Student state i learns from teacher state iK − 1.
    ShiftedMap,
    /// Student layer k takes in the gradients of the teacher layers one before its own.
    ShiftedBlend,
    /// The teacher is not constant in this term.
    Attached(TermKind),
}

/// Everything that a golden file holds, computed with one fault.
pub(super) fn by_hand(golden: &Golden, fault: Fault) -> Values {
    match golden.says("task") {
        Some("recommend") => case_by_hand::<Readers>(golden, fault),
        Some("retrieve") => case_by_hand::<Searches>(golden, fault),
        _ => case_by_hand::<Labelled>(golden, fault),
    }
}

fn case_by_hand<C: Case>(golden: &Golden, fault: Fault) -> Values {
    let (task, method, models, batch) = (C::CASE, method(golden), models::<C>(golden, Sharing::One), C::batch(golden));
    let (teacher, student) = (teacher(&models), student(&models));
    let (packed, counts) = (task.packed(&batch), task.counts(&batch));
    let map = models.map.expect("the models of a file have a layer map");
    let mut values = Values::new();

    let pass = Pass::Training(DropoutKey::Off);
    let of_teacher = teacher.bert.encode(&packed, pass, Capture::States);
    let of_student = student.bert.encode(&packed, pass, Capture::States);
    let outputs = |head: &C::Head, states: &Tensor| {
        let pooled = task.pooled(head, states, &packed);
        Outputs { logits: task.logits(head, &pooled, &batch), pooled }
    };
    let big = outputs(&teacher.head, of_teacher.last());
    let small = outputs(&student.head, of_student.last());
    insert_outputs(&mut values, "teacher", of_teacher.states(), (&big.pooled, &big.logits));
    insert_outputs(&mut values, "student", of_student.states(), (&small.pooled, &small.logits));

    let mut big = ModelOutputs::of(&of_teacher, teacher.bert.depth(), Some(big));
    let small = ModelOutputs::of(&of_student, student.bert.depth(), Some(small));
    if fault == Fault::ShiftedMap {
        big.states = (0..).zip(one_earlier(of_teacher.states())).collect();
    }
    let labels = task.labels(&batch);
    let compared = TermInputs {
        teacher: Some(&big),
        student: Some(&small),
        packed: &packed,
        labels: &labels,
        teacher_layers: teacher.bert.depth(),
        student_layers: student.bert.depth(),
        heads: golden.config.num_attention_heads,
        projection: None,
        counts,
    };
    let temperature = golden.number("temperature");
    let term = |kind| match fault {
        Fault::Attached(one) if one == kind => attached(kind, &compared, temperature),
        _ => compared.term(kind, &method, temperature),
    };
    let terms: Vec<Tensor> = method.terms().map(|t| term(t.kind)).collect();
    terms.iter().sum::<Tensor>().backward();
    for (t, loss) in method.terms().zip(&terms) {
        insert_loss(&mut values, t.kind, loss.double_value(&[]));
    }
    teacher.bert.backward(&packed, of_teacher);
    student.bert.backward(&packed, of_student);
    insert_gradients(&mut values, &models);

    let layers = teacher.bert.layer_grads();
    let layers = match fault {
        Fault::ShiftedBlend => Tensor::stack(&one_earlier(&layers.unbind(0)), 0),
        _ => layers,
    };
    let beta = Beta::new(golden.number("beta")).expect("β lies between 0 and 1");
    blend_layers(&layers, &mut student.bert.layer_grads(), map, beta);
    insert_blended(&mut values, &models);
    values
}

/// Each tensor replaced by the one before it; the first stays.
fn one_earlier(tensors: &[Tensor]) -> Vec<Tensor> {
    let before = tensors.iter().take(1).chain(tensors);
    before.take(tensors.len()).map(Tensor::shallow_clone).collect()
}

/// A term without the `detach` of the teacher.
fn attached(kind: TermKind, compared: &TermInputs<'_>, temperature: f64) -> Tensor {
    let error = |a: &Tensor, b: &Tensor, count: i64| (a - b).square().sum(Kind::Float) / (count * a.size()[1]) as f64;
    let (teacher, student) = (compared.teacher.expect("a teacher"), compared.student.expect("a student"));
    let (big, small, counts) = (teacher.outputs(), student.outputs(), compared.counts);
    match kind {
        TermKind::Embedding => error(&teacher.states[&0], &student.states[&0], counts.tokens),
        TermKind::Hidden => {
            let (deep, n) = (compared.teacher_layers, compared.student_layers);
            let layer = |i: usize| error(&teacher.states[&(deep / n * i)], &student.states[&i], counts.tokens);
            (1..=n).map(layer).sum()
        }
        TermKind::Pooled => error(&big.pooled, &small.pooled, counts.pooled),
        TermKind::Soft => {
            let target = (&big.logits / temperature).softmax(-1, Kind::Float);
            let found = (&small.logits / temperature).log_softmax(-1, Kind::Float);
            -(target * found).sum(Kind::Float) / counts.rows as f64
        }
        other => unreachable!("{other:?} is no term of NewsBERT with a teacher to detach"),
    }
}

//! What callers must keep to, said in one place. Every check looks at shapes and plain numbers on the host only.

use tch::{Kind, Tensor};

/// `xs` has two dimensions, rows first.
#[track_caller]
pub(crate) fn rows(name: &str, xs: &Tensor) -> (i64, i64) {
    let size = xs.size();
    assert!(size.len() == 2, "{name} has shape {size:?}, expected two dimensions");
    (size[0], size[1])
}

/// Teacher and student hold the same rows. Returns their common size.
#[track_caller]
pub(crate) fn same_rows(name: &str, teacher: &Tensor, student: &Tensor) -> (i64, i64) {
    let (t, s) = (teacher.size(), student.size());
    assert!(t == s, "the teacher's {name} have shape {t:?} and the student's {s:?}, expected the same");
    rows(name, student)
}

/// One label for each row of logits.
#[track_caller]
pub(crate) fn one_label_per_row(logits: &Tensor, labels: &Tensor) {
    let (n_rows, _) = rows("logits", logits);
    let (size, kind) = (labels.size(), labels.kind());
    assert!(size == [n_rows], "labels have shape {size:?}, expected [{n_rows}] for logits of {:?}", logits.size());
    assert!(kind == Kind::Int64, "labels are {kind:?}, expected Int64");
}

#[track_caller]
pub(crate) fn temperature(temperature: f64) {
    assert!(
        temperature.is_finite() && temperature > 0.0,
        "the temperature is {temperature}, expected a finite number above 0"
    );
}

#[track_caller]
pub(crate) fn count(count: i64) {
    assert!(count >= 0, "the count of a mean is {count}, expected at least 0");
}

#[track_caller]
pub(crate) fn weight(name: &str, weight: f64) {
    assert!(weight.is_finite(), "the weight of the {name} loss is {weight}, expected a finite number");
}

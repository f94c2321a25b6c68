//! Checks of arguments. They use only shapes and plain numbers on the host.

use tch::{Kind, Tensor};

/// Checks that `xs` has two dimensions, rows first, and returns them.
#[track_caller]
pub(crate) fn rows(name: &str, xs: &Tensor) -> (i64, i64) {
    let size = xs.size();
    assert!(size.len() == 2, "{name} has shape {size:?}, expected two dimensions");
    (size[0], size[1])
}

/// Checks that teacher and student have the same rows. Returns their common size.
#[track_caller]
pub(crate) fn same_rows(name: &str, teacher: &Tensor, student: &Tensor) -> (i64, i64) {
    let (t, s) = (teacher.size(), student.size());
    assert!(t == s, "the teacher's {name} have shape {t:?} and the student's {s:?}, expected the same");
    rows(name, student)
}

/// Checks that teacher and student have equally many rows; their widths may differ. Returns the number of rows.
#[track_caller]
pub(crate) fn equally_many_rows(name: &str, teacher: &Tensor, student: &Tensor) -> i64 {
    let ((t, _), (s, _)) = (rows(name, teacher), rows(name, student));
    assert!(t == s, "the teacher's {name} have {t} rows and the student's {s}, expected the same number");
    s
}

/// Checks that there is one label for each row of logits.
#[track_caller]
pub(crate) fn one_label_per_row(logits: &Tensor, labels: &Tensor) {
    let (n_rows, _) = rows("logits", logits);
    let (size, kind) = (labels.size(), labels.kind());
    assert!(size == [n_rows], "labels have shape {size:?}, expected [{n_rows}] for logits of {:?}", logits.size());
    assert!(kind == Kind::Int64, "labels are {kind:?}, expected Int64");
}

/// Checks that there is one target for each logit.
#[track_caller]
pub(crate) fn one_target_per_logit(logits: &Tensor, targets: &Tensor) {
    rows("logits", logits);
    let (size, kind) = (targets.size(), targets.kind());
    assert!(size == logits.size(), "targets have shape {size:?}, expected {:?}, that of the logits", logits.size());
    assert!(is_floating(kind), "targets are {kind:?}, expected a floating-point kind");
}

/// Checks that there is one temperature for each row of logits. Their values are on the device and are not checked.
#[track_caller]
pub(crate) fn one_temperature_per_row(logits: &Tensor, temperatures: &Tensor) {
    let (n_rows, _) = rows("logits", logits);
    let (size, kind) = (temperatures.size(), temperatures.kind());
    assert!(
        size == [n_rows],
        "temperatures have shape {size:?}, expected [{n_rows}] for logits of {:?}",
        logits.size()
    );
    assert!(is_floating(kind), "temperatures are {kind:?}, expected a floating-point kind");
}

fn is_floating(kind: Kind) -> bool {
    matches!(kind, Kind::Half | Kind::BFloat16 | Kind::Float | Kind::Double)
}

/// Checks that there is at least one teacher and that all have the same rows. Returns the first teacher's logits.
#[track_caller]
pub(crate) fn teachers(logits: &[Tensor]) -> &Tensor {
    let first = logits.first().expect("no teacher logits were given, expected at least one");
    rows("logits", first);
    for (teacher, other) in logits.iter().enumerate() {
        let (size, expected) = (other.size(), first.size());
        assert!(
            size == expected,
            "the logits of teacher {teacher} have shape {size:?}, those of teacher 0 {expected:?}"
        );
    }
    first
}

/// Checks that teacher and student have the same scores in one row.
#[track_caller]
pub(crate) fn same_scores(teacher: &Tensor, student: &Tensor) {
    let (t, s) = (teacher.size(), student.size());
    assert!(t == s, "the teacher's scores have shape {t:?} and the student's {s:?}, expected the same");
    assert!(s.len() == 1, "scores have shape {s:?}, expected one dimension");
}

#[track_caller]
pub(crate) fn temperature(temperature: f64) {
    assert!(
        temperature.is_finite() && temperature > 0.0,
        "the temperature is {temperature}, expected a finite number above 0"
    );
}

#[track_caller]
pub(crate) fn scale(scale: f64) {
    assert!(scale.is_finite() && scale > 0.0, "the scale is {scale}, expected a finite number above 0");
}

#[track_caller]
pub(crate) fn count(count: i64) {
    assert!(count >= 0, "the count of a mean is {count}, expected at least 0");
}

#[track_caller]
pub(crate) fn finite(name: &str, number: f64) {
    assert!(number.is_finite(), "{name} is {number}, expected a finite number");
}

#[track_caller]
pub(crate) fn exponent(name: &str, exponent: f64) {
    assert!(exponent.is_finite() && exponent >= 0.0, "{name} is {exponent}, expected a finite number of at least 0");
}

#[track_caller]
pub(crate) fn weight(name: &str, weight: f64) {
    assert!(weight.is_finite(), "the weight of the {name} loss is {weight}, expected a finite number");
}

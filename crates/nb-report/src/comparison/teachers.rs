//! The lines of the trained and of the untouched teacher.

use super::measured::{Measured, Speed};
use crate::ReportError;
use crate::record::{ModelSummary, TeacherRow};

/// Returns the line of a trained teacher. `runs` may have timed teachers of its shape.
pub(super) fn trained(teacher: &Measured<'_>, runs: &[&Measured<'_>]) -> Result<TeacherRow, ReportError> {
    let (layers, parameters) = (teacher.layers()?, teacher.parameters()?);
    let times = runs.iter().filter_map(|run| run.run.summary.teacher.as_ref());
    // The run of the teacher counts even if it is not one of `runs`.
    let speeds: Vec<Speed> = of_shape(times, layers, parameters).chain([teacher.speed()]).collect();
    Ok(row(teacher.score, layers, parameters, &speeds))
}

/// Returns the line of the untouched teacher of the first run that measured one; `None` if there is no such run.
pub(super) fn untouched(teacher: Option<&Measured<'_>>, runs: &[&Measured<'_>]) -> Option<TeacherRow> {
    let all = || teacher.into_iter().chain(runs.iter().copied());
    let measured = |run: &Measured<'_>| {
        let model = run.run.summary.untouched.as_ref()?.teacher.as_ref()?;
        let (layers, parameters) = (model.layers?, model.parameters?);
        let times = all().filter_map(|run| run.run.summary.teacher.as_ref());
        let speeds: Vec<Speed> = of_shape(times, layers, parameters).collect();
        Some(row(run.score_of(model)?, layers, parameters, &speeds))
    };
    all().find_map(measured)
}

/// Returns the speeds of the models of a shape. Training does not change the speed, and more runs reduce the influence
/// of other load on the machine.
fn of_shape<'a>(
    models: impl Iterator<Item = &'a ModelSummary>,
    layers: u64,
    parameters: u64,
) -> impl Iterator<Item = Speed> {
    models.filter(move |model| (model.layers, model.parameters) == (Some(layers), Some(parameters))).map(Speed::of)
}

fn row(score: f64, layers: u64, parameters: u64, speeds: &[Speed]) -> TeacherRow {
    let Speed { milliseconds_per_text, texts_per_second } = Speed::median(speeds);
    TeacherRow { score, layers, parameters, milliseconds_per_text, texts_per_second }
}

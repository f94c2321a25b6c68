//! The method: its terms and stages, the states that encoders store for them, and advice on its numbers.

use nb_loss::SoftScaling;
use nb_model::Capture;
use nb_train::method::{Blend, Ensemble, Method, PkdLayers, Stage, TeacherRole, TermKind};
use nb_train::plan::Plan;
use nb_train::step::Schedule;

use super::page::{Page, count};

/// Shows the method.
pub(super) fn method(page: &mut Page, plan: &Plan, schedule: &Schedule) {
    let method = &plan.method;
    page.heading("Method");
    page.line("name", &method.name);
    stages(page, method, schedule);
    if method.any(is_soft) {
        temperature(page, plan);
    }
    if method.blends() {
        let what = match method.blend {
            Blend::Layers => "the encoder layers",
            Blend::LayersAndEmbeddings => "the encoder layers and the embeddings",
        };
        page.line("blending", format!("β = {} of the teacher's gradients in {what}", method.beta));
    }
    if method.any(|kind| kind == TermKind::Patience) {
        let strategy = match method.pkd_layers {
            PkdLayers::Skip => "skip: every K-th layer of the teacher",
            PkdLayers::Last => "last: the teacher's last layers below the top one",
        };
        page.line("patience", strategy);
    }
    if method.teacher == TeacherRole::Frozen && plan.trained.len() > 1 {
        let how = match method.ensemble {
            Ensemble::Mean => "mean of the logits",
            Ensemble::Loss => "logits weighted by loss, lower losses more",
        };
        page.line("ensemble", format!("{how} of {} teachers; states of the first", plan.trained.len()));
    }
}

fn stages(page: &mut Page, method: &Method, schedule: &Schedule) {
    for (i, (stage, steps)) in method.stages.iter().zip(schedule.steps()).enumerate() {
        let terms: Vec<String> = stage.terms.iter().map(|t| format!("{} × {}", t.weight, t.kind.name())).collect();
        match method.stages.len() {
            1 => page.line("terms", terms.join(" + ")),
            _ => page.line(&format!("stage {}", i + 1), format!("{}: {}", count(steps, "step"), terms.join(" + "))),
        }
        page.line("encoders", stored_states(stage));
    }
}

fn temperature(page: &mut Page, plan: &Plan) {
    let scaled = match plan.method.scaling {
        SoftScaling::TemperatureSquared => "soft terms multiplied by its square",
        SoftScaling::Plain => "soft terms not multiplied by its square (t2: false)",
    };
    page.line("temperature", format!("{}; {scaled}", plan.method.temperature));
    let (l, n) = (plan.teacher_config.num_hidden_layers, plan.student_config.num_hidden_layers);
    let suggested = suggested_temperature(n, l);
    page.line(
        "suggestion",
        format!(
            "temperature {suggested} for {n} of {l} layers: a rule of thumb, lower for smaller students; \
             `nb compare` can sweep it"
        ),
    );
}

/// The states that the encoders store, and the terms that need them.
fn stored_states(stage: &Stage) -> String {
    let names = |is: &dyn Fn(TermKind) -> bool| {
        let kinds = stage.terms.iter().map(|term| term.kind).filter(|&kind| is(kind));
        kinds.map(TermKind::name).collect::<Vec<_>>().join(", ")
    };
    match stage.capture() {
        Capture::Last => "keep only the last state: no term uses the others".to_owned(),
        Capture::States => format!("keep the states of all layers for {}", names(&TermKind::needs_states)),
        Capture::Scores => {
            let states = names(&TermKind::needs_states);
            let states = if states.is_empty() { states } else { format!(", the states for {states}") };
            format!("keep the attention scores of all layers for {}{states}", TermKind::Attention.name())
        }
    }
}

fn is_soft(kind: TermKind) -> bool {
    matches!(kind, TermKind::Soft | TermKind::Divergence)
}

/// Returns a starting value for the temperature with N student layers and L teacher layers: 1 + 3·N/L, rounded to halves.
/// It is a rule of thumb: small students do better at low temperatures, and 4 is usual for a student as deep as its teacher.
fn suggested_temperature(student: i64, teacher: i64) -> f64 {
    ((1.0 + 3.0 * student as f64 / teacher.max(1) as f64) * 2.0).round() / 2.0
}

/// Returns a sentence for each part of the method that has no effect.
pub(super) fn warnings(method: &Method, student_layers: usize, patience: Option<u64>, evaluations: u64) -> Vec<String> {
    let mut warnings = Vec::new();
    if method.any(|kind| kind == TermKind::Patience) && student_layers == 1 {
        warnings.push("a student with 1 layer has no intermediate layer: the term patience is always 0".to_owned());
    }
    if !method.any(is_soft)
        && matches!(method.temperature, nb_train::method::Temperature::Ramp(ramp) if ramp.max() != 1.0)
    {
        warnings.push(format!("temperature is {}, but no term uses it", method.temperature));
    }
    if method.stages.len() > 1 && !method.stages.last().is_some_and(|stage| stage.any(TermKind::needs_outputs)) {
        warnings.push("the last stage trains nothing that a metric measures".to_owned());
    }
    if let Some(patience) = patience.filter(|patience| *patience >= evaluations) {
        let (evaluations, patience) = (count(evaluations, "evaluation"), format!("train.patience {patience}"));
        warnings.push(format!("{patience} never stops the run early: it has {evaluations}"));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use nb_train::config::MethodConfig;

    fn preset(text: &str) -> Method {
        Method::from_config(&serde_yaml::from_str::<MethodConfig>(text).unwrap()).unwrap()
    }

    #[test]
    fn the_smaller_the_student_the_lower_the_temperature() {
        let of = |n, l| suggested_temperature(n, l);
        assert_eq!([of(1, 12), of(1, 6), of(2, 6), of(4, 12), of(3, 6), of(6, 6)], [1.5, 1.5, 2.0, 2.0, 2.5, 4.0]);
    }

    #[test]
    fn stored_states_name_the_terms_that_need_them() {
        assert_eq!(stored_states(&preset("{name: kd}").stages[0]), "keep only the last state: no term uses the others");
        assert_eq!(stored_states(&preset("{name: pkd}").stages[0]), "keep the states of all layers for patience");
        let tinybert = "keep the attention scores of all layers for attention, the states for embedding, hidden";
        assert_eq!(stored_states(&preset("{name: tinybert}").stages[0]), tinybert);
    }

    #[test]
    fn warnings_name_parts_without_effect() {
        let none: [String; 0] = [];
        assert_eq!(warnings(&preset("{name: newsbert}"), 1, Some(2), 3), none);
        assert!(warnings(&preset("{name: pkd}"), 1, None, 3)[0].contains("patience is always 0"));
        assert_eq!(warnings(&preset("{name: pkd}"), 2, None, 3), none);
        assert!(warnings(&preset("{name: finetune, temperature: 2}"), 1, None, 1)[0].contains("no term uses it"));
        assert!(
            warnings(&preset("{name: kd}"), 1, Some(3), 3)[0]
                .contains("never stops the run early: it has 3 evaluations")
        );
    }
}

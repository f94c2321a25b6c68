//! Tests of valid and invalid method configurations.

use super::*;

fn parse(yaml: &str) -> Result<Method, String> {
    Method::from_config(&serde_yaml::from_str(yaml).unwrap()).map_err(|e| e.to_string())
}

/// Asserts that each configuration is refused with an error that contains the text beside it.
#[track_caller]
fn assert_refused(refused: &[(&str, &str)]) {
    for (yaml, message) in refused {
        let error = parse(yaml).expect_err(yaml);
        assert!(error.contains(message), "{yaml}: {error}");
    }
}

/// The kinds of a stage's terms.
fn kinds(stage: &Stage) -> Vec<TermKind> {
    stage.terms.iter().map(|term| term.kind).collect()
}

#[test]
fn a_method_spelled_out_equals_its_preset() {
    for (name, spelled) in [
        (
            "newsbert",
            "{teacher: joint, beta: 0.15, share: [pooling, dense], \
             weights: {embedding: 0.1, hidden: 0.1, pooled: 1, soft: 1, hard: 1, teacher: 1}}",
        ),
        ("finetune", "{weights: {hard: 1}}"),
        ("teacher", "{weights: {teacher: 1}}"),
        ("kd", "{teacher: frozen, temperature: 2, t2: true, weights: {soft: 0.5, hard: 0.5}}"),
        ("distiller", "{teacher: frozen, weights: {divergence: 0.5, hard: 0.5}}"),
        (
            "pkd",
            "{teacher: frozen, temperature: 5, t2: true, patience: skip, \
             weights: {soft: 0.5, hard: 0.5, patience: 100}}",
        ),
        ("distilbert", "{teacher: frozen, temperature: 2, t2: true, weights: {soft: 5, hard: 2, cosine: 1}}"),
        (
            "tinybert",
            "{teacher: frozen, stages: [{share: 1, weights: {embedding: 1, hidden: 1, attention: 1}}, \
             {share: 1, weights: {soft: 1}}]}",
        ),
    ] {
        let named = parse(&format!("{{name: {name}}}")).unwrap();
        assert_eq!(Method { name: name.into(), ..parse(spelled).unwrap() }, named, "{name}");
    }
    let newsbert = parse("{name: newsbert}").unwrap();
    assert_eq!(parse("{}").unwrap(), newsbert);
    assert_eq!(parse("{beta: 0}").unwrap(), Method { beta: Ramp::Constant(0.0), ..newsbert });
}

#[test]
fn a_method_survives_a_round_trip_through_its_configuration() {
    let others = [
        "{name: newsbert, beta: {from: 0, to: 0.3, course: cosine, over: 0.5}, blend: [layers, embeddings]}",
        "{name: kd, temperature: {rule: flsw, base: 4, beta: 1, gamma: 2}, ensemble: loss}",
        "{name: kd, temperature: {rule: cwsm, base: 4, beta: 1}, weights: {soft: {from: 1, to: 0}}}",
        "{name: pkd, patience: last}",
        "{name: tinybert, weights: {attention: 2}}",
        "{name: newsbert, share: [reader], weights: {hidden: 0, patience: 3}}",
    ];
    for yaml in presets().iter().map(|preset| format!("{{name: {}}}", preset.name)).chain(others.map(Into::into)) {
        let method = parse(&yaml).unwrap();
        assert_eq!(Method::from_config(&method.to_config()).unwrap(), method, "{yaml}");
        let text = serde_yaml::to_string(&method.to_config()).unwrap();
        assert_eq!(parse(&text).unwrap(), method, "{yaml} as {text}");
    }
}

#[test]
fn incompatible_parts_are_refused_by_name() {
    assert_refused(&[
        ("{name: bertnews}", "newsbert, finetune, teacher, kd, distiller, pkd, distilbert, tinybert"),
        ("{name: finetune, beta: 0.1}", "method.beta is 0.1, but without a teacher there is no gradient"),
        ("{name: finetune, share: [dense]}", "method.share is [dense], but without a teacher"),
        (
            "{name: finetune, weights: {soft: 1}}",
            "method.weights.soft is above 0, but the term needs a teacher and method.teacher is none",
        ),
        ("{name: finetune, weights: {hard: 0}}", "method.weights is 0 for every term, expected a number above 0"),
        ("{name: newsbert, weights: {teacher: 0}}", "method.weights.teacher is 0, so the teacher would learn nothing"),
        ("{name: teacher, beta: 0.5}", "method.beta is 0.5, but no term of method.weights trains a student"),
        ("{name: newsbert, blend: [embeddings]}", "method.blend is without `layers`, expected `layers`"),
    ]);
}

#[test]
fn parts_that_a_frozen_teacher_cannot_have_are_refused_by_name() {
    assert_refused(&[
        ("{name: kd, share: [pooling]}", "method.share is [pooling], but method.teacher is frozen"),
        ("{name: kd, beta: 0.15}", "method.beta is 0.15, but method.teacher is frozen"),
        ("{name: kd, beta: {from: 0, to: 0.2}}", "method.beta is 0→0.2, but method.teacher is frozen"),
        (
            "{name: kd, teacher: frozen, weights: {teacher: 1}}",
            "method.weights.teacher is above 0, but method.teacher is frozen",
        ),
        ("{name: newsbert, teacher: frozen, share: [dense]}", "method.share is [dense], but method.teacher is frozen"),
        ("{name: newsbert, teacher: frozen, beta: 0.1}", "method.beta is 0.1, but method.teacher is frozen"),
        ("{name: finetune, teacher: frozen}", "method.teacher is frozen, but no term of method.weights uses it"),
        ("{teacher: frozen, weights: {teacher: 1}}", "method.weights.teacher"),
        ("{name: kd, teacher: joint}", "method.teacher is joint, but method.weights.teacher is 0"),
        ("{name: kd, teacher: none}", "method.weights.soft is above 0, but the term needs a teacher"),
    ]);
}

#[test]
fn out_of_range_errors_name_the_key() {
    assert_refused(&[
        ("{name: newsbert, beta: 1.5}", "method.beta is 1.5, expected a number from 0"),
        ("{name: newsbert, beta: {from: 0, to: -1}}", "method.beta.to is -1, expected a number from 0"),
        ("{name: newsbert, beta: {from: 0, to: 1, over: 2}}", "method.beta.over is 2, expected a share of the stage"),
        ("{name: newsbert, temperature: 0}", "method.temperature is 0, expected a number above 0"),
        ("{name: newsbert, temperature: .inf}", "method.temperature is inf"),
        ("{name: newsbert, temperature: {from: 4, to: 0}}", "method.temperature.to is 0"),
        ("{temperature: {rule: flsw, base: 0, beta: 1, gamma: 1}}", "method.temperature.base is 0"),
        ("{temperature: {rule: flsw, base: 4, beta: 1, gamma: -1}}", "method.temperature.gamma is -1"),
        ("{temperature: {rule: cwsm, base: 4, beta: -1}}", "method.temperature.beta is -1"),
        ("{name: newsbert, weights: {hidden: -1}}", "method.weights.hidden is -1, expected a number of at least 0"),
        ("{name: newsbert, weights: {hidden: .nan}}", "method.weights.hidden is NaN"),
        ("{weights: {hard: {from: 1, to: -1}}}", "method.weights.hard.to is -1"),
    ]);
}

#[test]
fn stages_that_cannot_be_used_are_refused_by_name() {
    let hard = "weights: {hard: 1}";
    assert_refused(&[
        (
            "{weights: {hard: 1}, stages: [{share: 1, weights: {hard: 1}}]}",
            "method.weights is given, but method.stages is given too",
        ),
        ("{stages: []}", "method.stages is empty"),
        (&format!("{{stages: [{{share: 0, {hard}}}]}}"), "method.stages[0].share is 0, expected a number above 0"),
        (&format!("{{stages: [{{share: 1, {hard}}}, {{share: .inf, {hard}}}]}}"), "method.stages[1].share is inf"),
        ("{stages: [{share: 1, weights: {hard: 0}}]}", "method.stages[0].weights is 0 for every term"),
        ("{stages: [{share: 1, weights: {hard: -2}}]}", "method.stages[0].weights.hard is -2"),
        (
            "{teacher: joint, stages: [{share: 1, weights: {teacher: 1}}, {share: 1, weights: {soft: 1}}]}",
            "method.teacher is joint, but a stage of method.stages has no term `teacher`",
        ),
        (
            "{name: tinybert, weights: {hard: 1}}",
            "method.weights.hard is given, but tinybert has several stages and none with this term; set method.stages",
        ),
    ]);
}

#[test]
fn messages_are_one_line_without_double_spaces() {
    let error = parse("{name: tinybert, weights: {hard: 1}}").unwrap_err();
    assert!(!error.contains("  ") && !error.contains('\n'), "{error}");
}

#[test]
fn a_weight_of_zero_removes_the_term() {
    let method = parse("{name: newsbert, weights: {soft: 0, hidden: 0.1}}").unwrap();
    let [stage] = &method.stages[..] else { panic!("{method:?}") };
    use TermKind::{Embedding, Hard, Hidden, Pooled, Teacher};
    assert_eq!(kinds(stage), [Teacher, Embedding, Hidden, Pooled, Hard]);
    assert_eq!(stage.terms[2].weight, Ramp::Constant(0.1));
    // A weight that is 0 at one end of its ramp is not 0 throughout.
    let method = parse("{name: newsbert, weights: {soft: {from: 0, to: 1}}}").unwrap();
    assert!(method.any(|kind| kind == TermKind::Soft));
}

#[test]
fn a_weight_changes_the_stage_that_has_its_term() {
    let method = parse("{name: tinybert, weights: {attention: 2, soft: 3, embedding: 0}}").unwrap();
    let [first, second] = &method.stages[..] else { panic!("{method:?}") };
    assert_eq!((kinds(first), kinds(second)), (vec![TermKind::Hidden, TermKind::Attention], vec![TermKind::Soft]));
    assert_eq!(first.terms[1].weight, Ramp::Constant(2.0));
    assert_eq!(second.terms[0].weight, Ramp::Constant(3.0));
    let refused = parse("{name: tinybert, weights: {soft: 0}}").unwrap_err();
    assert!(refused.contains("is 0 for every term"), "a stage with nothing to learn: {refused}");
}

#[test]
fn given_stages_replace_the_stages_of_a_preset() {
    let yaml = "{name: kd, stages: [{share: 1, weights: {hidden: 1}}, {share: 3, weights: {soft: 1, hard: 2}}]}";
    let method = parse(yaml).unwrap();
    assert_eq!(method.stages.iter().map(|stage| stage.share).collect::<Vec<_>>(), [1.0, 3.0]);
    assert_eq!(kinds(&method.stages[1]), [TermKind::Soft, TermKind::Hard]);
    assert_eq!((method.teacher, method.temperature.at(0.0)), (TeacherRole::Frozen, 2.0), "the rest is the preset's");
}

#[test]
fn a_teacher_weight_above_0_makes_the_teacher_joint() {
    let method = parse("{name: distiller, weights: {teacher: 0.7}}").unwrap();
    assert_eq!(method.teacher, TeacherRole::Joint);
    assert_eq!(kinds(&method.stages[0]), [TermKind::Teacher, TermKind::Divergence, TermKind::Hard]);
    assert_eq!(parse("{name: distiller, weights: {teacher: 0}}").unwrap(), parse("{name: distiller}").unwrap());
    assert_eq!(parse("{weights: {soft: 1, teacher: 1}}").unwrap().teacher, TeacherRole::Joint);
    assert!(parse("{weights: {soft: 1}}").is_err(), "the configuration has no teacher");
}

#[test]
fn a_frozen_teacher_has_no_teacher_term_nothing_shared_and_no_blending() {
    let method = parse("{name: newsbert, teacher: frozen}").unwrap();
    assert!(!method.blends() && !method.share.is_any());
    use TermKind::{Embedding, Hard, Hidden, Pooled, Soft};
    assert_eq!(method.teacher, TeacherRole::Frozen);
    assert_eq!(kinds(&method.stages[0]), [Embedding, Hidden, Pooled, Soft, Hard]);
}

//! The comparison finds wrong steps: each fault shows in the tensors that it affects.

use nb_loss::{IGNORE, SoftScaling};
use nb_model::Precision;
use nb_train::method::{Ensemble, Method, PkdLayers, Ramp, Temperature, Term, TermKind};
use tch::{Kind, Tensor};

use super::each;
use super::step::{Fault, by_hand, method, run};
use crate::conformance::assert_found;
use crate::conformance::golden::{Golden, mismatches};

/// Returns the mismatches of a step with a changed method.
pub(super) fn with_method(golden: &Golden, change: impl Fn(&mut Method)) -> Vec<String> {
    let mut method = method(golden);
    change(&mut method);
    mismatches(golden, &run(golden, method, Precision::F32))
}

/// Returns the mismatches of a step with a replaced tensor.
pub(super) fn with_tensor(golden: &Golden, name: &str, tensor: Tensor) -> Vec<String> {
    let mut changed = Golden::read(&golden.path);
    changed.replace(name, tensor);
    mismatches(golden, &run(&changed, method(golden), Precision::F32))
}

pub(super) fn has(kind: TermKind) -> impl Fn(&Golden) -> bool {
    move |golden| method(golden).any(|used| used == kind)
}

fn is_soft(kind: TermKind) -> bool {
    matches!(kind, TermKind::Soft | TermKind::Divergence)
}

#[test]
fn the_other_strategy_of_patience_is_found() {
    // With one layer the term is empty.
    let layers = |golden: &Golden| has(TermKind::Patience)(golden) && golden.student_layers() > 1;
    each(3, layers, |golden| {
        let found = with_method(golden, |method| {
            method.pkd_layers = match method.pkd_layers {
                PkdLayers::Skip => PkdLayers::Last,
                PkdLayers::Last => PkdLayers::Skip,
            }
        });
        assert_found(golden, &found, "loss.patience");
        assert_found(golden, &found, "grads.student.encoder");
    });
}

#[test]
fn the_other_scaling_by_the_squared_temperature_is_found() {
    // At T = 1 it has no effect.
    let warm = |golden: &Golden| {
        let method = method(golden);
        method.any(is_soft) && method.temperature != Temperature::Ramp(Ramp::Constant(1.0))
    };
    each(27, warm, |golden| {
        let found = with_method(golden, |method| {
            method.scaling = match method.scaling {
                SoftScaling::Plain => SoftScaling::TemperatureSquared,
                SoftScaling::TemperatureSquared => SoftScaling::Plain,
            }
        });
        let kind = if has(TermKind::Soft)(golden) { "soft" } else { "divergence" };
        assert_found(golden, &found, &format!("loss.{kind}"));
        assert_found(golden, &found, "grads.student");
    });
}

#[test]
fn one_temperature_for_all_rows_is_found() {
    let by_rule = |golden: &Golden| !matches!(method(golden).temperature, Temperature::Ramp(_));
    each(5, by_rule, |golden| {
        let found = with_method(golden, |method| {
            method.temperature = Temperature::Ramp(Ramp::Constant(method.temperature.at(0.0)));
        });
        assert_found(golden, &found, "loss.soft");
        assert_found(golden, &found, "grads.head");
    });
}

#[test]
fn the_other_rule_of_an_ensemble_is_found() {
    let several = |golden: &Golden| !golden.under("weights.teacher_1.").is_empty();
    each(3, several, |golden| {
        let found = with_method(golden, |method| {
            method.ensemble = match method.ensemble {
                Ensemble::Mean => Ensemble::Loss,
                Ensemble::Loss => Ensemble::Mean,
            }
        });
        assert_found(golden, &found, "loss.soft");
        assert_found(golden, &found, "grads.student");
    });
}

#[test]
fn a_changed_teacher_of_an_ensemble_is_found() {
    let several = |golden: &Golden| !golden.under("weights.teacher_2.").is_empty();
    each(3, several, |golden| {
        let name = "weights.teacher_head_2.dense.weight";
        assert_found(golden, &with_tensor(golden, name, golden.tensor(name) * 1.1), "loss.soft");
    });
}

#[test]
fn a_projection_without_its_bias_is_found() {
    let projects = |golden: &Golden| !golden.under("weights.projection.").is_empty();
    each(3, projects, |golden| {
        let found =
            with_tensor(golden, "weights.projection.bias", golden.tensor("weights.projection.bias").zeros_like());
        for term in method(golden).terms().filter(|term| term.kind.compares_widths()) {
            assert_found(golden, &found, &format!("loss.{}", term.kind.name()));
        }
        assert_found(golden, &found, "grads.projection.weight");
    });
}

#[test]
fn attention_scores_of_a_shifted_layer_or_a_wrong_count_of_heads_are_found() {
    each(3, has(TermKind::Attention), |golden| {
        assert_eq!(mismatches(golden, &by_hand(golden, Fault::None)), [""; 0], "no mismatches without a fault");
        for fault in [Fault::ShiftedScores, Fault::WrongHeads] {
            let found = mismatches(golden, &by_hand(golden, fault));
            assert_found(golden, &found, "loss.attention");
            assert_found(golden, &found, "grads.student.encoder.layer.0.attention.self.key");
            assert!(found.iter().all(|line| !line.starts_with("loss.hidden")), "{fault:?} affects only attention");
        }
    });
}

#[test]
fn a_label_on_an_unlabelled_row_is_found() {
    let unlabelled = |golden: &Golden| golden.integers("labels").contains(&IGNORE);
    each(13, unlabelled, |golden| {
        let labels = golden.tensor("labels");
        let found = with_tensor(golden, "labels", labels.masked_fill(&labels.eq(IGNORE), 0).to_kind(Kind::Int64));
        let method = method(golden);
        for kind in [TermKind::Hard, TermKind::Teacher].into_iter().filter(|kind| method.any(|used| used == *kind)) {
            assert_found(golden, &found, &format!("loss.{}", kind.name()));
        }
        // Without a term that needs a label it has no effect.
        assert_eq!(found.is_empty(), !method.any(TermKind::needs_label), "{}", golden.path.display());
    });
}

#[test]
fn a_changed_weight_is_found() {
    each(
        super::FILES,
        |_| true,
        |golden| {
            let terms = method(golden).stages[0].terms.clone();
            for (i, Term { kind, weight }) in terms.into_iter().enumerate() {
                let found = with_method(golden, |method| {
                    method.stages[0].terms[i].weight = Ramp::Constant(1.1 * weight.at(0.0));
                });
                // A patience term without layers is 0 for any weight.
                let is_empty = kind == TermKind::Patience && golden.student_layers() == 1;
                assert_eq!(found.iter().any(|line| line.starts_with("loss.total")), !is_empty, "{kind:?}: {found:?}");
                let terms = found.iter().find(|line| line.starts_with("loss.") && !line.starts_with("loss.total"));
                assert_eq!(terms, None, "terms are unweighted");
            }
        },
    );
}

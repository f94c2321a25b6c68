//! The comparison finds wrong heads: each part of a head, and the scale of the similarities, shows in the tensors that it
//! affects.

use nb_checkpoint::HeadDescription;
use nb_model::{PoolingKind, Precision, ScaleKind, ScoreKind};
use nb_train::method::TermKind;

use super::each;
use super::faults::{has, with_method, with_tensor};
use super::step::{method, run};
use crate::conformance::assert_found;
use crate::conformance::golden::{Golden, mismatches};

/// Returns the mismatches of a step with changed heads.
fn with_head(golden: &Golden, change: impl Fn(&mut HeadDescription)) -> Vec<String> {
    let mut changed = Golden::read(&golden.path);
    let mut head = golden.head();
    change(&mut head);
    changed.replace_head(&head);
    mismatches(golden, &run(&changed, method(golden), Precision::F32))
}

/// Fails unless each term is in a mismatch or not, as `affects` says.
#[track_caller]
fn assert_terms(golden: &Golden, found: &[String], affects: impl Fn(TermKind) -> bool) {
    for term in method(golden).terms() {
        let name = format!("loss.{}:", term.kind.name());
        let seen = found.iter().any(|line| line.starts_with(&name));
        assert_eq!(seen, affects(term.kind), "{}: {name} {found:#?}", golden.path.display());
    }
}

fn is_scored(kind: TermKind) -> bool {
    matches!(kind, TermKind::Teacher | TermKind::Hard | TermKind::Soft)
}

#[test]
fn the_other_pooling_is_found() {
    let plain = |golden: &Golden| golden.head().pooling != PoolingKind::Attentive;
    each(4, plain, |golden| {
        let found = with_head(golden, |head| {
            head.pooling = match head.pooling {
                PoolingKind::Mean => PoolingKind::Cls,
                _ => PoolingKind::Mean,
            }
        });
        assert_terms(golden, &found, |_| true);
        assert_found(golden, &found, "grads.student");
    });
}

#[test]
fn dot_products_in_place_of_cosines_are_found() {
    let by_cosine = |golden: &Golden| golden.head().score == ScoreKind::Cosine;
    each(5, by_cosine, |golden| {
        let found = with_head(golden, |head| head.score = ScoreKind::Dot);
        // The other terms compare directions.
        assert_terms(golden, &found, |kind| is_scored(kind) || kind == TermKind::Vector);
        assert_found(golden, &found, "grads.student");
    });
}

#[test]
fn a_changed_scale_is_found() {
    let fixed = |golden: &Golden| golden.head().scale == ScaleKind::Fixed(20.0);
    each(4, fixed, |golden| {
        let found = with_head(golden, |head| head.scale = ScaleKind::Fixed(20.1));
        assert_terms(golden, &found, is_scored);
        assert_eq!(found.is_empty(), !method(golden).any(is_scored), "{}", golden.path.display());
    });
}

#[test]
fn a_learned_scale_matters_below_its_limit() {
    let learned = |golden: &Golden| golden.head().scale == ScaleKind::Learned;
    each(1, learned, |golden| {
        let changed = |name: &str| with_tensor(golden, name, golden.tensor(name) * 1.01);
        assert_eq!(changed("weights.teacher_head.score.log_scale"), [""; 0], "the teacher's is above the limit");
        let found = changed("weights.head.score.log_scale");
        assert_terms(golden, &found, |kind| matches!(kind, TermKind::Hard | TermKind::Soft));
        assert_found(golden, &found, "grads.head.score.log_scale");
    });
}

#[test]
fn the_length_of_the_vector_without_clicks_matters() {
    let by_mean = |golden: &Golden| golden.head().reader == PoolingKind::Mean;
    each(1, by_mean, |golden| {
        let name = "weights.head.reader.cold";
        let found = with_tensor(golden, name, golden.tensor(name) * 1.01);
        assert_terms(golden, &found, |kind| kind == TermKind::Hard);
        assert_found(golden, &found, "grads.head.reader.cold");
    });
}

#[test]
fn a_head_whose_projection_has_no_bias_is_found() {
    let name = "weights.head.vector.bias";
    let projects = |golden: &Golden| !golden.under(name).is_empty();
    each(1, projects, |golden| {
        let found = with_tensor(golden, name, golden.tensor(name).zeros_like());
        assert_terms(golden, &found, |_| true);
        assert_found(golden, &found, "grads.head.vector.weight");
    });
}

#[test]
fn a_changed_scale_of_similarities_is_found() {
    each(5, has(TermKind::SimilarityKl), |golden| {
        let found = with_method(golden, |method| method.similarity_scale *= 1.01);
        assert_terms(golden, &found, |kind| kind == TermKind::SimilarityKl);
        assert_found(golden, &found, "grads.student");
    });
}

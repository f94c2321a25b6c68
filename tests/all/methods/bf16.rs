//! The same steps with products in bf16: every term works, and its gradient points in the direction of f32.

use nb_model::Precision;
use tch::{Kind, Tensor};

use super::step::{method, run};
use super::{FILES, each};
use crate::conformance::golden::Values;

/// Relative tolerance of a loss, for values of at least 0.01. bf16 has 8 significant bits, so each product has a relative
/// error of up to 2⁻⁸.
const LOSS: f64 = 0.05;
/// Minimum cosine between the gradients of a model in bf16 and in f32.
const COSINE: f64 = 0.98;

/// Concatenates the gradients whose names start with `prefix`.
fn gradient(values: &Values, prefix: &str) -> Tensor {
    let matching = values.iter().filter(|(name, _)| name.starts_with(prefix));
    Tensor::cat(&matching.map(|(_, gradient)| gradient.view(-1).to_kind(Kind::Double)).collect::<Vec<_>>(), 0)
}

#[test]
fn every_method_works_in_bf16() {
    each(
        FILES,
        |_| true,
        |golden| {
            let [full, low] = [Precision::F32, Precision::Bf16].map(|precision| run(golden, method(golden), precision));
            let path = golden.path.display();
            for (name, loss) in low.iter().filter(|(name, _)| name.starts_with("loss.")) {
                let (found, expected) = (loss.double_value(&[]), full[name].double_value(&[]));
                let off = (found - expected).abs();
                assert!(off <= LOSS * expected.abs().max(0.01), "{path}: {name} is {found}, in f32 {expected}");
            }
            for role in ["student", "head", "projection", "teacher.", "teacher_head"] {
                let prefix = format!("grads.{role}");
                if golden.under(&prefix).is_empty() {
                    continue;
                }
                let (low, full) = (gradient(&low, &prefix), gradient(&full, &prefix));
                let norms = (low.norm() * full.norm()).double_value(&[]);
                if norms == 0.0 {
                    assert_eq!(low.norm().double_value(&[]), full.norm().double_value(&[]), "{path}: {role}");
                    continue;
                }
                let cosine = low.dot(&full).double_value(&[]) / norms;
                assert!(cosine >= COSINE, "{path}: {role}, cosine {cosine}");
                assert!(role != "student" || !low.equal(&full), "{path}: bf16 products differ");
            }
        },
    );
}

//! The same steps with products in bf16: every term works there, and points where f32 does.

use nb_model::Precision;
use tch::{Kind, Tensor};

use super::step::{method, run};
use super::{FILES, each};
use crate::conformance::golden::Values;

/// bf16 keeps 8 bits: products are off by up to 2⁻⁸ each. A loss may be off by this much of itself, or of 0.01 where it is
/// smaller.
const LOSS: f64 = 0.05;
/// Cosine between a model's whole gradient in bf16 and in f32, at least.
const COSINE: f64 = 0.98;

/// All gradients under a name in one row.
fn gradient(values: &Values, begin: &str) -> Tensor {
    let own = values.iter().filter(|(name, _)| name.starts_with(begin));
    Tensor::cat(&own.map(|(_, gradient)| gradient.view(-1).to_kind(Kind::Double)).collect::<Vec<_>>(), 0)
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
                let begin = format!("grads.{role}");
                if golden.under(&begin).is_empty() {
                    continue;
                }
                let (low, full) = (gradient(&low, &begin), gradient(&full, &begin));
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

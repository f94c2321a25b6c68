//! AdamW compared with PyTorch's trajectory in `tests/golden/adamw.json`.

use nb_model::{Arena, Layout};
use nb_train::optim::{AdamW, ParamGroup};
use serde_json::Value;
use tch::{Device, Tensor};

/// Relative to the largest entry; the file is in f64, the arena in f32.
const TOLERANCE: f64 = 4e-6;

fn numbers(value: &Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|n| n.as_f64().unwrap() as f32).collect()
}

/// Returns an arena with one parameter: a matrix if weight decay applies, a vector otherwise.
fn arena(group: &Value) -> Arena {
    let size = group["size"].as_i64().unwrap();
    let mut layout = Layout::default();
    match group["weight_decay"].as_f64().unwrap() > 0.0 {
        true => layout.push("parameter", &[size, 1]),
        false => layout.push("parameter", &[size]),
    };
    let arena = Arena::zeros(layout, Device::Cpu);
    arena.values().copy_(&Tensor::from_slice(&numbers(&group["initial"])));
    arena
}

#[test]
fn adamw_follows_pytorchs_trajectory() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/golden/adamw.json")).unwrap();
    let golden: Value = serde_json::from_str(&text).unwrap();
    let settings = golden["groups"].as_array().unwrap();
    let decay = settings[0]["weight_decay"].as_f64().unwrap();
    let optimiser = AdamW {
        beta1: golden["betas"][0].as_f64().unwrap(),
        beta2: golden["betas"][1].as_f64().unwrap(),
        epsilon: golden["epsilon"].as_f64().unwrap(),
        weight_decay: decay,
    };
    let arenas: Vec<Arena> = settings.iter().map(arena).collect();
    let learning_rates = settings.iter().map(|group| group["lr"].as_f64().unwrap());
    let mut groups: Vec<ParamGroup> =
        arenas.iter().zip(learning_rates).map(|(arena, lr)| ParamGroup::new(arena, lr)).collect();

    let steps = golden["steps"].as_array().unwrap();
    assert!(steps.len() >= 5 && groups.len() == 2);
    for (t, step) in (1..).zip(steps) {
        for (arena, expected) in arenas.iter().zip(step["groups"].as_array().unwrap()) {
            arena.grads().copy_(&Tensor::from_slice(&numbers(&expected["gradient"])));
        }
        optimiser.step(&mut groups, t, step["factor"].as_f64().unwrap(), &Tensor::from(1.0));
        for (i, (arena, expected)) in arenas.iter().zip(step["groups"].as_array().unwrap()).enumerate() {
            let expected = numbers(&expected["parameter"]);
            let largest = expected.iter().fold(0.0_f64, |most, x| most.max(f64::from(x.abs())));
            for (found, expected) in Vec::<f32>::try_from(arena.values()).unwrap().iter().zip(&expected) {
                let off = f64::from((found - expected).abs());
                assert!(off <= TOLERANCE * largest, "step {t}, group {i}: found {found}, expected {expected}");
            }
            assert_eq!(arena.grads().abs().max().double_value(&[]), 0.0, "gradients are reset");
        }
    }
}

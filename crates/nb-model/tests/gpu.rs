//! Comparison of the encoder on a GPU with the encoder on the CPU. The tests are a separate program, since libtorch looks for a
//! GPU only once, which must be after its library was loaded.

use nb_kernels::dropout::Dropout;
use nb_model::kernel::attention;
use nb_model::{ActivationCheckpoint, Bert, BertConfig, Capture, DropoutKey, Packed, Pass, Precision};
use nb_testing::require;
use tch::{Cuda, Device, Kind, Tensor};

/// Lengths of texts: some of more than two blocks of a GPU kernel, and one of a single token.
const LENGTHS: [i64; 5] = [300, 150, 50, 8, 1];

fn gpu() -> Option<Device> {
    nb_torch::cuda::preload();
    require("gpu", Cuda::is_available()).then_some(Device::Cuda(0))
}

fn packed(device: Device) -> Packed {
    let n: i64 = LENGTHS.iter().sum();
    let ids: Vec<i64> = (0..n).map(|i| i * 7 % 90).collect();
    Packed::new(&ids, &vec![0; ids.len()], &LENGTHS, device)
}

/// A model with the same weights on every device.
fn model(device: Device, precision: Precision) -> Bert {
    let text = r#"{"model_type": "bert", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 128, "vocab_size": 90, "max_position_embeddings": 512, "type_vocab_size": 2,
        "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1, "layer_norm_eps": 1e-12}"#;
    let config = BertConfig::parse(text, "config.json".as_ref()).expect("a configuration");
    let mut bert = Bert::zeros(config, device, precision).expect("a model");
    for slot in bert.arena().layout().slots() {
        let is_norm = slot.name.ends_with("LayerNorm.weight");
        let drawn = || (uniform(slot.numel(), slot.offset as f64) - 0.5).view(slot.shape.as_slice()) * 0.5;
        bert.arena().value(&slot.name).copy_(&if is_norm { drawn().ones_like() } else { drawn() });
    }
    bert.parameters_changed();
    bert
}

/// Pseudo-random numbers between 0 and 1 that do not depend on what other tests draw.
fn uniform(count: i64, from: f64) -> Tensor {
    let large = ((Tensor::arange(count, (Kind::Double, Device::Cpu)) + from) * 12.9898).sin() * 43758.5453;
    &large - large.floor()
}

/// Returns the last state, and all gradients of the sum of its products with fixed numbers.
fn pass(bert: &Bert, dropout: DropoutKey) -> [Tensor; 2] {
    bert.arena().zero_grad();
    let packed = packed(bert.device());
    let encoded = bert.encode(&packed, Pass::Training(dropout), Capture::Last);
    let last = encoded.last().detach().copy();
    let numbers = (Tensor::arange(last.numel() as i64, (Kind::Double, Device::Cpu)) * 1.3).cos();
    let loss = encoded.last() * numbers.to_kind(Kind::Float).to_device(bert.device()).view_as(&last);
    loss.sum(Kind::Float).backward();
    bert.backward(&packed, encoded);
    [last, bert.arena().grads().copy()].map(|tensor| tensor.to_device(Device::Cpu))
}

#[test]
fn states_and_gradients_match_the_cpu() {
    let devices = [Some(Device::Cpu), gpu()];
    let expected = pass(&model(Device::Cpu, Precision::F32), DropoutKey::Off);
    for device in devices.into_iter().flatten() {
        for (precision, most) in [(Precision::F32, 1e-4), (Precision::Bf16, 0.03)] {
            let found = pass(&model(device, precision), DropoutKey::Off);
            for (found, expected) in found.iter().zip(&expected) {
                let off = (found - expected).norm().double_value(&[]) / expected.norm().double_value(&[]);
                assert!(off < most, "{device:?}, {precision:?}: off by {off} of the norm");
            }
        }
    }
}

#[test]
fn a_pass_repeats_bit_for_bit_even_if_layers_are_recomputed() {
    for device in [Some(Device::Cpu), gpu()].into_iter().flatten() {
        for precision in [Precision::F32, Precision::Bf16] {
            let mut bert = model(device, precision);
            let first = pass(&bert, DropoutKey::Key(5));
            assert!(!first[0].equal(&pass(&bert, DropoutKey::Off)[0]), "{device:?}, {precision:?}: dropout drops");
            for checkpoint in [ActivationCheckpoint::Off, ActivationCheckpoint::LayerInputs] {
                bert.set_activation_checkpoint(checkpoint);
                let again = pass(&bert, DropoutKey::Key(5));
                let is_same = first.iter().zip(&again).all(|(one, other)| one.equal(other));
                assert!(is_same, "{device:?}, {precision:?}, {checkpoint:?}");
            }
        }
    }
}

/// The result is linear in the values, so its product with a gradient equals the product of the values with their gradient,
/// provided both passes drop the same weights.
#[test]
fn attention_drops_the_same_weights_in_the_backward_pass() {
    const HEADS: i64 = 2;
    let gpu = gpu();
    for device in [Some(Device::Cpu), gpu].into_iter().flatten() {
        let n = LENGTHS.iter().sum::<i64>();
        let numbers = |width: i64, from: f64| {
            let numbers = uniform(n * width, from) * 4.0 - 2.0;
            numbers.view([n, width]).to_kind(Kind::BFloat16).to_device(device)
        };
        let (qkv, grad) = (numbers(3 * 64, 0.0), numbers(64, 1e6));
        if device != Device::Cpu && !require("ampere", attention::is_flash_available(&qkv, HEADS)) {
            continue;
        }
        let (packed, dropout) = (packed(device), |part: usize| Dropout::new(0.1, Some(part as u64)));
        let (out, tape) = attention::forward(&qkv, &packed, HEADS, dropout, Capture::Last);
        let back = attention::backward(&grad, None, &packed, HEADS, dropout, &tape);
        let product = |a: &Tensor, b: &Tensor| (a.to_kind(Kind::Double) * b.to_kind(Kind::Double)).sum(Kind::Double);
        let values = |all: &Tensor| all.narrow(1, 2 * 64, 64);
        let (found, expected) = (product(&values(&back), &values(&qkv)), product(&out, &grad));
        let (found, expected) = (found.double_value(&[]), expected.double_value(&[]));
        assert!((found - expected).abs() < 0.02 * expected.abs().max(10.0), "{device:?}: {found}, expected {expected}");
    }
}

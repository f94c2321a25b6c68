//! Comparison of the operations with their formulas, on the CPU and on the first GPU if there is one.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use nb_testing::{require, tensor_wave};
use nb_torch::{
    Hyperparameters, Parameters, Sequences, Then, flash_attention, fused_adamw, onednn_linear, with_backward,
};
use tch::{Cuda, Device, Kind, Tensor};

const HYPERPARAMETERS: Hyperparameters =
    Hyperparameters { lr: 0.02, beta1: 0.8, beta2: 0.99, weight_decay: 0.1, epsilon: 1e-6 };

/// The first GPU, if there is one. Each test calls this before anything else: libtorch looks for a GPU only once.
fn gpu() -> Option<Device> {
    nb_torch::cuda::preload();
    Cuda::is_available().then_some(Device::Cuda(0))
}

fn devices() -> impl Iterator<Item = Device> {
    [Device::Cpu].into_iter().chain(gpu())
}

fn doubles(tensor: &Tensor) -> Vec<f64> {
    Vec::try_from(tensor.to_device(Device::Cpu).to_kind(Kind::Double).contiguous().view(-1)).expect("doubles")
}

/// Two tensors under optimisation, with the same initial values each time.
struct Trained {
    values: [Tensor; 2],
    grads: [Tensor; 2],
    exp_avg: [Tensor; 2],
    exp_avg_sq: [Tensor; 2],
}

impl Trained {
    fn new(device: Device) -> Self {
        let zeros = || [Tensor::zeros([5], (Kind::Float, device)), Tensor::zeros([2, 3], (Kind::Float, device))];
        let values = [tensor_wave(&[5], 0.0, device), tensor_wave(&[2, 3], 1.0, device)];
        Self { values, grads: zeros(), exp_avg: zeros(), exp_avg_sq: zeros() }
    }

    fn update(&mut self, step: u64, clip: f64) {
        let device = self.values[0].device();
        let Self { values, grads, exp_avg, exp_avg_sq } = self;
        for (i, grad) in grads.iter_mut().enumerate() {
            grad.copy_(&tensor_wave(&grad.size(), step as f64 + i as f64, device));
        }
        let parameters = Parameters { values, grads, exp_avg, exp_avg_sq };
        fused_adamw(&parameters, &HYPERPARAMETERS, step, &Tensor::from(clip).to_device(device))
            .expect("a fused update");
    }
}

#[test]
fn updates_match_the_formula() {
    const CLIP: f64 = 0.25;
    for device in devices() {
        let mut trained = Trained::new(device);
        (1..=4).for_each(|step| trained.update(step, CLIP));
        for (i, found) in trained.values.iter().enumerate() {
            let size = found.size();
            let mut expected = doubles(&tensor_wave(&size, i as f64, Device::Cpu));
            let (mut m, mut s) = (vec![0.0; expected.len()], vec![0.0; expected.len()]);
            for t in 1..=4 {
                let grads = doubles(&tensor_wave(&size, t as f64 + i as f64, Device::Cpu));
                for (j, grad) in grads.into_iter().enumerate() {
                    let g = grad * CLIP;
                    m[j] = HYPERPARAMETERS.beta1 * m[j] + (1.0 - HYPERPARAMETERS.beta1) * g;
                    s[j] = HYPERPARAMETERS.beta2 * s[j] + (1.0 - HYPERPARAMETERS.beta2) * g * g;
                    let (mh, sh) =
                        (m[j] / (1.0 - HYPERPARAMETERS.beta1.powi(t)), s[j] / (1.0 - HYPERPARAMETERS.beta2.powi(t)));
                    expected[j] = expected[j] * (1.0 - HYPERPARAMETERS.lr * HYPERPARAMETERS.weight_decay)
                        - HYPERPARAMETERS.lr * mh / (sh.sqrt() + HYPERPARAMETERS.epsilon);
                }
            }
            for (found, expected) in doubles(found).into_iter().zip(expected) {
                assert!((found - expected).abs() < 1e-6, "{device:?}: {found}, expected {expected}");
            }
        }
    }
}

#[test]
fn a_skipped_update_changes_nothing() {
    for device in devices() {
        let mut trained = Trained::new(device);
        trained.update(1, 1.0);
        let state = |trained: &Trained| -> Vec<Tensor> {
            [&trained.values, &trained.exp_avg, &trained.exp_avg_sq].into_iter().flatten().map(Tensor::copy).collect()
        };
        let before = state(&trained);
        let Trained { values, grads, exp_avg, exp_avg_sq } = &mut trained;
        grads.iter_mut().for_each(|grad| drop(grad.fill_(f64::NAN)));
        let parameters = Parameters { values, grads, exp_avg, exp_avg_sq };
        fused_adamw(&parameters, &HYPERPARAMETERS, 2, &Tensor::from(0.0).to_device(device)).unwrap();
        assert!(state(&trained).iter().zip(&before).all(|(after, before)| after.equal(before)), "{device:?}");
    }
}

#[test]
fn dense_layers_match_libtorch() {
    gpu();
    let has_onednn = Tensor::zeros([1], (Kind::Float, Device::Cpu)).f_to_mkldnn(None::<Kind>).is_ok();
    if !require("onednn", has_onednn) {
        return;
    }
    let (x, weight, bias) = (
        tensor_wave(&[37, 24], 0.0, Device::Cpu),
        tensor_wave(&[48, 24], 1.0, Device::Cpu),
        tensor_wave(&[48], 2.0, Device::Cpu),
    );
    let y = x.linear(&weight, Some(&bias));
    let close = |found: Tensor, expected: &Tensor, what: &str| {
        let off = (found - expected).abs().max().double_value(&[]);
        assert!(off < 1e-5 * expected.abs().max().double_value(&[]), "{what}: off by {off}");
    };
    let after: [(Then, Tensor); 5] = [
        (Then::Nothing, y.copy()),
        (Then::Gelu, y.gelu("none")),
        (Then::GeluTanh, y.gelu("tanh")),
        (Then::Relu, y.relu()),
        (Then::Silu, y.silu()),
    ];
    for (then, expected) in &after {
        close(onednn_linear(&x, &weight, Some(&bias), *then).unwrap(), expected, &format!("{then:?}"));
    }
    // Without a bias, and with transposed matrices.
    let (x_transposed, weight_transposed) = (x.tr().contiguous().tr(), weight.tr().contiguous().tr());
    assert!(!x_transposed.is_contiguous() && !weight_transposed.is_contiguous());
    let product = x.matmul(&weight.tr());
    close(onednn_linear(&x_transposed, &weight_transposed, None, Then::Nothing).unwrap(), &product, "transposed");
    // The result requires no gradient, even if the weight is a leaf.
    let leaf = weight.copy().set_requires_grad(true);
    assert!(!onednn_linear(&x, &leaf, None, Then::Nothing).unwrap().requires_grad());
}

#[test]
fn mismatched_dense_layers_are_refused() {
    gpu();
    let (x, weight) = (tensor_wave(&[3, 4], 0.0, Device::Cpu), tensor_wave(&[2, 4], 0.0, Device::Cpu));
    let refused = |x: &Tensor, weight: &Tensor, bias: &Tensor| {
        onednn_linear(x, weight, Some(bias), Then::Nothing).unwrap_err().to_string()
    };
    let bias = tensor_wave(&[2], 0.0, Device::Cpu);
    assert!(refused(&x, &x, &bias).contains("bias is [2], expected [3]"));
    assert!(refused(&x, &weight.tr(), &bias).contains("weight is [4, 2], expected [4, 4]"));
    assert!(refused(&x, &weight.to_kind(Kind::BFloat16), &bias).contains("weight is BFloat16"));
    assert!(refused(&x.to_kind(Kind::Double), &weight, &bias).contains("x is Double on Cpu"));
    assert!(refused(&x.view(-1), &weight, &bias).contains("dims"));
}

#[test]
fn a_refusal_by_libtorch_is_an_error() {
    gpu();
    let one = |kind| [Tensor::zeros([2], (kind, Device::Cpu))];
    let (values, grads) = (one(Kind::Float), [Tensor::zeros([3], (Kind::Float, Device::Cpu))]);
    let (exp_avg, exp_avg_sq) = (one(Kind::Float), one(Kind::Float));
    let parameters = Parameters { values: &values, grads: &grads, exp_avg: &exp_avg, exp_avg_sq: &exp_avg_sq };
    let refused =
        |parameters| fused_adamw(&parameters, &HYPERPARAMETERS, 1, &Tensor::from(1.0)).unwrap_err().to_string();
    assert!(refused(parameters).contains("grads[0] is [3], expected [2]"));
    let low = one(Kind::BFloat16);
    assert!(refused(Parameters { grads: &low, ..parameters }).contains("grads[0] is BFloat16 on Cpu"));
    assert!(refused(Parameters { grads: &[], ..parameters }).contains("grads: 0 tensors, expected 1"));
    // The CPU has no such kernel, and libtorch's error names the operation.
    let rows = tensor_wave(&[4, 2, 8], 0.0, Device::Cpu);
    let refused = |lengths: &[i64]| {
        let sequences = Rc::new(Sequences::new(lengths, Device::Cpu).unwrap());
        flash_attention([(); 3].map(|()| rows.shallow_clone()), &sequences, 0.0).unwrap_err().to_string()
    };
    let error = refused(&[1, 3]);
    assert!(error.contains("aten::_flash_attention_forward") && error.contains("'CPU' backend"), "{error}");
    assert!(refused(&[1, 4]).contains("[4, 2, 8], expected [5, heads, entries]"));
}

/// Needs a GPU with the kernel, in bf16.
#[test]
fn attention_and_its_gradients_match_each_sequence_alone() {
    let gpu = gpu();
    require("gpu", gpu.is_some());
    let Some(device) = gpu else { return };
    let (lengths, heads, size) = ([5_i64, 1, 400, 4], 3, 32); // more than one block of a kernel
    let n: i64 = lengths.iter().sum();
    let qkv = tensor_wave(&[n, 3, heads, size], 0.3, device).to_kind(Kind::BFloat16);
    let grad = tensor_wave(&[n, heads, size], 0.9, device).to_kind(Kind::BFloat16);
    let sequences = Rc::new(Sequences::new(&lengths, device).unwrap());
    let attended = match flash_attention([0, 1, 2].map(|i| qkv.select(1, i)), &sequences, 0.0) {
        Ok(attended) => attended,
        Err(error) if error.to_string().contains("Ampere") => {
            require("ampere", false);
            return;
        }
        Err(error) => panic!("{error}"),
    };
    let grads = attended.backward(&grad).unwrap();
    for (one, other) in grads.iter().zip(&attended.backward(&grad).unwrap()) {
        assert!(one.equal(other), "the backward pass is not reproducible");
    }

    let exact = qkv.to_kind(Kind::Double).set_requires_grad(true);
    let mut start = 0;
    let mut rows = Vec::new();
    for length in lengths {
        let part = |i| exact.select(1, i).narrow(0, start, length).transpose(0, 1); // [A, length, D]
        let weights = (part(0).matmul(&part(1).transpose(1, 2)) / (size as f64).sqrt()).softmax(-1, None::<Kind>);
        rows.push(weights.matmul(&part(2)).transpose(0, 1));
        start += length;
    }
    let expected = Tensor::cat(&rows, 0);
    (&expected * grad.to_kind(Kind::Double)).sum(Kind::Double).backward();
    let close = |found: &Tensor, expected: &Tensor, what: &str| {
        let off = (found.to_kind(Kind::Double) - expected).abs().max().double_value(&[]);
        let most = expected.abs().max().double_value(&[]);
        assert!(off < 0.02 * most, "{what}: off by {off} of {most}");
    };
    close(attended.out(), &expected, "result");
    for (i, found) in grads.iter().enumerate() {
        close(found, &exact.grad().select(1, i as i64), ["query", "key", "value"][i]);
    }
}

/// Decrements a count of live values when dropped.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Computes x · y with a custom backward pass that counts its calls and the graphs that hold it.
fn product(x: &Tensor, y: &Tensor, calls: &Arc<AtomicUsize>, graphs: &Arc<AtomicUsize>) -> Tensor {
    graphs.fetch_add(1, Ordering::SeqCst);
    let (live, calls) = (Counted(graphs.clone()), calls.clone());
    let (x0, y0) = (x.detach(), y.detach());
    let value = &x0 * &y0;
    let backward = move |grad: Tensor| {
        let _ = &live;
        calls.fetch_add(1, Ordering::SeqCst);
        assert!(!(&grad * &y0).requires_grad(), "autograd records a backward pass");
        vec![&grad * &y0, &grad * &x0]
    };
    with_backward(&value, &[x, y], backward).expect("a node")
}

#[test]
fn a_custom_function_is_part_of_the_graph() {
    for device in devices() {
        let (calls, graphs) = (Arc::default(), Arc::default());
        let leaf = |shift| tensor_wave(&[3, 5], shift, device).set_requires_grad(true);
        let (x, y) = (leaf(0.0), leaf(1.0));
        // Twice in one graph, below and above libtorch's functions; gradients accumulate in a leaf.
        let square = product(&product(&x.sin(), &y, &calls, &graphs), &x, &calls, &graphs);
        square.square().sum(Kind::Float).backward();
        let (x1, y1) = (leaf(0.0), leaf(1.0));
        (x1.sin() * &y1 * &x1).square().sum(Kind::Float).backward();
        for (found, expected) in [(x.grad(), x1.grad()), (y.grad(), y1.grad())] {
            assert!(found.allclose(&expected, 1e-6, 1e-6, false));
        }
        drop(square);
        assert_eq!((calls.load(Ordering::SeqCst), graphs.load(Ordering::SeqCst)), (2, 0));
    }
}

#[test]
fn no_graph_is_built_if_no_gradient_is_required() {
    gpu();
    let (calls, graphs) = (Arc::default(), Arc::default());
    let x = tensor_wave(&[4], 0.0, Device::Cpu);
    assert!(!product(&x, &x, &calls, &graphs).requires_grad());
    let leaf = x.copy().set_requires_grad(true);
    assert!(!tch::no_grad(|| product(&leaf, &x, &calls, &graphs)).requires_grad());
    assert_eq!(graphs.load(Ordering::SeqCst), 0);
    // Only one of the two inputs requires a gradient.
    product(&leaf, &x, &calls, &graphs).sum(Kind::Float).backward();
    assert!(leaf.grad().equal(&x));
    assert_eq!(graphs.load(Ordering::SeqCst), 0);
}

#[test]
fn a_retained_graph_can_run_backward_again() {
    gpu();
    let (calls, graphs) = (Arc::default(), Arc::default());
    let x = tensor_wave(&[4], 0.0, Device::Cpu).set_requires_grad(true);
    let y = product(&x, &x, &calls, &graphs).sum(Kind::Float);
    let pass = |keep| Tensor::f_run_backward(&[&y], &[&x], keep, false);
    assert!(pass(true).unwrap()[0].equal(&(&x * 2.0)));
    assert!(pass(true).unwrap()[0].equal(&(&x * 2.0)));
    assert_eq!((calls.load(Ordering::SeqCst), graphs.load(Ordering::SeqCst)), (2, 1));
    pass(false).unwrap();
    assert_eq!(graphs.load(Ordering::SeqCst), 0, "dropped after the last pass, while the result lives");
    assert!(pass(false).unwrap_err().to_string().contains("backward"));
}

#[test]
fn a_backward_pass_that_fails_is_an_error() {
    gpu();
    let (calls, graphs) = (Arc::default(), Arc::default());
    let x = tensor_wave(&[4], 0.0, Device::Cpu).set_requires_grad(true);
    let fails = |backward: fn(Tensor) -> Vec<Tensor>, again| {
        let y = with_backward(&x.detach(), &[&x], backward).unwrap().sum(Kind::Float);
        Tensor::f_run_backward(&[&y], &[&x], again, again).unwrap_err().to_string()
    };
    assert!(fails(|_| panic!("no gradient today"), false).contains("panicked: no gradient today"));
    assert!(fails(|_| Vec::new(), false).contains("returned 0 gradients, expected 1"));
    assert!(fails(|grad| vec![grad.copy(), grad], false).contains("returned 2 gradients, expected 1"));
    assert!(fails(|grad| vec![grad.narrow(0, 0, 2)], false).contains("invalid gradient"));
    assert!(fails(|grad| vec![grad], true).contains("no second derivatives"));
    // A tensor that cannot have a gradient cannot be a node; the function is still dropped.
    let (live, integers) = (Counted(Arc::clone(&graphs)), Tensor::from_slice(&[1i64, 2, 3, 4]));
    graphs.fetch_add(1, Ordering::SeqCst);
    let refused = with_backward(&integers, &[&x], move |grad| {
        let _ = &live;
        vec![grad]
    });
    drop(refused);
    drop(product(&x, &x, &calls, &graphs));
    assert_eq!(graphs.load(Ordering::SeqCst), 0);
}
